"""The recipes: tables 2 to 14 and figure 9 of the DC-SAM paper, and the tables of other methods."""

from dataclasses import replace

from reproduction import baselines, counts, kinds, pfenet, segic, sine
from reproduction import trainings as t
from reproduction.recipe import FOLDS, IMAGE_COLUMNS, MEAN, VIDEO_COLUMNS, Row, Table, Training


def _images(
    name: str, label: str, training: Training, paper: str, benchmark: str = "", shots: int = 1
) -> Row:
    """A row with mIoU of folds 0 to 3 and their mean, or only the mean."""
    numbers = [float(number) for number in paper.split()]
    columns = IMAGE_COLUMNS if len(numbers) > 1 else (MEAN,)
    found = dict(zip(columns, numbers, strict=True)) if numbers else {}
    return Row(name, label, found, benchmark or training.benchmark, training, shots)


def _videos(name: str, label: str, training: Training | None, paper: str, given: str = "") -> Row:
    """A row with J, F and their mean; `given` names a benchmark whose first masks are given."""
    numbers = dict(zip(VIDEO_COLUMNS, map(float, paper.split()), strict=True))
    return Row(name, label, numbers, given or "icvos", training, given_masks=bool(given))


def _other_method(label: str, paper: str) -> Row:
    """A row of table 4: another method's masks of the first frame, carried on by SAM 2."""
    name = label.lower().replace("-", "_")
    row = _videos(name, f"{label} + SAM 2", None, paper, given="icvos")
    return replace(row, masks_of=name)


def _with_parameters(row: Row, millions: float) -> Row:
    """A row with the parameters of SAM 2 that learn."""
    return replace(
        row,
        paper={"parameters (M)": millions, **row.paper},
        counted=lambda: counts.tuned_parameters(row.training),
    )


_PASCAL_RESNET50 = "74.8 79.1 71.4 66.5 73.0"
_COCO_RESNET50 = "50.4 56.0 61.0 54.4 55.5"
_PASCAL_VGG16 = "71.7 77.2 69.0 63.8 70.4"
_DC_SAM_ICVOS = "68.38 74.65 71.52"
_DECODER_ICVOS = "67.57 73.62 70.59"

_BY_MODULE = (
    _videos("decoder", "decoder", t.TUBES_DECODER, _DECODER_ICVOS),
    _videos("memory", "memory", t.TUBES_MEMORY, "68.27 74.20 71.23"),
    _videos("decoder_and_memory", "decoder and memory", t.TUBES_BOTH, _DC_SAM_ICVOS),
)
_LORA = _videos("lora", "decoder and memory, LoRA", t.TUBES_LORA, "66.86 72.72 69.79")
_SHIFTED_CLASSES = (
    "aeroplane, boat, chair, diningtable, dog, person",
    "bicycle, bus, horse, sofa",
    "bird, car, pottedplant, sheep, train, tvmonitor",
    "bottle, cat, cow, motorbike",
)

