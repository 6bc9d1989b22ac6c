"""How drawn sprites change with affine and projective poses.

Convention
----------
``across`` and ``down`` (B, N, P) are derivatives of a drawn sprite by its coordinates;
``points`` (B, N, P, 2) are pixels as affine maps leave them, before a tilt. See
:mod:`~sklearn_sprites._engine.search.poses` for the numbers of a pose.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from sklearn_sprites._engine.scene_spec import AFFINE, BEND_BOUNDS
from sklearn_sprites._engine.search.poses import NEAREST, to_frame

STEPS = (0.15, 0.2, 0.1, 0.1)  # largest ones of log-stretch, shear and tilts


class Slope(NamedTuple):
    """Derivatives by both coordinates of a sprite."""

    across: Tensor
    down: Tensor


def bend_rows(
    slope: Slope, points: Tensor, pose: Tensor, sides: tuple[int, int]
) -> list[Tensor]:
    """Derivatives by all numbers of affine or projective poses (B, N, Q)."""
    tilts: list[Tensor] = []
    if pose.shape[-1] > AFFINE:
        slope, tilts = tilt_rows(slope, points, pose)
    return affine_rows(slope, points, pose, sides) + tilts


def tilt_rows(slope: Slope, points: Tensor, pose: Tensor) -> tuple[Slope, list[Tensor]]:
    """Derivatives by coordinates before a tilt, and by the tilt."""
    tilt = pose[..., None, AFFINE:]
    near = 1 / (1 - (points * tilt).sum(-1)).clamp_min(NEAREST)
    u, v = (points * near[..., None]).unbind(-1)
    outward = slope.across * u + slope.down * v
    across = (slope.across + tilt[..., 0] * outward) * near
    down = (slope.down + tilt[..., 1] * outward) * near
    return Slope(across, down), [outward * u, outward * v]


def affine_rows(
    slope: Slope, points: Tensor, pose: Tensor, sides: tuple[int, int]
) -> list[Tensor]:
    """Derivatives by the numbers of affine poses."""
    across, down = slope
    matrix = to_frame(pose, sides)[..., None, :, :]
    wide, shear = (2 * pose[..., 4, None]).exp(), pose[..., 5, None]
    aspect = sides[0] / sides[1]
    u, v = points[..., 0], points[..., 1] * aspect  # in halves of the width
    lean = u + shear * v
    return [
        -(across * matrix[..., 0, 0] + down * matrix[..., 1, 0]),
        -(across * matrix[..., 0, 1] + down * matrix[..., 1, 1]),
        -(across * u + down * points[..., 1]),
        across * (v / wide + shear * wide * lean) - down * (wide * lean / aspect),
        down * points[..., 1] - across * (lean + shear * v),
        -(across * v),
    ]


def bounded(pose: Tensor) -> Tensor:
    """Poses (..., Q) no more stretched, sheared and tilted than is allowed."""
    bound = pose.new_tensor(BEND_BOUNDS[: pose.shape[-1] - 4])
    bend = torch.minimum(torch.maximum(pose[..., 4:], -bound), bound)
    return torch.cat([pose[..., :4], bend], -1)
