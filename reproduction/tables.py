"""Tables 2 to 14 and figure 9: the paper's numbers of DC-SAM, and the recipe of each row."""

from collections.abc import Sequence

from reproduction import counts
from reproduction import trainings as t
from reproduction.recipe import (
    FOLDS,
    IMAGE_COLUMNS,
    MEAN,
    VIDEO_COLUMNS,
    Row,
    Table,
    Training,
)


def _images(
    name: str,
    label: str,
    training: Training,
    paper: Sequence[float],
    benchmark: str = "",
    shots: int = 1,
) -> Row:
    """A row with mIoU of folds 0 to 3 and their mean."""
    numbers = dict(zip(IMAGE_COLUMNS, paper, strict=True)) if len(paper) > 1 else {MEAN: paper[0]}
    return Row(name, label, numbers, benchmark or training.benchmark, training, shots)


def _videos(
    name: str,
    label: str,
    training: Training | None,
    paper: Sequence[float],
    benchmark: str = "icvos",
    given_masks: bool = False,
) -> Row:
    """A row with J, F and their mean."""
    numbers = dict(zip(VIDEO_COLUMNS, paper, strict=True))
    return Row(name, label, numbers, benchmark, training, given_masks=given_masks)


def _parameters(row: Row, paper: float) -> Row:
    """The row of table 7 in table 10: with the parameters of SAM 2 that learn."""
    training = row.training
    return Row(
        row.name,
        row.label,
        {"parameters (M)": paper, **row.paper},
        row.benchmark,
        training,
        counted=lambda: counts.tuned_parameters(training),
    )


_RESNET50_COCO = (50.4, 56.0, 61.0, 54.4, 55.5)
_RESNET50_PASCAL = (74.8, 79.1, 71.4, 66.5, 73.0)
_VGG16_PASCAL = (71.7, 77.2, 69.0, 63.8, 70.4)
_DC_SAM_ICVOS = (68.38, 74.65, 71.52)
_DECODER_ICVOS = (67.57, 73.62, 70.59)

_BY_MODULE = (
    _videos("decoder", "decoder", t.TUBES_DECODER, _DECODER_ICVOS),
    _videos("memory", "memory", t.TUBES_MEMORY, (68.27, 74.20, 71.23)),
    _videos("decoder_and_memory", "decoder and memory", t.TUBES_BOTH, _DC_SAM_ICVOS),
)

