"""Things that may lie turned in any way, where a gradient alone finds no way around.

Alignment starts from several turns, and a network that is to know them all sees images
turned at random.
"""

import math
from dataclasses import replace

import torch
from torch import Tensor

from sklearn_sprites._engine.ops.alignment import Family, warp
from sklearn_sprites._engine.ops.sampling import Grid, pad_to_canvas
from sklearn_sprites._engine.ops.warps import affine_part

TURNING = ("rotation", "similarity")  # families that hold every turn
LEANING = (*TURNING, "affine", "projective")  # that hold at least small turns
TURNS = 24  # between which alignment finds the way
SMALL_TURNS = (0.0, -22.5, 22.5, -45.0, 45.0)  # degrees, likewise, of what only leans
SHIFT = 0.25  # of half a side, likewise


def turning(angles: Tensor, grid: Grid) -> Tensor:
    """Maps (n, 6) that turn by angles (n,), less the identity."""
    aspect = grid.width / grid.height
    return affine_part("rotation", angles[:, None], aspect).flatten(1)


def with_turns(family: Family) -> Family:
    """The family whose alignments start from all turns, the first of which is none."""
    angles = torch.arange(TURNS) * (2 * math.pi / TURNS)
    return replace(family, turns=turning(angles.to(family.basis), family.grid))


def with_leans(family: Family) -> Family:
    """The family whose alignments start from some small turns, the first is none."""
    angles = torch.deg2rad(torch.tensor(SMALL_TURNS))
    return replace(family, turns=turning(angles.to(family.basis), family.grid))


def with_shifts(family: Family) -> Family:
    """The family whose alignments start from all turns of a sprite that is shifted.

    By a quarter of the way to its border, for what is not in the middle of an image.
    """
    assert family.turns is not None, "only what is turned is shifted, too"
    ways = torch.tensor([0.0, -SHIFT, SHIFT]).to(family.basis)
    shifts = torch.cartesian_prod(ways, ways)  # (9, 2), none first
    every = family.turns.repeat_interleave(len(shifts), 0)
    every[:, [2, 5]] += shifts.repeat(len(family.turns), 1)
    return replace(family, turns=every)


def any_angles(images: Tensor, draws: torch.Generator) -> Tensor:
    """An angle for each image, (m,), drawn at random where the images are."""
    return 2 * math.pi * torch.rand(len(images), generator=draws, device=images.device)


def turned_images(images: Tensor, angles: Tensor, grid: Grid) -> Tensor:
    """Images (m, C, H, W) turned by angles (m,), their borders continued."""
    canvas = pad_to_canvas(images, "border")
    return warp(canvas, turning(angles, grid), grid).view_as(images)


def turned_parameters(name: str, params: Tensor, angles: Tensor) -> Tensor:
    """Parameters (m, p) of images (m,) once these are turned by angles (m,)."""
    if name == "rotation":
        angle = params[:, 0] + angles
        return torch.atan2(angle.sin(), angle.cos())[:, None]
    a, b, *shift = params.unbind(1)
    cos, sin = angles.cos(), angles.sin()
    both = (1 + a) * cos - b * sin - 1, (1 + a) * sin + b * cos
    return torch.stack([*both, *shift], 1)
