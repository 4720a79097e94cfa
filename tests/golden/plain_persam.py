"""The published procedure written down step by step on the `segment_anything` package's predictor.

The reference is encoded again for every picture, attention is written out, all proposals are
brought to the picture's size in every pass: what the released script does for a reference and a
picture, for comparisons of results and time.
"""

from dataclasses import dataclass

import numpy as np
import torch
from segment_anything import SamPredictor
from segment_anything.modeling import Sam as PackageSam
from segment_anything.modeling.image_encoder import Attention
from torch import Tensor, nn
from torch.nn import functional as F

from common.pixels import IMAGE_MEAN, IMAGE_STD
from model.persam.guided_decoder import GuidedTransformer
from model.sam.sam1 import Sam


def package_sam(sam: Sam) -> PackageSam:
    """The package's own model of a SAM's parts, whose encoder is taken over and changed."""
    for block in sam.image_encoder.blocks:
        block.attn.__class__ = Attention
    mean, std = ([255 * value for value in values] for values in (IMAGE_MEAN, IMAGE_STD))
    return PackageSam(sam.image_encoder, sam.prompt_encoder, sam.mask_decoder, mean, std).eval()


class GuidedDecoder(nn.Module):
    """Stands in the decoder's transformer for one pass."""

    def __init__(self, guided: GuidedTransformer) -> None:
        super().__init__()
        self.guided = guided

    def forward(self, image: Tensor, position: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        return self.guided(image, position, tokens)


@dataclass
class PlainPerSam:
    """The script: one reference, one picture."""

    sam: PackageSam

    def target(self, reference: np.ndarray, mask: np.ndarray) -> Tensor:
        """Encode the reference and take the mean of its object's features, 1 x C."""
        predictor = SamPredictor(self.sam)
        image = predictor.transform.apply_image(mask)
        tensor = torch.from_numpy(image).permute(2, 0, 1)[None]
        small = F.interpolate(self.sam.preprocess(tensor), (64, 64), mode="bilinear")[0, 0]
        predictor.set_image(reference)
        features = predictor.features[0].permute(1, 2, 0)
        return features[small > 0].mean(0, keepdim=True)

    @torch.no_grad()
    def segment(self, picture: np.ndarray, target: Tensor) -> np.ndarray:
        """The object in a picture, H x W bool."""
        predictor = SamPredictor(self.sam)
        predictor.set_image(picture)
        features = predictor.features[0].flatten(1)
        features = features / features.norm(dim=0, keepdim=True)
        similarity = (target / target.norm(dim=1, keepdim=True)) @ features
        similarity = F.interpolate(similarity.view(1, 1, 64, 64), scale_factor=4, mode="bilinear")
        sizes = predictor.input_size, predictor.original_size
        similarity = self.sam.postprocess_masks(similarity, *sizes)[0, 0]
        width = similarity.shape[1]
        places = [
            divmod(int(similarity.flatten().topk(1, largest=best).indices), width)[::-1]
            for best in (True, False)
        ]
        points = {"point_coords": np.array(places), "point_labels": np.array([1, 0])}

        guidance = (similarity - similarity.mean()) / similarity.std()
        guidance = F.interpolate(guidance[None, None], (64, 64), mode="bilinear").sigmoid()
        decoder = self.sam.mask_decoder
        own = decoder.transformer
        decoder.transformer = GuidedDecoder(GuidedTransformer(own, target, guidance.flatten(1)))
        _, _, low = predictor.predict(**points, multimask_output=False)
        decoder.transformer = own

        masks, scores, low = predictor.predict(**points, mask_input=low, multimask_output=True)
        best = int(np.argmax(scores))
        rows, columns = np.nonzero(masks[best])
        box = np.array([columns.min(), rows.min(), columns.max(), rows.max()])
        masks, scores, _ = predictor.predict(
            **points, box=box[None], mask_input=low[best : best + 1], multimask_output=True
        )
        return masks[int(np.argmax(scores))]
