"""The method that an evaluation tests: its flags, where its results go, what they say of it."""

from typing import Any, NamedTuple, Self

import torch

from common.files import digest
from evaluation.subject_options import SubjectOptions
from model.checkpoint import build_method, entry_of, frozen_fingerprint, load_method
from model.encoding import set_up_encoding
from model.method import Method
from model.method_options import MethodOptions


class Subject(NamedTuple):
    """A method in evaluation mode, and what is known of it."""

    options: SubjectOptions
    method: Method
    facts: dict[str, Any]
    """What its checkpoint's header says, or would say."""

    @classmethod
    def load(
        cls,
        options: SubjectOptions,
        method: MethodOptions | None,
        device: torch.device,
        announce: bool,
    ) -> Self:
        """Open the checkpoint, or build a method from public weights.

        Args:
            announce: say where its features are kept, if they are.

        Raises:
            UsageError: it cannot be built, see `model.checkpoint`.
        """
        if method:
            opened, facts = build_method(method, device, options.fetch)
        else:
            opened, facts = load_method(options.ckpt, device)
        set_up_encoding(opened, facts["model"], options, announce)
        return cls(options, opened, facts)

    @property
    def title(self) -> str:
        """The method's name for people."""
        return entry_of(self.facts, self.options.ckpt).title

    @property
    def settings(self) -> dict[str, Any]:
        """What of it decides results."""
        ckpt = self.options.ckpt
        return {
            "weights": digest(ckpt) if ckpt else self.facts["model"],
            "frozen": frozen_fingerprint(self.method),
            "precision": self.options.precision,
            **({"features": "half precision"} if self.options.feature_cache else {}),
        }

    @property
    def results(self) -> dict[str, Any]:
        """What results say of it beside `settings`."""
        ckpt = self.options.ckpt
        return {
            "method": self.title,
            "checkpoint": ckpt and str(ckpt),
            "checkpoint_version": self.facts["version"],
        }
