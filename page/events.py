"""What the page does when somebody clicks: sessions on one side, Gradio's updates on the other."""

import html
import logging
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from common.errors import UsageError
from model import InContextSegmenter
from page import results
from page.examples import Example
from page.items import Thresholds
from page.session import PAINT, Session, Sessions, without_folders

Updates = tuple[Any, ...]

MOST_LINES = 8
"""Files that were refused are named up to this number."""


def plainly(event: Callable) -> Callable:
    """Show what a person has to change as one line; the rest goes to the terminal."""

    @wraps(event)
    def told(*inputs: Any, **more: Any) -> Any:
        try:
            return event(*inputs, **more)
        except (UsageError, ValueError) as error:
            line = html.escape(without_folders(error))
            raise gr.Error(line, duration=None, print_exception=False) from None
        except gr.Error:
            raise
        except Exception as error:
            logging.getLogger(__name__).exception("the page's %s failed", event.__name__)
            line = f"something went wrong ({type(error).__name__}): the terminal tells more"
            raise gr.Error(line, duration=None, print_exception=False) from None

    return told


class Events:
    """The page's events. Each method takes the values of its inputs, and returns updates of its
    outputs, in the order in which `page.layout` names them."""

    def __init__(
        self, segmenter: InContextSegmenter, sessions: Sessions, examples: Sequence[Example]
    ) -> None:
        self.segmenter, self.sessions, self.examples = segmenter, sessions, examples

    def session(self, request: gr.Request) -> Session:
        return self.sessions.get(request.session_hash)

    def leave(self, request: gr.Request) -> None:
        """The tab was closed."""
        self.sessions.close(request.session_hash)

    @plainly
    def load_example(self, event: gr.SelectData, request: gr.Request) -> Updates:
        """Fill everything in."""
        session, example = self.session(request), self.examples[event.index]
        session.draft, session.shots, session.results = None, [], []
        for photo, mask in example.references:
            if session.draft is not None:
                session.keep_draft(session.draft.given)
            session.open_reference(photo)
            if mask is not None:
                session.give_mask(mask)
        session.clear_targets()
        session.add_targets(example.pictures)
        if example.video is not None:
            session.set_video(example.video)
        filled = (*_easel(session), *_references(session), *_targets(session), example.name)
        return *filled, *_results(None, None, "")

    @plainly
    def open_reference(self, upload: str, request: gr.Request) -> Updates:
        session = self.session(request)
        session.open_reference(session.take(upload))
        return _easel(session)

    @plainly
    def give_mask(self, upload: str, request: gr.Request) -> Updates:
        session = self.session(request)
        session.give_mask(session.take(upload))
        return _easel(session)

    @plainly
    def confirm(self, painting: dict[str, Any], meaning: str, request: gr.Request) -> Any:
        """Show the mask that the paint asks for."""
        session = self.session(request)
        return _confirmation(session, self._draft_mask(session, painting, meaning))

    @plainly
    def keep(self, painting: dict[str, Any], meaning: str, request: gr.Request) -> Updates:
        """Put the labelled picture among the references and clear the canvas."""
        session = self.session(request)
        mask = self._draft_mask(session, painting, meaning)
        if mask is None:
            raise UsageError("paint on the object first, or choose a mask file")
        session.keep_draft(mask)
        return *_easel(session), *_references(session)

    def _draft_mask(
        self, session: Session, painting: dict[str, Any] | None, meaning: str
    ) -> np.ndarray | None:
        with session.busy:
            layers = painting["layers"] if painting else []
            return session.draft_mask(layers, meaning, self.segmenter)

    @plainly
    def forget_references(self, request: gr.Request) -> Updates:
        session = self.session(request)
        session.shots = []
        return _references(session)

    @plainly
    def remove_reference(self, event: gr.SelectData, request: gr.Request) -> Updates:
        session = self.session(request)
        del session.shots[event.index]
        return _references(session)

    @plainly
    def add_targets(self, uploads: list[str], request: gr.Request) -> Updates:
        session = self.session(request)
        refused = session.add_uploads(uploads, self.segmenter.method.has_memory)
        return None, *_targets(session, refused)

    @plainly
    def clear_targets(self, request: gr.Request) -> Updates:
        session = self.session(request)
        session.clear_targets()
        return _targets(session)

    @plainly
    def segment(
        self,
        painting: dict[str, Any],
        meaning: str,
        name: str,
        presence: float,
        mask: float,
        prompt_every: float,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  Gradio's way to ask for it
    ) -> Updates:
        """Learn the object and segment it in all targets."""
        session = self.session(request)
        if session.video is None and not session.targets:
            raise UsageError("choose pictures or a video to label")

        def report(done: int, count: int) -> None:
            progress(
                (done, count), desc="Segmenting", unit="frames" if session.video else "pictures"
            )

        with session.busy:
            session.stopped.clear()
            progress(0, desc="Learning")
            pictures, masks = session.references(self._draft_mask(session, painting, meaning))
            concept = self.segmenter.learn(pictures, masks, name.strip() or "object")
            if session.video is not None:
                every = int(prompt_every)
                film = results.label_video(session, self.segmenter, concept, every, report)
                line = f"Found in {film.marked} of {film.frames} frames."
                if session.stopped.is_set():
                    line += " Stopped: the video ends early."
                return _results(None, film.path, line)
            session.results = results.label_pictures(session, self.segmenter, concept, report)
            drawn = results.overlays(session, Thresholds(presence, mask))
            done, count = len(session.results), len(session.targets)
            line = f"Stopped after {done} of {count} pictures." if done < count else ""
            return _results(drawn, None, line)

    def stop(self, request: gr.Request) -> None:
        """End the running work; what is done so far is shown."""
        self.session(request).stopped.set()

    @plainly
    def move_thresholds(self, presence: float, mask: float, request: gr.Request) -> Any:
        session = self.session(request)
        if not session.results:
            return gr.skip()
        return gr.update(value=results.overlays(session, Thresholds(presence, mask)))

    @plainly
    def save_masks(self, presence: float, mask: float, request: gr.Request) -> Any:
        return str(results.write_masks(self.session(request), Thresholds(presence, mask)))

    @plainly
    def save_coco(self, presence: float, mask: float, name: str, request: gr.Request) -> Any:
        thresholds, name = Thresholds(presence, mask), name.strip() or "object"
        return str(results.write_coco(self.session(request), thresholds, name))


