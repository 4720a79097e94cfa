"""Rows of other methods in the tables of the DC-SAM paper, and what measures them again here.

The numbers are those that the paper prints; where it quotes the methods' own papers, the note of a
table says so. Of IC-VOS (section 3.4): what learns is trained on COCO's 80 classes for 50 epochs,
the rest is tested as it is, and SAM 2 carries the masks of the first frame on. The paper feeds SAM
2 the methods' prompts where they prompt a SAM; it does not say which, so masks are carried here.
"""

from collections.abc import Mapping
from dataclasses import replace

from model.vrp_sam.config import HYPER_PARAMETERS
from reproduction.recipe import IMAGE_COLUMNS, MEAN, VIDEO_COLUMNS, Released, Row, Training

VRP_SAM = "vrp_sam"
PERSAM = Released("persam", {"method": "persam"})
PERSAM_F = Released("persam_f", {"method": "persam_f"}, smoke={"steps": 2})
MATCHER = Released("matcher", {"method": "matcher"})


def _vrp_sam(benchmark: str, backbone: str) -> Training:
    return Training(
        name=f"vrp-sam-{benchmark}-{backbone}",
        script="train_image.py",
        benchmark=benchmark,
        flags={
            "method": VRP_SAM,
            "backbone": backbone,
            "sam_model": "vit_h",
            "image_size": 512,
            "num_query": 50,
            "nshot": 1,
            **HYPER_PARAMETERS["paper"][benchmark],
            "seed": 0,
        },
        batch=8,
        batch_per_gpu=2,
    )


VRP_SAM_TRAININGS = {
    (benchmark, backbone): _vrp_sam(benchmark, backbone)
    for backbone in ("vgg16", "resnet50")
    for benchmark in ("coco", "pascal")
}
VRP_SAM_ALL_CLASSES = _vrp_sam("coco_all", "resnet50")
"""For IC-VOS."""


def paper_numbers(columns: tuple[str, ...], printed: str) -> Mapping[str, float]:
    """Numbers of all columns as a paper prints them, or the mean alone."""
    numbers = [float(number) for number in printed.split()]
    return dict(zip(columns if len(numbers) > 1 else (MEAN,), numbers, strict=True))


def _images(name: str, label: str, printed: str, benchmark: str, **measured: object) -> Row:
    return replace(Row(name, label, paper_numbers(IMAGE_COLUMNS, printed), benchmark), **measured)


def carried(name: str, label: str, printed: str, **measured: object) -> Row:
    """A row of IC-VOS: SAM 2 carries on what a method finds on the first frame."""
    row = Row(
        name, f"{label} + SAM 2", paper_numbers(VIDEO_COLUMNS, printed), "icvos", carried=True
    )
    return replace(row, **measured)


TABLE_2 = (
    _images("persam_f", "PerSAM-F", "22.3 24.0 23.4 24.1 23.5", "coco", released=PERSAM_F),
    _images("matcher", "Matcher", "52.7 53.5 52.6 52.1 52.7", "coco_legacy", released=MATCHER),
    _images(
        *("vrp_sam", "VRP-SAM, ResNet-50", "48.1 55.8 60.0 51.6 53.9", "coco"),
        training=VRP_SAM_TRAININGS["coco", "resnet50"],
    ),
    _images(
        *("vrp_sam_dinov2", "VRP-SAM, DINO v2-B", "56.8 61.0 64.2 59.7 60.4", ""),
        missing="neither its program nor its weights have it, its author tells the layers of a "
        "larger DINOv2 than its paper names",
    ),
)
TABLE_3 = tuple(
    _images(
        *(f"vrp_sam_{backbone}", f"VRP-SAM, {label}", printed, benchmark),
        training=VRP_SAM_TRAININGS[benchmark, backbone],
    )
    for backbone, label, *papers in (
        ("vgg16", "VGG-16", "43.6 51.7 50.0 46.5 48.0", "70.0 74.7 68.3 61.9 68.7"),
        ("resnet50", "ResNet-50", "48.1 55.8 60.0 51.6 53.9", "73.9 78.3 70.6 65.0 71.9"),
    )
    for benchmark, printed in zip(("coco", "pascal"), papers, strict=True)
)
TABLE_4 = (
    carried("persam", "PerSAM", "32.23 36.81 34.52", released=PERSAM),
    carried("persam_f", "PerSAM-F", "31.52 36.83 34.18", released=PERSAM_F),
    carried("matcher", "Matcher", "26.88 24.00 20.44", released=MATCHER),
    carried("vrp_sam", "VRP-SAM", "50.77 56.30 53.53", training=VRP_SAM_ALL_CLASSES),
)
TABLE_12 = (
    _images(
        *("vrp_sam", "VRP-SAM, ResNet-50", "75.9", "coco2pascal"),
        training=VRP_SAM_TRAININGS["coco", "resnet50"],
    ),
)
