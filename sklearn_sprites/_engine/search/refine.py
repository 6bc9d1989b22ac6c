"""Poses of candidates made continuous by Gauss-Newton steps.

A candidate is seen through a window of coarse pixels around it. In every step its color
is solved, pixels that it cannot explain lose weight (Geman-McClure, with a scale that
shrinks from step to step, so that what hides a candidate does not pull on it), and the
pose takes a damped step; the best pose met is kept.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sklearn_sprites._engine.ops.linear import solve_symmetric
from sklearn_sprites._engine.scene_spec import SIMILARITY, SceneSpec
from sklearn_sprites._engine.search.bends import STEPS, Slope, bend_rows, bounded
from sklearn_sprites._engine.search.explained import Terms, explained, products
from sklearn_sprites._engine.search.layers import Sprites
from sklearn_sprites._engine.search.peaks import NEVER, Candidates, Scene
from sklearn_sprites._engine.search.poses import (
    Axes,
    linear_points,
    tilted,
    to_frame,
)
from sklearn_sprites._engine.search_settings import SearchPlan

DAMPING = 0.1  # of the diagonal
LIMITS = (2.0, 2.0, 0.2, 0.3, *STEPS)  # of a step, in pixels, log-scale and radians
SLACK = (0.82, 1.2)  # how far scales may leave those of the bank
FIRST_SCALE, LAST_SCALE = 0.3, 0.03  # squared errors per pixel that begin not to count


class Slopes(NamedTuple):
    """Sprites with derivatives by their coordinates.

    ``planes`` (K, 3 or 6, h, w): alpha and its two derivatives, then those of the ink
    where it is not alpha.
    """

    planes: Tensor
    area: Tensor  # (K,) sum of alpha, in pixels
    active: tuple[int, ...]  # pose parameters that are free
    log_scales: tuple[float, float]
    is_cut: bool  # whether alpha leaves [0, 1]
    has_bias: bool = False


def make_slopes(
    sprites: Sprites, spec: SceneSpec, search: SearchPlan, step: int
) -> Slopes:
    """Derivatives of sprites, blurred as coarse pixels blur them."""
    if step > 1:
        sprites = sprites.on_grid()
    planes = sprites.planes if spec.has_shades else sprites.planes[:, -1:]
    if step > 1:
        planes = F.avg_pool2d(F.pad(planes, (1,) * 4, mode="replicate"), 3, 1)
    h, w = planes.shape[-2:]
    wide = F.pad(planes, (1,) * 4)
    across = (wide[..., 1:-1, 2:] - wide[..., 1:-1, :-2]) * (w / 4)
    down = (wide[..., 2:, 1:-1] - wide[..., :-2, 1:-1]) * (h / 4)
    both = torch.stack([planes, across, down], 2).flip(1)  # alpha first
    active = (0, 1) + (2,) * spec.has_scale + (3,) * spec.has_rotation
    active += tuple(range(SIMILARITY, spec.pose_size))
    low, high = min(search.scales) * SLACK[0], max(search.scales) * SLACK[1]
    alpha = sprites.alpha.clamp(0, 1)
    return Slopes(
        both.flatten(1, 2),
        alpha.sum((1, 2)),
        active,
        (math.log(low), math.log(high)),
        not torch.equal(alpha, sprites.alpha),
        spec.has_bias,
    )


class Views(NamedTuple):
    """What candidates see of the image, and where: ``axes`` are (B, N, T).

    ``both`` (B, N, 2 C, P): the residual and what is below; ``free`` and, if
    any, ``price`` (B, N, P).
    """

    both: Tensor
    free: Tensor
    axes: Axes
    price: Tensor | None


def cut_views(scene: Scene, pose: Tensor, side: int, step: int) -> Views:
    """Windows of `side` coarse pixels squared around poses (B, N, 4)."""
    origin = (pose[..., :2] / step).round().long() - side // 2 + side
    reach = torch.arange(side, device=pose.device)
    height, width = scene.free.shape[1:]
    limit = torch.tensor([width, height], device=pose.device) + side
    origin = torch.minimum(origin.clamp_min(0), limit)
    columns, rows = (origin[..., None] + reach).unbind(2)  # (B, N, T)
    maps = torch.cat([scene.image - scene.below, scene.below, scene.free[:, None]], 1)
    if scene.price is not None:
        maps = torch.cat([maps, scene.price[:, None]], 1)
    padded = F.pad(maps, (side,) * 4)
    each = torch.arange(len(pose), device=pose.device)[:, None, None, None]
    seen = padded.permute(0, 2, 3, 1)[each, rows[..., None], columns[:, :, None]]
    seen = seen.flatten(2, 3).mT.contiguous()  # (B, N, 2C + 1, P)
    x, y = (((i - side).to(pose) + 0.5) * step for i in (columns, rows))
    colors = 2 * scene.image.shape[1]
    price = None if scene.price is None else seen[:, :, -1]
    return Views(seen[:, :, :colors], seen[:, :, colors], Axes(x, y), price)


class Drawn(NamedTuple):
    """Candidates as drawn: ``alpha``, ``ink`` (B, N, P), and their Jacobians.

    ``alpha_jacobian`` and ``ink_jacobian`` are (B, N, Q, P).
    """

    alpha: Tensor
    ink: Tensor
    alpha_jacobian: Tensor
    ink_jacobian: Tensor


def draw_slopes(slopes: Slopes, sprite: Tensor, pose: Tensor, axes: Axes) -> Drawn:
    """Draw sprites (B, N) at poses (B, N, Q), with derivatives by the pose."""
    h, w = slopes.planes.shape[-2:]
    matrix = to_frame(pose, (h, w))
    points = linear_points(axes, pose, (h, w))
    where = tilted(points, pose)
    drawn = F.grid_sample(
        slopes.planes[sprite.flatten()], where.flatten(0, 1), align_corners=False
    )
    drawn = drawn.flatten(2).unflatten(0, sprite.shape)  # (B, N, 3 or 6, P)
    u, v = where.flatten(2, 3).unbind(-1)

    def jacobian(across: Tensor, down: Tensor) -> Tensor:
        if pose.shape[-1] > SIMILARITY:
            slope = Slope(across, down)
            bent = bend_rows(slope, points.flatten(2, 3), pose, (h, w))
            return torch.stack(bent, 2)
        m = matrix[..., None, :, :]
        rows = (
            -(across * m[..., 0, 0] + down * m[..., 1, 0]),
            -(across * m[..., 0, 1] + down * m[..., 1, 1]),
            -(across * u + down * v),
            across * v * (h / w) - down * u * (w / h),
        )
        return torch.stack([rows[i] for i in slopes.active], 2)

    alpha, across, down = drawn[:, :, :3].unbind(2)
    if slopes.is_cut:
        inside = ((alpha > 0) & (alpha < 1)).to(alpha)
        alpha, across, down = alpha.clamp(0, 1), across * inside, down * inside
    by_alpha = jacobian(across, down)
    if drawn.shape[2] == 3:
        return Drawn(alpha, alpha, by_alpha, by_alpha)
    ink, across, down = drawn[:, :, 3:].unbind(2)
    return Drawn(alpha, ink, by_alpha, jacobian(across, down))


def robust(error: Tensor, scale: float) -> Tensor:
    """Squared errors that saturate at `scale`."""
    return error / (1 + error / scale)


def mask_equations(
    jacobian: Tensor, strength: Tensor, pull: Tensor
) -> tuple[Tensor, Tensor]:
    """Gauss-Newton matrix (B, N, Q, Q) and right-hand side (B, N, Q) of masks.

    With the contrast k = c - b, `strength` (B, N, P) is k . k, and `pull` is k . r.
    """
    matrix = (jacobian * strength[:, :, None]) @ jacobian.mT
    return matrix, (jacobian * pull[:, :, None]).sum(3)


def ink_equations(drawn: Drawn, terms: Terms) -> tuple[Tensor, Tensor]:
    """The same where ink is not alpha."""
    cc, cb, bb, cr, br = (term[:, :, None] for term in terms)
    by_alpha, by_ink = drawn.alpha_jacobian, drawn.ink_jacobian
    mixed = (by_ink * cb) @ by_alpha.mT
    matrix = (by_ink * cc) @ by_ink.mT
    matrix = matrix + (by_alpha * bb) @ by_alpha.mT
    right = (by_ink * cr - by_alpha * br).sum(3)
    return matrix - mixed - mixed.mT, right


def normal_equations(drawn: Drawn, terms: Terms) -> tuple[Tensor, Tensor]:
    """Gauss-Newton matrix and right-hand side, of masks or of ink."""
    if drawn.ink is not drawn.alpha:
        return ink_equations(drawn, terms)
    cc, cb, bb, cr, br = terms
    return mask_equations(drawn.alpha_jacobian, cc - 2 * cb + bb, cr - br)


def refine(
    scene: Scene,
    candidates: Candidates,
    slopes: Slopes,
    steps: int,
    visible: float,
    side: int,
    step: int,
    last_scale: float = LAST_SCALE,
) -> Candidates:
    """Improve poses; `saves` becomes the robust error saved, in coarse pixels."""
    sprite, pose = candidates.sprite, candidates.pose
    views = cut_views(scene, pose, side, step)
    sums = products(views.both)
    before = robust(sums[0], last_scale)
    weight, best = views.free, torch.full_like(candidates.saves, NEVER)
    kept = pose
    for turn in range(steps + 1):
        drawn = draw_slopes(slopes, sprite, pose, views.axes)
        error, terms = explained(
            views.both, sums, drawn.alpha, drawn.ink, weight, slopes.has_bias
        )
        saved = (views.free * (before - robust(error, last_scale))).sum(2)
        if views.price is not None:
            saved = saved - (views.price * drawn.alpha).sum(2)
        least = visible * slopes.area[sprite] * (2 * pose[..., 2]).exp() / step**2
        shown = (views.free * drawn.alpha).sum(2)
        better = (saved > best) & (shown >= least)
        best = torch.where(better, saved, best)
        kept = torch.where(better[..., None], pose, kept)
        if turn == steps:
            break
        share = turn / max(steps - 1, 1)
        scale = FIRST_SCALE ** (1 - share) * last_scale**share
        weight = views.free / (1 + error / scale).square()
        terms = Terms(*(weight * term for term in terms))
        matrix, right = normal_equations(drawn, terms)
        pose = stepped(pose, matrix, right, slopes)
    return Candidates(sprite, kept, best)


def stepped(
    pose: Tensor,
    matrix: Tensor,
    right: Tensor,
    slopes: Slopes,
    damping: float | Tensor = DAMPING,
) -> Tensor:
    """A damped, limited Gauss-Newton step."""
    diagonal = matrix.diagonal(dim1=-2, dim2=-1)
    ridge = damping * diagonal + 1e-4 * diagonal.amax(-1, keepdim=True) + 1e-6
    move = solve_symmetric(matrix + torch.diag_embed(ridge), right)
    limit = torch.tensor([LIMITS[i] for i in slopes.active]).to(pose)
    move = torch.minimum(torch.maximum(move, -limit), limit)
    new = pose.clone()
    for column, i in enumerate(slopes.active):
        new[..., i] += move[..., column]
    new[..., 2] = new[..., 2].clamp(*slopes.log_scales)
    return bounded(new) if pose.shape[-1] > SIMILARITY else new
