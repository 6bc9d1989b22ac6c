"""Numbers on a device that has never seen them."""

from collections.abc import Iterable

import torch
from torch import Tensor


def constant(values: Iterable[float], like: Tensor) -> Tensor:
    """`values` in a row, (n,), of the type and on the device of another tensor.

    Made there one by one: a GPU would be waited for if they were sent.
    """
    return torch.cat([like.new_full((1,), value) for value in values])


def places(index: Iterable[int], like: Tensor) -> Tensor:
    """An index, (n,), on the device of another tensor, made there likewise."""
    every = [torch.arange(i, i + 1, device=like.device) for i in index]
    return torch.cat(every)
