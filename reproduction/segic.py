"""Every published number of SegIC, and the recipe that measures it again.

The numbers are the paper's (arXiv 2311.14671, tables 1 to 6). In-domain weights have learned all of
COCO's classes; evaluation is told what classes are called, as the paper's is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from model.segic.config import HYPER_PARAMETERS
from reproduction.recipe import (
    IMAGE_COLUMNS,
    JF,
    MIOU,
    SERVER,
    Released,
    Row,
    Table,
    Training,
)

RELEASED = Released("segic-released", {"method": "segic"})
IN_VIDEOS = {"negative_clicks": True, "padded_prototype": True, "small_masks_vanish": True}
RELEASED_VIDEO = Released("segic-released-video", {"method": "segic", **IN_VIDEOS})
IN_DOMAIN = {"seen_classes": True}
IMAGES = ("coco", "fss1000", "lvis92i")
SEMANTIC = ("coco_present", "ade20k_present", "pc459_present", "a847_present")
LOST = "this backbone is not here"

_PAPER = HYPER_PARAMETERS["paper"]["coco_all"]
_OF_BATCH = ("bsz", "accumulate")
_ABLATED = {"size": "b", "episodes_per_epoch": 80_000}


def training(name: str, benchmark: str = "coco_all", **changes: object) -> Training:
    """One training of the paper, on all of COCO's classes or on those of a fold."""
    flags = {name: value for name, value in _PAPER.items() if name not in _OF_BATCH}
    return Training(
        name=f"segic-{name}",
        script="train_image.py",
        benchmark=benchmark,
        flags={"method": "segic", **flags, "seed": 0, **changes},
        batch=_PAPER["bsz"] * _PAPER["accumulate"],
        batch_per_gpu=_PAPER["bsz"],
    )


GIANT = training("g", size="g")
NOVEL = training("novel", "coco", sources="benchmark")
STRICT = training("novel-strict", "coco", sources="ade20k_semantic,lvis")
EXCLUDED = replace(
    STRICT, name="segic-novel-published", flags={**STRICT.flags, "exclusion": "published"}
)
BASE = training("b-80k", **_ABLATED)
BY_SIZE = {
    "b": BASE,
    "l": training("l-80k", **{**_ABLATED, "size": "l"}),
    "g": training("g-80k", **{**_ABLATED, "size": "g"}),
}
TOLD = {
    told: training(f"told-{told}", **_ABLATED, instructions=told)
    for told in ("geometric", "visual", "meta", "none")
}
NEITHER = training("neither", **_ABLATED, no_reversion=True, negative_share=0.0)
REVERSION = training("reversion", **_ABLATED, negative_share=0.0)
NEGATIVES = training("negatives", **_ABLATED, no_reversion=True)
COCO_ONLY = training("coco", **_ABLATED, sources="benchmark")
WITH_ADE20K = training("coco-ade20k", **_ABLATED, sources="benchmark,ade20k_semantic")
WITH_OBJECTS = training("coco-objects", **_ABLATED, sources="benchmark,coco_instance")


def _row(
    name: str, label: str, tested: Released | Training, benchmark: str, paper: Mapping[str, float]
) -> Row:
    """A row of what is tested in-domain on images, or on anything else."""
    kind = "training" if isinstance(tested, Training) else "released"
    return replace(Row(name, label, paper, benchmark), **{kind: tested})


def _images(name: str, label: str, tested: Released | Training, numbers: str) -> tuple[Row, ...]:
    """Rows of COCO-20i, FSS-1000 and, where there is a third number, LVIS-92i."""
    found = []
    for benchmark, number in zip(IMAGES, numbers.split(), strict=False):
        row = _row(name, label, tested, f"{benchmark}_segic", {MIOU: float(number)})
        found.append(replace(row, flags=IN_DOMAIN))
    return tuple(found)


def _videos(name: str, label: str, tested: Released | Training, jf: float, g: float) -> list[Row]:
    return [
        _row(name, label, tested, "davis", {JF: jf}),
        _row(name, label, tested, "ytvos18_segic", {SERVER: g}),
    ]


def _semantic(name: str, label: str, tested: Released | Training, numbers: str) -> list[Row]:
    return [
        _row(name, label, tested, benchmark, {MIOU: float(number)})
        for benchmark, number in zip(SEMANTIC, numbers.split(), strict=True)
    ]


def _ablation(name: str, label: str, tested: Training, numbers: str) -> tuple[Row, ...]:
    """COCO-20i and FSS-1000 (mIoU), DAVIS 2017 (J&F)."""
    *images, video = numbers.split()
    return (
        *_images(name, label, tested, " ".join(images)),
        _row(name, label, tested, "davis", {JF: float(video)}),
    )


def _lost(rows: Sequence[tuple[str, str, str]], missing: str) -> tuple[Row, ...]:
    """Rows of an ablation that cannot be measured here."""
    return tuple(
        Row(name, f"{label}, {benchmark}", {column: float(number)}, missing=missing)
        for name, label, numbers in rows
        for benchmark, column, number in zip(
            ("COCO-20i", "FSS-1000", "DAVIS 2017"), (MIOU, MIOU, JF), numbers.split(), strict=True
        )
    )


_L, _G = "SegIC-L, released weights", "SegIC-G"
_ALL = "74.6 87.4 68.4"
_ABLATION_COLUMNS = (MIOU, JF)

