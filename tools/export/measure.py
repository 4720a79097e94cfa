"""What an export costs and brings: mIoU and seconds of every runtime on the same episodes.

All take the same steps one picture at a time, PyTorch as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.distributed import Processes, choose_device
from data.benchmarks import open_benchmark
from data.episode import Episode, EpisodeDataset
from evaluation.episodes import TestedData, TestedEpisodes
from evaluation.image import EpisodeSegmenter, evaluate
from model.export_step import ExportStep
from model.method import Method
from tools.export.steps import Program

PYTORCH = "PyTorch"


@dataclass
class ProgramSegmenter(EpisodeSegmenter):
    """Some runtime's steps, one picture at a time; where they end in features, the method after."""

    method: Method
    first: ExportStep
    program: Program
    masks: list[np.ndarray] = field(default_factory=list)
    """Those of all episodes, in bits."""

    def segment(self, episodes: Episode) -> Tensor:
        logits = torch.cat(
            [
                self._segment(images[:, None], masks, query[None])
                for images, masks, query in zip(
                    episodes.support_images,
                    episodes.support_masks,
                    episodes.query_image,
                    strict=True,
                )
            ]
        )
        self.masks += [np.packbits((one > 0).numpy()) for one in logits]
        return logits

    def _segment(self, references: Tensor, masks: Tensor, query: Tensor) -> Tensor:
        """K x 1 x 3 x S x S, K x S x S and 1 x 3 x S x S to 1 x S x S."""
        program, method = self.program, self.method
        shown = [program.encode(image) for image in references]
        seen = program.encode(query)
        if program.is_whole:
            return program.find(seen, program.learn(shown, masks))["logits"]
        joined = {name: torch.cat([one[name] for one in shown]) for name in shown[0]}
        support = self.first.features(joined | {"image": references.flatten(0, 1)})
        concept = method.encode_support(support, masks[None])
        return method.predict(self.first.features(seen | {"image": query}), concept).logits


def measure(
    method: Method,
    graphs: Mapping[str, ExportStep],
    programs: Mapping[str, Program],
    data: TestedData,
    test_episodes: int,
    seed: int,
) -> dict[str, Any]:
    """mIoU, seconds for a picture and changed pixels of every runtime.

    Args:
        programs: title -> steps; PYTORCH among them, with which the others are compared.
        data: completed.
    """
    alone = Processes(0, 1, choose_device("cpu"))
    split = open_benchmark(data, alone, lambda b: [b.validation]).validation
    tested = TestedEpisodes.draw(split, data.nshot, seed, test_episodes)
    episodes = EpisodeDataset(split, tested.keys, method.geometry, keep_original=True)
    first = next(iter(graphs.values()))
    segmenters = {
        title: ProgramSegmenter(method, first, program) for title, program in programs.items()
    }
    runtimes = {}
    for title, segmenter in segmenters.items():
        scores = evaluate(segmenter, episodes, alone, title=title)
        runtimes[title] = {
            "miou": scores.results(split.class_names)["miou"],
            "seconds_per_picture": scores.seconds_per_episode / (data.nshot + 1),
            "changed_pixels": changed_pixels(segmenters[PYTORCH].masks, segmenter.masks),
        }
    return {
        **tested.facts,
        "episodes": len(tested.keys),
        "threads": torch.get_num_threads(),
        "runtimes": runtimes,
    }


def changed_pixels(expected: list[np.ndarray], found: list[np.ndarray]) -> float:
    """The share of pixels of masks, in bits, that are not as expected, in percent."""
    return 100 * float(
        np.mean([np.unpackbits(a ^ b).mean() for a, b in zip(expected, found, strict=True)])
    )


def markdown(measured: Mapping[str, Any]) -> str:
    """The measurement as a table."""
    own = measured["runtimes"][PYTORCH]
    lines = [
        "| runtime | mIoU | change | ms a picture | times as fast | pixels changed |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for title, found in measured["runtimes"].items():
        seconds = found["seconds_per_picture"]
        lines.append(
            f"| {title} | {found['miou']:.2f} | {found['miou'] - own['miou']:+.2f} | "
            f"{1000 * seconds:.1f} | {own['seconds_per_picture'] / seconds:.2f} | "
            f"{found['changed_pixels']:.3f} % |"
        )
    return "\n".join(lines)
