"""What was measured as a table and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

HEADING = ("", "part", "s", "s clock", "straightforward", "ratio", "target", "GFLOP", "of limit")


@dataclass(frozen=True)
class Row:
    """One part of one subject."""

    subject: str
    part: str
    seconds: float
    """See `tools.speed.measure.Cost`."""
    wall: float
    plain_seconds: float | None = None
    """What it is compared with needs; None: it is compared with nothing."""
    target: float | None = None
    """What `ratio` is to be at most."""
    gflop: float | None = None
    share_of_limit: float | None = None
    """Of the machine's rate of matrix products."""
    limit_target: float | None = None
    """What `share_of_limit` is to be at least."""
    kinds: dict[str, float] = field(default_factory=dict)
    """Kind of work -> share of the time."""
    difference: dict[str, float] = field(default_factory=dict)
    """Of the result from that of the straightforward flow."""

    @property
    def ratio(self) -> float | None:
        """Ours / straightforward."""
        return None if self.plain_seconds is None else self.seconds / self.plain_seconds

    @property
    def met(self) -> bool | None:
        """Whether it reaches its target; None: it has none."""
        if self.target is not None:
            return self.ratio <= self.target
        if self.limit_target is not None:
            return self.share_of_limit >= self.limit_target
        return None

    def to_json(self) -> dict[str, Any]:
        """Everything, with what follows of it."""
        return {**asdict(self), "ratio": self.ratio, "met": self.met}

    def cells(self) -> list[str]:
        """The row of a table."""
        target = "" if self.target is None else f"{self.target:.2f}"
        if self.limit_target is not None:
            target = f"{self.limit_target:.0%} of limit"
        verdict = {True: " met", False: " missed", None: ""}[self.met]
        return [
            self.subject,
            self.part,
            f"{self.seconds:.3g}",
            f"{self.wall:.3g}",
            "" if self.plain_seconds is None else f"{self.plain_seconds:.3g}",
            "" if self.ratio is None else f"{self.ratio:.2f}",
            target + verdict,
            "" if self.gflop is None else f"{self.gflop:.4g}",
            "" if self.share_of_limit is None else f"{self.share_of_limit:.0%}",
        ]


def table(rows: Sequence[Row]) -> str:
    """All rows in Markdown."""
    lines = [HEADING, ["---"] * len(HEADING), *(row.cells() for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def where_it_goes(rows: Sequence[Row], least: float = 0.03) -> str:
    """Kinds of work by their share of the time, of each part that was looked into, in Markdown."""
    lines = ["| | part | where the time goes |", "| --- | --- | --- |"]
    for row in rows:
        if row.kinds:
            parts = [f"{kind} {share:.0%}" for kind, share in row.kinds.items() if share >= least]
            lines.append(f"| {row.subject} | {row.part} | {', '.join(parts)} |")
    return "\n".join(lines)
