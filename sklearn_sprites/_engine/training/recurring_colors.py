"""A first look at images: whether colors recur, or what of them changes."""

from dataclasses import replace

from numpy.typing import NDArray
from torch import Tensor

from sklearn_sprites._engine.modules.families import rigid_name
from sklearn_sprites._engine.modules.turns import TURNING, with_turns
from sklearn_sprites._engine.ops.alignment import Family
from sklearn_sprites._engine.ops.centering import centered_in_parts
from sklearn_sprites._engine.ops.color import Freedom
from sklearn_sprites._engine.runtime import isolated
from sklearn_sprites._engine.spec import ModelSpec
from sklearn_sprites._engine.training.glance import (
    FEWEST_IMAGES,
    errors_left,
    glance,
    squares_within,
)
from sklearn_sprites._engine.training.start import first_family

GRAY = 0.01  # share of the squares within images that are between their channels
LITTLE = 0.2  # share of the squares within an image that sprites as they are may leave
NO_MORE = 1.1  # times what they leave in other colors,
AND = 0.005  # and this share


def colors_that_change(images: NDArray, spec: ModelSpec) -> tuple[str, ...] | None:
    """What of the colors of images (n, C, H, W) is to be solved; None if all.

    Nothing, ``()``, if sprites explain images nearly as well in their own colors, which
    may tell kinds apart then; ``("light",)`` if they do so in a light that is brighter
    or fainter. Where things of one kind have any color, they explain less. Few images
    are looked at, on the CPU, and always with the same random numbers.
    """
    name = rigid_name(spec)
    if spec.channels < 2 or name is None or len(images) < FEWEST_IMAGES:
        return None
    with isolated(grad=False):
        seen, look = glance(images, spec)
        small = centered_in_parts(seen)
        if _is_gray(small):
            return None
        family = first_family(small, look, name)
        family = with_turns(family) if name in TURNING else family
        light = _share_left(small, spec, replace(family, freedom=Freedom.LIGHT))
        if light > LITTLE:
            return None
        other = _share_left(small, spec, family)
        most = min(LITTLE, NO_MORE * other + AND)
        plain = _share_left(small, spec, replace(family, freedom=Freedom.NONE))
        if plain <= most:
            return ()
        return ("light",) if light <= most else None


def _is_gray(images: Tensor) -> bool:
    """Whether all channels show the same."""
    between = images.var(1, correction=0).mean()
    return bool(between <= GRAY * images.flatten(2).var(2, correction=0).mean())


def _share_left(images: Tensor, spec: ModelSpec, family: Family) -> float:
    """What is left of half of the images, as a share of the squares within them."""
    left = errors_left(images, spec, family)
    return float((left / squares_within(images).clamp_min(1e-9)).median())
