"""Which methods the page offers, what each needs, and the ones that are in memory."""

import html
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from common.errors import UsageError
from common.files import ROOT
from model.choice import Choice, available_methods
from model.fetching import absent, ensure
from model.official import OFFICIAL
from model.official_paths import how_to_get, weights_folder
from model.predictor import InContextSegmenter

DRAWINGS = ROOT / "checkpoints" / "tiny-video" / "coco_mask_tube.safetensors"
"""The tiny model that comes with the program."""

KEPT = 2
"""Methods that stay in memory: the ones used last."""


@dataclass(frozen=True)
class Offer:
    """A method that a visitor may choose."""

    label: str
    """What it is called in the list; no two are called the same."""
    reason: str
    """What it is good for."""
    build: Callable[[], InContextSegmenter]
    files: tuple[str, ...] = ()
    """Names in `model.weights.OFFICIAL` of what it reads."""
    drawings_only: bool = False
    """Whether it was trained on drawn shapes."""

    @property
    def missing(self) -> tuple[str, ...]:
        """Those of its files that are not on this machine."""
        return absent(self.files)

    @property
    def line(self) -> str:
        """The label, and whether it can be used."""
        return f"{self.label} · weights missing" if self.missing else self.label

    def described(self) -> str:
        """What it is good for and what it needs, as HTML."""
        parts = [f"<b>{html.escape(self.label)}</b>: {html.escape(self.reason)}."]
        if self.drawings_only:
            parts.append(
                '<span class="warning">It knows drawn shapes: try it on the examples, and expect '
                "nothing of it on photographs.</span>"
            )
        here = [name for name in self.files if name not in self.missing]
        if here:
            known = "; ".join(OFFICIAL[name].described for name in here)
            parts.append(f"Its weights are here: {html.escape(known)}.")
        if self.missing:
            folder = weights_folder()  # where it lies is nobody's business
            advice = html.escape(how_to_get(self.missing).replace(str(folder), folder.name))
            advice = re.sub("`(.*?)`", r"<code>\1</code>", advice)
            parts.append(f'<span class="warning">Weights are missing:</span> {advice}.')
        return " ".join(parts)


class Methods:
    """The methods on offer. Threads may share one."""

    def __init__(self, offers: Sequence[Offer], first: str) -> None:
        """Take offers; one of them, by its label, is what visitors begin with."""
        self.offers = {offer.label: offer for offer in offers}
        self.first = first
        self._lock = threading.Lock()
        self._built: dict[str, InContextSegmenter] = {}

    @classmethod
    def found(
        cls, ckpt: Path | None = None, device: str = "auto", precision: str = "fp32"
    ) -> "Methods":
        """All methods with public weights, and checkpoints.

        Visitors begin with the checkpoint where one is given, else with the best method whose
        weights are there, else with the tiny model for drawings.
        """
        offers = [_public(choice, device, precision) for choice in available_methods()]
        ready = [offer.label for offer in offers if not offer.missing]
        drawings = Offer(
            "DC-SAM, tiny",
            "the model that comes with this program, in seconds on any computer",
            lambda: InContextSegmenter.from_checkpoint(DRAWINGS, device, precision),
            drawings_only=True,
        )
        first = ready[0] if ready else drawings.label
        offers.append(drawings)
        if ckpt is not None:
            segmenter = InContextSegmenter.from_checkpoint(ckpt, device, precision)
            first = f"{ckpt.name} ({segmenter.method.name})"
            only = segmenter.caution is not None
            offers.insert(
                0, Offer(first, "the checkpoint that was given", lambda: segmenter, (), only)
            )
        return cls(offers, first)

    def segmenter(self, label: str) -> InContextSegmenter:
        """The method of an offer, which is built when it is first asked for.

        Raises:
            UsageError: its weights are missing or broken.
        """
        offer = self.offers[label]
        with self._lock:
            if label not in self._built:
                if offer.missing:
                    names = ", ".join(offer.missing)
                    raise UsageError(f"{label} lacks weights ({names}): choose another method")
                while len(self._built) >= KEPT:
                    del self._built[next(iter(self._built))]
                ensure(offer.files, fetch=False)
                self._built[label] = offer.build()
            self._built[label] = self._built.pop(label)  # the last is the one used last
            return self._built[label]


def _public(choice: Choice, device: str, precision: str) -> Offer:
    options = {field.name: getattr(choice.options, field.name) for field in fields(choice.options)}
    usual = type(choice.options)()
    special = [
        str(value)
        for name, value in options.items()
        if name == "size" or value != getattr(usual, name)
    ]
    label = f"{choice.title} ({', '.join(special)})" if special else choice.title
    return Offer(
        label,
        choice.reason,
        lambda: InContextSegmenter.from_method(choice.method, device, precision, **options),
        choice.options.files(),
    )
