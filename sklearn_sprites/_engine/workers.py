"""Batches side by side: several threads, each of which computes on one core.

Operations on a batch are too small to be shared by cores: half of the time they would
wait for each other. Whole batches are not. Some operations, long products above all,
also give other bits on two cores than on one, so on a CPU a batch always has one.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def side_by_side(
    function: Callable[[Item], Result], items: Sequence[Item], device: str
) -> list[Result]:
    """`function` of each item, in their order, without gradients.

    On a CPU as many threads work as torch may use, each on one core; where it is a
    single one, that is the caller's, as on other devices. `function` draws nothing at
    random. An exception ends all.
    """
    before = torch.get_num_threads()
    n_threads = min(before, len(items)) if device.startswith("cpu") else 1

    @torch.no_grad()
    def work(item: Item) -> Result:
        return function(item)

    try:
        if n_threads < 2:
            _on_one_core()
            return [work(item) for item in items]
        with ThreadPoolExecutor(n_threads, initializer=_on_one_core) as pool:
            try:
                return list(pool.map(work, items))
            finally:
                pool.shutdown(cancel_futures=True)
    finally:
        torch.set_num_threads(before)  # what threads to come begin with


def _on_one_core() -> None:
    """For the calling thread alone, but that others begin with the same."""
    torch.set_num_threads(1)
