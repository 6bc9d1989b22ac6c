"""Gains and biases per channel: applied, and solved by least squares.

Convention
----------
Color parameters are ``(m, C, 2)`` holding ``(gain - 1, bias)``, so that zeros change
nothing, exactly. Images are ``(m, C, P)`` with pixels flattened. Solved parameters
minimise the mean squared error plus a weak pull towards no change.
"""

import torch
from torch import Tensor

from sklearn_sprites._engine.ops.constants import constant
from sklearn_sprites._engine.ops.linear import solve_symmetric

NO_CHANGE = (1.0, 0.0)  # gain and bias
RIDGE = 1e-3  # variance, in squared model units, below which gains stay at one


def apply_color(images: Tensor, params: Tensor) -> Tensor:
    """``(1 + w) x + b`` per channel."""
    gain, bias = params.unbind(-1)
    return torch.addcmul(images + bias[..., None], images, gain[..., None])


def solve_color(
    drawn: Tensor, target: Tensor, weight: Tensor | None = None, *, with_bias: bool
) -> Tensor:
    """Gain and bias that bring `drawn` closest to `target`, (m, C, 2).

    `weight` (m, 1, P), where given, sums to one over the pixels.
    """
    if weight is None:
        weight = drawn.new_full((1, 1, 1), 1 / drawn.shape[-1])
    weighted = weight * drawn
    if not with_bias:
        over = (weighted * (target - drawn)).sum(-1)
        gain = over / ((weighted * drawn).sum(-1) + RIDGE)
        return torch.stack([gain, torch.zeros_like(gain)], -1)
    mean_drawn, mean_target = weighted.sum(-1), (weight * target).sum(-1)
    variance = (weighted * drawn).sum(-1) - mean_drawn.square()
    covariance = (weighted * target).sum(-1) - mean_drawn * mean_target
    gain = (covariance - variance) / (variance.clamp_min(0) + RIDGE)
    bias = mean_target - (1 + gain) * mean_drawn
    return torch.stack([gain, bias], -1)


@torch.no_grad()
def solve_layers(
    appearances: list[Tensor],
    weights: list[Tensor],
    freedoms: list[int],
    target: Tensor,
) -> list[Tensor]:
    """Colors of all layers of a composite at once.

    The composite ``sum_l weight_l (g_l appearance_l + b_l)`` is linear in its gains and
    biases. Appearances and target are (m, C, P), weights (m, 1, P) the share of each
    layer in each pixel. A layer's freedom is 0 (colors fixed), 1 (gain) or 2 (gain and
    bias). Returns (m, C, 2) for every layer, without gradients: at the optimum the
    error does not change with the colors to first order.
    """
    if not any(freedoms):
        return [target.new_zeros((*target.shape[:2], 2)) for _ in freedoms]
    found = _solve(_products(appearances, weights, target), freedoms)
    prior = constant(NO_CHANGE, found)
    return [layer - prior for layer in found.unflatten(-1, (-1, 2)).unbind(-2)]


@torch.no_grad()
def layered_errors(
    appearances: list[Tensor],
    weights: list[Tensor],
    freedoms: list[int],
    target: Tensor,
) -> Tensor:
    """Squared errors (m,), summed over an image, of composites in their best colors.

    What composing the layers in :func:`solve_layers`' colors would leave, but for
    rounding, from scalar products alone.
    """
    products = _products(appearances, weights, target)
    found = _solve(products, freedoms)
    gram, right = products[..., :-1, :-1], products[..., :-1, -1]
    explained = (2 * right - (gram @ found[..., None])[..., 0]) * found
    left = products[..., -1, -1] - explained.sum(-1)  # (m, C)
    return left.clamp_min(0).sum(-1) * target.shape[-1]


def _products(
    appearances: list[Tensor], weights: list[Tensor], target: Tensor
) -> Tensor:
    """Mean products, over pixels, of what each color multiplies and of the target.

    (m, C, 2 L + 1, 2 L + 1): gain and bias of each of L layers, then the target.
    """
    m, channels, pixels = target.shape
    planes = target.new_empty((m, channels, 2 * len(weights) + 1, pixels))
    for i, (appearance, weight) in enumerate(zip(appearances, weights, strict=True)):
        torch.mul(weight, appearance, out=planes[:, :, 2 * i])
        planes[:, :, 2 * i + 1] = weight
    planes[:, :, -1] = target
    return planes @ planes.mT / pixels


def _solve(products: Tensor, freedoms: list[int]) -> Tensor:
    """Gains and biases (m, C, 2 L) that leave least, given the products."""
    whole, device = constant(NO_CHANGE * len(freedoms), products), products.device
    if not any(freedoms):
        return whole.expand(*products.shape[:2], -1)
    free = torch.cat(
        [torch.arange(2 * i, 2 * i + n, device=device) for i, n in enumerate(freedoms)]
    )
    fixed = whole.index_fill(0, free, 0)
    gram, right = products[..., :-1, :-1], products[..., :-1, -1]
    right = right - gram @ fixed + RIDGE * whole
    gram = gram.index_select(-2, free).index_select(-1, free)
    gram = gram + RIDGE * torch.eye(len(free), dtype=gram.dtype, device=device)
    found = fixed.expand_as(right).clone()
    return found.index_copy_(
        -1, free, solve_symmetric(gram, right.index_select(-1, free))
    )
