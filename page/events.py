"""What the page does when somebody clicks: sessions on one side, Gradio's updates on the other."""

import html
import logging
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import gradio as gr

from common.errors import UsageError
from model import InContextSegmenter
from page import results, saving
from page.examples import Example
from page.found import FilmResults, Results
from page.items import Mark, Thresholds
from page.methods import Methods
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

    def __init__(self, methods: Methods, sessions: Sessions, examples: Sequence[Example]) -> None:
        self.methods, self.sessions, self.examples = methods, sessions, examples

    def session(self, request: gr.Request) -> Session:
        return self.sessions.get(request.session_hash)

    def segmenter(self, session: Session) -> InContextSegmenter:
        """The method that the visitor chose.

        Raises:
            UsageError: its weights are missing.
        """
        return self.methods.segmenter(session.method or self.methods.first)

    def leave(self, request: gr.Request) -> None:
        """The tab was closed."""
        self.sessions.close(request.session_hash)

    @plainly
    def choose_method(self, label: str, request: gr.Request) -> Updates:
        """Take another method for everything from now on; references stay."""
        session = self.session(request)
        with session.busy:
            session.method = label
            if session.draft is not None:
                session.draft.prompted = None
            offer = self.methods.offers[label]
            if offer.missing:
                return offer.described(), gr.skip()
            calibrated = self.segmenter(session).is_calibrated
            return offer.described(), gr.update(**presence_slider(calibrated))

    @plainly
    def load_example(self, event: gr.SelectData, request: gr.Request) -> Updates:
        """Fill everything in."""
        session, example = self.session(request), self.examples[event.index]
        if example.video is not None:
            self.segmenter(session).require_memory()
        session.draft, session.shots, session.results = None, [], None
        name = ""
        for photo, mask, next_name in example.references:
            if session.draft is not None:
                session.keep_draft(Mark(session.draft.given), name)
            name = next_name
            session.open_reference(photo)
            if mask is not None:
                session.give_mask(mask)
        session.clear_targets()
        session.add_targets(example.pictures)
        if example.video is not None:
            session.set_video(example.video)
        filled = (*_easel(session, name), *_references(session), *_targets(session), name)
        return *filled, *_nothing_found()

    @plainly
    def open_reference(self, upload: str, name: str, request: gr.Request) -> Updates:
        session = self.session(request)
        session.open_reference(session.take(upload))
        return _easel(session, name)

    @plainly
    def give_mask(self, upload: str, name: str, request: gr.Request) -> Updates:
        session = self.session(request)
        if classes := session.give_mask(session.take(upload)):
            gr.Info(html.escape(f"The mask brings {len(classes)} classes: {', '.join(classes)}"))
        return *_easel(session, name), *_references(session)

    @plainly
    def confirm(
        self, painting: dict[str, Any], meaning: str, name: str, request: gr.Request
    ) -> Any:
        """Show the mask that the paint asks for."""
        session = self.session(request)
        return _confirmation(session, self._draft_mark(session, painting, meaning), name)

    @plainly
    def keep(
        self, painting: dict[str, Any], meaning: str, name: str, request: gr.Request
    ) -> Updates:
        """Put the labelled picture among the references and clear the canvas."""
        session = self.session(request)
        mark = self._draft_mark(session, painting, meaning)
        if mark is None:
            raise UsageError("paint on the object first, or choose a mask file")
        session.keep_draft(mark, _named(name))
        return *_easel(session, name), *_references(session)

    @plainly
    def keep_for_another(
        self, painting: dict[str, Any], meaning: str, name: str, request: gr.Request
    ) -> Updates:
        """The same, and name the next class."""
        kept = self.keep(painting, meaning, name, request)
        return *kept, f"object {len(self.session(request).class_names) + 1}"

    def _draft_mark(
        self, session: Session, painting: dict[str, Any] | None, meaning: str
    ) -> Mark | None:
        with session.busy:
            layers = painting["layers"] if painting else []
            return session.draft_mark(layers, meaning, self.segmenter(session))

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
        refused = session.add_uploads(uploads, lambda: self.segmenter(session).require_memory())
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
        apart: bool,
        prompt_every: float,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  Gradio's way to ask for it
    ) -> Updates:
        """Learn the classes and segment them in all targets."""
        session = self.session(request)
        film = session.video is not None
        if not film and not session.targets:
            raise UsageError("choose pictures or a video to label")

        def report(done: int, count: int) -> None:
            progress((done, count), desc="Segmenting", unit="frames" if film else "pictures")

        with session.busy:
            session.stopped.clear()
            progress(0, desc="Learning")
            segmenter = self.segmenter(session)
            mark = self._draft_mark(session, painting, meaning)
            references = session.references(mark, _named(name))
            if film:
                every = int(prompt_every)
                found = results.label_video(session, segmenter, references, every, report)
            else:
                found = results.label_pictures(session, segmenter, references, report)
            session.results = found
            told = self._stopped(session, found) + self._warning(session, segmenter)
            session.told = told
            return self._drawn(session, Thresholds(presence, mask, apart), progress)

    def stop(self, request: gr.Request) -> None:
        """End the running work; what is done so far is shown."""
        self.session(request).stopped.set()

    @plainly
    def move_thresholds(
        self,
        presence: float,
        mask: float,
        apart: bool,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  Gradio's way to ask for it
    ) -> Updates:
        """Decide anew what counts as found, without the network."""
        session = self.session(request)
        if session.results is None:
            return (gr.skip(),) * RESULT_PARTS
        return self._drawn(session, Thresholds(presence, mask, apart), progress)

    @plainly
    def save_masks(self, presence: float, mask: float, apart: bool, request: gr.Request) -> str:
        return str(saving.write_masks(self.session(request), Thresholds(presence, mask, apart)))

    @plainly
    def save_coco(self, presence: float, mask: float, apart: bool, request: gr.Request) -> str:
        return str(saving.write_coco(self.session(request), Thresholds(presence, mask, apart)))

    @plainly
    def save_film(self, presence: float, mask: float, apart: bool, request: gr.Request) -> str:
        session = self.session(request)
        film = saving.found_results(session)
        path, _ = results.draw_film(session, film, Thresholds(presence, mask, apart), _silently)
        return str(path)

    def _drawn(self, session: Session, thresholds: Thresholds, progress: gr.Progress) -> Updates:
        """Pictures, film, tools, the button that saves the film, and the note."""
        found = session.results
        is_film = isinstance(found, FilmResults)
        film = pictures = None
        if is_film:

            def report(done: int, count: int) -> None:
                progress((done, count), desc="Drawing", unit="frames")

            film, counts = results.draw_film(session, found, thresholds, report)
        else:
            pictures, counts = results.draw_pictures(session, found, thresholds)
        shown = (_shown(pictures), _shown(film), gr.update(visible=True))
        return *shown, gr.update(visible=is_film), results.summary(found, counts) + session.told

    def _stopped(self, session: Session, found: Results) -> str:
        if not session.stopped.is_set():
            return ""
        if isinstance(found, FilmResults):
            return "<p>Stopped: the video ends early.</p>"
        return f"<p>Stopped after {len(found.pictures)} of {len(session.targets)} pictures.</p>"

    def _warning(self, session: Session, segmenter: InContextSegmenter) -> str:
        if segmenter.caution is None or not session.has_own_pictures:
            return ""
        return (
            f'<p class="warning">About {segmenter.method.name}: {segmenter.caution}. Choose a '
            "method with public weights above.</p>"
        )


