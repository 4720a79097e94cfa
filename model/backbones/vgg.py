"""VGG-16 with BatchNorm as a frozen backbone, cut as in PFENet: the pools end the stages."""

from collections.abc import Mapping

from torch import Tensor, nn
from torchvision.models.vgg import cfgs, make_layers


class Vgg16(nn.Module):
    """The convolutional part of VGG-16-BN with torchvision's parameter names.

    Of an image's side, stage 2 has an eighth, stages 3 and 4 a sixteenth.
    """

    input_size = None

    def __init__(self, narrower: int = 1) -> None:
        """Build the network with random weights, its layers so many times narrower."""
        super().__init__()
        widths = [w // narrower if isinstance(w, int) else w for w in cfgs["D"]]
        self.features = make_layers(widths, batch_norm=True)
        self.middle_channels = (256 + 512) // narrower

    def middle(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Stage 2 (256 channels unless narrower) and stage 3 (512) of the images."""
        stage2 = self.features[:24](images)
        return stage2, self.features[24:34](stage2)

    def high(self, stage3: Tensor) -> Tensor:
        """Stage 4 (512 channels unless narrower) of stage-3 features, without the last pool."""
        return self.features[34:43](stage3)

    def rename_official(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of an official file, less the classifier's."""
        return {name: value for name, value in state.items() if not name.startswith("classifier.")}
