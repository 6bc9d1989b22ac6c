"""A first look at images: whether light falls on them from a side."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sklearn_sprites._engine.models.clustering import color_of
from sklearn_sprites._engine.modules.families import rigid_name
from sklearn_sprites._engine.ops.alignment import Family
from sklearn_sprites._engine.ops.leveling import leveled_in_parts
from sklearn_sprites._engine.runtime import isolated
from sklearn_sprites._engine.spec import ModelSpec
from sklearn_sprites._engine.training.glance import (
    FEWEST_IMAGES,
    errors_from,
    first_sprites,
    glance,
    squares_within,
)
from sklearn_sprites._engine.training.lloyd import squared_distances
from sklearn_sprites._engine.training.start import first_family
from sklearn_sprites._engine.training.weighing import on_device

SLIGHT = 0.04  # share of the squares within images: smaller slopes do not matter
WORTH_IT = 0.93  # of what sprites leave of images may they leave of leveled ones
STARTS = 2  # from images, and as many from leveled ones


def have_slopes(images: NDArray, spec: ModelSpec) -> bool:
    """Whether sprites leave much less of images (n, C, H, W) without their slopes.

    Asked where opaque sprites may have any colors: there, slopes of light are what
    gains and biases do not explain. Both begin with the same images as sprites, several
    times, as luck in these decides more than some slopes.
    """
    is_asked = not spec.is_layered and color_of(spec.transformations) == "color"
    name = rigid_name(spec)
    if not is_asked or name is None or len(images) < FEWEST_IMAGES:
        return False
    with isolated(grad=False):
        sloping, look = glance(images, spec)
        level = leveled_in_parts(sloping, None)
        share = squares_within(level).sum() / squares_within(sloping).sum()
        if not share <= 1 - SLIGHT:
            return False
        starts = _starts(level, look) + _starts(sloping, look)
        left = [
            sum(_left(seen, rows, first_family(seen, look, name)) for rows in starts)
            for seen in (level, sloping)
        ]
        return left[0] < WORTH_IT * left[1]


def _starts(images: Tensor, look: ModelSpec) -> list[Tensor]:
    """Indices of images to begin with, which differ from each other."""
    found = []
    for seed in range(STARTS):
        draws = torch.Generator().manual_seed(seed)
        first = first_sprites(images, look, draws).flatten(1)
        found.append(squared_distances(first, images.flatten(1)).argmin(1))
    return found


def _left(images: Tensor, rows: Tensor, family: Family) -> float:
    """What sprites that begin as some of the images leave of all of them."""
    draws = torch.Generator().manual_seed(0)
    return float(errors_from(images, images[rows], family, draws).double().sum())


def without_slopes(images: NDArray, weights: NDArray | None) -> NDArray:
    """Images (n, C, H, W) less their slopes, read where pixels count."""
    with isolated(grad=False):
        whole = torch.from_numpy(images)
        return np.asarray(leveled_in_parts(whole, on_device(weights, whole)))
