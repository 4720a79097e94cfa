"""Small videos in the benchmarks' layouts, and what an evaluation on them wrote."""

import json
import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from common.checkpoint import read_facts, read_weights, save_checkpoint
from tests.helpers import save_tiny_checkpoint

FRAMES, HEIGHT, WIDTH = 5, 48, 64
CLASSES = {"a pair": {1: 8, 3: 30}, "one": {1: 20}, "two": {3: 4}}
"""Video -> class id -> where its square begins."""
PRESENCE = "segmenter.network.sam_mask_decoder.pred_obj_score_head.layers.2.bias"


def write_coco(root: Path) -> Path:
    """Three pictures of persons and three of cars."""
    for number, class_id in enumerate((1, 3) * 3):
        mask = np.zeros((64, 96), np.uint8)
        mask[4:60, 2 + 5 * number : 60 + 5 * number] = class_id
        picture = np.where(mask[..., None], (200, 50, 30), (40, 90, 20 * number)).astype(np.uint8)
        for folder, pixels, suffix in (("", picture, "jpg"), ("annotations", mask, "png")):
            path = root / "COCO2014" / folder / "val2014" / f"COCO_val2014_{number:012}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return root


def save_checkpoint_of_videos(path: Path) -> Path:
    """An untrained model that takes every object for present, so that masks are not all empty."""
    save_tiny_checkpoint(path, 2, random_weights=False, position="sam")
    weights = read_weights(path) | {PRESENCE: torch.tensor([20.0])}
    save_checkpoint(path, weights, read_facts(path))
    return path


def square(left: int, frame: int) -> np.ndarray:
    """A square that moves to the right and is not there in frame 3."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    if frame != 3:
        mask[10:26, left + 3 * frame : left + 3 * frame + 16] = True
    return mask


def write_frames(folder: Path, masks: list[np.ndarray]) -> None:
    """Pictures with a red object on green ground."""
    folder.mkdir(parents=True)
    for number, mask in enumerate(masks):
        picture = np.where(mask[..., None], (220, 40, 40), (60, 120, 60)).astype(np.uint8)
        Image.fromarray(picture).save(folder / f"{number:05}.jpg")


def write_masks(folder: Path, masks: dict[int, np.ndarray]) -> None:
    folder.mkdir(parents=True)
    for number, mask in masks.items():
        Image.fromarray(mask.astype(np.uint8)).save(folder / f"{number:05}.png")


def write_icvos(root: Path) -> Path:
    for name, classes in CLASSES.items():
        tubes = [[square(left, n) for left in classes.values()] for n in range(FRAMES)]
        write_frames(root / name / "JPEGImages", [np.any(masks, axis=0) for masks in tubes])
        for place, class_id in enumerate(classes):
            masks = {n: tubes[n][place] for n in range(FRAMES)}
            write_masks(root / name / "Annotations" / str(class_id), masks)
    (root / "sources.json").write_text('{"one": "DAVIS", "two": "MOSE", "a pair": "MOSE"}')
    return root


def read(folder: Path, name: str = "results.json"):
    text = (folder / name).read_text()
    return json.loads(text) if name.endswith("json") else [*map(json.loads, text.splitlines())]


def numbers(folder: Path) -> tuple[dict, list]:
    """Everything but what a run cannot repeat, and what it was asked to write."""
    results = read(folder)
    for name in ("seconds", "version", "data", "save_masks", "save_overlays"):
        del results[name]
    return results, read(folder, "items.jsonl")


def slow_scores(found: np.ndarray, truth: np.ndarray, ignore: np.ndarray) -> tuple[float, float]:
    """J and F of a frame in percent, by the distances of all pairs of boundary pixels."""
    found, truth = found & ~ignore, truth & ~ignore
    union = (found | truth).sum()
    region = (found & truth).sum() / union if union else 1.0

    def boundary(mask: np.ndarray) -> np.ndarray:
        rows, columns = mask.shape
        return np.array(
            [
                (y, x)
                for y in range(rows)
                for x in range(columns)
                if len(np.unique(mask[y : y + 2, x : x + 2])) > 1
            ]
        ).reshape(-1, 2)

    mine, real = boundary(found), boundary(truth)
    if not len(mine) or not len(real):
        return 100 * region, 100.0 * (len(mine) == len(real))
    near = np.linalg.norm(mine[:, None] - real[None], axis=2) <= math.ceil(
        0.008 * math.hypot(*truth.shape)
    )
    precision, recall = near.any(1).mean(), near.any(0).mean()
    total = precision + recall
    return 100 * region, 200 * precision * recall / total if total else 0.0


def mask_of(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.mode == "P"
        return np.array(image)
