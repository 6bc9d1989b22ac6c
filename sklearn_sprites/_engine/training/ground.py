"""Pictures of what lies behind the objects of scenes, from the scenes."""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sklearn_sprites._engine.ops.ground import (
    doubt,
    fit_light,
    lit,
)
from sklearn_sprites._engine.ops.resizing import in_pixels_of
from sklearn_sprites._engine.runtime import isolated
from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.ground import evened, find_ground, make_views
from sklearn_sprites._engine.training.lloyd import squared_distances

BATCH = 32
ROUNDS = 2  # of pictures from images, and lights from pictures
JUDGED = 100  # images that decide what kind the background is
SMALL = 32  # pixels of a side of these, about
THUMBNAIL = 8  # pixels of a side of what tells pictures apart at first
DARK = 0.2  # least gain by which an image is divided
VISIBLE = 2 / 255  # a difference in a channel that is no rounding
TIMES = 4.0  # how much better a picture must explain the ground than a level
FEWEST = 10  # images in which patterns are sought
PATTERN = 0.03  # difference of a pixel from the level, in most images, that is one
FIXED = 0.5  # of that difference, by which half of the images may differ from it
BORDER = 0.03  # share of the outermost pixels that a pattern must have


def learn_pictures(images: Tensor, spec: SceneSpec, draws: torch.Generator) -> Tensor:
    """Backgrounds (M, C, H, W): medians of images (n, C, H, W), their light removed."""
    label = _first_labels(images, spec.n_backgrounds, draws)
    plain = images
    for turn in range(ROUNDS + 1):
        pictures = torch.stack(
            [_median(plain, label == m, images) for m in range(spec.n_backgrounds)]
        )
        if turn == ROUNDS:
            break
        found = [find_ground(x, pictures, spec) for x in images.split(BATCH)]
        label = torch.cat([each.picture for each in found])
        light = torch.cat([each.light for each in found])
        gain = lit(torch.ones_like(images), light).clamp_min(DARK)
        plain = images / gain
    return pictures


class Scenery(NamedTuple):
    """What lies behind scenes: ``pictures`` (M, C, H, W), on `device`."""

    spec: SceneSpec
    pictures: Tensor
    device: str

    def views(self, images: Tensor) -> Tensor:
        """What learners see of images (n, C, H, W)."""
        images = images.to(self.device)
        side = self.spec.reduction
        small = in_pixels_of(images, side)
        if not self.spec.has_picture:
            return small
        pictures = in_pixels_of(self.pictures, side)
        return torch.cat([self._view(part, pictures) for part in small.split(BATCH)])

    def _view(self, images: Tensor, pictures: Tensor) -> Tensor:
        ground = find_ground(images, pictures, self.spec)
        if self.spec.evens:
            return evened(images, ground)
        return make_views(images, ground, self.spec.reduced())


def make_scenery(
    images: Tensor,
    spec: SceneSpec,
    draws: torch.Generator,
    device: str,
    given: NDArray | None = None,
) -> Scenery:
    """Pictures as they are given, or learned from images; plain ones are white."""
    if given is not None and spec.has_picture:
        pictures = torch.from_numpy(np.array(given))
    elif spec.has_picture:
        pictures = learn_pictures(images.to(device), spec, draws)
    else:
        shape = (spec.n_backgrounds, spec.channels, spec.height, spec.width)
        pictures = torch.ones(shape)  # a level, solved in every image
    return Scenery(spec, pictures.to(device), device)


def choose_background(images: NDArray) -> str:
    """Say "flat" if a level explains the ground as a picture does, else "gain".

    Compares the median squared error, over pixels and images, of the level that is the
    median of an image, and of the median image in the light of each image. Thin
    patterns, such as lines, are sought apart, because medians do not see them.
    """
    chosen = np.linspace(0, len(images) - 1, min(JUDGED, len(images))).astype(int)
    with isolated(grad=False):
        some = torch.from_numpy(np.ascontiguousarray(images[chosen]))
        some = F.avg_pool2d(some, max(1, min(some.shape[2:]) // SMALL))
        level = some.flatten(2).median(2).values[..., None, None]
        if has_pattern(some - level):
            return "gain"
        by_level = doubt(some, level, 1.0).median()
        if by_level <= some.shape[1] * VISIBLE**2:
            return "flat"
        picture = some.median(0).values.expand_as(some)
        drawn = lit(picture, fit_light(some, picture))
        by_picture = doubt(some, drawn, 1.0).median()
    return "gain" if bool(TIMES * by_picture < by_level) else "flat"


def has_pattern(apart: Tensor) -> bool:
    """Whether images less their level (n, C, H, W) share a pattern at their border.

    What is only inside may be an object that is always there.
    """
    if len(apart) < FEWEST:
        return False
    pattern = apart.median(0).values
    around = (apart - pattern).abs().median(0).values.amax(0)
    clear = pattern.abs().amax(0)
    fixed = (clear > PATTERN) & (around < FIXED * clear)
    sides = fixed[0], fixed[-1], fixed[1:-1, 0], fixed[1:-1, -1]
    return bool(torch.cat(sides).double().mean() >= BORDER)


def _median(images: Tensor, chosen: Tensor, every: Tensor) -> Tensor:
    return (images[chosen] if bool(chosen.any()) else every).median(0).values


def _first_labels(images: Tensor, m: int, draws: torch.Generator) -> Tensor:
    """k-means of small versions of images, for the first pictures."""
    label = torch.zeros(len(images), dtype=torch.int64, device=images.device)
    if m == 1:
        return label
    small = F.adaptive_avg_pool2d(images, THUMBNAIL).flatten(1)
    chosen = [int(torch.randint(len(small), (1,), generator=draws))]
    while len(chosen) < m:
        far = squared_distances(small, small[chosen]).min(1).values
        chance = far.clamp_min(0).double().cpu() + 1e-12
        chosen.append(int(torch.multinomial(chance, 1, generator=draws)))
    centers = small[chosen]
    for _ in range(10):
        label = squared_distances(small, centers).argmin(1)
        centers = torch.stack(
            [
                small[label == j].median(0).values if bool((label == j).any()) else old
                for j, old in enumerate(centers)
            ]
        )
    return label
