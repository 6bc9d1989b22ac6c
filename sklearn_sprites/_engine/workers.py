"""Batches side by side: several threads, each of which computes on one core.

Operations on a batch are too small to be shared by cores: half of the time they would
wait for each other. Whole batches are not.
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

    On a CPU as many threads work as torch may use; elsewhere, or where torch may use
    one, all is done here. `function` draws nothing at random, and must do the same on
    one core as on several. An exception ends all.
    """
    n_threads = min(torch.get_num_threads(), len(items))
    if n_threads < 2 or not device.startswith("cpu"):
        with torch.no_grad():
            return [function(item) for item in items]
    before = torch.get_num_threads()

    @torch.no_grad()
    def work(item: Item) -> Result:
        return function(item)

    pool = ThreadPoolExecutor(n_threads, initializer=_on_one_core)
    try:
        return list(pool.map(work, items))
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)  # what threads to come begin with


def _on_one_core() -> None:
    """For the calling thread alone, but that others begin with the same."""
    torch.set_num_threads(1)
