"""Whether things are of one color each, and lie before a level in uneven light."""

import torch.nn.functional as F
from torch import Tensor

from sklearn_sprites._engine.runtime import isolated
from sklearn_sprites._engine.search.ground import ground_of
from sklearn_sprites._engine.training.components import Windows
from sklearn_sprites._engine.training.first_look import FirstLook

FEWEST = 20  # objects that stand alone
MOST_OF_THEM = 0.75  # quantile of objects
SHADING = 0.08  # share of such an object's squares inside of it that one color leaves
PLAIN = 0.015  # the same of half of them where shades would be seen
UNEVEN = 0.15  # spread of a level in uneven light, in contrasts of objects


def is_plain_but_for_light(look: FirstLook, any_color: bool) -> bool:
    """Whether things lie before a level in slightly uneven light, of one color each.

    What has a light and a dark side is not; where `any_color`, that does not matter.
    """
    windows = look.windows
    if len(windows) < FEWEST:
        return False
    with isolated(grad=False):
        mask = windows.mask[:, None]
        apart = (windows.image - windows.ground).square() * mask
        contrast = apart.sum((1, 2, 3)) / (look.spec.channels * mask.sum((1, 2, 3)))
        ground = ground_of(look.views, look.spec)
        uneven = (ground - ground.mean((2, 3), keepdim=True)).square().mean((1, 2, 3))
        if float(uneven.median()) >= UNEVEN**2 * float(contrast.median()):
            return False
        inner = beside_one_color(windows, inside_of(mask), 0.0)
        return any_color or float(inner.quantile(MOST_OF_THEM)) < SHADING


def are_of_one_color(look: FirstLook) -> bool:
    """Whether things that stand alone have no lights and shades inside of them.

    Sprites of things in one color are masks: a gray picture would draw what lies in
    their holes, and a mask that covers more costs it nothing.
    """
    windows = look.windows
    if len(windows) < FEWEST:
        return False
    with isolated(grad=False):
        inner = beside_one_color(windows, inside_of(windows.mask[:, None]), 0.0)
        return float(inner.median()) < PLAIN


def inside_of(mask: Tensor) -> Tensor:
    """Masks (n, 1, h, w) without their edges."""
    return -F.max_pool2d(-mask, 3, 1, 1)


def beside_one_color(windows: Windows, mask: Tensor, noise: float) -> Tensor:
    """Share (n,) of the squares within masks (n, 1, h, w) that one color leaves."""
    area = mask.sum((2, 3), keepdim=True)
    mean = (windows.image * mask).sum((2, 3), keepdim=True) / area.clamp_min(1)
    left = ((windows.image - mean).square() * mask).sum((1, 2, 3))
    squares = ((windows.image - windows.ground).square() * mask).sum((1, 2, 3))
    return (left - noise * area.flatten()).clamp_min(0) / squares.clamp_min(1e-9)
