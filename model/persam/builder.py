"""Building PerSAM and PerSAM-F from their options."""

from model.persam.config import PerSamOptions
from model.persam.rules import Rules
from model.persam.video import PerSam
from model.sam.variants import frozen_segmenter


def build_persam(options: PerSamOptions) -> PerSam:
    """Build PerSAM, or PerSAM-F of its options, with the official weights of SAM.

    Raises:
        UsageError: the weights file is missing, broken or of another model.
    """
    rules = Rules(
        mask_value=options.mask_value if options.mask == "released" else None,
        released_guidance=options.guidance == "released",
        released_areas=options.areas == "uint8",
        released_hand_over=options.hand_over == "released",
        video_points=options.video_points,
        points_apart=options.points_apart,
        video_box=options.video_box,
        video_center=options.video_center,
        video_largest=options.video_largest,
    )
    segmenter = frozen_segmenter(
        1, options.sam_model, options.sam_weights, options.random_weights, options.shrunk
    )
    return PerSam(segmenter, rules, options.training)
