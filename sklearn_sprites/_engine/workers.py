"""Batches side by side: several threads, each of which computes on one core.

Operations on a batch are too small to be shared by cores: half of the time they would
wait for each other. Whole batches are not. Some operations, long products above all,
also give other bits on two cores than on one, so on a CPU a batch always has one.
"""

from collections import deque
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

    On a CPU as many threads work as torch may use, each on one core; on other devices a
    single one does. The caller's is one of them: memory that it has given back can be
    used again by no other. `function` draws nothing at random. An exception ends all;
    of several, the one of the first item is raised.
    """
    before = torch.get_num_threads()
    n_threads = min(before, len(items)) if device.startswith("cpu") else 1
    waiting = deque(enumerate(items))
    found: dict[int, Result] = {}
    errors: dict[int, Exception] = {}

    @torch.no_grad()
    def work() -> None:
        torch.set_num_threads(1)  # for this thread; others begin with the same
        while waiting:
            try:
                place, item = waiting.popleft()
            except IndexError:  # another thread was quicker
                break
            try:
                found[place] = function(item)
            except Exception as error:
                errors[place] = error
                waiting.clear()

    try:
        with ThreadPoolExecutor(max(n_threads - 1, 1)) as pool:
            helpers = [pool.submit(work) for _ in range(n_threads - 1)]
            try:
                work()
            finally:
                waiting.clear()
            for helper in helpers:
                helper.result()
    finally:
        torch.set_num_threads(before)  # what threads to come begin with
    if errors:
        raise errors[min(errors)]
    return [found[place] for place in range(len(items))]
