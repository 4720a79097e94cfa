"""Work shared by processes, with a progress bar."""

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
Result = TypeVar("Result")


def parallel_map(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    workers: int | None = None,
    description: str,
) -> list[Result]:
    """Apply a module-level function to every item; results come in the order of the items.

    Args:
        workers: processes; 0 or 1 stays in this one, None takes one per processor.
        description: what the progress bar says.
    """
    workers = (os.cpu_count() or 1) if workers is None else workers
    bar = {"total": len(items), "desc": description, "mininterval": 0.5}
    if workers <= 1:
        return list(tqdm(map(function, items), **bar))
    context = multiprocessing.get_context("spawn")  # forking a process with threads can hang
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        chunk = max(1, min(64, len(items) // (4 * workers)))
        return list(tqdm(pool.map(function, items, chunksize=chunk), **bar))
