"""Which sprite each layer shows: by least squared error, greedily or exhaustively.

Convention
----------
Candidates are K sprites for each of L layers as they would be drawn: ``color``
(B, L, K, C, P) and ``alpha`` (B, L, K, P), pixels flattened; ``gain``: a candidate's
color may be multiplied by the factor per channel that fits best. ``behind`` (B, C, P)
lies behind all layers; ``over`` (B, L, L), in [0, 1] and zero on the diagonal, is how
much layer i hides layer j. A choice (B, L) is a sprite for each layer, K for an empty
one. The composite is

    prod_j (1 - alpha_j) behind + sum_l prod_j (1 - over_jl alpha_j) alpha_l color_l

and its objective the squared error, summed over the image, plus `penalty` for each
layer that is not empty. Source: DTI-Sprites (Monnier et al., 2021), section 3.3, whose
selection is :func:`greedy`; but with the other layers fixed the composite is affine in
what a layer draws, so that no candidate needs a composite of its own.
"""

from typing import NamedTuple

import torch
from torch import Tensor

GAIN_RIDGE = 1e-2  # squared pixels: the gain of what is hardly seen goes to zero
COMBINATIONS = 4096  # composites in memory at once


class Candidates(NamedTuple):
    """What layers could show, see the convention; ``gain``: whether gains are free."""

    color: Tensor
    alpha: Tensor
    gain: bool = False


class Stage(NamedTuple):
    """What candidates are judged by: ``target`` and ``behind`` (B, C, P), ``over``."""

    target: Tensor
    behind: Tensor
    over: Tensor


class Surroundings(NamedTuple):
    """A scene without one layer: the composite is ``base + alpha (free color - out)``.

    ``base`` and ``out`` (B, C, P), ``free`` (B, P): what the other layers show, what of
    it the layer hides, and the share of each pixel in which they leave it seen.
    """

    base: Tensor
    out: Tensor
    free: Tensor


def composed(color: Tensor, alpha: Tensor, stage: Stage) -> Tensor:
    """The composite (B, C, P) of layers ``color`` (B, L, C, P), ``alpha`` (B, L, P)."""
    shown = shown_share(alpha, stage.over)[:, :, None] * color
    clear = (1 - alpha).prod(1)[:, None]
    return shown.sum(1) + clear * stage.behind


def surroundings(
    color: Tensor, alpha: Tensor, stage: Stage, layer: int
) -> Surroundings:
    """What layers (B, L, C, P) around one of them make of the scene."""
    others = alpha.clone()
    others[:, layer] = 0
    shown = shown_share(others, stage.over)[:, :, None] * color
    clear = (1 - others).prod(1)[:, None] * stage.behind
    hidden = stage.over[:, layer, :, None, None]
    above = stage.over[:, :, layer, None]
    free = (1 - above * others).prod(1)
    return Surroundings(shown.sum(1) + clear, (hidden * shown).sum(1) + clear, free)


def shown_share(alpha: Tensor, over: Tensor) -> Tensor:
    """Share of each pixel that shows each layer, (B, L, P)."""
    free = torch.ones_like(alpha)
    for j in range(alpha.shape[1]):
        free = free * (1 - over[:, j, :, None] * alpha[:, j, None])
    return free * alpha


def candidate_errors(
    color: Tensor, alpha: Tensor, gain: bool, around: Surroundings, target: Tensor
) -> tuple[Tensor, Tensor]:
    """Squared errors (B, K) of one layer's candidates, and their gains (B, K, C)."""
    wanted = (target - around.base)[:, None] + alpha[:, :, None] * around.out[:, None]
    drawn = (alpha * around.free[:, None])[:, :, None] * color
    gains = torch.ones_like(drawn[..., 0])
    if gain:
        fit = (drawn * wanted).sum(-1) / (drawn.square().sum(-1) + GAIN_RIDGE)
        gains = fit.clamp_min(0)
    left = torch.addcmul(wanted, drawn, gains[..., None], value=-1)
    return left.square().sum((2, 3)), gains


