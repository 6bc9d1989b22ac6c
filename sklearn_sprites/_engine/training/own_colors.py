"""Whether things in scenes recur in several colors of their own."""

import math
from typing import NamedTuple

import numpy as np
from torch import Tensor

from sklearn_sprites._engine.runtime import generator, isolated
from sklearn_sprites._engine.training.components import Windows
from sklearn_sprites._engine.training.first_look import FirstLook
from sklearn_sprites._engine.training.lloyd import lloyd, plus_plus
from sklearn_sprites._engine.training.plain_light import beside_one_color, inside_of
from sklearn_sprites._engine.training.turned_windows import few_and_small, left_in_turns

FEWEST = 20  # objects that stand alone
RESTARTS, STEPS = 4, 20  # of k-means
PARTS = 0.03  # share of an object's squares that one color leaves inside of it
BETTER = 0.7  # times what one color leaves that sprites may leave
RECURRING = 0.2  # share of an object's squares that sprites may leave
SPARES = 0.5  # more pictures where tints are tried, as a share of those wanted
TINTS = 2.0  # times what pictures in any tints leave that those in one may leave
ALIKE = 0.02  # share that they may leave in any case
TURNED = 0.5  # of what pictures leave that those in any turn leave of turned things
MEDIAN = 0.8  # of the squares of normal noise in three channels, in their means


class Left(NamedTuple):
    """Shares (n,) of the squares of objects, that is their difference from the ground.

    ``own``: what the nearest of K pictures leaves; ``spared`` the same with more of
    them, and ``tinted`` with every channel of an object as bright as in the others;
    ``one``: what one color per object leaves, and ``inner`` that without its edge.
    """

    own: Tensor
    spared: Tensor
    tinted: Tensor
    one: Tensor
    inner: Tensor


def recur_in_colors(look: FirstLook) -> bool:
    """Whether objects that stand alone have parts, and look like one of K pictures.

    What differs by tints, sizes or angles from image to image does not recur, also if
    other kinds do; what is of one color needs none of its own. Objects are looked at as
    they differ from the ground, whose light may vary, and as they are, before grounds
    that vary by place.
    """
    if look.spec.channels == 1:
        return False
    windows = look.windows
    if len(windows) < FEWEST:
        return False
    with isolated(grad=False):
        noise = noise_beside(windows)
        even = windows.ground.mean((0, 2, 3), keepdim=True).expand_as(windows.ground)
        level = Windows(windows.image, even, windows.mask)
        k = look.spec.n_sprites
        for seen in (windows, level):
            if _do_recur(shares_left(seen, k, noise)):
                return not are_turned(seen, k, noise)
        return False


def _do_recur(left: Left) -> bool:
    own, spared, tinted, one, inner = (float(share.median()) for share in left)
    recurs = own < min(BETTER * one, RECURRING)
    return inner > PARTS and recurs and spared < max(TINTS * tinted, ALIKE)


def are_turned(windows: Windows, k: int, noise: float) -> bool:
    """Whether objects, also only some kinds of them, are alike in other turns."""
    points, noisy = differences(few_and_small(windows), noise)
    draws = generator(np.random.SeedSequence(0), "cpu")
    upright = (left_upright(points.flatten(1), k) - noisy).clamp_min(0).mean()
    turned = (left_in_turns(points, k, draws) - noisy).clamp_min(0).mean()
    return bool(turned < TURNED * upright and upright > ALIKE)


def noise_beside(windows: Windows) -> float:
    """Squares per pixel, summed over channels, of what is beside objects."""
    beside = (windows.image - windows.ground).square().sum(1)[windows.mask == 0]
    return float(beside.median()) / MEDIAN if len(beside) else 0.0


def differences(windows: Windows, noise: float) -> tuple[Tensor, Tensor]:
    """Objects less the ground, of length one, and the share of noise in each, (n,)."""
    mask = windows.mask[:, None]
    apart = (windows.image - windows.ground) * mask
    squares = apart.square().sum((1, 2, 3)).clamp_min(1e-9)
    noisy = noise * mask.sum((1, 2, 3)) / squares
    return apart / squares.sqrt()[:, None, None, None], noisy


def shares_left(windows: Windows, k: int, noise: float) -> Left:
    """What K pictures, and one color per object, leave of objects.

    `noise` is what images leave per pixel in any case.
    """
    mask = windows.mask[:, None]
    points, noisy = differences(windows, noise)
    bright = points.square().sum((2, 3), keepdim=True).sqrt().clamp_min(1e-3)
    more, usual = k + math.ceil(SPARES * k), points.shape[1] ** -0.5
    return Left(
        (left_upright(points.flatten(1), k) - noisy).clamp_min(0),
        (left_upright(points.flatten(1), more) - noisy).clamp_min(0),
        (left_upright((points / bright * usual).flatten(1), more) - noisy).clamp_min(0),
        beside_one_color(windows, mask, noise),
        beside_one_color(windows, inside_of(mask), noise),
    )


def left_upright(points: Tensor, k: int) -> Tensor:
    """Squares (n,) of points (n, d) that the nearest of K means leaves."""
    best, least = points[:, 0], math.inf
    draws = generator(np.random.SeedSequence(0), "cpu")
    for _ in range(RESTARTS):
        found = lloyd(points, plus_plus(points, min(k, len(points)), draws), STEPS)
        total = float(found.errors.sum())
        if total < least:
            best, least = found.errors, total
    return best
