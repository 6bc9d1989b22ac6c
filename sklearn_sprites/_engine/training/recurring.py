"""How large things are, and whether they are turned, by what recurs of them.

Objects that stand alone look alike again and again; two that touch, or what is cut off,
look different every time. So what is like many others in size and shape is one object.
"""

import math

import torch
from torch import Tensor

from sklearn_sprites._engine.runtime import isolated
from sklearn_sprites._engine.training.components import PIXEL, Blobs, inside
from sklearn_sprites._engine.training.first_look import FirstLook
from sklearn_sprites._engine.training.gauge import SPREAD

SMALLEST = 4  # pixels of a side of what is looked at
FEWEST = 20  # things that recur
OFTEN = 0.25  # of its share, if all kinds were as frequent, that a thing is like
LARGEST = 0.98  # quantile of sides that is the largest
MOST_OF_IT = 1 / 3  # share of the area of all that stands alone that recurs
MARGIN = 2  # pixels around the largest thing
SMALL = 0.25  # quantile of sizes, below the many things that only touch
TOO_LARGE, ROOM = 1.15, 1.4  # of such things in frames; of frames for them
TOO_SMALL = 0.55  # of frames: half of what is shown is in things below that
ENOUGH = 10  # pixels of a side in which a mask can be told from others,
ENOUGH_SHADED = 5  # and a thing that has light and dark parts
LONG = 1.4  # times as long as wide: what lies in a direction
TURNED = math.radians(20)  # between alike things that lie in different ones
SEVERAL = 0.1  # share of things that must lie in some direction
DIRECTIONS = 18  # of which, in things that lie in all,
MOST, HARDLY = 0.8, 0.3  # this share has that share of what would be even


def sprite_side(look: FirstLook) -> int | None:
    """Pixels of a side of sprites that are only moved; None if images do not tell."""
    with isolated(grad=False):
        found = _standing_alone(look)
        sides = found.high - found.low
        wide, high = sides.unbind(1)
        twins = _near(wide, 1, 0) & _near(high, 1, 0) & _near(found.area, 2, 0.1)
        recurs = _recurs(twins, look.spec.n_sprites)
        area = found.area[recurs].sum() / found.area.sum().clamp_min(1)
        if int(recurs.sum()) < FEWEST or area < MOST_OF_IT:
            return None
        largest = float(sides.amax(1)[recurs].quantile(LARGEST))
    most = min(look.spec.height, look.spec.width)
    return min(math.ceil(largest) + 2 * MARGIN, most)


def larger_side(look: FirstLook, side: int) -> int | None:
    """Pixels of a side of sprites that are scaled; None if `side` is large enough.

    Sizes are those of the frames in which things have the standard spread.
    """
    with isolated(grad=False):
        found = _standing_alone(look)
        if len(found.area) < FEWEST:
            return None
        sizes = 2 * found.spread.sum(1).sqrt() / SPREAD
        small = float(sizes.quantile(SMALL))
    most = min(look.spec.height, look.spec.width)
    larger = min(math.ceil(ROOM * small), most)
    return larger if small > TOO_LARGE * side and larger > side else None


def smaller_side(look: FirstLook, side: int) -> int | None:
    """Pixels of a side of sprites that are scaled; None if `side` is small enough.

    Half of what is shown is in larger things: specks are many, but they are small.
    """
    with isolated(grad=False):
        found = _standing_alone(look)
        if len(found.area) < FEWEST:
            return None
        sizes, order = (2 * found.spread.sum(1).sqrt() / SPREAD).sort()
        shown = found.area[order].cumsum(0)
        half = float(sizes[int((shown < shown[-1] / 2).sum())])
    smaller = max(math.ceil(ROOM * half), SMALLEST)
    return smaller if half < TOO_SMALL * side and smaller < side else None


def coarsest_pixels(look: FirstLook, is_shaded: bool) -> int:
    """Side of the pixels, a power of two, in which things can still be told apart."""
    with isolated(grad=False):
        found = _standing_alone(look)
        if len(found.area) < FEWEST:
            return 1
        sides = (found.high - found.low).amax(1)
        enough = ENOUGH_SHADED if is_shaded else ENOUGH
        room = float(sides.quantile(SMALL)) / enough
    return 2 ** math.floor(math.log2(max(room, 1)))


def lie_in_several_directions(look: FirstLook, in_all: bool = False) -> bool:
    """Whether things that are alike, and longer than wide, lie at other angles.

    With `in_all`, at hardly any angle more often than at others: quarters of a turn,
    at which different kinds may be alike, are not enough.
    """
    with isolated(grad=False):
        found = _standing_alone(look)
        if len(found.area) < FEWEST:
            return False
        trace, det = found.spread.sum(1), _determinant(found)
        apart = ((trace / 2).square() - det).clamp_min(0).sqrt()
        length, width = trace / 2 + apart, (trace / 2 - apart).clamp_min(PIXEL)
        long = length > LONG**2 * width
        twins = _near(trace, 0.3, 0.08) & _near(det, 0.5, 0.15)
        twins = twins & _near(found.area, 2, 0.1)
        chosen = (long & _recurs(twins, look.spec.n_sprites)).nonzero()[:, 0]
        if len(chosen) < SEVERAL * len(long):
            return False
        along, across = (found.spread[chosen] - trace[chosen, None] / 2).unbind(1)
        angle = torch.atan2(2 * found.slant[chosen], along - across) / 2
        if in_all and not _are_spread(angle):
            return False
        between = (angle[:, None] - angle).abs()
        between = torch.minimum(between, math.pi - between)
        pairs = twins[chosen][:, chosen]
        return bool((between[pairs] > TURNED).double().mean() > 0.5)


def _are_spread(angles: Tensor) -> bool:
    """Whether angles (n,) between -pi/2 and pi/2 leave hardly a direction out."""
    steps = ((angles / math.pi + 0.5) * DIRECTIONS).long().clamp(0, DIRECTIONS - 1)
    counts = torch.bincount(steps, minlength=DIRECTIONS)
    return bool((counts >= HARDLY * len(angles) / DIRECTIONS).double().mean() >= MOST)


def _standing_alone(look: FirstLook) -> Blobs:
    found = look.blobs
    sides = found.high - found.low
    good = inside(found, look.spec.height, look.spec.width)
    good = good & (sides.amin(1) >= SMALLEST)
    return Blobs(*(part[good] for part in found))


def _determinant(found: Blobs) -> Tensor:
    return (found.spread + PIXEL).prod(1) - found.slant.square()


def _near(values: Tensor, apart: float, share: float) -> Tensor:
    """Whether values (n,) are as near to each other, (n, n)."""
    limit = apart + share * torch.maximum(values[:, None], values)
    return (values[:, None] - values).abs() <= limit


def _recurs(twins: Tensor, n_sprites: int) -> Tensor:
    """Whether things (n,) are like many of the others."""
    return twins.sum(1) - 1 >= max(OFTEN * len(twins) / n_sprites, 3)
