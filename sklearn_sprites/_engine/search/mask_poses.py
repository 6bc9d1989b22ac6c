"""Poses of masks made continuous: :mod:`.refine` in fewer and smaller operations.

What a candidate of one color shows has a single contrast per pixel, k = c - b, so the
image that is left, r, enters by k . r and k . k alone; and the normal equations of
similarities follow from moments. The candidates that save least on the way are given
up.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from sklearn_sprites._engine.search.batches import take
from sklearn_sprites._engine.search.moments import (
    Window,
    draw_window,
    equations,
    frames,
    look,
    make_steps,
    moved,
    seen_through,
    slope_maps,
)
from sklearn_sprites._engine.search.peaks import NEVER, Candidates, Scene
from sklearn_sprites._engine.search.refine import FIRST_SCALE, Slopes

ROUNDS = 2  # evaluations after which half of the candidates are given up


class MaskViews(NamedTuple):
    """What candidates see through their windows, (M, ..., P).

    ``both`` (M, 7, P): the residual, what is below, and ones; ``products`` (M, 2, P):
    minus the product of these over channels, and what is below with itself; ``power``
    the residual with itself; ``free``; ``center`` (M, 2) of the windows.
    """

    both: Tensor
    products: Tensor
    power: Tensor
    free: Tensor
    center: Tensor


def cut_mask_views(scene: Scene, pose: Tensor, window: Window) -> MaskViews:
    """Windows around poses (B, N, 4), image by image: M = B N."""
    residual, below = scene.image - scene.below, scene.below
    maps = torch.cat(
        [
            residual,
            below,
            torch.ones_like(below[:, :1]),
            -(residual * below).sum(1, keepdim=True),
            below.square().sum(1, keepdim=True),
            residual.square().sum(1, keepdim=True),
            scene.free[:, None],
        ],
        1,
    )
    sight = look(window, pose.flatten(0, 1), *maps.shape[2:])
    seen = seen_through(maps.flatten(2), sight.places)  # (M, 2 C + 5, P)
    both, products, power, free = seen.split([maps.shape[1] - 4, 2, 1, 1], 1)
    return MaskViews(
        both, products, power[:, 0], free[:, 0] * sight.inside, sight.center
    )


def solved_contrast(
    views: MaskViews, alpha: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor]:
    """K . r and k . k (M, P) of the color that explains most with weights (M, P).

    r is the residual before the candidate is drawn.
    """
    c = (views.both.shape[1] - 1) // 2
    heavy = weight * alpha
    parts = torch.stack([heavy, heavy * alpha], 1) @ views.both.mT
    first, second = parts.unbind(1)
    color = (first[:, :c] + second[:, c:-1]) / second[:, -1:].clamp_min(1e-3)  # (M, C)
    none = color.new_zeros((len(color), 2 * c + 1))
    power = color.square().sum(1, keepdim=True)
    pairs = torch.cat([color, none, -2 * color, power], 1).view(-1, 2, 2 * c + 1)
    kr, kk = torch.baddbmm(views.products, pairs, views.both).unbind(1)
    return kr, kk


def saturated(error: Tensor, free: Tensor, scale: float) -> Tensor:
    """Sum of squared errors (M, P) that saturate at `scale`, where free: (M,)."""
    return (error / torch.rsub(error, 1, alpha=-1 / scale) * free).sum(1)


class Masks(NamedTuple):
    """Candidates on their way, (M, ...), image by image.

    ``best`` (M,) is what they saved at most, at the poses ``kept``.
    """

    sprite: Tensor
    planes: Tensor  # with slopes
    least: Tensor  # pixels to show, at scale 1
    before: Tensor  # robust error without them
    views: MaskViews
    weight: Tensor
    pose: Tensor
    kept: Tensor
    best: Tensor


def refine_masks(
    scene: Scene,
    candidates: Candidates,
    slopes: Slopes,
    window: Window,
    steps: int,
    visible: float,
    last_scale: float,
) -> Candidates:
    """The same as :func:`refine`, for masks in similarity poses; (B, some)."""
    now = _first(scene, candidates, slopes, window, visible, last_scale)
    b, n = candidates.sprite.shape
    allowed = make_steps(slopes)
    for turn in range(steps + 1):
        frame = frames(now.pose, now.views.center, allowed.sides)
        drawn = draw_window(now.planes, frame, window)
        if slopes.is_cut:
            drawn = cut_slopes(drawn)
        alpha, views = drawn[:, 0], now.views
        kr, kk = solved_contrast(views, alpha, now.weight)
        pull = torch.addcmul(kr, alpha, kk, value=-1)  # k . what is left
        error = torch.addcmul(views.power, alpha, kr + pull, value=-1).clamp_min_(0)
        now = _judged(now, alpha, error, last_scale)
        if turn == steps:
            break
        share = turn / max(steps - 1, 1)
        scale = FIRST_SCALE ** (1 - share) * last_scale**share
        weight = views.free / torch.rsub(error, 1, alpha=-1 / scale).square_()
        maps = slope_maps(drawn, weight * kk, weight * pull)
        pose = moved(now.pose, *equations(maps, frame, window, allowed), allowed)
        now = now._replace(pose=pose, weight=weight)
        if turn % ROUNDS == ROUNDS - 1 and turn < steps - 1 and n > 1:
            n = (n + 1) // 2
            now = _survivors(now, b, n)
    return Candidates(
        now.sprite.view(b, n), now.kept.view(b, n, 4), now.best.view(b, n)
    )


def cut_slopes(drawn: Tensor) -> Tensor:
    """Alpha and its slopes (M, 3, P), which end where alpha leaves [0, 1]."""
    alpha = drawn[:, :1]
    inside = ((alpha > 0) & (alpha < 1)).to(alpha)
    return torch.cat([alpha.clamp(0, 1), drawn[:, 1:] * inside], 1)


def _first(
    scene: Scene,
    candidates: Candidates,
    slopes: Slopes,
    window: Window,
    visible: float,
    last_scale: float,
) -> Masks:
    views = cut_mask_views(scene, candidates.pose, window)
    sprite, pose = candidates.sprite.flatten(), candidates.pose.flatten(0, 1)
    return Masks(
        sprite,
        slopes.planes[sprite],
        visible * slopes.area[sprite] / window.step**2,
        saturated(views.power, views.free, last_scale),
        views,
        views.free,
        pose,
        pose,
        torch.full_like(pose[:, 0], NEVER),
    )


def _judged(now: Masks, alpha: Tensor, error: Tensor, last_scale: float) -> Masks:
    """Keep poses that save more than those before."""
    free = now.views.free
    saved = now.before - saturated(error, free, last_scale)
    enough = (free * alpha).sum(1) >= now.least * (2 * now.pose[:, 2]).exp()
    better = (saved > now.best) & enough
    return now._replace(
        kept=torch.where(better[:, None], now.pose, now.kept),
        best=torch.where(better, saved, now.best),
    )


def _survivors(now: Masks, b: int, n: int) -> Masks:
    """The n candidates of each image that saved most, in the order as they were."""
    best = now.best.view(b, -1)
    chosen = best.topk(n, 1).indices.sort(1).values
    first = best.shape[1] * torch.arange(b, device=best.device)
    rows = (chosen + first[:, None]).flatten()
    return take(now, rows)