DC_SAM = (
    Table(
        "table2",
        "DC-SAM beside foundation models on COCO-20i (mIoU)",
        IMAGE_COLUMNS,
        (
            *baselines.TABLE_2,
            _images("resnet50", "DC-SAM, ResNet-50", t.RESNET50["coco"], _COCO_RESNET50),
            _images("dinov2", "DC-SAM, DINO v2-B", t.DINOV2, "56.8 62.0 67.3 61.9 62.0"),
        ),
        note="The paper quotes PerSAM-F, Matcher and VRP-SAM. Matcher is tested on the draws of "
        "its own program, which its number is from, the others on this paper's.",
    ),
    Table(
        "table3",
        "DC-SAM beside few-shot methods on COCO-20i and PASCAL-5i (mIoU)",
        IMAGE_COLUMNS,
        tuple(
            _images(name, label, trainings[benchmark], paper)
            for name, label, trainings, *papers in (
                ("vgg16", "VGG-16", t.VGG16, "44.7 50.2 59.1 50.6 51.2", _PASCAL_VGG16),
                ("resnet50", "ResNet-50", t.RESNET50, _COCO_RESNET50, _PASCAL_RESNET50),
                (
                    *("resnet50_sam2", "ResNet-50, SAM 2", t.RESNET50_SAM2),
                    *("49.7 56.4 63.1 56.2 56.4", "77.4 78.5 70.5 69.4 74.0"),
                ),
            )
            for benchmark, paper in zip(("coco", "pascal"), papers, strict=True)
        )
        + baselines.TABLE_3
        + pfenet.TABLE_3,
        note="The paper quotes VRP-SAM and PFENet.",
    ),
    Table(
        "table4",
        "DC-SAM and other methods with SAM 2 on IC-VOS",
        VIDEO_COLUMNS,
        (
            *baselines.TABLE_4,
            *pfenet.TABLE_4,
            _other_method("HDMNet", "53.07 57.49 55.28"),
            _other_method("AMNet", "53.51 58.36 55.94"),
            _videos("dc_sam", "DC-SAM", t.TUBES_BOTH, _DC_SAM_ICVOS),
        ),
        note="The paper measured all of them. SAM 2 carries masks of first frames on; those of "
        "methods that are not here lie in first_frames/NAME beside the data: "
        "VIDEO/Annotations/CLASS/FRAME.png. The paper feeds prompts of PerSAM, Matcher and VRP-SAM "
        "to SAM 2 instead, and does not say which. J&F of Matcher is as it prints it. Each is "
        "scored in its own square (PerSAM's 1024 and PFENet's 641 with padding, Matcher's 518, "
        "else 512).",
    ),
    Table(
        "table5",
        "Each component of DC-SAM on PASCAL-5i (mIoU)",
        IMAGE_COLUMNS,
        (
            _images("baseline", "VRP-SAM", t.BASELINE, "73.9 78.3 70.6 65.0 71.9"),
            _images("two_branches", "+ Pos-Neg Branch", t.TWO_BRANCHES, "74.0 78.5 70.3 65.5 72.1"),
            _images("sam_fusion", "+ SAM Feature Fusion", t.SAM_FUSION, "74.8 79.6 70.7 66.2 72.8"),
            _images("cyclic", "+ Cyclic Consistent", t.RESNET50["pascal"], _PASCAL_RESNET50),
        ),
        plot="components",
        note="The baseline is this project's model without the three components, not VRP-SAM's "
        "own program.",
    ),
    Table(
        "table6",
        "Pre-training for IC-VOS; the second step trains prompt generator and decoder",
        VIDEO_COLUMNS,
        tuple(
            _videos(name, label, training, paper)
            for name, label, training, paper in (
                ("none", "w/o pre-trained", t.TUBES_ALONE, "58.72 64.37 61.54"),
                ("generator", "Prompt Generator", t.TUBES_AFTER_GENERATOR, "64.16 70.30 67.23"),
                (
                    *("generator_and_decoder", "Prompt Generator and decoder"),
                    *(t.TUBES_DECODER, _DECODER_ICVOS),
                ),
            )
        ),
    ),
    Table("table7", "Modules of SAM 2 that the second step trains", VIDEO_COLUMNS, _BY_MODULE),
    Table(
        "table8",
        "The second step with and without mask tubes",
        VIDEO_COLUMNS,
        (
            _videos("images", "w/o mask tube", t.IMAGES_LONGER, "63.85 70.03 66.94"),
            _videos("tubes", "w/ mask tube", t.TUBES_DECODER, _DECODER_ICVOS),
        ),
    ),
    Table(
        "table9",
        "One shot and five on PASCAL-5i (mIoU)",
        IMAGE_COLUMNS,
        tuple(
            _images(name, label, trainings["pascal"], paper, shots=shots)
            for name, label, trainings, *papers in (
                ("vgg16", "VGG-16", t.VGG16, _PASCAL_VGG16, "76.9 79.6 71.4 69.3 74.3"),
                ("resnet50", "ResNet-50", t.RESNET50, _PASCAL_RESNET50, "78.2 81.4 72.7 73.8 76.5"),
            )
            for shots, paper in zip((1, 5), papers, strict=True)
        ),
        note="Both are the same weights, trained with one shot.",
    ),
    Table(
        "table10",
        "Parameters of SAM 2 that the second step trains",
        ("parameters (M)", *VIDEO_COLUMNS),
        tuple(
            _with_parameters(row, millions)
            for row, millions in zip((*_BY_MODULE, _LORA), (3.95, 7.31, 11.26, 0.11), strict=True)
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
            for fold, classes in zip(FOLDS, _SHIFTED_CLASSES, strict=True)
        ),
        note="Names are spelt as in VOC and in alphabetical order.",
    ),
    Table(
        "table12",
        "Domain shift: trained on COCO-20i, tested on PASCAL-5i (mIoU)",
        IMAGE_COLUMNS,
        (
            *baselines.TABLE_12,
            *pfenet.TABLE_12,
            _images("resnet50", "ResNet-50", t.RESNET50["coco"], "76.5", "coco2pascal"),
        ),
        note="The paper quotes VRP-SAM and PFENet.",
    ),
    Table(
        "table13",
        "SAM 2 before and after fine-tuning, given the first frame's true masks",
        VIDEO_COLUMNS,
        (
            _videos("original", "original", None, "87.56 92.30 89.93", "icvos"),
            _videos("fine_tuned", "fine-tuned", t.TUBES_BOTH, "89.07 94.41 91.74", "icvos"),
            _videos("original", "original", None, "75.18 81.97 78.58", "lvos"),
            _videos("fine_tuned", "fine-tuned", t.TUBES_BOTH, "71.25 80.59 75.92", "lvos"),
        ),
    ),
    Table(
        "table14",
        "Operations and learnable parameters with ResNet-50 and SAM",
        ("FLOPs (G)", "parameters (M)"),
        (
            Row(
                *("vrp_sam", "VRP-SAM", {"FLOPs (G)": 218.949, "parameters (M)": 1.6}),
                counted=counts.table_14_vrp_sam,
            ),
            Row(
                *("pfenet", "PFENet", {"FLOPs (G)": 207.582, "parameters (M)": 10.8}),
                counted=counts.table_14_pfenet,
            ),
            *(
                Row(
                    fusion,
                    f"DC-SAM, {fusion} fusion",
                    {"FLOPs (G)": 278.97, "parameters (M)": 1.9},
                    counted=lambda fusion=fusion: counts.table_14(fusion),
                )
                for fusion in ("prior", "full")
            ),
        ),
        note="The paper's rows count multiply-adds of one episode in the backbone and the prompt "
        "generator, without prior masks and SAM; so do these.",
        places={"FLOPs (G)": 2, "parameters (M)": 6},
    ),
    Table(
        "figure9",
        "Number of queries in one branch, on PASCAL-5i (mIoU)",
        IMAGE_COLUMNS,
        tuple(
            _images(str(number), str(number), training, _PASCAL_RESNET50 if number == 25 else "")
            for number, training in t.BY_QUERIES.items()
        ),
        plot="queries in one branch",
        note="The paper draws its numbers and does not print them; those of 25 are in table 3.",
    ),
)
TABLES = (*DC_SAM, *segic.TABLES, *sine.TABLES, *pfenet.TABLES, *kinds.TABLES)
BY_NAME = {table.name: table for table in TABLES}
