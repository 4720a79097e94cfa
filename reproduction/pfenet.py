"""Every published number of PFENet, and the recipe that measures it again.

The numbers are its paper's (arXiv 2008.01449) and, of IC-VOS, of the change from COCO to PASCAL and
of operations, those of the DC-SAM paper. The schedule is that of its program, which trained what
the numbers are of: ten times the rate that the paper says. Those on classes of its own folds are
measured under its own protocol, at the pictures' size with padding.
"""

from model.pfenet.config import HYPER_PARAMETERS
from reproduction.baselines import carried, paper_numbers
from reproduction.recipe import IMAGE_COLUMNS, Row, Table, Training

TITLES = {"vgg16": "VGG-16", "resnet50": "ResNet-50"}


def _training(benchmark: str, backbone: str) -> Training:
    numbers = HYPER_PARAMETERS["paper"][benchmark]
    flags = {name: value for name, value in numbers.items() if name != "bsz"}
    flags |= {"backbone": backbone, "nshot": 1, "schedule": "poly_tenfold", "seed": 0}
    return Training(
        name=f"pfenet-{benchmark}-{backbone}",
        script="train_image.py",
        benchmark=benchmark,
        flags={"method": "pfenet", **flags},
        batch=numbers["bsz"],
        batch_per_gpu=4,
    )


TRAININGS = {
    (benchmark, backbone): _training(benchmark, backbone)
    for backbone in TITLES
    for benchmark in ("coco", "pascal")
}
ALL_CLASSES = _training("coco_all", "resnet50")
"""For IC-VOS: on the classes of all folds, with the numbers of COCO."""


def _images(
    name: str, backbone: str, trained: str, printed: str, benchmark: str = "", shots: int = 1
) -> Row:
    return Row(
        name,
        f"PFENet, {TITLES[backbone]}",
        paper_numbers(IMAGE_COLUMNS, printed),
        benchmark or f"{trained}_padded",
        TRAININGS[trained, backbone],
        shots,
    )


TABLE_3 = (
    _images("pfenet_vgg16", "vgg16", "coco", "35.4 38.1 36.8 34.7 36.3"),
    _images("pfenet_vgg16", "vgg16", "pascal", "56.9 68.2 54.5 52.4 58.0"),
    _images("pfenet_resnet50", "resnet50", "coco", "36.5 38.6 34.5 33.8 35.8"),
    _images("pfenet_resnet50", "resnet50", "pascal", "61.7 69.5 55.4 56.3 60.8"),
)
TABLE_4 = (carried("pfenet", "PFENet", "62.07 66.45 64.26", training=ALL_CLASSES),)
TABLE_12 = (_images("pfenet", "resnet50", "coco", "61.1", "coco2pascal"),)

TABLES = (
    Table(
        "pfenet",
        "PFENet with one shot and with five (mIoU)",
        IMAGE_COLUMNS,
        tuple(
            _images(backbone, backbone, benchmark, printed, shots=shots)
            for benchmark, backbone, one, five in (
                ("coco", "vgg16", "36.3", "40.4"),
                ("pascal", "vgg16", "58.0", "59.0"),
                ("pascal", "resnet50", "60.8", "61.9"),
            )
            for shots, printed in ((1, one), (5, five))
        ),
        note="The same weights, trained with one shot. The numbers of its folds are in table 3.",
    ),
)
