"""Soft bounds of what heads tell: what is beyond them can be pulled back."""

import math

import torch
from torch import Tensor

from sklearn_sprites._engine.ops.constants import constant
from sklearn_sprites._engine.scene_spec import BEND_BOUNDS, SIMILARITY

RANGE = 4.0  # factor between the first scale and the largest, and the least
LEAK = 0.01  # slope outside of bounds
SPLINE_BOUND = 0.5  # how far control points are moved, from -1 to 1 over a sprite
FAR = 1e3  # pixels, or logarithms: farther away values are cut


def bounded_pose(
    pose: Tensor, sides: tuple[int, int], first_log_scale: float = 0.0
) -> Tensor:
    """Centers in an image of `sides`, scales and bends within a range, softly.

    Otherwise layers that do harm at first shrink to nothing, or leave, for good. Poses
    (..., Q) are finite, as NaN would crash the sampler.
    """
    pose, (height, width) = pose.nan_to_num().clamp(-FAR, FAR), sides
    x, y = _leaky(pose[..., 0], 0, width), _leaky(pose[..., 1], 0, height)
    log_scale = first_log_scale + _leaky(
        pose[..., 2], -math.log(RANGE), math.log(RANGE)
    )
    rigid = torch.stack([x, y, log_scale, pose[..., 3]], -1)
    bend = pose[..., SIMILARITY:]
    bound = constant(BEND_BOUNDS, pose)[: bend.shape[-1]]
    return torch.cat([rigid, _bounded_on_both_sides(bend, bound)], -1)


def bounded_spline(told: Tensor) -> Tensor:
    """Numbers (..., 2 G) to splines (..., G, 2) that do not move points far, softly."""
    told = told.nan_to_num().clamp(-FAR, FAR)
    bound = told.new_full((), SPLINE_BOUND)
    return _bounded_on_both_sides(told, bound).unflatten(-1, (-1, 2))


def _leaky(x: Tensor, low: float, high: float) -> Tensor:
    """Clip to [low, high] but for a small slope outside."""
    inside = x.clamp(low, high)
    return inside + LEAK * (x - inside)


def _bounded_on_both_sides(x: Tensor, bound: Tensor) -> Tensor:
    """`x`, but outside of [-bound, bound] ever less; at most half as far again."""
    inside = torch.minimum(torch.maximum(x, -bound), bound)
    beyond = LEAK * (x - inside)
    return inside + beyond / (1 + 2 * beyond.abs() / bound)