TABLES = (
    Table(
        "segic-images",
        "SegIC on one-shot segmentation (mIoU); COCO-20i and LVIS-92i in-domain",
        (MIOU,),
        (
            *_images("l", _L, RELEASED, "76.1 86.8 44.6"),
            *_images("g", _G, GIANT, "74.5 88.4 47.8"),
        ),
        note="Scored at the images' own sizes. On LVIS-92i a class of two images has its query as "
        "reference, as published; --protocol lvis92i_random is the honest form. Without the "
        "classes' names: --no_names of eval_image.py.",
    ),
    Table(
        "segic-videos",
        "SegIC on videos whose first masks are given",
        (JF, SERVER),
        (
            *_videos("l", _L, RELEASED_VIDEO, 71.4, 62.7),
            *_videos("g", _G, GIANT, 73.7, 65.4),
        ),
        note="G is what the server of YouTube-VOS says of the masks that a run writes; here it "
        "stays empty. Objects that appear after the first frame are left out, as published.",
    ),
    Table(
        "segic-semantic",
        "SegIC on semantic segmentation, told which classes an image shows (mIoU)",
        (MIOU,),
        (
            *_semantic("l", _L, RELEASED, "72.9 55.5 33.5 18.9"),
            *_semantic("g", _G, GIANT, "74.0 59.0 34.9 20.1"),
        ),
        note="References of PC-459 and A-847 are drawn from the tested images, and say nothing of "
        "themselves, as published. The honest form asks for all classes: --form full of "
        "eval_semantic.py.",
    ),
    Table(
        "segic-novel",
        "SegIC on classes of COCO-20i that it has not learned (mIoU)",
        IMAGE_COLUMNS,
        tuple(
            Row(
                *(name, label, dict(zip(IMAGE_COLUMNS, map(float, paper.split()), strict=False))),
                *("coco_segic", tested),
                flags=flags,
            )
            for name, label, tested, paper, flags in (
                *(("coco", "SegIC, COCO", NOVEL, "55.8 54.7 52.4 51.4 53.6", {}),),
                *(("excluded", "SegIC, others", EXCLUDED, "62.3 62.5 63.3 60.9 62.3", IN_DOMAIN),),
                *(("strict", "SegIC, others without the fold's classes", STRICT, "", {}),),
            )
        ),
        note="The paper's training without COCO takes ADE20K, LVIS and FSS-1000, whose pictures "
        "and classes overlap COCO's; so does the row excluded, without FSS-1000. The row strict "
        "leaves out what shows a tested class, and has no number in the paper.",
    ),
    Table(
        "segic-backbones",
        "Backbones of SegIC (mIoU, J&F)",
        _ABLATION_COLUMNS,
        (
            *_ablation("dinov2_b", "DINOv2-B", BY_SIZE["b"], _ALL),
            *_ablation("dinov2_l", "DINOv2-L", BY_SIZE["l"], "75.4 86.9 68.9"),
            *_ablation("dinov2_g", "DINOv2-G", BY_SIZE["g"], "75.7 87.5 70.1"),
            *_lost(
                (
                    ("dinov1_b", "DINOv1-B", "53.5 76.9 54.2"),
                    ("sam_b", "SAM-B", "59.8 76.9 60.1"),
                    ("sd_2_1", "Stable Diffusion 2.1", "66.6 84.2 52.4"),
                    ("openclip_convnext_b", "OpenCLIP ConvNeXt-B", "65.1 77.0 50.4"),
                    ("clip_b", "CLIP-B", "15.3 29.4 1.3"),
                    ("mae_b", "MAE-B", "12.0 23.7 2.3"),
                    ("convnext_b", "ConvNeXt-B", "62.0 72.8 37.6"),
                ),
                LOST,
            ),
        ),
    ),
    Table(
        "segic-instructions",
        "Instructions of SegIC with DINOv2-B (mIoU, J&F)",
        _ABLATION_COLUMNS,
        (
            *_ablation("all", "all", BASE, _ALL),
            *_ablation("geometric", "geometric only", TOLD["geometric"], "68.8 87.3 65.8"),
            *_ablation("visual", "visual only", TOLD["visual"], "71.0 85.1 67.6"),
            *_ablation("meta", "meta only", TOLD["meta"], "73.7 63.7 21.6"),
            *_ablation("none", "none", TOLD["none"], "48.9 58.1 21.1"),
        ),
    ),
    Table(
        "segic-strategies",
        "Context reversion and negative entities with DINOv2-B (mIoU, J&F)",
        _ABLATION_COLUMNS,
        (
            *_ablation("neither", "neither", NEITHER, "70.0 86.1 66.3"),
            *_ablation("reversion", "reversion", REVERSION, "72.9 86.9 65.0"),
            *_ablation("negatives", "negative entities", NEGATIVES, "73.1 86.5 64.3"),
            *_ablation("both", "both", BASE, _ALL),
        ),
        note="Which of the paper's two middle rows is which is lost in its text; here they stand "
        "in the order of its columns.",
    ),
    Table(
        "segic-data",
        "Training data of SegIC with DINOv2-B (mIoU, J&F)",
        _ABLATION_COLUMNS,
        (
            *_ablation("coco", "COCO", COCO_ONLY, "76.3 80.9 45.1"),
            *_ablation("ade20k", "+ ADE20K", WITH_ADE20K, "75.6 82.3 40.1"),
            *_ablation("objects", "COCO + its objects", WITH_OBJECTS, "75.7 83.5 70.1"),
            *_ablation("all", "all four", BASE, _ALL),
        ),
    ),
)
