"""Poses to try: every sprite at some angles and scales, on the pixels of an image."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sklearn_sprites._engine.ops.correlation import Filters, make_filters
from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.biases import contrast_filters
from sklearn_sprites._engine.search.layers import Sprites
from sklearn_sprites._engine.search.poses import pixel_centers, to_frame
from sklearn_sprites._engine.search_settings import SearchPlan

COARSE_FROM = 48  # pixels of a side from which images are searched at half resolution


class Bank(NamedTuple):
    """Filters (K * P, tile, tile) for P poses, sprite by sprite, on coarse pixels.

    ``alpha``, ``ink`` and ``power`` are what the maps of an image are compared with,
    ``area`` (K * P,) the sum of alpha; ``pose`` (P, 2) log-scales and angles; ``mean``
    the mean sprite at every other scale, on pixels of side ``pool``, and ``mean_area``
    its sums of alpha.
    """

    alpha: Tensor
    ink: Tensor
    power: Tensor
    area: Tensor
    pose: Tensor
    mean: Filters
    mean_ink: Filters
    mean_power: Filters
    mean_area: Tensor
    contrast: tuple[Tensor, Tensor] | None  # filters and powers where there are biases
    tile: int
    pool: int  # side, in coarse pixels, of those in which places are sought


def coarse_step(spec: SceneSpec) -> int:
    """Side of a pixel of the image that is searched, in pixels."""
    return 2 if is_large(spec) and not spec.has_picture else 1


def is_large(spec: SceneSpec) -> bool:
    """Whether places are sought on pixels of twice the side."""
    return min(spec.height, spec.width) >= COARSE_FROM


def pose_grid(spec: SceneSpec, search: SearchPlan, like: Tensor) -> Tensor:
    """Log-scales and angles (P, 2) of a bank, angle by angle."""
    scales = search.scales if spec.has_scale else (1.0,)
    turns = search.rotations if spec.has_rotation else 1
    pairs = [
        (math.log(scale), 2 * math.pi * turn / turns)
        for turn in range(turns)
        for scale in scales
    ]
    return torch.tensor(pairs, dtype=like.dtype, device=like.device)


def make_bank(sprites: Sprites, spec: SceneSpec, search: SearchPlan, step: int) -> Bank:
    """Draw all sprites in all poses of the grid, on pixels of side `step`."""
    grid = pose_grid(spec, search, sprites.planes)
    reach = max(sprites.sides) * float(grid[:, 0].max().exp()) / step
    tile = 2 * math.ceil(reach / 2)
    pose = F.pad(grid, (2, 0))
    fine = tile * step
    centers = pixel_centers(fine, fine, 1, grid) - fine / 2
    where = centers @ to_frame(pose, sprites.sides).mT  # (P, fine^2, 2)
    where = where.view(-1, fine, fine, 2)
    drawn = torch.cat(
        [
            F.grid_sample(s.expand(len(where), -1, -1, -1), where, align_corners=False)
            for s in sprites.planes
        ]
    )
    ink, alpha = F.avg_pool2d(drawn, step).unbind(1)
    contrast = None
    if spec.has_bias:
        contrast, ink = contrast_filters(ink, alpha), alpha
    power = ink.square() / alpha.clamp_min(1e-3) if spec.color == "gain" else alpha
    pool = 2 if coarse_step(spec) == 1 and is_large(spec) else 1
    rows = -(-spec.height // (step * pool))
    columns = -(-spec.width // (step * pool))
    turns = len(grid) // len(grid[:, 0].unique())

    def mean(filters: Tensor) -> Tensor:
        shape = (len(sprites.planes), turns, -1, tile, tile)
        every_other = filters.view(shape).mean((0, 1))[::2]
        return F.avg_pool2d(every_other[:, None], pool, ceil_mode=True)[:, 0]

    mask, is_mask = alpha.flatten(1), power is alpha
    return Bank(
        mask,
        mask if is_mask else ink.flatten(1),
        mask if is_mask else power.flatten(1),
        alpha.sum((1, 2)),
        grid,
        make_filters(mean(alpha), rows, columns),
        make_filters(mean(ink), rows, columns),
        make_filters(mean(power), rows, columns),
        mean(alpha).sum((1, 2)),
        contrast,
        tile,
        pool,
    )


def coarse(images: Tensor, step: int) -> Tensor:
    """Images (B, C, H, W) at the resolution that is searched."""
    if step == 1:
        return images
    return F.avg_pool2d(images, step, ceil_mode=True)
