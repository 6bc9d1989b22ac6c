"""Gains and biases per channel: applied, and solved by least squares.

Convention
----------
Color parameters are ``(m, C, 2)`` holding ``(gain - 1, bias)``, so that zeros change
nothing, exactly. Images are ``(m, C, P)`` with pixels flattened. Solved parameters
minimise the mean squared error plus a weak pull towards no change.
"""

from collections.abc import Sequence
from enum import IntEnum

import torch
from torch import Tensor
from torch.nn.functional import pad

from sklearn_sprites._engine.ops.constants import constant, places
from sklearn_sprites._engine.ops.linear import solve_symmetric


class Freedom(IntEnum):
    """What is solved of colors.

    Nothing; a gain, or a gain and a bias, per channel; or one of each for all channels.
    Tied, they are solved per channel, and drawn to their means over channels, and
    biases to zero.
    """

    NONE = 0
    GAIN = 1
    FULL = 2
    LIGHT = 3
    TIED = 4


#: By the name of a transformation of colors.
FREEDOMS = {
    None: Freedom.NONE,
    "linear_color": Freedom.GAIN,
    "color": Freedom.FULL,
    "light": Freedom.LIGHT,
}
NO_CHANGE = (1.0, 0.0)  # gain and bias
RIDGE = 1e-3  # variance, in squared model units, below which gains stay at one
TIE = 0.03  # mean squared error that a squared distance from a tied mean is worth,
PULL = 0.03  # and the square of a tied bias


def apply_color(images: Tensor, params: Tensor) -> Tensor:
    """``(1 + w) x + b`` per channel."""
    gain, bias = params.unbind(-1)
    return torch.addcmul(images + bias[..., None], images, gain[..., None])


def solve_color(
    drawn: Tensor, target: Tensor, weight: Tensor | None = None, *, freedom: int
) -> Tensor:
    """Gain and bias that bring `drawn` closest to `target`, (m, C, 2).

    `weight` (m, 1, P), where given, sums to one over the pixels.
    """
    if freedom == Freedom.LIGHT:
        channels = drawn.shape[1]
        if weight is not None:
            weight = weight.repeat(1, 1, channels) / channels
        as_one = as_one_channel(drawn), as_one_channel(target)
        found = solve_color(*as_one, weight, freedom=Freedom.FULL)
        return found.expand(-1, channels, -1)
    if weight is None:
        weight = drawn.new_full((1, 1, 1), 1 / drawn.shape[-1])
    weighted = weight * drawn
    if freedom == Freedom.GAIN:
        over = (weighted * (target - drawn)).sum(-1)
        gain = over / ((weighted * drawn).sum(-1) + RIDGE)
        return torch.stack([gain, torch.zeros_like(gain)], -1)
    mean_drawn, mean_target = weighted.sum(-1), (weight * target).sum(-1)
    variance = (weighted * drawn).sum(-1) - mean_drawn.square()
    covariance = (weighted * target).sum(-1) - mean_drawn * mean_target
    gain = best_gain(variance, covariance)
    bias = mean_target - (1 + gain) * mean_drawn
    return torch.stack([gain, bias], -1)


def best_gain(power: Tensor, product: Tensor) -> Tensor:
    """Gains, less one, from what is drawn, times itself and times the target."""
    return (product - power) / (power.clamp_min(0) + RIDGE)


def as_one_channel(images: Tensor) -> Tensor:
    """Images (m, C, P) as (m, 1, C P): colors that all channels share are solved so."""
    return images.flatten(1)[:, None]


@torch.no_grad()
def solve_layers(
    appearances: list[Tensor],
    weights: list[Tensor],
    freedoms: Sequence[int],
    target: Tensor,
    pixels: Tensor | None = None,
) -> list[Tensor]:
    """Colors of all layers of a composite at once.

    The composite ``sum_l weight_l (g_l appearance_l + b_l)`` is linear in its gains and
    biases. Appearances and target are (m, C, P), weights (m, 1, P) the share of each
    layer in each pixel. Freedoms are those of :class:`Freedom`; `pixels` (P,), one on
    average, is what squared errors there count. Returns (m, C, 2) for every layer,
    without gradients: at the optimum the error does not change with the colors to first
    order.
    """
    if not any(freedoms):
        return [target.new_zeros((*target.shape[:2], 2)) for _ in freedoms]
    found = _solve(_products(appearances, weights, target, pixels), freedoms)
    prior = constant(NO_CHANGE, found)
    return [layer - prior for layer in found.unflatten(-1, (-1, 2)).unbind(-2)]


@torch.no_grad()
def layered_errors(
    appearances: list[Tensor],
    weights: list[Tensor],
    freedoms: Sequence[int],
    target: Tensor,
    pixels: Tensor | None = None,
    *,
    is_priced: bool = False,
) -> Tensor:
    """Squared errors (m,), summed over an image, of composites in their best colors.

    What composing the layers in :func:`solve_layers`' colors would leave, but for
    rounding, from scalar products alone. If priced, with what ties cost.
    """
    products = _products(appearances, weights, target, pixels)
    found = _solve(products, freedoms)
    gram, right = products[..., :-1, :-1], products[..., :-1, -1]
    explained = (2 * right - (gram @ found[..., None])[..., 0]) * found
    left = products[..., -1, -1] - explained.sum(-1)  # (m, C)
    left = left.clamp_min(0).sum(-1)
    if is_priced:
        left = left + _price(found, freedoms)
    return left * target.shape[-1]


