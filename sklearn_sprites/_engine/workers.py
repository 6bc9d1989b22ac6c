"""How many cores work on a batch, and batches side by side.

Operations on a batch are too small to be shared by cores: half of the time they would
wait for each other. Whole batches are not. Some operations, long products above all,
also give other bits on two cores than on one, so on a CPU a batch always has one.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")

GRAIN = 32_768  # values of an operation that torch begins to share among threads


class _Blocks(threading.local):
    """How many blocks of :func:`one_core` this thread is in."""

    depth = 0


_mine = _Blocks()
_usual: list[int] = []  # for each block that runs, what threads had before all of them
_lock = threading.Lock()


@contextmanager
def one_core() -> Iterator[None]:
    """What this thread computes inside takes one core.

    torch has one count for threads to come, so fits that run at the same time see each
    other's: the first one that comes knows what the last one that goes leaves.
    """
    with _lock:
        only_others = bool(_usual) and not _mine.depth
        before = _usual[0] if only_others else torch.get_num_threads()
        _usual.append(_usual[0] if _usual else before)
        _mine.depth += 1
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _lock:
            _mine.depth -= 1
            usual = _usual.pop()
            torch.set_num_threads(before if _usual else usual)


def side_by_side(
    function: Callable[[Item], Result], items: Sequence[Item], device: str
) -> list[Result]:
    """`function` of each item, in their order, without gradients.

    On a CPU as many threads work as torch may use, each on one core; on other devices a
    single one does. The caller's is one of them: memory that it has given back can be
    used again by no other. `function` draws nothing at random. An exception ends all;
    of several, the one of the first item is raised.
    """
    most = torch.get_num_threads() if device.startswith("cpu") else 1
    n_threads = min(most, len(items))
    waiting = deque(enumerate(items))
    found: dict[int, Result] = {}
    errors: dict[int, Exception] = {}

    @torch.no_grad()
    def work() -> None:
        with one_core():
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

    with ThreadPoolExecutor(max(n_threads - 1, 1)) as pool:
        helpers = [pool.submit(work) for _ in range(n_threads - 1)]
        try:
            work()
        finally:
            waiting.clear()
        for helper in helpers:
            helper.result()
    if errors:
        raise errors[min(errors)]
    return [found[place] for place in range(len(items))]
