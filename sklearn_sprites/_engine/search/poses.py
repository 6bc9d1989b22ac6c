"""Poses of sprites in an image.

Convention
----------
A pose is ``(x, y, log_scale, angle)``: the sprite's center in pixels of the image, (0,
0) being the image's upper left corner; at scale 1 a pixel of the sprite is a pixel of
the image; the angle turns from x to y. ``step`` is the side of a pixel of a coarser
image, in pixels.

An affine pose goes on with ``(log_stretch, shear)``: before it is scaled and turned,
the sprite is sheared, ``x + shear y``, and then made ``exp(log_stretch)`` times as wide
and that many times less high. So every affine map that is no mirror has one pose.
A projective pose ends with ``(tilt_x, tilt_y)``: first of all, sprite coordinates u in
[-1, 1] are divided by ``1 + tilt . u``: what is far away is smaller. Zeros change
nothing, to the last bit.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sklearn_sprites._engine.scene_spec import AFFINE

NEAREST = 0.25  # depth that points have at least; those of sprites have


class Axes(NamedTuple):
    """Coordinates of the columns ``x`` (..., W) and rows ``y`` (..., H) of pixels."""

    x: Tensor
    y: Tensor


def pixel_axes(rows: int, columns: int, step: float, like: Tensor) -> Axes:
    """Axes of the pixels of an image."""
    dtype, device = like.dtype, like.device
    x = torch.arange(0.5, columns, dtype=dtype, device=device)
    y = torch.arange(0.5, rows, dtype=dtype, device=device)
    return Axes(x * step, y * step)


def pixel_centers(rows: int, columns: int, step: float, like: Tensor) -> Tensor:
    """Centers (x, y) of the pixels of an image, row by row, (P, 2)."""
    axes = pixel_axes(rows, columns, step, like)
    y, x = torch.meshgrid(axes.y, axes.x, indexing="ij")
    return torch.stack([x, y], -1).view(-1, 2)


def widened(pose: Tensor, size: int) -> Tensor:
    """Poses (..., size) that are not stretched, sheared or tilted yet."""
    return F.pad(pose, (0, size - pose.shape[-1]))


def to_frame(pose: Tensor, sides: tuple[int, int]) -> Tensor:
    """Matrices (..., 2, 2) from offsets in pixels to sprite coordinates in [-1, 1].

    Those of a projective pose are still to be :func:`tilted`.
    """
    _, _, log_scale, angle, *bends = pose.unbind(-1)
    cos, sin = angle.cos(), angle.sin()
    across, down = [cos, sin], [-sin, cos]
    if bends:
        high, shear = bends[0].exp(), bends[1]
        down = [each * high for each in down]
        across = [a / high - shear * d for a, d in zip(across, down, strict=True)]
    scale, (h, w) = log_scale.exp(), sides
    wide, tall = scale * (w / 2), scale * (h / 2)
    matrix = torch.stack([*across, *down], -1)
    matrix = matrix / torch.stack([wide, wide, tall, tall], -1)
    return matrix.view(*scale.shape, 2, 2)


def tilted(points: Tensor, pose: Tensor) -> Tensor:
    """Points (..., H, W, 2) after :func:`to_frame`, as poses (..., Q) tilt them."""
    if pose.shape[-1] <= AFFINE:
        return points
    depth = 1 - (points * pose[..., None, None, AFFINE:]).sum(-1, keepdim=True)
    return points / depth.clamp_min(NEAREST)


def linear_points(axes: Axes, pose: Tensor, sides: tuple[int, int]) -> Tensor:
    """Pixels after :func:`to_frame`, (..., H, W, 2)."""
    matrix = to_frame(pose, sides)
    x, y = axes.x - pose[..., :1], axes.y - pose[..., 1:2]
    by_x = matrix[..., 0, None, None] * x[..., None, None, :]  # (..., 2, 1, W)
    by_y = matrix[..., 1, None, None] * y[..., None, :, None]  # (..., 2, H, 1)
    return (by_x + by_y).movedim(-3, -1)  # planes: sums run on contiguous memory


def sprite_points(axes: Axes, pose: Tensor, sides: tuple[int, int]) -> Tensor:
    """Where pixels are in sprites at poses (..., Q), in [-1, 1]: (..., H, W, 2)."""
    return tilted(linear_points(axes, pose, sides), pose)


def image_points(points: Tensor, pose: Tensor, sides: tuple[int, int]) -> Tensor:
    """Where points (P, 2) of sprites at poses (..., Q) are in images, (..., P, 2)."""
    back = torch.linalg.inv(to_frame(pose, sides))
    if pose.shape[-1] > AFFINE:
        points = points / (1 + points @ pose[..., AFFINE:, None])
    return points @ back.mT + pose[..., None, :2]


def place(
    sprites: Tensor, index: Tensor, pose: Tensor, rows: int, columns: int, step: int = 1
) -> Tensor:
    """Draw sprites (K, D, h, w) with indices (B, L) at poses (B, L, Q).

    Returns (B, L, D, rows, columns).
    """
    sides = (sprites.shape[2], sprites.shape[3])
    where = sprite_points(pixel_axes(rows, columns, step, pose), pose, sides)
    drawn = F.grid_sample(
        sprites[index.flatten()], where.flatten(0, -4), align_corners=False
    )
    return drawn.unflatten(0, index.shape)


def corner_pose(row: Tensor, column: Tensor, sides: tuple[int, int]) -> Tensor:
    """The pose of sprites whose upper left pixels are at (row, column), (..., 4)."""
    h, w = sides
    x, y = column + w / 2, row + h / 2
    return torch.stack([x, y, torch.zeros_like(x), torch.zeros_like(x)], -1)