def _price(found: Tensor, freedoms: Sequence[int]) -> Tensor:
    """What it costs that tied gains and biases (m, C, 2 L) are as they are, (m,)."""
    price = found.new_zeros(len(found))
    colors = found.unflatten(-1, (-1, 2)).unbind(-2)
    for color, freedom in zip(colors, freedoms, strict=True):
        if freedom == Freedom.TIED:
            apart = color - color.mean(-2, keepdim=True)
            price = price + TIE * apart.square().flatten(1).sum(1)
            price = price + PULL * color[..., 1].square().sum(1)
    return price


def _products(
    appearances: list[Tensor],
    weights: list[Tensor],
    target: Tensor,
    pixels: Tensor | None,
) -> Tensor:
    """Mean products, over pixels, of what each color multiplies and of the target.

    (m, C, 2 L + 1, 2 L + 1): gain and bias of each of L layers, then the target.
    """
    m, channels, n_pixels = target.shape
    planes = target.new_empty((m, channels, 2 * len(weights) + 1, n_pixels))
    for i, (appearance, weight) in enumerate(zip(appearances, weights, strict=True)):
        torch.mul(weight, appearance, out=planes[:, :, 2 * i])
        planes[:, :, 2 * i + 1] = weight
    planes[:, :, -1] = target
    if pixels is not None:
        planes *= pixels.sqrt()
    return planes @ planes.mT / n_pixels


def _solve(products: Tensor, freedoms: Sequence[int]) -> Tensor:
    """Gains and biases (m, C, 2 L) that leave least, given the products."""
    whole = constant(NO_CHANGE * len(freedoms), products)
    if not any(freedoms):
        return whole.expand(*products.shape[:2], -1)
    free = places(free_terms(freedoms), products)
    fixed = whole.index_fill(0, free, 0)
    gram, right = products[..., :-1, :-1], products[..., :-1, -1]
    pulls = pulls_of(freedoms, products)
    right = right - gram @ fixed + pulls * whole
    gram = gram.index_select(-2, free).index_select(-1, free)
    gram = gram + pulls.index_select(-1, free).diag()
    found = fixed.expand_as(right).clone()
    solved = solve_channels(gram, right.index_select(-1, free), freedoms)
    return found.index_copy_(-1, free, solved)


def pulls_of(freedoms: Sequence[int], like: Tensor) -> Tensor:
    """How strongly the layers' gains and biases, in turn, are drawn to no change."""
    pulls = [(RIDGE, RIDGE + PULL * (f == Freedom.TIED)) for f in freedoms]
    return constant((pull for pair in pulls for pull in pair), like)


def free_terms(freedoms: Sequence[int]) -> list[int]:
    """Which of the layers' gains and biases, in turn, are to be solved."""
    counts = [min(freedom, Freedom.FULL) for freedom in freedoms]
    return [2 * i + j for i, count in enumerate(counts) for j in range(count)]


def solve_channels(gram: Tensor, right: Tensor, freedoms: Sequence[int]) -> Tensor:
    """Solve for the free terms of all channels, some of which may share theirs.

    gram (..., C, n, n) and right (..., C, n); the result is like `right`. What layers
    in one :attr:`Freedom.LIGHT` share, and the means that ties draw to, is solved
    first, with all the rest eliminated channel by channel.
    """
    whose = [freedoms[i // 2] for i in free_terms(freedoms)]
    is_shared = [freedom == Freedom.LIGHT for freedom in whose]
    tied = [i for i, freedom in enumerate(whose) if freedom == Freedom.TIED]
    if tied:
        gram, right = _with_means(gram, right, tied)
        is_shared += [True] * len(tied)
    if not any(is_shared):
        return solve_symmetric(gram, right)
    return _solve_shared(gram, right, is_shared)[..., : len(whose)]


def _with_means(gram: Tensor, right: Tensor, tied: list[int]) -> tuple[Tensor, Tensor]:
    """The systems with one more term for each tied one, at a price on their distance.

    Solved for as terms that channels share, these are the means.
    """
    n, s = right.shape[-1], len(tied)
    eye = torch.eye(n + s, dtype=gram.dtype, device=gram.device)
    apart = eye.index_select(0, places(tied, gram)) - eye[n:]  # (s, n + s)
    return pad(gram, (0, s, 0, s)) + TIE * apart.mT @ apart, pad(right, (0, s))


def _solve_shared(gram: Tensor, right: Tensor, is_shared: list[bool]) -> Tensor:
    """Solve for the terms of all channels, some of which are one for all of them."""
    ours = places((i for i, shared in enumerate(is_shared) if shared), gram)
    rows = gram.index_select(-2, ours)
    matrix, seen = rows.index_select(-1, ours), right.index_select(-1, ours)
    found = torch.empty_like(right)
    if all(is_shared):
        shared = solve_symmetric(matrix.sum(-3), seen.sum(-2))
        return found.copy_(shared[..., None, :])
    own = places((i for i, shared in enumerate(is_shared) if not shared), gram)
    between = rows.index_select(-1, own)  # (..., C, shared, own)
    alone = gram.index_select(-2, own).index_select(-1, own)
    moved = solve_symmetric(alone[..., None, :, :], between)
    rest = solve_symmetric(alone, right.index_select(-1, own))
    matrix = matrix - (between[..., :, None, :] * moved[..., None, :, :]).sum(-1)
    seen = seen - (between * rest[..., None, :]).sum(-1)
    shared = solve_symmetric(matrix.sum(-3), seen.sum(-2))[..., None, :]
    found.index_copy_(-1, ours, shared.expand_as(seen))
    return found.index_copy_(-1, own, rest - (shared[..., None] * moved).sum(-2))
