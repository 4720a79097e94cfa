"""Swin-B as a frozen backbone."""

from collections.abc import Mapping

from torch import Tensor, nn
from torchvision.models import SwinTransformer


class SwinB(nn.Module):
    """torchvision's Swin-B without its classifier, with torchvision's parameter names.

    Of an image's side, stage 2 has an eighth, stage 3 a sixteenth, stage 4 a thirty-second.
    """

    input_size = None

    def __init__(self, width: int = 128, depths: tuple[int, ...] = (2, 2, 18, 2)) -> None:
        """Build the network with random weights.

        Args:
            width: channels of the first stage; each further one has twice as many.
            depths: blocks of each stage.
        """
        super().__init__()
        network = SwinTransformer(
            patch_size=[4, 4],
            embed_dim=width,
            depths=list(depths),
            num_heads=[4, 8, 16, 32],
            window_size=[7, 7],
        )
        self.features, self.norm = network.features, network.norm
        self.middle_channels = (2 + 4) * width

    def middle(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Stage 2 (2 * width channels) and stage 3 (4 * width) of the images."""
        stage2 = self.features[:4](images)  # B S S C, as everywhere inside
        stage3 = self.features[4:6](stage2)
        return stage2.permute(0, 3, 1, 2), stage3.permute(0, 3, 1, 2)

    def high(self, stage3: Tensor) -> Tensor:
        """Stage 4 (8 * width channels) of stage-3 features, through the network's last norm."""
        stage4 = self.norm(self.features[6:](stage3.permute(0, 2, 3, 1)))
        return stage4.permute(0, 3, 1, 2)

    def rename_official(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of an official file, less the classifier's."""
        return {name: value for name, value in state.items() if not name.startswith("head.")}
