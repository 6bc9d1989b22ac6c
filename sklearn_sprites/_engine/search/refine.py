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
from sklearn_sprites._engine.scene_settings import Search
from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.layers import Sprites
from sklearn_sprites._engine.search.peaks import NEVER, Candidates, Scene
from sklearn_sprites._engine.search.poses import to_frame

DAMPING = 0.1  # of the diagonal
LIMITS = (2.0, 2.0, 0.2, 0.3)  # of a step, in pixels, log-scale and radians
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


def make_slopes(sprites: Sprites, spec: SceneSpec, search: Search, step: int) -> Slopes:
    """Derivatives of sprites, blurred as coarse pixels blur them."""
    if step > 1:
        sprites = sprites.on_grid()
    planes = sprites.planes if spec.color == "gain" else sprites.planes[:, -1:]
    if step > 1:
        planes = F.avg_pool2d(F.pad(planes, (1,) * 4, mode="replicate"), 3, 1)
    h, w = planes.shape[-2:]
    wide = F.pad(planes, (1,) * 4)
    across = (wide[..., 1:-1, 2:] - wide[..., 1:-1, :-2]) * (w / 4)
    down = (wide[..., 2:, 1:-1] - wide[..., :-2, 1:-1]) * (h / 4)
    both = torch.stack([planes, across, down], 2).flip(1)  # alpha first
    active = (0, 1) + (2,) * spec.has_scale + (3,) * spec.has_rotation
    low, high = min(search.scales) * SLACK[0], max(search.scales) * SLACK[1]
    alpha = sprites.alpha.clamp(0, 1)
    return Slopes(
        both.flatten(1, 2),
        alpha.sum((1, 2)),
        active,
        (math.log(low), math.log(high)),
        not torch.equal(alpha, sprites.alpha),
    )


class Views(NamedTuple):
    """What candidates see of the image, (B, N, C, P), and where, (B, N, P, 2)."""

    residual: Tensor
    below: Tensor
    free: Tensor
    centers: Tensor


def cut_views(scene: Scene, pose: Tensor, side: int, step: int) -> Views:
    """Windows of `side` coarse pixels squared around poses (B, N, 4)."""
    origin = (pose[..., :2] / step).round().long() - side // 2 + side
    reach = torch.arange(side, device=pose.device)
    height, width = scene.free.shape[1:]
    limit = torch.tensor([width, height], device=pose.device) + side
    origin = torch.minimum(origin.clamp_min(0), limit)
    columns = origin[..., 0, None, None] + reach  # (B, N, 1, T)
    rows = origin[..., 1, None, None] + reach[:, None]
    c = scene.image.shape[1]
    maps = torch.cat([scene.image - scene.below, scene.below, scene.free[:, None]], 1)
    padded = F.pad(maps, (side,) * 4)
    each = torch.arange(len(pose), device=pose.device)[:, None, None, None]
    seen = padded.permute(0, 2, 3, 1)[each, rows, columns]  # (B, N, T, T, 2C + 1)
    seen = seen.flatten(2, 3).transpose(2, 3).contiguous()
    rows, columns = torch.broadcast_tensors(rows, columns)
    places = torch.stack([columns, rows], -1).flatten(2, 3) - side
    centers = (places.to(pose) + 0.5) * step
    return Views(seen[:, :, :c], seen[:, :, c:-1], seen[:, :, -1], centers)


class Drawn(NamedTuple):
    """Candidates as drawn: ``alpha``, ``ink`` (B, N, P), and their Jacobians.

    ``alpha_jacobian`` and ``ink_jacobian`` are (B, N, Q, P).
    """

    alpha: Tensor
    ink: Tensor
    alpha_jacobian: Tensor
    ink_jacobian: Tensor


def draw_slopes(slopes: Slopes, sprite: Tensor, pose: Tensor, centers: Tensor) -> Drawn:
    """Draw sprites (B, N) at poses (B, N, 4), with derivatives by the pose."""
    h, w = slopes.planes.shape[-2:]
    matrix = to_frame(pose, (h, w))
    where = (centers - pose[..., None, :2]) @ matrix.transpose(-1, -2)
    drawn = F.grid_sample(
        slopes.planes[sprite.flatten()],
        where.flatten(0, 1)[:, :, None],
        align_corners=False,
    )[..., 0].unflatten(0, sprite.shape)  # (B, N, 3 or 6, P)
    u, v = where.unbind(-1)

    def jacobian(across: Tensor, down: Tensor) -> Tensor:
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


def normal_equations(
    drawn: Drawn,
    color: Tensor,
    free: Tensor | None,
    behind: Tensor,
    left: Tensor,
    weight: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Gauss-Newton matrix (B, N, Q, Q) and right-hand side (B, N, Q).

    Of the weighted squares of what is `left` (B, N or 1, C, P), by the poses of layers
    that show ``free (ink color)`` before ``(1 - alpha) behind``; `behind` (B, N, C, P)
    holds the factor `free` (B, N, P), one by default.
    """
    gain = color[..., None] if free is None else color[..., None] * free[:, :, None]
    if drawn.ink is drawn.alpha:
        contrast = gain - behind  # (B, N, C, P)
        jacobian = drawn.alpha_jacobian
        strength, pull = contrast.square().sum(2), (left * contrast).sum(2)
        if weight is not None:
            strength, pull = weight * strength, weight * pull
        matrix = (jacobian * strength[:, :, None]) @ jacobian.transpose(2, 3)
        return matrix, (jacobian * pull[:, :, None]).sum(3)
    q = drawn.alpha_jacobian.shape[2]
    matrix = left.new_zeros((*behind.shape[:2], q, q))
    right = left.new_zeros((*behind.shape[:2], q))
    for c in range(behind.shape[2]):
        jacobian = gain[:, :, c, None] * drawn.ink_jacobian
        jacobian = jacobian - behind[:, :, c, None] * drawn.alpha_jacobian
        weighted = jacobian if weight is None else jacobian * weight[:, :, None]
        matrix += weighted @ jacobian.transpose(2, 3)
        right += (weighted * left[:, :, c, None]).sum(3)
    return matrix, right


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
    before = robust(views.residual.square().sum(2), last_scale)
    weight, best = views.free, torch.full_like(candidates.saves, NEVER)
    kept = pose
    for turn in range(steps + 1):
        drawn = draw_slopes(slopes, sprite, pose, views.centers)
        target = views.residual + drawn.alpha[:, :, None] * views.below
        weighted = weight * drawn.ink
        power = (weighted * drawn.ink).sum(2).clamp_min(1e-3)
        color = (target * weighted[:, :, None]).sum(3) / power[..., None]  # (B, N, C)
        left = target - color[..., None] * drawn.ink[:, :, None]
        error = left.square().sum(2)
        saved = (views.free * (before - robust(error, last_scale))).sum(2)
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
        matrix, right = normal_equations(drawn, color, None, views.below, left, weight)
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
    return new
