"""Building INSID3 from its options."""

from model.backbones.backbone import BUILDERS, Backbone, build_backbone
from model.backbones.dinov3 import DinoV3, vit_16
from model.insid3.config import SIZES, Insid3Options
from model.insid3.crf import DenseCrf
from model.insid3.encoder import BackboneCells, CellEncoder
from model.insid3.network import Insid3
from model.insid3.segmentation import Thresholds
from model.official_paths import official_path, weights_folder
from model.weights import load_strictly, read_weights


def build_insid3(options: Insid3Options) -> Insid3:
    """Build INSID3 with the encoder's official weights.

    Raises:
        UsageError: the weights file is missing, broken or of another network, or there are more
            components than features have.
    """
    return Insid3(
        build_encoder(options),
        options.side,
        options.basis_size,
        Thresholds(options.tau, options.merge_threshold),
        DenseCrf() if options.crf else None,
        options.factors,
        weights_folder() / "insid3_basis" if options.files() else None,
    )


def build_encoder(options: Insid3Options) -> CellEncoder:
    """The frozen network; raises as `build_insid3` does."""
    size = SIZES[options.size]
    name = size.weights
    if name is None:
        backbone = (
            Backbone("tiny", BUILDERS["tiny"]({}))
            if options.random_weights
            else build_backbone("tiny", None)
        )
        return BackboneCells(backbone, size.channels, size.stride)
    encoder = DinoV3(vit_16(name), options.exact_periods)
    if not options.random_weights:
        path = official_path(name)
        load_strictly(encoder, encoder.rename_official(read_weights(path, name)), path)
    return encoder
