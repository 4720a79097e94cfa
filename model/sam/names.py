"""Which SAM and SAM 2 there are, by name."""

OFFICIAL_NAMES = tuple(
    f"{version}_hiera_{size}" for version in ("sam2", "sam2.1") for size in ("t", "s", "b+", "l")
)
"""Of SAM 2."""
SAM_MODELS = {
    1: ("vit_b", "vit_l", "vit_h", "vit_t", "tiny"),
    2: (*OFFICIAL_NAMES, "tiny"),
}
"""Version -> names; vit_t is MobileSAM, tiny the repository's own."""
DEFAULT_SAM_MODEL = {1: "vit_h", 2: "sam2.1_hiera_l"}
