"""Gains and biases per channel: applied, and solved by least squares.

Convention
----------
Color parameters are ``(m, C, 2)`` holding ``(gain - 1, bias)``, so that zeros change
nothing, exactly. Images are ``(m, C, P)`` with pixels flattened. Solved parameters
minimise the mean squared error plus a weak pull towards no change.
"""

import torch
from torch import Tensor

from sklearn_sprites._engine.ops.linear import solve_symmetric

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
    bias). Returns (m, C, 2) for every layer.
    """
    terms, pull, fixed = [], [], torch.zeros_like(target)
    for appearance, weight, freedom in zip(appearances, weights, freedoms, strict=True):
        shown = weight * appearance
        if freedom == 0:
            fixed = fixed + shown
        else:
            terms.append(shown)
            pull.append(1.0)
        if freedom == 2:
            terms.append(weight.expand_as(appearance))
            pull.append(0.0)
    if not terms:
        return [target.new_zeros((*target.shape[:2], 2)) for _ in freedoms]
    basis = torch.stack(terms, 2)  # (m, C, q, P)
    prior = basis.new_tensor(pull)
    pixels = target.shape[-1]
    gram = basis @ basis.transpose(-1, -2) / pixels  # (m, C, q, q)
    right = (basis @ (target - fixed)[..., None])[..., 0] / pixels + RIDGE * prior
    gram = gram + RIDGE * torch.eye(len(pull), dtype=gram.dtype, device=gram.device)
    found = list((solve_symmetric(gram, right) - prior).unbind(-1))  # q x (m, C)
    solved = []
    for freedom in freedoms:
        mine = [found.pop(0) for _ in range(freedom)]
        mine += [target.new_zeros(target.shape[:2])] * (2 - freedom)
        solved.append(torch.stack(mine, -1))
    return solved
