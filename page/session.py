"""What one visitor of the page has brought: references, and pictures or a video to label.

All files lie in the visitor's own folder, which is removed when the tab is closed.
"""

import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from common.errors import UsageError
from common.images import LARGE, read_image
from common.video_io import IMAGE_SUFFIXES
from labelling.references import read_reference
from model.predictor import InContextSegmenter
from page import canvas
from page.drawing import CANVAS_SIDE, THUMBNAIL_SIDE, class_colour, fitted, show_mark
from page.found import Results
from page.items import Draft, Mark, Shot, Target
from page.limits import PageLimits

PAINT, CLICK, BOX = "the object itself", "clicks on it", "a box around it"
MEANINGS = (PAINT, CLICK, BOX)
"""What paint on the canvas can mean."""

FORGOTTEN = 3600.0
"""Seconds of silence after which a session may end, if another visitor needs the place."""


class Session:
    """One visitor's work. Its methods raise `UsageError` for what a person has to change."""

    def __init__(self, folder: Path, limits: PageLimits) -> None:
        """Begin with nothing, in a folder that is made."""
        folder.mkdir(parents=True)
        self.folder, self.limits = folder, limits
        self.busy = threading.RLock()
        self.stopped = threading.Event()
        """Set to end the work that is running."""
        self.draft: Draft | None = None
        self.shots: list[Shot] = []
        self.targets: list[Target] = []
        self.video: Path | None = None
        self.results: Results | None = None
        self.told = ""
        """What there is to say of the results besides the legend, as HTML."""
        self.method: str | None = None
        """Which method was chosen; None: the one that visitors begin with."""
        self.used = time.monotonic()
        """When the visitor was last heard of."""

    @property
    def may_give_way(self) -> bool:
        """Whether another visitor may have the place: nothing is lost, or nobody will miss it."""
        if not (self.draft or self.shots or self.targets or self.video or self.results):
            return True
        if time.monotonic() - self.used <= FORGOTTEN or not self.busy.acquire(blocking=False):
            return False
        self.busy.release()
        return True

    def new_path(self, name: str) -> Path:
        """A free place for a file of that name."""
        folder = self.folder / secrets.token_hex(4)
        folder.mkdir()
        return folder / Path(name).name

    def take(self, upload: str | Path) -> Path:
        """Move an uploaded file into the session's folder."""
        path = self.new_path(Path(upload).name)
        try:
            shutil.move(upload, path)
        except OSError:
            raise UsageError(f"{path.name} did not arrive: upload it again") from None
        return path

    def store(self, picture: np.ndarray, name: str = "picture.jpg") -> Path:
        """Write pixels as an image file and return its place."""
        path = self.new_path(name)
        Image.fromarray(picture).save(path, quality=92)
        return path

    def open_reference(self, photo: Path) -> Draft:
        """Put a picture on the canvas."""
        self.limits.check_picture(photo)
        self.limits.check_count("references", len(self.shots) + 1)
        pixels = read_image(photo, largest=LARGE)
        self.draft = Draft(photo, pixels, fitted(pixels, CANVAS_SIDE))
        return self.draft

    def give_mask(self, mask: Path) -> list[str]:
        """Take a mask file for the picture on the canvas.

        The classes of a mask of several become references at once, and the canvas is cleared.

        Returns:
            The names of these classes; none where the mask has only one.
        """
        if self.draft is None:
            raise UsageError("choose the reference picture first, then its mask")
        self.limits.check_picture(mask)
        masks = read_reference(self.draft.photo, mask).masks
        if len(masks) == 1:
            [self.draft.given] = masks.values()
            return []
        self.limits.check_count("references", len(self.shots) + len(masks))
        names = [f"class_{class_id}" for class_id in masks]
        for name, pixels in zip(names, masks.values(), strict=True):
            self.shots.append(self._shot(Mark(pixels), name))
        self.draft = None
        return names

    def draft_mark(
        self, layers: Sequence[np.ndarray], meaning: str, segmenter: InContextSegmenter
    ) -> Mark | None:
        """What the paint asks for, at the size of the draft's pixels.

        Without paint it is the mask that came as a file, or None; paint on the object adds to that.
        Clicks and boxes stay what they are where the method takes them; else SAM draws a mask.

        Args:
            layers: of the canvas, each h x w x 4 uint8.
            meaning: one of MEANINGS.
        """
        draft = self.draft
        if draft is None:
            return None
        marked = canvas.painted(layers, draft.shown.shape[:2])
        if not marked.any():
            return None if draft.given is None else Mark(draft.given)
        size = draft.pixels.shape[:2]
        if meaning == PAINT:
            paint = canvas.painted(layers, size)
            return Mark(paint if draft.given is None else paint | draft.given)
        kind = "point" if meaning == CLICK else "box"
        if kind in segmenter.method.prompt_kinds:
            places = canvas.clicked(marked, size) if kind == "point" else canvas.boxed(marked, size)
            return Mark(places, kind)
        if draft.prompted is None:
            draft.prompted = segmenter.prompted(draft.pixels)
        if kind == "point":
            return Mark(draft.prompted.mask(size, clicks=canvas.clicks(marked)))
        return Mark(draft.prompted.mask(size, box=canvas.box(marked)))

    def preview(self, mark: Mark, name: str) -> np.ndarray:
        """The draft with what marks the object, in its class's colour, at the canvas's size."""
        names = self.class_names
        number = names.index(name) if name in names else len(names)
        return show_mark(self.draft.shown, mark.pixels, mark.kind, class_colour(number + 1))

    def keep_draft(self, mark: Mark, name: str) -> None:
        """Make the draft with this mark a reference of a class, and clear the canvas."""
        if not mark.pixels.any():
            raise UsageError("the mask is empty: click or paint somewhere else")
        self.limits.check_count("references", len(self.shots) + 1)
        self.shots.append(self._shot(mark, name))
        self.draft = None

    def _shot(self, mark: Mark, name: str) -> Shot:
        stored = self.store(mark.pixels.astype(np.uint8) * 255, "mask.png")
        preview = self.store(fitted(self.draft.shown, THUMBNAIL_SIDE))
        return Shot(self.draft.photo, stored, mark.kind, name, preview)

    @property
    def class_names(self) -> list[str]:
        """The classes of the references that are kept, in their order."""
        return list(dict.fromkeys(shot.name for shot in self.shots))

    def thumbnails(self) -> list[tuple[Path, str]]:
        """Each reference with its mark in its class's colour, and the class's name."""
        names, drawn = self.class_names, []
        for shot in self.shots:
            with Image.open(shot.preview) as stored:
                pixels = np.array(stored)
            colour = class_colour(1 + names.index(shot.name))
            mark = shot.read_mark()
            drawn.append((self.store(show_mark(pixels, mark.pixels, mark.kind, colour)), shot.name))
        return drawn

    def references(self, draft_mark: Mark | None, name: str) -> dict[str, list[tuple[Path, Mark]]]:
        """Pictures and marks of each class, with the draft if it has a mark.

        Args:
            name: of the draft's class.
        """
        shown: dict[str, list[tuple[Path, Mark]]] = {}
        for shot in self.shots:
            shown.setdefault(shot.name, []).append((shot.photo, shot.read_mark()))
        if draft_mark is not None and draft_mark.pixels.any():
            shown.setdefault(name, []).append((self.draft.photo, draft_mark))
        if not shown:
            raise UsageError("show the object first: choose a reference picture and paint on it")
        return shown

    @property
    def has_own_pictures(self) -> bool:
        """Whether anything here was uploaded, and is no example."""
        brought = [shot.photo for shot in self.shots] + [target.photo for target in self.targets]
        brought += [self.video] if self.video else []
        brought += [self.draft.photo] if self.draft else []
        return any(path.is_relative_to(self.folder) for path in brought)

    def add_uploads(
        self, uploads: Sequence[str | Path], check_video: Callable[[], None]
    ) -> list[str]:
        """Take what was dropped: pictures, or else one video; what cannot be taken is left out.

        Args:
            check_video: raises `UsageError` where the method cannot label videos.

        Returns:
            A line about each file that was left out.

        Raises:
            UsageError: nothing is left.
        """
        pictures, videos, refused = [], [], []
        for upload in uploads:
            with _noting(refused):
                path = self.take(upload)
                is_picture = path.suffix.lower() in IMAGE_SUFFIXES
                (pictures if is_picture else videos).append(path)
        bad_pictures = self.add_targets(pictures)
        refused += bad_pictures
        taken = len(pictures) > len(bad_pictures)
        for video in videos:
            with _noting(refused):
                if taken:
                    raise UsageError(f"{video.name}: give pictures, or one video alone")
                check_video()
                self.set_video(video)
                taken = True
        if not taken:
            raise UsageError("; ".join(refused))
        return refused

    def add_targets(self, photos: Sequence[Path]) -> list[str]:
        """Take pictures to label, in the place of a video.

        Returns:
            A line about each that was left out.
        """
        names, refused = {target.name for target in self.targets}, []
        added = []
        for photo in photos:
            with _noting(refused):
                size = self.limits.check_picture(photo)
                self.limits.check_count("pictures", len(self.targets) + len(added) + 1, photo.name)
                small = fitted(read_image(photo, largest=LARGE), THUMBNAIL_SIDE)
                name = different_name(photo.name, names)
                names.add(name)
                added.append(Target(photo, name, size, self.store(small)))
        if added:
            self.targets += added
            self.video = None
        return refused

    def set_video(self, path: Path) -> None:
        """Take a video to label, in the place of pictures."""
        self.limits.check_video(path)
        self.video, self.targets = path, []

    def clear_targets(self) -> None:
        """Forget what was to be labelled."""
        self.video, self.targets = None, []

    def close(self) -> None:
        """Stop the running work and remove the folder."""
        self.stopped.set()
        with self.busy:
            shutil.rmtree(self.folder, ignore_errors=True)


