"""Every published number of SINE, and the recipe that measures it again.

The numbers are the paper's (arXiv 2410.04842) as docs/methods/sine.md has them. The weights that
were released have learned all of COCO's classes, so that every result on images is in-domain.
"""

from collections.abc import Mapping
from dataclasses import replace

from model.sine.config import HYPER_PARAMETERS
from reproduction.recipe import MIOU, SERVER, VIDEO_COLUMNS, Released, Row, Table, Training

SQUASHED = {"method": "sine", "fit": "squashed"}
"""Pictures of few-shot benchmarks come as they were published."""
RELEASED = Released("sine-released", SQUASHED)
AS_PUBLISHED = {"method": "sine", "channel_order": "bgr", "inclusive_boxes": True}
IN_INSTANCES = Released("sine-released-bgr", {**AS_PUBLISHED, "plain_pooling": True})
IN_CONTEXT = Released("sine-released-whole", {"method": "sine"})
"""As it is by default here."""
IN_VIDEOS = Released(
    "sine-released-video", {"method": "sine", "overlap": "last", "plain_pooling": True}
)
INSTANCE_COLUMNS = ("AP box", "AP mask")

_PAPER = HYPER_PARAMETERS["paper"]["coco_all"]
_OF_BATCH = ("bsz", "accumulate")

ALL_DATA = Training(
    name="sine",
    script="train_image.py",
    benchmark="coco_all",
    flags={
        **SQUASHED,
        **{name: value for name, value in _PAPER.items() if name not in _OF_BATCH},
        "seed": 0,
    },
    batch=_PAPER["bsz"] * _PAPER["accumulate"],
    batch_per_gpu=_PAPER["bsz"],
)
"""The training of the released weights, for whoever wants to repeat it."""
WITHOUT_OBJECTS365 = replace(
    ALL_DATA,
    name="sine-without-objects365",
    flags={**ALL_DATA.flags, "sources": "coco_panoptic=1,ade20k_panoptic=1,coco_instance=5"},
)
WITH_PACO = replace(
    ALL_DATA,
    name="sine-paco",
    flags={**ALL_DATA.flags, "sources": f"{_PAPER['sources']},paco_part=5"},
)
IN_DOMAIN = {"seen_classes": True}


def _images(
    name: str, label: str, tested: Released | Training, numbers: Mapping[str, str]
) -> tuple[Row, ...]:
    """Rows with 1 shot, and with 5 where there is a number."""
    rows = []
    for benchmark, both in numbers.items():
        for shots, number in zip((1, 5), both.split(), strict=False):
            row = Row(name, label, {MIOU: float(number)}, benchmark, shots=shots, flags=IN_DOMAIN)
            kind = "training" if isinstance(tested, Training) else "released"
            rows.append(replace(row, **{kind: tested}))
    return tuple(rows)


def _instances(benchmark: str, shots: int, boxes: float, masks: float) -> Row:
    numbers = dict(zip(INSTANCE_COLUMNS, (boxes, masks), strict=True))
    label = "SINE, released weights"
    return Row("released", label, numbers, benchmark, shots=shots, released=IN_INSTANCES)


def _videos(benchmark: str, paper: Mapping[str, float], **flags: object) -> Row:
    label = "SINE, released weights"
    return Row("released", label, paper, benchmark, released=IN_VIDEOS, flags=flags)


TABLES = (
    Table(
        "sine-images",
        "SINE on few-shot segmentation, in-domain: trained on COCO's classes (mIoU)",
        (MIOU,),
        (
            *_images(
                *("released", "SINE, released weights", RELEASED),
                {
                    "coco_legacy": "64.5 66.1",
                    "pascal_legacy": "85.4 86.2",
                    "lvis92i_turns": "31.2 35.5",
                },
            ),
            *_images(
                *("trained", "SINE, trained here", ALL_DATA),
                {
                    "coco_legacy": "64.5 66.1",
                    "pascal_legacy": "85.4 86.2",
                    "lvis92i_turns": "31.2 35.5",
                },
            ),
            *_images(
                *("without_objects365", "SINE, without Objects365", WITHOUT_OBJECTS365),
                {"coco_legacy": "67.1", "pascal_legacy": "86.3", "lvis92i_turns": "28.8"},
            ),
        ),
        note="Pictures are squashed to 518 x 518 of the canvas and scored there. Episodes are "
        "drawn as the published program draws them with seed 0. Training with Objects365 needs "
        "its masks of tools.box_masks.",
    ),
    Table(
        "sine-parts",
        "SINE on parts of objects, trained with PACO (mIoU)",
        (MIOU,),
        (
            Row(
                *("with_paco", "SINE with PACO, trained here", {MIOU: 36.2}),
                *("pascal_part_legacy", WITH_PACO),
            ),
        ),
        note="Parts of PACO join the published mixture as often as COCO's objects; how often the "
        "paper draws them is not known. Pictures are cropped to one object, in training and in "
        "the test, and squashed as in sine-images; the weights of the paper are not released.",
    ),
    Table(
        "sine-instances",
        "SINE on few-shot instance segmentation, means of ten draws (AP)",
        INSTANCE_COLUMNS,
        (
            _instances("coco_novel", 1, 18.0, 16.9),
            _instances("coco_novel", 5, 22.5, 21.8),
            _instances("coco2voc", 1, 35.9, 27.6),
            _instances("coco2voc", 5, 42.8, 33.3),
        ),
        note="As published: colours are exchanged and boxes end one pixel early. Without these "
        "flags, eval_instance.py --method sine has neither.",
    ),
    Table(
        "sine-videos",
        "SINE on videos",
        (*VIDEO_COLUMNS, SERVER),
        (
            _videos("davis", {"J": 72.6, "F": 81.3, "J&F": 77.0}),
            _videos("davis16", {"J&F": 82.3}, memory=2),
            _videos("ytvos18", {SERVER: 66.2}, age_step=5.0),
            Row("icvos", "SINE, released weights", {}, "icvos", released=IN_CONTEXT),
            Row(
                *("icvos_sam2", "SINE, released weights, + SAM 2", {}, "icvos"),
                released=IN_CONTEXT,
                carried=True,
            ),
        ),
        note="Overlaps of objects that are given by masks go to the one that came last, as "
        "published. G is what the server of YouTube-VOS says of the masks that a run writes; here "
        "it stays empty. On IC-VOS, where a picture of COCO shows the class, nobody has published "
        "numbers: SINE follows what it finds, or SAM 2 carries its masks of the first frame on.",
    ),
    Table(
        "sine-lora",
        "SINE with LoRA of rank 32 on the tested data set",
        (MIOU, "PQ"),
        (
            Row(
                *("ade20k", "SINE with LoRA, ADE20K", {MIOU: 54.1}),
                missing="nothing of it is in the released program or told in enough detail",
            ),
            Row(
                *("coco", "SINE with LoRA, COCO panoptic", {"PQ": 51.0}),
                missing="nothing of it is in the released program or told in enough detail",
            ),
        ),
    ),
)
