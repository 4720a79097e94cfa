"""One official file: its names, where it comes from, its terms, and what it is checked by."""

import re
from dataclasses import dataclass

_HASH = re.compile(r"([-_])([0-9a-f]{6,})\.pth$")
"""At the end of a name: the start of its SHA-256 (torchvision: after "-") or MD5 (SAM: "_")."""


def readable_size(size: int) -> str:
    """Bytes in the unit that leaves one to three digits before the point."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size} bytes"


@dataclass(frozen=True)
class HubFile:
    """A file of a repository on the Hugging Face hub."""

    repository: str
    file: str
    saved_as: str
    """Its name in the folder of weights."""

    @property
    def page(self) -> str:
        """Where a person reads about it and accepts its terms."""
        return f"https://huggingface.co/{self.repository}"


@dataclass(frozen=True)
class OfficialFile:
    """One official file, as its publisher offers it."""

    file: str
    """Its name in the folder of weights."""
    licence: str
    """In few words; the page has the text."""
    purpose: str
    """What it is good for: the network, and the methods that read it."""
    page: str
    """Where a person finds it: the publisher's page."""
    address: str | None = None
    """Where a program gets it by https."""
    hubs: tuple[HubFile, ...] = ()
    """Where the hub has these weights: all are looked for in its cache; without `address` the first
    is where a program gets them."""
    size: int | None = None
    """Bytes, where known exactly: another size means that the file is broken."""
    about: int | None = None
    """Bytes by the count of its parameters, where the exact size is not known."""
    sha256: str | None = None
    """Hash of the content, where published in full; one in the name needs no entry."""
    other_names: tuple[str, ...] = ()
    """Files with the same weights that are accepted in its place, whatever names tensors have."""

    @property
    def by_hand(self) -> bool:
        """Whether only a person can get it."""
        return self.address is None and not self.hubs

    @property
    def source(self) -> str:
        """From where it comes, to be read by people."""
        return self.address or (self.hubs[0].page if self.hubs else self.page)

    @property
    def names(self) -> tuple[str, ...]:
        """Every name under which it is looked for, the best first."""
        hubs = [hub.saved_as for hub in self.hubs]
        return tuple(dict.fromkeys((self.file, *self.other_names, *hubs)))

    @property
    def size_text(self) -> str:
        """Its size, to be read by people."""
        if self.size is None and self.about is None:
            return "size unknown"
        return readable_size(self.size) if self.size else f"about {readable_size(self.about)}"

    @property
    def described(self) -> str:
        """Name, size and licence, to be read by people."""
        return f"{self.file} ({self.size_text}, licence: {self.licence})"

    def hash_of(self, name: str) -> tuple[str, str] | None:
        """Kind of hash ("sha256" or "md5") and its published start or whole, for one of its names.

        Args:
            name: one of `names`.
        """
        if name == self.file and self.sha256:
            return "sha256", self.sha256
        found = _HASH.search(name)
        return (("sha256" if found[1] == "-" else "md5"), found[2]) if found else None
