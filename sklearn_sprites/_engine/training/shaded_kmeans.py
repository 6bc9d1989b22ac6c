"""First shaded sprites: windows clustered by how well a tinted sprite explains them.

As k-means, but a window's distance to a sprite is what is left of the window when the
sprite is drawn over the ground in its best pose and tint. Windows count by logarithms
of errors, relative to their own contrast, the likelihood when each has a noise level
of its own: otherwise a few bright objects would have all sprites, and windows that no
sprite can explain, such as two objects in one, would pull on them.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.layers import PLAIN
from sklearn_sprites._engine.training.components import Windows
from sklearn_sprites._engine.training.gauge import full_range, without_holes
from sklearn_sprites._engine.training.pose_kmeans import pose_grids
from sklearn_sprites._engine.training.splits import removal_costs

RESTARTS = 4
SPARES = 0.5  # more sprites than wanted at first, as a share of them
ROUNDS, BETWEEN, LAST = 6, 2, 4  # at first, after each that goes, and in the end
TRIES = 3  # windows among which each further seed is chosen
INNER = 3  # turns of tint, mask and appearance within a round
UNEXPLAINED = 0.03  # share of a window's energy that any sprite may leave
FAINT = 0.05  # squared error of a window that is nothing
BRIGHTEST = 0.97  # quantile of a sprite's ink that becomes one
RIDGE = 1e-2


class Seen(NamedTuple):
    """Windows less their ground (n, C, P), the ground (n, C, P), energies (n,).

    And whether a bias belongs to the tint of a sprite.
    """

    change: Tensor
    ground: Tensor
    energy: Tensor
    has_bias: bool = False


class Fit(NamedTuple):
    """Errors (n, K) of sprites in their best poses, and these poses (n, K)."""

    error: Tensor
    pose: Tensor


def seen_alone(windows: Windows, has_bias: bool = False) -> Seen:
    """Windows without what surrounds their object."""
    near = F.max_pool2d(windows.mask[:, None], 3, 1, 1)
    change = (near * (windows.image - windows.ground)).flatten(2)
    energy = change.square().sum((1, 2))
    return Seen(change, windows.ground.flatten(2), energy, has_bias)


def fit_windows(seen: Seen, sprites: Tensor, there: Tensor) -> Fit:
    """Draw sprites (K, 2, h, w) in all poses (P, h, w, 2) in each window.

    With ink s and mask m, a tint g leaves |y - g s|^2 per channel, y = change + m
    ground.
    """
    k, p = len(sprites), len(there)
    drawn = torch.cat(
        [
            F.grid_sample(s.expand(p, -1, -1, -1), there, align_corners=False)
            for s in sprites
        ]
    )
    ink, alpha = drawn.flatten(2).unbind(1)  # (K P, h w)
    both = (seen.change * seen.ground).sum(1)
    left = seen.energy[:, None] + 2 * both @ alpha.T
    left = left + seen.ground.square().sum(1) @ alpha.square().T
    explained = torch.zeros_like(left)
    for change, ground in zip(
        seen.change.unbind(1), seen.ground.unbind(1), strict=True
    ):
        along = change @ ink.T + ground @ (alpha * ink).T
        if seen.has_bias:
            level = change @ alpha.T + ground @ alpha.square().T
            explained += explained_by_both(along, level, ink, alpha)
        else:
            explained += along.clamp_min(0).square()
    power = 1.0 if seen.has_bias else ink.square().sum(1) + RIDGE
    left = left - explained / power
    return Fit(*left.view(-1, k, p).clamp_min(0).min(2))


def explained_by_both(
    along: Tensor, level: Tensor, ink: Tensor, alpha: Tensor
) -> Tensor:
    """What ink and mask (F, P) explain, by products (n, F) of windows with each."""
    inks, masks = ink.square().sum(1) + PLAIN, alpha.square().sum(1) + RIDGE
    mixed = (ink * alpha).sum(1)
    both = along.square() * masks - 2 * along * level * mixed + level.square() * inks
    return both / (inks * masks - mixed.square())


def solve_tints(
    target: Tensor, ink: Tensor, alpha: Tensor, has_bias: bool
) -> tuple[Tensor, Tensor]:
    """Gains and biases (n, C, 1, 1) in which a sprite comes closest to windows."""
    along, inks = (target * ink).sum((2, 3)), ink.square().sum()
    if not has_bias:
        tint = (along / (inks + RIDGE)).clamp_min(0)[..., None, None]
        return tint, torch.zeros_like(tint)
    level, masks = (target * alpha).sum((2, 3)), alpha.square().sum() + RIDGE
    inks, mixed = inks + PLAIN, (ink * alpha).sum()
    det = inks * masks - mixed.square()
    tint, bias = along * masks - level * mixed, level * inks - along * mixed
    return (tint / det)[..., None, None], (bias / det)[..., None, None]


def solve_sprite(
    change: Tensor, ground: Tensor, weight: Tensor, old: Tensor, has_bias: bool = False
) -> Tensor:
    """Ink and mask (2, h, w) of least squares over windows (n, C, h, w), weighted."""
    ink, alpha = old.unbind(0)
    shade = ink / alpha.clamp_min(0.05)
    weight = (weight / weight.mean())[:, None, None, None]
    for _ in range(INNER):
        target = change + alpha * ground
        tint, bias = solve_tints(target, ink, alpha, has_bias)
        contrast = tint * shade + bias - ground
        top = (weight * change * contrast).sum((0, 1))
        alpha = top / ((weight * contrast.square()).sum((0, 1)) + RIDGE)
        alpha = without_holes(alpha.clamp(0, 1)[None])[0]
        target = change + alpha * (ground - bias)
        top = (weight * target * tint).sum((0, 1)) * alpha
        power = (weight * tint.square()).sum() * alpha.square()
        shade = top / (power + RIDGE)
        if has_bias:
            shade = full_range(shade[None], alpha[None])[0]
        else:
            shade = shade.clamp_min(0)
            brightest = (shade * alpha).flatten().quantile(BRIGHTEST).clamp_min(0.1)
            shade = (shade / brightest).clamp(max=1)
        ink = shade * alpha
    return torch.stack([ink, alpha])


def from_windows(windows: Windows, has_bias: bool = False) -> Tensor:
    """Sprites (n, 2, h, w) that look as single windows do."""
    gray = windows.image.mean(1)
    if has_bias:
        shade = full_range(most_varied(windows), windows.mask)
        return torch.stack([shade * windows.mask, windows.mask], 1)
    top = (gray * windows.mask).flatten(1).quantile(BRIGHTEST, 1)
    shade = (gray / top.clamp_min(1e-3)[:, None, None]).clamp(0, 1)
    return torch.stack([shade * windows.mask, windows.mask], 1)


def most_varied(windows: Windows) -> Tensor:
    """The channel of each window that varies most inside its mask, (n, h, w)."""
    weight = windows.mask[:, None] / windows.mask.sum((1, 2)).clamp_min(1).view(
        -1, 1, 1, 1
    )
    mean = (weight * windows.image).sum((2, 3), keepdim=True)
    spread = (weight * (windows.image - mean).square()).sum((2, 3))
    return windows.image[torch.arange(len(spread)), spread.argmax(1)]


def shaded_kmeans(
    windows: Windows, k: int, spec: SceneSpec, draws: torch.Generator
) -> Tensor:
    """K sprites (K, 2, h, w), ink and mask, the best of some starts.

    Each starts with more sprites than wanted, and the one that is missed least goes,
    again and again: two kinds of objects that begin as one sprite would stay together.
    """
    seen = seen_alone(windows, spec.has_bias)
    there, back = pose_grids(spec, windows.mask)
    first = windows.take(torch.zeros(k).long())
    best, least = from_windows(first, spec.has_bias), math.inf
    many = max(min(k + math.ceil(SPARES * k), len(windows)), k)
    for _ in range(RESTARTS if len(windows) > k else 1):
        sprites = _seeds(windows, seen, many, there, draws)
        sprites = _improved(seen, sprites, there, back, ROUNDS)
        while len(sprites) > k:
            missed = removal_costs(_log_errors(seen, sprites, there))
            stay = torch.arange(len(sprites), device=missed.device) != missed.argmin()
            sprites = _improved(seen, sprites[stay], there, back, BETWEEN)
        sprites = _improved(seen, sprites, there, back, LAST)
        loss = float(_log_errors(seen, sprites, there).amin(1).mean())
        if loss < least:
            best, least = sprites, loss
    return best


def _log_errors(seen: Seen, sprites: Tensor, there: Tensor) -> Tensor:
    """Logarithms (n, K) of the share of windows that sprites leave."""
    left = fit_windows(seen, sprites, there).error / (seen.energy + FAINT)[:, None]
    return (left + UNEXPLAINED).log()


def _improved(
    seen: Seen, sprites: Tensor, there: Tensor, back: Tensor, rounds: int
) -> Tensor:
    """Sprites after some rounds."""
    for _ in range(rounds):
        found = fit_windows(seen, sprites, there)
        error, label = found.error.min(1)
        weight = 1 / (error + UNEXPLAINED * seen.energy + FAINT)
        pose = found.pose.gather(1, label[:, None])[:, 0]
        sprites = _solved(seen, sprites, label, weight, back[pose])
    return sprites


def _solved(
    seen: Seen, sprites: Tensor, label: Tensor, weight: Tensor, turned: Tensor
) -> Tensor:
    sides = sprites.shape[2:]
    solved = []
    for j, old in enumerate(sprites):
        mine = (label == j).nonzero()[:, 0]
        if not len(mine):
            solved.append(old)
            continue
        maps = torch.cat([seen.change[mine], seen.ground[mine]], 1).unflatten(2, sides)
        maps = F.grid_sample(maps, turned[mine], align_corners=False)
        change, ground = maps.chunk(2, 1)
        solved.append(solve_sprite(change, ground, weight[mine], old, seen.has_bias))
    return torch.stack(solved)


def _seeds(
    windows: Windows, seen: Seen, k: int, there: Tensor, draws: torch.Generator
) -> Tensor:
    """Windows far from each other, as in k-means++."""
    weight = 1 / (seen.energy + 0.3 * seen.energy.median() + FAINT)
    chosen = [int(torch.randint(len(windows), (1,), generator=draws))]
    nearest = torch.full_like(weight, math.inf)
    while True:
        last = from_windows(windows.take(torch.tensor(chosen[-1:])), seen.has_bias)
        nearest = torch.minimum(nearest, fit_windows(seen, last, there).error[:, 0])
        if len(chosen) == k:
            return from_windows(windows.take(torch.tensor(chosen)), seen.has_bias)
        chance = (nearest * weight).double().cpu() + 1e-12
        count = min(TRIES, len(windows))
        tried = torch.multinomial(chance, count, generator=draws)
        sprites = from_windows(windows.take(tried), seen.has_bias)
        each = fit_windows(seen, sprites, there).error
        totals = (torch.minimum(each, nearest[:, None]) * weight[:, None]).sum(0)
        chosen.append(int(tried[totals.argmin()]))