TABLES = (
    Table(
        "table2",
        "DC-SAM beside foundation models on COCO-20i (mIoU)",
        IMAGE_COLUMNS,
        (
            _images("resnet50", "DC-SAM, ResNet-50", t.RESNET50["coco"], _RESNET50_COCO),
            _images("dinov2", "DC-SAM, DINO v2-B", t.DINOV2, (56.8, 62.0, 67.3, 61.9, 62.0)),
        ),
    ),
    Table(
        "table3",
        "DC-SAM beside few-shot methods on COCO-20i and PASCAL-5i (mIoU)",
        IMAGE_COLUMNS,
        (
            _images("vgg16", "VGG-16", t.VGG16["coco"], (44.7, 50.2, 59.1, 50.6, 51.2)),
            _images("vgg16", "VGG-16", t.VGG16["pascal"], _VGG16_PASCAL),
            _images("resnet50", "ResNet-50", t.RESNET50["coco"], _RESNET50_COCO),
            _images("resnet50", "ResNet-50", t.RESNET50["pascal"], _RESNET50_PASCAL),
            _images(
                "resnet50_sam2",
                "ResNet-50, SAM 2",
                t.RESNET50_SAM2["coco"],
                (49.7, 56.4, 63.1, 56.2, 56.4),
            ),
            _images(
                "resnet50_sam2",
                "ResNet-50, SAM 2",
                t.RESNET50_SAM2["pascal"],
                (77.4, 78.5, 70.5, 69.4, 74.0),
            ),
        ),
    ),
    Table(
        "table4",
        "DC-SAM on IC-VOS",
        VIDEO_COLUMNS,
        (_videos("dc_sam", "DC-SAM", t.TUBES_BOTH, _DC_SAM_ICVOS),),
    ),
    Table(
        "table5",
        "Each component of DC-SAM on PASCAL-5i (mIoU)",
        IMAGE_COLUMNS,
        (
            _images("baseline", "VRP-SAM", t.BASELINE, (73.9, 78.3, 70.6, 65.0, 71.9)),
            _images(
                "two_branches",
                "+ Pos-Neg Branch",
                t.TWO_BRANCHES,
                (74.0, 78.5, 70.3, 65.5, 72.1),
            ),
            _images(
                "sam_fusion",
                "+ SAM Feature Fusion",
                t.SAM_FUSION,
                (74.8, 79.6, 70.7, 66.2, 72.8),
            ),
            _images("cyclic", "+ Cyclic Consistent", t.RESNET50["pascal"], _RESNET50_PASCAL),
        ),
        plot="components",
        note="The baseline is this project's model without the three components, not VRP-SAM's "
        "own program.",
    ),
    Table(
        "table6",
        "Pre-training for IC-VOS; the second step trains prompt generator and decoder",
        VIDEO_COLUMNS,
        (
            _videos("none", "w/o pre-trained", t.TUBES_ALONE, (58.72, 64.37, 61.54)),
            _videos(
                "generator", "Prompt Generator", t.TUBES_AFTER_GENERATOR, (64.16, 70.30, 67.23)
            ),
            _videos(
                "generator_and_decoder",
                "Prompt Generator and decoder",
                t.TUBES_DECODER,
                _DECODER_ICVOS,
            ),
        ),
    ),
    Table("table7", "Modules of SAM 2 that the second step trains", VIDEO_COLUMNS, _BY_MODULE),
    Table(
        "table8",
        "The second step with and without mask tubes",
        VIDEO_COLUMNS,
        (
            _videos("images", "w/o mask tube", t.IMAGES_LONGER, (63.85, 70.03, 66.94)),
            _videos("tubes", "w/ mask tube", t.TUBES_DECODER, _DECODER_ICVOS),
        ),
    ),
    Table(
        "table9",
        "One shot and five on PASCAL-5i (mIoU)",
        IMAGE_COLUMNS,
        (
            _images("vgg16", "VGG-16", t.VGG16["pascal"], _VGG16_PASCAL),
            _images("vgg16", "VGG-16", t.VGG16["pascal"], (76.9, 79.6, 71.4, 69.3, 74.3), shots=5),
            _images("resnet50", "ResNet-50", t.RESNET50["pascal"], _RESNET50_PASCAL),
            _images(
                "resnet50",
                "ResNet-50",
                t.RESNET50["pascal"],
                (78.2, 81.4, 72.7, 73.8, 76.5),
                shots=5,
            ),
        ),
        note="Both are the same weights, trained with one shot.",
    ),
    Table(
        "table10",
        "Parameters of SAM 2 that the second step trains",
        ("parameters (M)", *VIDEO_COLUMNS),
        (
            *(
                _parameters(row, millions)
                for row, millions in zip(_BY_MODULE, (3.95, 7.31, 11.26), strict=True)
            ),
            _parameters(
                _videos("lora", "decoder and memory, LoRA", t.TUBES_LORA, (66.86, 72.72, 69.79)),
                0.11,
            ),
        ),
    ),
    Table(
        "table11",
        "Classes of PASCAL-5i tested after training on COCO-20i",
        ("test classes",),
        tuple(
            Row(
                f"fold{fold}",
                f"fold {fold}",
                {"test classes": classes},
                counted=lambda fold=fold: counts.shifted_classes(fold),
            )
            for fold, classes in zip(
                FOLDS,
                (
                    "aeroplane, boat, chair, diningtable, dog, person",
                    "bicycle, bus, horse, sofa",
                    "bird, car, pottedplant, sheep, train, tvmonitor",
                    "bottle, cat, cow, motorbike",
                ),
                strict=True,
            )
        ),
        note="Names are spelt as in VOC and in alphabetical order.",
    ),
    Table(
        "table12",
        "Domain shift: trained on COCO-20i, tested on PASCAL-5i (mIoU)",
        IMAGE_COLUMNS,
        (_images("resnet50", "ResNet-50", t.RESNET50["coco"], (76.5,), "coco2pascal"),),
    ),
    Table(
        "table13",
        "SAM 2 before and after fine-tuning, given the first frame's true masks",
        VIDEO_COLUMNS,
        tuple(
            _videos(name, label, training, paper, benchmark, given_masks=True)
            for benchmark, name, label, training, paper in (
                ("icvos", "original", "original", None, (87.56, 92.30, 89.93)),
                ("icvos", "fine_tuned", "fine-tuned", t.TUBES_BOTH, (89.07, 94.41, 91.74)),
                ("lvos", "original", "original", None, (75.18, 81.97, 78.58)),
                ("lvos", "fine_tuned", "fine-tuned", t.TUBES_BOTH, (71.25, 80.59, 75.92)),
            )
        ),
    ),
    Table(
        "table14",
        "Operations and learnable parameters with ResNet-50 and SAM",
        ("FLOPs (G)", "parameters (M)"),
        tuple(
            Row(
                fusion,
                f"DC-SAM, {fusion} fusion",
                {"FLOPs (G)": 278.97, "parameters (M)": 1.9},
                counted=lambda fusion=fusion: counts.table_14(fusion),
            )
            for fusion in ("prior", "full")
        ),
        note="The paper's row counts multiply-adds of one episode in the backbone and the prompt "
        "generator, without prior masks and SAM; so do these.",
        places={"FLOPs (G)": 2, "parameters (M)": 6},
    ),
    Table(
        "figure9",
        "Number of queries in one branch, on PASCAL-5i (mIoU)",
        IMAGE_COLUMNS,
        tuple(
            _images(str(number), f"{number}", training, _RESNET50_PASCAL)
            if number == 25
            else Row(str(number), f"{number}", {}, "pascal", training)
            for number, training in t.BY_QUERIES.items()
        ),
        plot="queries in one branch",
        note="The paper draws its numbers and does not print them; those of 25 are in table 3.",
    ),
)
BY_NAME = {table.name: table for table in TABLES}
