"""Runs a method over what a visitor brought, and draws what it found."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from common.images import LARGE, read_image
from common.video_io import VideoWriter
from labelling.objects import Labels
from model.predictor import InContextSegmenter
from model.reference import LearnedConcept
from page.drawing import PREVIEW_SIDE, draw_labels, fitted, legend
from page.found import (
    FilmResults,
    Labelled,
    References,
    Results,
    store_instances,
    store_logits,
    store_proposals,
)
from page.items import Thresholds
from page.session import Session

BROWSER_CODEC = "vp09"
"""VP9: browsers play it, and OpenCV's wheels can write it."""
FRAMES_PER_SECOND = 24
"""Of videos that do not tell."""

Report = Callable[[int, int], None]
"""Told how many of how many are done."""


def learn(segmenter: InContextSegmenter, references: References) -> list[LearnedConcept]:
    """Learn every class of the references."""
    concepts = []
    for name, shots in references.items():
        pictures = [read_image(photo, largest=LARGE) for photo, _ in shots]
        marks, kinds = [mark.pixels for _, mark in shots], [mark.kind for _, mark in shots]
        concepts.append(segmenter.learn(pictures, marks, name, kinds))
    return concepts


def label_pictures(
    session: Session,
    segmenter: InContextSegmenter,
    references: References,
    report: Report,
) -> Results:
    """Segment all classes in every picture, until all are done or the session is stopped."""
    concepts = learn(segmenter, references)
    pictures, previews = [], []
    for number, target in enumerate(session.targets):
        if session.stopped.is_set():
            break
        report(number, len(session.targets))
        pixels = read_image(target.photo, largest=LARGE)
        [found] = segmenter.predict([pixels], concepts, instances=True)
        previews.append(session.store(fitted(pixels, PREVIEW_SIDE), "preview.png"))
        image, logits = {"file_name": target.name}, found.logits.float().cpu()
        name = Path(target.name).stem
        objects = store_proposals(session.new_path("objects.npz"), found.objects)
        scored = store_instances(session.new_path("instances.npz"), found.instances)
        pictures.append(Labelled(image, name, target.size, logits, found.scores, objects, scored))
    title, calibrated = segmenter.method.name, segmenter.is_calibrated
    return Results(references, title, calibrated, pictures, previews)


def label_video(
    session: Session,
    segmenter: InContextSegmenter,
    references: References,
    prompt_every: int,
    report: Report,
) -> FilmResults:
    """Segment all classes in every frame, until all are done or the session is stopped."""
    concepts = learn(segmenter, references)
    first = session.new_path("logits.npz")
    frames = []
    with session.limits.check_video(session.video) as reader:
        for found, size in segmenter.predict_video(reader, concepts, prompt_every):
            session.limits.check_frames(session.video, len(frames) + 1)
            path = first.with_name(f"{len(frames):05d}.npz")
            store_logits(path, found.logits)
            frames.append((path, size, found.scores))
            report(len(frames), reader.count or len(frames))
            if session.stopped.is_set():
                break
    # SAM 2's own scores are no probabilities of a calibration
    results = FilmResults(references, segmenter.method.name, calibrated=False)
    return replace(results, video=session.video, frames=frames)


def draw_film(
    session: Session, film: FilmResults, thresholds: Thresholds, report: Report
) -> tuple[Path, list[int]]:
    """Write the video with every class in its colour, and count the frames that show each."""
    path = session.new_path(f"{film.video.stem}_found.mp4")
    counts = [0] * len(film.names)
    with session.limits.check_video(film.video) as reader:
        rate = reader.frames_per_second or FRAMES_PER_SECOND
        with VideoWriter(path, rate, codec=BROWSER_CODEC) as writer:
            # a film that was stopped has fewer frames than its video
            for number, (one, frame) in enumerate(zip(film.labelled(), reader, strict=False)):
                labels = one.labels(thresholds)
                _count(counts, labels)
                # the numbers of a frame's objects say nothing of the next frame's
                writer.write(draw_labels(frame, labels, by_class=True))
                report(number, len(film.frames))
    return path, counts


def draw_pictures(
    session: Session, results: Results, thresholds: Thresholds
) -> tuple[list[tuple[Path, str]], list[int]]:
    """Every picture with its classes and a line about it; and in how many each class is."""
    drawn, counts = [], [0] * len(results.names)
    for one, preview in zip(results.pictures, results.previews, strict=True):
        with Image.open(preview) as stored:
            pixels = np.array(stored)
        labels = one.labels(thresholds, pixels.shape[:2])
        _count(counts, labels)
        line = f"{_verdict(results, one, labels)} · {one.image['file_name']}"
        drawn.append((session.store(draw_labels(pixels, labels), "overlay.jpg"), line))
    return drawn, counts


def summary(results: Results, counts: list[int]) -> str:
    """The legend of what was found, as HTML."""
    film = isinstance(results, FilmResults)
    total = len(results.frames if film else results.pictures)
    return legend(results.names, counts, total, "frames" if film else "pictures")


def _count(counts: list[int], labels: Labels) -> None:
    for number in labels.found:
        counts[number - 1] += 1


def _verdict(results: Results, one: Labelled, labels: Labels) -> str:
    """What was found in a picture, in few words."""
    if len(results.names) == 1:
        score = f"{one.scores[0]:.2f}" if results.calibrated else f"score {one.scores[0]:.2f}"
        if not labels.found:
            return f"{score} not found"
        return f"{score} ({len(labels.class_of)} objects)" if len(labels.class_of) > 1 else score
    found = [f"{results.names[c - 1]} {one.scores[c - 1]:.2f}" for c in labels.found]
    return ", ".join(found) or "nothing found"
