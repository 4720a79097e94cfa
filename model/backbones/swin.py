"""Swin-B as a frozen backbone."""

from collections.abc import Mapping

from torch import Tensor, nn
from torchvision.models import swin_b


class SwinB(nn.Module):
    """torchvision's Swin-B without its classifier, with torchvision's parameter names.

    Of an image's side, stage 2 has an eighth, stage 3 a sixteenth, stage 4 a thirty-second.
    """

    middle_channels = 256 + 512
    input_size = None

    def __init__(self) -> None:
        super().__init__()
        network = swin_b(weights=None)
        self.features, self.norm = network.features, network.norm

    def middle(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Stage 2 (256 channels) and stage 3 (512 channels) of the images."""
        stage2 = self.features[:4](images)  # B S S C, as everywhere inside
        stage3 = self.features[4:6](stage2)
        return stage2.permute(0, 3, 1, 2), stage3.permute(0, 3, 1, 2)

    def high(self, stage3: Tensor) -> Tensor:
        """Stage 4 (1024 channels) of stage-3 features, through the network's last norm."""
        stage4 = self.norm(self.features[6:](stage3.permute(0, 2, 3, 1)))
        return stage4.permute(0, 3, 1, 2)

    def rename_official(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of an official file, less the classifier's."""
        return {name: value for name, value in state.items() if not name.startswith("head.")}
