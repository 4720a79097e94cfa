"""Is the object in the picture at all? One number for each mask, from what the decoder says of it.

Shapes: B batch, H and W image height and width.
"""

from torch import Tensor

from model.dc_sam import Prediction


def presence(prediction: Prediction) -> Tensor:
    """How likely it is that the object is in each picture, in [0, 1]; 0 for an empty mask.

    The product of three numbers in [0, 1]: how sure the mask is of its own pixels, the mean of
    |2 sigmoid(logit) - 1| = tanh(logit / 2) over the pixels above 0; SAM's estimate of the mask's
    IoU; and the probability of SAM 2's object logit (almost 1 with SAM, which has none).

    Returns:
        B, float32.
    """
    logits = prediction.logits.float()
    inside = logits > 0
    sureness = ((logits / 2).tanh() * inside).flatten(1).sum(1)
    sureness = sureness / inside.flatten(1).sum(1).clamp_min(1)
    quality = prediction.quality.float().clamp(0, 1)
    return sureness * quality * prediction.object_logit.float().sigmoid()
