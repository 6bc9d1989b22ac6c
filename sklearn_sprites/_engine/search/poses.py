"""Poses of sprites in an image.

Convention
----------
A pose is ``(x, y, log_scale, angle)``: the sprite's center in pixels of the image, (0,
0) being the image's upper left corner; at scale 1 a pixel of the sprite is a pixel of
the image; the angle turns from x to y. ``step`` is the side of a pixel of a coarser
image, in pixels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def pixel_centers(rows: int, columns: int, step: float, like: Tensor) -> Tensor:
    """Centers (x, y) of the pixels of an image, row by row, (P, 2)."""
    y, x = torch.meshgrid(
        (torch.arange(rows, dtype=like.dtype, device=like.device) + 0.5) * step,
        (torch.arange(columns, dtype=like.dtype, device=like.device) + 0.5) * step,
        indexing="ij",
    )
    return torch.stack([x, y], -1).view(-1, 2)


def to_frame(pose: Tensor, sides: tuple[int, int]) -> Tensor:
    """Matrices (..., 2, 2) from offsets in pixels to sprite coordinates in [-1, 1]."""
    cos, sin = torch.cos(pose[..., 3]), torch.sin(pose[..., 3])
    scale = pose[..., 2].exp()
    h, w = sides
    return torch.stack(
        [
            torch.stack([cos, sin], -1) / (scale[..., None] * w / 2),
            torch.stack([-sin, cos], -1) / (scale[..., None] * h / 2),
        ],
        -2,
    )


def place(
    sprites: Tensor, index: Tensor, pose: Tensor, rows: int, columns: int, step: int = 1
) -> Tensor:
    """Draw sprites (K, D, h, w) with indices (B, L) at poses (B, L, 4).

    Returns (B, L, D, rows, columns).
    """
    centers = pixel_centers(rows, columns, step, pose)
    sides = (sprites.shape[2], sprites.shape[3])
    offset = centers - pose[..., None, :2]  # (B, L, P, 2)
    where = offset @ to_frame(pose, sides).transpose(-1, -2)
    drawn = F.grid_sample(
        sprites[index.flatten()], where.view(-1, rows, columns, 2), align_corners=False
    )
    return drawn.unflatten(0, index.shape)


def corner_pose(row: Tensor, column: Tensor, sides: tuple[int, int]) -> Tensor:
    """The pose of sprites whose upper left pixels are at (row, column), (..., 4)."""
    h, w = sides
    x, y = column + w / 2, row + h / 2
    return torch.stack([x, y, torch.zeros_like(x), torch.zeros_like(x)], -1)
