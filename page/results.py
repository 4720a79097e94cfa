"""What was found: kept as logits, so that thresholds move without the network."""

import itertools
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from common.errors import UsageError
from common.images import LARGE, read_image
from common.video_io import VideoWriter, write_indexed_mask
from common.visualize import overlay
from labelling.annotations import coco_annotation, coco_file
from model.predictor import InContextSegmenter
from model.reference import LearnedConcept
from page.canvas import resized
from page.items import Found, Thresholds
from page.session import Session, different_name, fitted

PREVIEW_SIDE = 720
"""The longer side of an overlay on the page."""

BROWSER_CODEC = "vp09"
"""VP9: browsers play it, and OpenCV's wheels can write it."""

Report = Callable[[int, int], None]
"""Told how many of how many are done."""


class Film(NamedTuple):
    """A labelled video."""

    path: Path
    frames: int
    marked: int
    """Frames in which the object was found."""


def label_pictures(
    session: Session, segmenter: InContextSegmenter, concept: LearnedConcept, report: Report
) -> list[Found]:
    """Segment the concept in every picture, until all are done or the session is stopped."""
    results: list[Found] = []
    for number, target in enumerate(session.targets):
        if session.stopped.is_set():
            break
        report(number, len(session.targets))
        pixels = read_image(target.photo, largest=LARGE)
        [found] = segmenter.predict([pixels], [concept])
        preview = session.store(fitted(pixels, PREVIEW_SIDE), "preview.png")
        logits = found.logits.float().cpu()
        results.append(Found(target, preview, logits, found.scores[0], segmenter.is_calibrated))
    return results


def label_video(
    session: Session,
    segmenter: InContextSegmenter,
    concept: LearnedConcept,
    prompt_every: int,
    report: Report,
) -> Film:
    """Write the video with the concept's mask over every frame.

    When the session is stopped, the video ends with the last frame that was done.
    """
    path = session.new_path(f"{session.video.stem}_found.mp4")
    reader = session.limits.check_video(session.video)
    rate = reader.frames_per_second or 24
    done = marked = 0
    with reader, VideoWriter(path, rate, codec=BROWSER_CODEC) as writer:
        frames, shown = itertools.tee(reader)
        results = segmenter.segment_video(frames, concept, prompt_every)
        for frame, result in zip(shown, results, strict=True):
            done, marked = done + 1, marked + bool(result.mask.any())
            session.limits.check_frames(session.video, done)
            writer.write(overlay(frame, result.mask))
            report(done, reader.count or done)
            if session.stopped.is_set():
                break
    return Film(path, done, marked)


def overlays(session: Session, thresholds: Thresholds) -> list[tuple[Path, str]]:
    """Every picture with its mask, and a line about it."""
    drawn = []
    for one in session.results:
        with Image.open(one.preview) as stored:
            pixels = np.array(stored)
        mask = one.mask(thresholds, pixels.shape[:2])
        score = f"{one.score:.2f}" if one.calibrated else f"score {one.score:.2f}"
        verdict = "" if mask.any() else " not found"
        line = f"{score}{verdict} · {one.target.name}"
        drawn.append((session.store(overlay(pixels, mask), "overlay.jpg"), line))
    return drawn


def write_masks(session: Session, thresholds: Thresholds) -> Path:
    """Write a zip of one indexed PNG for each picture, at its own size, and for each reference.

    Raises:
        UsageError: there is no result.
    """
    path, file = session.new_path("masks.zip"), session.new_path("mask.png")
    with zipfile.ZipFile(path, "w") as archive:
        for name, mask in _named_masks(session, thresholds):
            write_indexed_mask(file, mask)
            archive.write(file, name)
    file.unlink()
    return path


def _named_masks(session: Session, thresholds: Thresholds) -> Iterator[tuple[str, np.ndarray]]:
    for one in _results(session):
        yield f"{Path(one.target.name).stem}.png", one.mask(thresholds)
    names: set[str] = set()
    for photo, mask in session.shown:
        name = different_name(photo.name, names)
        names.add(name)
        size = session.limits.check_picture(photo)
        yield f"references/{Path(name).stem}.png", resized(mask, size)


def write_coco(session: Session, thresholds: Thresholds, name: str) -> Path:
    """Write all masks as one COCO file, as `predict.py` does.

    Args:
        name: what the object is called.

    Raises:
        UsageError: there is no result.
    """
    path, results = session.new_path("coco.json"), _results(session)
    calibrated, records = results[0].calibrated, []
    for one in results:
        height, width = one.target.size
        image = {"file_name": one.target.name, "height": height, "width": width}
        mask = one.mask(thresholds)
        annotations = [coco_annotation(mask, 1, one.score)] if mask.any() else []
        image["presence" if calibrated else "score"] = {name: round(one.score, 4)}
        records.append({"image": image, "annotations": annotations})
    info = {"presence_calibrated": calibrated}
    path.write_text(json.dumps({"info": info, **coco_file(records, {1: name})}))
    return path


def _results(session: Session) -> list[Found]:
    if not session.results:
        raise UsageError("there is no result yet: press Find it first")
    return session.results