class Sessions:
    """The sessions of all visitors. Threads may share one."""

    def __init__(self, root: Path, limits: PageLimits) -> None:
        self.root, self.limits = root, limits
        self._lock = threading.Lock()
        self._open: dict[str, Session] = {}

    def get(self, visitor: str) -> Session:
        """The session of a visitor, which begins with the first call.

        Raises:
            UsageError: too many visitors are here.
        """
        leaving = None
        with self._lock:
            if visitor not in self._open:
                if len(self._open) >= self.limits.max_visitors:
                    leaving = self._open.pop(self._who_gives_way())
                folder = self.root / secrets.token_urlsafe(16)
                self._open[visitor] = Session(folder, self.limits)
            session = self._open[visitor]
            session.used = time.monotonic()
        if leaving is not None:
            leaving.close()
        return session

    def _who_gives_way(self) -> str:
        """The visitor of the longest silence among those who can do without their session.

        Anybody may call with names that belong to no tab: they keep nobody out.
        """
        idle = [name for name, session in self._open.items() if session.may_give_way]
        if not idle:
            raise UsageError("too many visitors: close another tab, or come back later")
        return min(idle, key=lambda name: self._open[name].used)

    def close(self, visitor: str) -> None:
        """End a visitor's session, if there is one."""
        with self._lock:
            session = self._open.pop(visitor, None)
        if session is not None:
            session.close()


@contextmanager
def _noting(refused: list[str]) -> Iterator[None]:
    """Turn the refusal of one file into a line, so that the others go on."""
    try:
        yield
    except UsageError as error:
        refused.append(without_folders(error))


def without_folders(error: Exception) -> str:
    """The message with names of files only: folders of the server are nobody's business."""
    return re.sub(r"\S*/", "", str(error))


def different_name(name: str, taken: set[str]) -> str:
    """The file name, numbered where another has it or differs in its suffix only."""
    stems = {Path(one).stem for one in taken}
    path, number = Path(name), 2
    free = path.stem
    while free in stems:
        free, number = f"{path.stem}_{number}", number + 1
    return f"{free}{path.suffix}"