@torch.no_grad()
def greedy(
    candidates: Candidates,
    stage: Stage,
    penalty: float,
    sweeps: int,
    may_be_empty: bool = True,
) -> Tensor:
    """Choose for one layer after the other, the rest fixed, `sweeps` times: (B, L).

    All layers are empty at first. A sweep that changes nothing is the last one.
    """
    color, alpha = candidates.color, candidates.alpha
    b, n_layers, k = alpha.shape[:3]
    choice = torch.full((b, n_layers), k, dtype=torch.int64, device=alpha.device)
    now = torch.zeros_like(color[:, :, 0]), torch.zeros_like(alpha[:, :, 0])
    for _ in range(sweeps):
        before = choice.clone()
        for layer in range(n_layers):
            around = surroundings(*now, stage, layer)
            errors, gains = candidate_errors(
                color[:, layer], alpha[:, layer], candidates.gain, around, stage.target
            )
            errors = errors + penalty
            if may_be_empty:
                empty = (stage.target - around.base).square().sum((1, 2))
                errors = torch.cat([errors, empty[:, None]], 1)
            best = errors.argmin(1)
            choice[:, layer] = best
            _put(now, candidates, layer, best, gains)
        if not choice.is_cuda and torch.equal(choice, before):  # a GPU would wait
            break
    return choice


def _put(
    now: tuple[Tensor, Tensor],
    candidates: Candidates,
    layer: int,
    best: Tensor,
    gains: Tensor,
) -> None:
    """Layer `layer` shows candidate `best` (B,) from now on, the last is empty."""
    color, alpha = now
    rows = torch.arange(len(best), device=best.device)
    k = best.clamp_max(candidates.alpha.shape[2] - 1)
    color[:, layer] = candidates.color[rows, layer, k] * gains[rows, k][..., None]
    shown = (best == k).to(alpha)[:, None]
    alpha[:, layer] = candidates.alpha[rows, layer, k] * shown


@torch.no_grad()
def exhaustive(
    candidates: Candidates, stage: Stage, penalty: float, may_be_empty: bool = True
) -> Tensor:
    """The best of all choices, (B, L); the number of composites is (K + 1)^L.

    Gains are not free: every candidate is drawn as it is.
    """
    if candidates.gain:
        raise ValueError("all combinations are tried with fixed gains only")
    color = _with_empty(candidates.color) if may_be_empty else candidates.color
    alpha = _with_empty(candidates.alpha) if may_be_empty else candidates.alpha
    n_layers, k = candidates.alpha.shape[1:3]
    each = torch.arange(alpha.shape[2], device=alpha.device)
    choices = torch.cartesian_prod(*[each] * n_layers).view(-1, n_layers)
    layers = torch.arange(n_layers, device=alpha.device)
    best, found = alpha.new_full((len(alpha),), torch.inf), None
    for some in choices.split(max(1, COMBINATIONS // len(alpha))):
        pictures = composed(
            color[:, layers, some].flatten(0, 1),
            alpha[:, layers, some].flatten(0, 1),
            Stage(*(part.repeat_interleave(len(some), 0) for part in stage)),
        )
        errors = (
            pictures.unflatten(0, (len(alpha), -1)) - stage.target[:, None]
        ).square()
        objective = errors.sum((2, 3)) + penalty * (some < k).sum(1)
        least, index = objective.min(1)
        found = some[index] if found is None else found
        found = torch.where((least < best)[:, None], some[index], found)
        best = torch.minimum(best, least)
    assert found is not None, "there is at least one choice"
    return found


def _with_empty(values: Tensor) -> Tensor:
    """Candidates (B, L, K, ...) and one more that draws nothing."""
    return torch.cat([values, torch.zeros_like(values[:, :, :1])], 2)
