"""A method that takes part in a comparison, as it was named."""

from dataclasses import dataclass
from pathlib import Path

from common.errors import UsageError
from model.registry import READY


@dataclass(frozen=True)
class Entrant:
    """A method as it was named."""

    name: str

    @property
    def folder(self) -> str:
        """What its results are called."""
        return "".join(c if c.isalnum() or c in "-_.=" else "_" for c in self.name)

    @property
    def title(self) -> str:
        """What its column is called."""
        return Path(self.name).stem if Path(self.name).is_file() else self.name

    @property
    def flags(self) -> list[str]:
        """What `eval_image.py` is to be told of it.

        Raises:
            UsageError: it is neither a method nor a file.
        """
        if Path(self.name).is_file():
            return ["--ckpt", self.name]
        method, _, given = self.name.partition(":")
        if method not in READY:
            raise UsageError(
                f"--methods: {self.name} is no checkpoint file, and no method with public "
                f"weights; there are {', '.join(READY)}"
            )
        flags = ["--method", method]
        for pair in filter(None, given.split(",")):
            name, equals, value = pair.partition("=")
            flags += [f"--{name}", value] if equals else [f"--{name}"]
        return flags
