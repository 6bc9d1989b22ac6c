"""Sprites that thin-plate splines bend before they are posed.

Convention
----------
A spline (G, 2) says how far ``(x, y)`` from each of G control points, a regular lattice
over the sprite's frame, row by row, it is looked up what the sprite shows there, in
coordinates from -1 to 1 over the frame. In between, displacements are interpolated by
the spline, and bilinearly between pixels of the sprite; outside of the frame they are
those of its edge. Zeros change nothing, to the last bit; G is 0 where nothing bends.
"""

import torch.nn.functional as F
from torch import Tensor

from sklearn_sprites._engine.ops.sampling import make_grid
from sklearn_sprites._engine.ops.warps import spline_basis
from sklearn_sprites._engine.search.poses import pixel_axes, place, sprite_points
from sklearn_sprites._engine.spec import SPLINE_GRID


def displacements(spline: Tensor, sides: tuple[int, int]) -> Tensor:
    """Splines (m, G, 2) at the pixels of sprites, (m, 2, h, w)."""
    grid = make_grid(*sides, device=spline.device, dtype=spline.dtype)
    basis = spline_basis(grid.points.double(), SPLINE_GRID).to(spline)  # (G, h * w)
    return (spline.mT @ basis).unflatten(2, sides)


def bent_points(points: Tensor, spline: Tensor, sides: tuple[int, int]) -> Tensor:
    """Points (m, H, W, 2) over sprites after splines (m, G, 2) have moved them."""
    if not spline.shape[1]:
        return points
    moves = displacements(spline, sides)
    moves = F.grid_sample(moves, points, padding_mode="border", align_corners=False)
    return points + moves.movedim(1, 3)


def place_bent(
    sprites: Tensor,
    index: Tensor,
    pose: Tensor,
    spline: Tensor,
    rows: int,
    columns: int,
) -> Tensor:
    """Draw sprites (K, D, h, w) with indices (...), bent by splines (..., G, 2).

    At poses (..., Q); returns (..., D, rows, columns).
    """
    if not spline.shape[-2]:
        return place(sprites, index, pose, rows, columns)
    sides = (sprites.shape[2], sprites.shape[3])
    where = sprite_points(pixel_axes(rows, columns, 1, pose), pose, sides)
    where = bent_points(where.flatten(0, -4), spline.flatten(0, -3), sides)
    drawn = F.grid_sample(sprites[index.flatten()], where, align_corners=False)
    return drawn.unflatten(0, index.shape)
