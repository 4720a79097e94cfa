"""How SAM 2 propagates masks through a video, where programs differ."""

from dataclasses import dataclass


@dataclass(frozen=True)
class VideoWiring:
    """Where DC-SAM's release and the sam2 package propagate differently."""

    align_corners: bool = True
    """How logits are resized to the frames' size: as in the image model, or (False) as SAM 2's."""
    padding_tokens: bool = True
    """Frames without a prompt are decoded with SAM 2's "not a point" tokens, or with none."""
    time_by_length: bool = False
    """Time object pointers by the length of the video (where it has fewer than 16 frames), so that
    a frame's mask depends on how many frames follow it."""
    best_of_three: bool = False
    """On frames without a prompt take the best of three proposals instead of the single mask."""


STREAMING = VideoWiring()
"""DC-SAM here: no mask depends on a later frame."""
RELEASE_VIDEO = VideoWiring(align_corners=False, padding_tokens=False, time_by_length=True)
"""DC-SAM's release."""
PACKAGE_VIDEO = VideoWiring(align_corners=False, time_by_length=True, best_of_three=True)
"""SAM 2's own video predictor, for masks that are given on the first frame."""


WIRINGS = {"streaming": STREAMING, "release": RELEASE_VIDEO, "package": PACKAGE_VIDEO}
