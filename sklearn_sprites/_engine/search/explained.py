"""What candidates leave of an image in the colors that explain most."""

from typing import NamedTuple

import torch
from torch import Tensor

from sklearn_sprites._engine.search.biases import explained_with_bias


class Terms(NamedTuple):
    """Products over channels, (B, N, P), of what a change of a layer's pose does.

    With ink I and alpha A, a layer shows ``c I`` before ``(1 - A) b``, in colors c
    before b; r is what is left of the image: ``cc`` is c . c, ``cr`` is c . r, ...
    """

    cc: Tensor
    cb: Tensor
    bb: Tensor
    cr: Tensor
    br: Tensor


def explained(
    both: Tensor,
    sums: tuple[Tensor, Tensor, Tensor],
    alpha: Tensor,
    ink: Tensor,
    weight: Tensor,
    has_bias: bool = False,
) -> tuple[Tensor, Terms]:
    """What candidates leave in their best colors; `sums` are :func:`products`."""
    rr, rb, bb = sums
    if has_bias:
        error, terms = explained_with_bias(both, alpha, ink, weight)
        return error, Terms(*terms)
    color, cr, cb = solved(both, alpha, ink, weight)
    cc = color.square().sum(2, keepdim=True)
    # what is left is r + alpha b - ink c
    left_c, left_b = cr + alpha * cb - ink * cc, rb + alpha * bb - ink * cb
    error = rr + alpha * (rb + left_b) - ink * (cr + left_c)
    return error.clamp_min(0), Terms(cc, cb, bb, left_c, left_b)


def products(both: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Over channels: of the residual with itself, with what is below, of the latter."""
    r, b = both.chunk(2, 2)
    return r.square().sum(2), (r * b).sum(2), b.square().sum(2)


def solved(
    both: Tensor, alpha: Tensor, ink: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Colors (B, N, C) that explain most, times the residual and what is below."""
    heavy = weight * ink
    parts = torch.stack([heavy, heavy * alpha], 2) @ both.mT
    r, b = parts.chunk(2, 3)
    power = (heavy * ink).sum(2).clamp_min(1e-3)
    color = (r[:, :, 0] + b[:, :, 1]) / power[..., None]
    nothing = torch.zeros_like(color)
    pairs = torch.cat([color, nothing, nothing, color], 2).unflatten(2, (2, -1))
    cr, cb = (pairs @ both).unbind(2)
    return color, cr, cb
