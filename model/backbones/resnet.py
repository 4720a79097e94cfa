"""Dilated ResNets: the frozen backbones ResNet-50, ResNet-101 and the tiny one.

Stages 3 and 4 keep the resolution of stage 2 (stride 8) and are dilated instead.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck


@dataclass(frozen=True)
class ResNetSize:
    """Blocks and widths of one variant."""

    blocks: tuple[int, int, int, int]
    planes: tuple[int, int, int, int] = (64, 128, 256, 512)
    """Inner width of the bottlenecks of a stage; the stage's output has four times as many."""
    stem: tuple[int, ...] = (64, 64, 128)
    """Widths of the 3x3 convolutions of a deep stem; a single one means one 7x7 convolution."""
    dilations: tuple[tuple[int, int], ...] = ((1, 1), (1, 1), (1, 2), (2, 4))
    """Dilation of a stage's first block and of its others, as torchvision and the release do."""


SIZES = {
    "resnet50": ResNetSize((3, 4, 6, 3)),
    "resnet101": ResNetSize((3, 4, 23, 3)),
    "tiny": ResNetSize(
        (2, 2, 3, 3),
        planes=(16, 24, 40, 48),
        stem=(16, 16, 32),
        dilations=((1, 1), (1, 1), (2, 2), (4, 4)),
    ),
    "shrunk": ResNetSize((1, 1, 2, 2), planes=(4, 8, 16, 16), stem=(8, 8, 16)),
}
"""Name -> size; "shrunk" has few blocks of ResNet-50 and ResNet-101, and narrow ones."""

STRIDES = (1, 2, 1, 1)


def _stage(
    channels: int, planes: int, count: int, stride: int, dilations: tuple[int, int]
) -> nn.Sequential:
    shortcut = nn.Sequential(
        nn.Conv2d(channels, planes * Bottleneck.expansion, 1, stride, bias=False),
        nn.BatchNorm2d(planes * Bottleneck.expansion),
    )
    blocks = [Bottleneck(channels, planes, stride, shortcut, dilation=dilations[0])]
    for _ in range(count - 1):
        blocks.append(Bottleneck(planes * Bottleneck.expansion, planes, dilation=dilations[1]))
    return nn.Sequential(*blocks)


class ResNet(nn.Module):
    """The convolutional part of a ResNet, cut into a stem and four stages.

    Parameter names are those of torchvision and, with a deep stem, of `resnet50_v2` files.
    """

    input_size = None

    def __init__(self, size: ResNetSize) -> None:
        super().__init__()
        kernel = 7 if len(size.stem) == 1 else 3
        channels = 3
        for number, width in enumerate(size.stem, start=1):
            stride = 2 if number == 1 else 1
            convolution = nn.Conv2d(channels, width, kernel, stride, kernel // 2, bias=False)
            self.add_module(f"conv{number}", convolution)
            self.add_module(f"bn{number}", nn.BatchNorm2d(width))
            channels = width
        self.stem_depth = len(size.stem)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        for number, (count, planes) in enumerate(zip(size.blocks, size.planes, strict=True)):
            stage = _stage(channels, planes, count, STRIDES[number], size.dilations[number])
            self.add_module(f"layer{number + 1}", stage)
            channels = planes * Bottleneck.expansion
        self.middle_channels = (size.planes[1] + size.planes[2]) * Bottleneck.expansion

    def middle(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Stage 2 and stage 3 of the images, both at an eighth of their size."""
        x = images
        for number in range(1, self.stem_depth + 1):
            convolution, norm = getattr(self, f"conv{number}"), getattr(self, f"bn{number}")
            x = self.relu(norm(convolution(x)))
        stage2 = self.layer2(self.layer1(self.maxpool(x)))
        return stage2, self.layer3(stage2)

    def high(self, stage3: Tensor) -> Tensor:
        """Stage 4 of stage-3 features."""
        return self.layer4(stage3)

    def dilate_evenly(self) -> None:
        """Dilate the first blocks of stages 3 and 4 like the others of their stage, as PFENet's."""
        for stage in (self.layer3, self.layer4):
            first, last = stage[0].conv2, stage[-1].conv2
            first.dilation, first.padding = last.dilation, last.padding

    def rename_official(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of an official file, less the classifier's."""
        return {name: value for name, value in state.items() if not name.startswith("fc.")}