def _easel(session: Session) -> Updates:
    """Drop zone, canvas, its tools, the meaning of paint, and the confirmation."""
    draft = session.draft
    if draft is None:
        canvas = gr.update(value=None, visible="hidden")
        mask = None
    else:
        mask = draft.given
        path = session.store(draft.shown if mask is None else session.preview(mask), "canvas.png")
        picture = {"background": path, "layers": [], "composite": path}
        canvas = gr.update(value=picture, visible=True)
    drop, tools = gr.update(value=None, visible=draft is None), gr.update(visible=draft is not None)
    return drop, canvas, tools, PAINT, _confirmation(session, mask)


def _confirmation(session: Session, mask: np.ndarray | None) -> Any:
    return _shown(None if mask is None else session.store(session.preview(mask), "confirm.jpg"))


def _references(session: Session) -> Updates:
    thumbnails = [shot.thumbnail for shot in session.shots]
    return _shown(thumbnails), gr.update(visible=bool(thumbnails))


def _targets(session: Session, refused: Sequence[str] = ()) -> Updates:
    """Pictures, film, what was refused, how often to prompt, and the button that removes all."""
    thumbnails = [target.thumbnail for target in session.targets]
    film = session.video is not None
    told = [html.escape(line) for line in refused[:MOST_LINES]]
    if len(refused) > MOST_LINES:
        told.append(f"and {len(refused) - MOST_LINES} more")
    lines = f"Left out:<br>{'<br>'.join(told)}" if told else None
    something = gr.update(visible=bool(thumbnails) or film)
    return (
        _shown(thumbnails),
        _shown(session.video),
        _shown(lines),
        gr.update(visible=film),
        something,
    )


def _results(drawn: list[tuple[Path, str]] | None, film: Path | None, line: str) -> Updates:
    """Pictures, film, thresholds, and a line."""
    return _shown(drawn), _shown(film), gr.update(visible=drawn is not None), line


def _shown(value: Any) -> Any:
    """A part of the page with a value; without one it is hidden."""
    return gr.update(value=value or None, visible=bool(value))
