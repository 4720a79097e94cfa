"""Every training of the paper, with its hyper-parameters (section 5; docs/reproduction.md)."""

from collections.abc import Mapping
from dataclasses import replace

from model.dc_sam.config import HYPER_PARAMETERS
from reproduction.recipe import Training

COMMON = {
    "nshot": 1,
    "image_size": 512,
    "num_query": 25,
    "position": "sine",
    "wiring": "paper",
    "weight_decay": 1e-5,
    "seed": 0,
}
SAM_1 = {"sam_version": 1, "sam_model": "vit_h"}
SAM_2 = {"sam_version": 2, "sam_model": "sam2.1_hiera_l"}
SCHEDULES = {benchmark: HYPER_PARAMETERS["paper"][benchmark] for benchmark in ("pascal", "coco")}

NO_NEGATIVE_BRANCH = {"no_negative_branch": True}
NO_SAM_FUSION = {"no_sam_fusion": True}
NO_CYCLIC = {"no_cyclic": True}

QUERIES = (1, 5, 10, 25, 50, 100)
"""Figure 9: queries in one branch. The text names 1 and 25; the others are chosen here."""


def image_training(name: str, benchmark: str, **changes: object) -> Training:
    """Training on a benchmark of images, one run for each fold."""
    flags = {"backbone": "resnet50", "fusion": "full", **SAM_1, **COMMON, **SCHEDULES[benchmark]}
    return Training(
        name=f"{benchmark}-{name}",
        script="train_image.py",
        benchmark=benchmark,
        flags={**flags, **changes},
        batch=8,
        batch_per_gpu=2,
    )


def _on_both(name: str, **changes: object) -> dict[str, Training]:
    return {benchmark: image_training(name, benchmark, **changes) for benchmark in SCHEDULES}


RESNET50 = _on_both("resnet50")
VGG16 = _on_both("vgg16", backbone="vgg16")
RESNET50_SAM2 = _on_both("resnet50-sam2", **SAM_2)
DINOV2 = image_training("dinov2", "coco", backbone="dinov2_b_reg", fusion="prior")

BASELINE = image_training("baseline", "pascal", **NO_NEGATIVE_BRANCH, **NO_SAM_FUSION, **NO_CYCLIC)
TWO_BRANCHES = image_training("two-branches", "pascal", **NO_SAM_FUSION, **NO_CYCLIC)
SAM_FUSION = image_training("sam-fusion", "pascal", **NO_CYCLIC)

BY_QUERIES = {
    number: RESNET50["pascal"]
    if number == COMMON["num_query"]
    else image_training(f"queries{number}", "pascal", num_query=number)
    for number in QUERIES
}


def _schedule(stage: str) -> dict[str, object]:
    """A stage's flags without the batch, which a recipe states as a whole."""
    numbers = HYPER_PARAMETERS["paper"][stage]
    return {name: value for name, value in numbers.items() if name != "bsz"}


def pretraining(name: str, parts: str) -> Training:
    """The first step for videos: images of all 80 classes."""
    return Training(
        name=f"video-images-{name}",
        script="train_video.py",
        benchmark="coco_all",
        flags={
            "backbone": "resnet50",
            "fusion": "full",
            **SAM_2,
            **COMMON,
            "train_parts": parts,
            **_schedule("video_images"),
        },
        batch=32,
        batch_per_gpu=HYPER_PARAMETERS["paper"]["video_images"]["bsz"],
    )


def fine_tuning(name: str, learns: Mapping[str, object], start: Training) -> Training:
    """The second step for videos: mask tubes, with the model of the first step."""
    return Training(
        name=f"video-tubes-{name}",
        script="train_video.py",
        benchmark="coco_mask_tube",
        flags={
            "nshot": 1,
            "weight_decay": 1e-5,
            "seed": 0,
            **learns,
            **_schedule("mask_tubes"),
            "epochs": 4,
        },
        batch=4,
        batch_per_gpu=HYPER_PARAMETERS["paper"]["mask_tubes"]["bsz"],
        start=start,
    )


DECODER = {"train_parts": "decoder"}
IMAGES = pretraining("decoder", "decoder")
IMAGES_GENERATOR = pretraining("generator", "none")
TUBES_DECODER = fine_tuning("decoder", DECODER, IMAGES)
TUBES_MEMORY = fine_tuning("memory", {"train_parts": "memory"}, IMAGES)
TUBES_BOTH = fine_tuning("both", {"train_parts": "decoder,memory"}, IMAGES)
TUBES_LORA = fine_tuning("lora", {"lora": True}, IMAGES)
TUBES_AFTER_GENERATOR = fine_tuning("after-generator", DECODER, IMAGES_GENERATOR)
TUBES_ALONE = replace(
    IMAGES,
    name="video-tubes-alone",
    benchmark="coco_mask_tube",
    flags={
        **IMAGES.flags,
        "epochs": 20,
        "episodes_per_epoch": 10_000,
        "max_iterations": 50_000,
    },
    batch=4,
    batch_per_gpu=1,
)
"""Table 6, without pre-training."""
IMAGES_LONGER = replace(TUBES_DECODER, name="video-images-longer", benchmark="coco_all")
"""Table 8, without mask tubes: the second step on images."""
