"""How a method's steps follow one another, whatever runs them; and episodes that try them.

Shapes: K references, S side of pictures and masks; one query at a time.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from common.errors import UsageError
from model.export_step import ExportStep, Values

TOLERANCE = 1e-3
"""The largest difference allowed between any number of another runtime's and of PyTorch's."""
EPISODES = 3
"""Random episodes on which every graph is compared."""
ATTEMPTS = 30
"""Episodes drawn at most to find so many steady ones."""
DISTURBANCE = 1e-5
"""Relative noise that the results of a steady episode survive."""


@dataclass(frozen=True)
class Program:
    """A method's steps and what takes them."""

    names: Sequence[str]
    """In the order of use."""
    take: Callable[[str, Values], Values]
    """Take the step of a name."""

    @property
    def is_whole(self) -> bool:
        """Whether a mask comes of the steps; else the method has to go on without graphs."""
        return "decode" in self.names

    def encode(self, image: Tensor) -> Values:
        """Take in a picture, 1 x 3 x S x S and normalised."""
        return self.take(self.names[0], {"image": image})

    def learn(self, references: Sequence[Values], masks: Tensor) -> Values:
        """A concept from K encoded references and their masks, K x S x S of 0 and 1."""
        support = {name: torch.cat([one[name] for one in references]) for name in references[0]}
        return {"masks": masks} | self.take(self.names[1], support | {"masks": masks})

    def find(self, query: Values, concept: Values) -> Values:
        """All that the last steps make of an encoded query; of a whole program `logits` too."""
        known = query | concept
        for name in self.names[2:]:
            known = known | self.take(name, known)
        if "refine" in self.names:
            known = known | self.take("decode", known)
        return known


class Example(NamedTuple):
    """What a graph is given, and what PyTorch makes of it."""

    given: Values
    expected: Values


def run_in_pytorch(graphs: Mapping[str, ExportStep]) -> Program:
    """The steps as they are."""
    return Program(tuple(graphs), lambda name, given: graphs[name](given))


@torch.no_grad()
def steady_episodes(
    graphs: Mapping[str, ExportStep], side: int, shots: int
) -> list[dict[str, Example]]:
    """Random episodes with what every graph is given and gives.

    The method decides: which token attends to which, which pixel is in the mask. Where a decision
    is so close that rounding may turn it, two runtimes may differ without a fault in either. So an
    episode counts only if PyTorch's own results stay when all it is given is disturbed a little.

    Raises:
        UsageError: there are too few of them.
    """
    found = []
    for seed in range(ATTEMPTS):
        generator = torch.Generator().manual_seed(seed)
        episode = random_episode(graphs, side, shots, generator)
        if all(is_steady(graphs[name], example, generator) for name, example in episode.items()):
            found.append(episode)
        if len(found) == EPISODES:
            return found
    raise UsageError(
        f"{ATTEMPTS} random episodes have only {len(found)} on which rounding decides nothing: "
        "this model cannot be compared with its export"
    )


def random_episode(
    graphs: Mapping[str, ExportStep], side: int, shots: int, generator: torch.Generator
) -> dict[str, Example]:
    """Noise for pictures and rectangles for masks, taken through all steps."""
    *references, query = torch.randn(shots + 1, 1, 3, side, side, generator=generator)
    masks = torch.zeros(shots, side, side)
    for mask in masks:
        top, left, height, width = torch.randint(side // 8, side // 2, (4,), generator=generator)
        mask[top : top + height, left : left + width] = 1

    def take(name: str, given: Values) -> Values:
        episode[name] = Example(given, graphs[name](given))
        return episode[name].expected

    episode: dict[str, Example] = {}
    program = Program(tuple(graphs), take)
    shown = [program.encode(image) for image in references]
    seen = program.encode(query)
    if len(graphs) > 1:
        program.find(seen, program.learn(shown, masks))
    return episode


def is_steady(graph: ExportStep, example: Example, generator: torch.Generator) -> bool:
    """Whether a little noise on what a graph is given changes little of what it gives."""
    disturbed = {
        name: value * (1 + DISTURBANCE * torch.randn(value.shape, generator=generator))
        for name, value in example.given.items()
        if name != "masks"
    }
    found = graph(example.given | disturbed)
    return all(
        (found[name] - value).abs().max() <= TOLERANCE for name, value in example.expected.items()
    )
