"""Few-shot instance segmentation by any method: learn the classes, look for their objects.

A picture is segmented alone, and what was found in it is a record of `evaluation.item_log`, so the
numbers depend neither on the number of processes nor on interruptions.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import mean, stdev
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from common.distributed import Processes, synchronize
from common.geometry import Geometry
from common.trainer import autocast
from data.few_shot_instances import FewShotInstances, ShownObject, TestedPicture
from evaluation.average_precision import KINDS, AveragePrecision, average_precision, records_of
from evaluation.item_log import ItemLog, Record
from model.method import Method
from model.method_data import Support


class OpenPicture(NamedTuple):
    """A tested picture in the square of a method."""

    picture: TestedPicture
    image: Tensor
    """1 x 3 x S x S, normalised."""


class TestedPictures(Dataset[OpenPicture]):
    """Reads tested pictures."""

    __test__ = False

    def __init__(self, pictures: Sequence[TestedPicture], geometry: Geometry) -> None:
        self.pictures, self.geometry = pictures, geometry

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> OpenPicture:
        picture = self.pictures[index]
        return OpenPicture(picture, self.geometry.image(picture.read())[None])


def item_name(picture: TestedPicture) -> str:
    """What a picture's record is called; names sort as ids do."""
    return f"{picture.image_id:012d}"


@dataclass(frozen=True)
class InstanceFinder:
    """A method in evaluation mode, and the classes that it was shown."""

    method: Method
    supports: Sequence[Support]
    """One for each class."""
    categories: Sequence[int]
    """The `category_id` of each."""
    precision: str
    device: torch.device

    @classmethod
    @torch.no_grad()
    def learn(
        cls,
        method: Method,
        benchmark: FewShotInstances,
        shown: Sequence[Sequence[ShownObject]],
        precision: str,
        device: torch.device,
    ) -> "InstanceFinder":
        """Show a method the objects of a draw.

        Raises:
            UsageError: a picture cannot be read.
        """
        geometry, supports = method.instance_geometry, []
        for name, objects in zip(benchmark.class_names, shown, strict=True):
            pairs = [one.read() for one in objects]
            images = torch.stack([geometry.image(pixels) for pixels, _ in pairs]).to(device)
            masks = torch.stack([geometry.mark(mask) for _, mask in pairs])[None].to(device)
            sizes = torch.tensor([mask.shape for _, mask in pairs])
            with autocast(device, precision):
                features = method.features(images, support_only=True, sizes=sizes)
                supports.append(method.encode_support(features, masks, names=[name]))
        return cls(method, supports, benchmark.categories, precision, device)

    @torch.no_grad()
    def find(self, opened: OpenPicture) -> Record:
        """What is found in a picture, and how long it took."""
        picture, image = opened
        start = time.perf_counter()
        with autocast(self.device, self.precision):
            features = self.method.features(
                image.to(self.device), sizes=torch.tensor([picture.size])
            )
            [found] = self.method.find_instances(features, self.supports, [picture.size])
        synchronize(self.device)
        seconds = time.perf_counter() - start
        objects = records_of(found, picture.image_id, self.categories)
        return {"item": item_name(picture), "seconds": round(seconds, 4), "objects": objects}


def find_all(
    learn: Callable[[], InstanceFinder],
    pictures: Sequence[TestedPicture],
    log: ItemLog,
    processes: Processes,
    workers: int,
    title: str,
) -> dict[str, Record]:
    """Look for objects in all pictures that the log does not have yet.

    Args:
        learn: called where this process has any to do.
        workers: processes that read pictures, beside this one.

    Returns:
        The records of all pictures, in the main process; nothing in the others.
    """
    named = {item_name(picture): picture for picture in pictures}
    mine = [named[name] for name in log.share_left(list(named), processes)]
    if mine:
        finder = learn()
        data = TestedPictures(mine, finder.method.instance_geometry)
        loader = DataLoader(data, batch_size=None, num_workers=workers)
        bar = tqdm(loader, title, unit="image", disable=not processes.is_main, leave=False)
        for opened in bar:
            log.append([finder.find(opened)])
    processes.wait()
    return log.join() if processes.is_main else {}


def score(benchmark: FewShotInstances, records: Mapping[str, Record]) -> dict[str, Any]:
    """What `results.json` says of one draw, in percent."""
    found = [one for name in sorted(records) for one in records[name]["objects"]]
    names = dict(zip(benchmark.categories, benchmark.class_names, strict=True))
    seconds = mean(record["seconds"] for record in records.values())
    results: dict[str, Any] = {"seconds_per_image": round(seconds, 4)}
    for kind in KINDS:
        scores = average_precision(benchmark.truth, found, kind)
        results[kind] = {
            **asdict(AveragePrecision.mean(scores.values())),
            "per_class": {names[category]: one.ap for category, one in scores.items()},
        }
    return results


def summarise(draws: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The mean over draws of each number, and its deviation (of a sample) where there are two."""
    results: dict[str, Any] = {}
    for kind in KINDS:
        numbers = ("ap", "ap50", "ap75")
        columns = {name: [draw[kind][name] for draw in draws] for name in numbers}
        classes = draws[0][kind]["per_class"]
        results[kind] = {
            **{name: mean(values) for name, values in columns.items()},
            "deviation": {n: stdev(v) if len(v) > 1 else None for n, v in columns.items()},
            "per_class": {c: mean(draw[kind]["per_class"][c] for draw in draws) for c in classes},
        }
    return results
