"""What lies behind the layers of an image where backgrounds are pictures.

Convention
----------
Searches see *views* (B, 2 C, H, W): an image, and the ground behind it. Views are made
smaller, cut into batches and put together like images; :func:`image_of` and
:func:`ground_of` take them apart. Without pictures a view is the image itself.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from sklearn_sprites._engine.ops.ground import (
    SCALE,
    doubt,
    fit_light,
    lit,
    plain_light,
    shaded,
)
from sklearn_sprites._engine.scene_spec import SceneSpec

COVERED = 0.05  # squared error per channel of covering what looks like ground


class Ground(NamedTuple):
    """The ground of images: which picture (B,), in what light (B, C, 6), and drawn."""

    picture: Tensor
    light: Tensor
    drawn: Tensor  # (B, C, H, W)


def image_of(views: Tensor, spec: SceneSpec) -> Tensor:
    """Images (B, C, H, W)."""
    return views[:, : spec.channels]


def ground_of(views: Tensor, spec: SceneSpec) -> Tensor:
    """Ground behind the layers, (B, C, H, W)."""
    return views[:, spec.channels :]


def like_ground(views: Tensor, spec: SceneSpec) -> Tensor:
    """How much pixels look like the ground, (B, H, W), from 0 to 1."""
    far = doubt(image_of(views, spec), ground_of(views, spec), SCALE)
    return 1 / (1 + far).square()


def ground_price(views: Tensor, spec: SceneSpec) -> Tensor:
    """What a layer pays for each pixel that it covers, (B, H, W), as squared error.

    A pixel that looks exactly like the ground hardly shows an object: shading is never
    as exact as the ground is. Otherwise one large layer would explain two neighbors.
    """
    return COVERED * spec.channels * like_ground(views, spec)


def find_ground(images: Tensor, pictures: Tensor, spec: SceneSpec) -> Ground:
    """The picture (M, C, H, W), in a light of its own, that shows in most pixels."""
    best, least = None, None
    for index, one in enumerate(pictures):
        every = one.expand_as(images)
        light = plain_light(images)
        if spec.background_color == "gain":
            light = fit_light(images, every)
        drawn = lit(every, light)
        far = doubt(images, drawn, SCALE)
        wrong = (far / (1 + far)).sum((1, 2))
        which = torch.full_like(wrong, index, dtype=torch.int64)
        now = Ground(which, light, drawn)
        if best is None or least is None:
            best, least = now, wrong
            continue
        better = wrong < least
        least = torch.where(better, wrong, least)
        best = Ground(
            *(
                torch.where(better.view(-1, *[1] * (new.dim() - 1)), new, old)
                for new, old in zip(now, best, strict=True)
            )
        )
    assert best is not None, "there is a picture"
    return best


def evened(images: Tensor, ground: Ground) -> Tensor:
    """Images (B, C, H, W) before a level instead of their ground."""
    level = ground.drawn.mean((2, 3), keepdim=True)
    return images - ground.drawn + level


def make_views(images: Tensor, ground: Ground, spec: SceneSpec) -> Tensor:
    """Views of images; shadows, which darken all channels alike, count as ground."""
    behind = ground.drawn
    if spec.channels > 1 and not spec.has_own_colors:  # dark sprites are no shadows
        behind = shaded(images, behind)
    return torch.cat([images, behind], 1)
