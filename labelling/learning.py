"""From what people marked to what a method looks for, and what all results depend on."""

from collections.abc import Mapping
from typing import Any

from common.files import digest
from labelling.choice import Labeller
from labelling.options import Examples, LabellingOptions
from labelling.references import Shots
from model.checkpoint import frozen_fingerprint
from model.predictor import InContextSegmenter
from model.reference import LearnedConcept


def as_taken(segmenter: InContextSegmenter, shots: Mapping[int, Shots]) -> dict[int, Shots]:
    """The shots of each class as the method takes them: a SAM makes masks of other marks."""
    return {c: [segmenter.sams.as_taken(shot) for shot in some] for c, some in shots.items()}


def learn_classes(
    segmenter: InContextSegmenter, classes: Mapping[int, str], taken: Mapping[int, Shots]
) -> dict[int, LearnedConcept]:
    """Class id -> concept, of shots that `as_taken` returned."""
    return {
        class_id: segmenter.learn(
            [shot.pixels for shot in taken[class_id]],
            [shot.mark for shot in taken[class_id]],
            name,
            [shot.kind for shot in taken[class_id]],
        )
        for class_id, name in classes.items()
    }


def result_settings(
    examples: Examples, options: LabellingOptions, labeller: Labeller, threshold: float
) -> dict[str, Any]:
    """What decides the results of pictures, but for the pictures themselves."""
    scored = options.instances and labeller.segmenter.method.scores_instances
    return {
        **labeller.settings,
        "frozen": frozen_fingerprint(labeller.segmenter.method),
        "references": [
            [digest(image), digest(mark.path) if mark.path else mark.text, mark.kind]
            for (image, _), mark in zip(examples.reference, examples.marks, strict=True)
        ],
        "presence": threshold,
        "instances": options.instances,
        **({"instance_score": options.instance_score} if scored else {}),
        "precision": options.precision,
    }
