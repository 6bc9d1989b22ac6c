"""Similarities as heads tell them: a direction, a shift and a log-scale.

Where things lie in any turn, a direction is never told exactly. Were the size of a
sprite its length, every inexact turn would be a wrong size too, which costs more than
no turn at all where things have a clear outline.
"""

import torch
from torch import Tensor

from sklearn_sprites._engine.spec import parameter_count

NAME = "similarity"
SHORTEST = 1e-3  # length of a direction, from which on it counts


def told_count(name: str, n_channels: int) -> int:
    """How many numbers a head tells for a transformation."""
    return parameter_count(name, n_channels) + (name == NAME)


def as_parameters(name: str, told: Tensor) -> Tensor:
    """Parameters (..., p) from what a head tells; zeros are the identity, exactly."""
    if name != NAME:
        return told
    right, up, *shift, size = told.unbind(-1)
    squared = (1 + right).square() + up.square()
    scale = size.exp() * squared.clamp_min(SHORTEST**2).rsqrt()
    return torch.stack([(1 + right) * scale - 1, up * scale, *shift], -1)