RESULT_PARTS = 5
"""Outputs of `Events._drawn`."""


def presence_slider(calibrated: bool) -> dict[str, Any]:
    """Label and value of the threshold of pictures, as a method's scores have it."""
    label = "Least probability" if calibrated else "Least score of a picture"
    return {"label": label, "value": Thresholds.start(calibrated).presence}


def _named(name: str) -> str:
    return name.strip() or "object"


def _silently(done: int, count: int) -> None:
    """Report to nobody."""


def _easel(session: Session, name: str) -> Updates:
    """Drop zone, canvas, its tools, the meaning of paint, and the confirmation."""
    draft = session.draft
    mark = None
    if draft is None:
        canvas = gr.update(value=None, visible="hidden")
    else:
        mark = None if draft.given is None else Mark(draft.given)
        shown = draft.shown if mark is None else session.preview(mark, _named(name))
        path = session.store(shown, "canvas.png")
        picture = {"background": path, "layers": [], "composite": path}
        canvas = gr.update(value=picture, visible=True)
    drop, tools = gr.update(value=None, visible=draft is None), gr.update(visible=draft is not None)
    return drop, canvas, tools, PAINT, _confirmation(session, mark, name)


def _confirmation(session: Session, mark: Mark | None, name: str) -> Any:
    if mark is None:
        return _shown(None)
    return _shown(session.store(session.preview(mark, _named(name)), "confirm.jpg"))


def _references(session: Session) -> Updates:
    thumbnails = session.thumbnails()
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


def _nothing_found() -> Updates:
    return _shown(None), _shown(None), gr.update(visible=False), gr.update(visible=False), ""


def _shown(value: Any) -> Any:
    """A part of the page with a value; without one it is hidden."""
    return gr.update(value=value or None, visible=bool(value))
