"""Small procedural image sets: nothing to download, ground truth by construction."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.utils import check_random_state

from sklearn_sprites.datasets._ranges import check_range

__all__ = ["TRAFFIC_SIGNS", "make_traffic_signs"]

TRAFFIC_SIGNS = (
    "no entry",
    "warning",
    "straight on",
    "priority road",
    "speed limit",
    "parking",
    "end of limits",
    "stop",
)
"""Names of the classes of :func:`make_traffic_signs`, in the order of the labels."""

SUPERSAMPLING = 3

Shape = Callable[[NDArray, NDArray], NDArray]
RED, WHITE, BLUE = (0.80, 0.08, 0.10), (0.95, 0.95, 0.95), (0.08, 0.25, 0.75)
YELLOW, BLACK = (0.98, 0.80, 0.10), (0.08, 0.08, 0.08)


def make_traffic_signs(
    n_samples: int = 600,
    *,
    n_classes: int = 6,
    size: int = 28,
    return_masks: bool = False,
    random_state: int | RandomState | None = None,
) -> tuple[NDArray, ...]:
    """Draw pictograms like traffic signs over smooth and cluttered backgrounds.

    The signs of one class share their design; position, size, tilt, brightness and
    haze vary from image to image, more than the designs differ in pixel distance, so
    that k-means groups the images by brightness and background.

    Parameters
    ----------
    n_samples : int, default=600
        Number of images.
    n_classes : int, default=6
        Number of designs, between 1 and 8: the first ones of
        :data:`TRAFFIC_SIGNS`.
    size : int, default=28
        Height and width of the images, at least 8 pixels.
    return_masks : bool, default=False
        Whether to return where the signs are, too.
    random_state : int, RandomState instance or None, default=None
        Determines everything that is drawn at random. Pass an int for the same
        images on every call.

    Returns
    -------
    images : ndarray of shape (n_samples, size, size, 3), dtype uint8
        The images, RGB, channels last.
    labels : ndarray of shape (n_samples,), dtype int64
        The class of each image; classes differ in size by one at most.
    masks : ndarray of shape (n_samples, size, size), dtype bool
        True where at least half of the pixel shows the sign. Only returned if
        `return_masks` is True.

    Raises
    ------
    ValueError
        If `n_samples`, `n_classes` or `size` is out of range.

    Examples
    --------
    >>> from sklearn_sprites.datasets import make_traffic_signs
    >>> images, labels = make_traffic_signs(60, n_classes=3, random_state=0)
    >>> images.shape, images.dtype
    ((60, 28, 28, 3), dtype('uint8'))
    >>> [int((labels == k).sum()) for k in range(3)]
    [20, 20, 20]
    """
    check_range("n_samples", n_samples, 1)
    check_range("n_classes", n_classes, 1, len(TRAFFIC_SIGNS))
    check_range("size", size, 8)
    rng = check_random_state(random_state)
    labels = rng.permutation(np.arange(n_samples) % n_classes)
    images = np.empty((n_samples, size, size, 3), np.uint8)
    masks = np.empty((n_samples, size, size), bool)
    for i, label in enumerate(labels):
        color, alpha = _place(_designs()[label], size, rng)
        scene = alpha * _light(color, rng) + (1 - alpha) * _background(size, rng)
        scene = _shrink(scene) + rng.normal(0, 0.015, (size, size, 3))
        images[i] = np.round(255 * scene.clip(0, 1))
        masks[i] = _shrink(alpha)[..., 0] >= 0.5
    return (images, labels, masks) if return_masks else (images, labels)


def _place(
    design: Sequence[tuple[tuple[float, ...], Shape]], size: int, rng: RandomState
) -> tuple[NDArray, NDArray]:
    """A design at a random place, size and tilt: color (S, S, 3), alpha (S, S, 1)."""
    side = SUPERSAMPLING * size
    y, x = (np.mgrid[:side, :side] + 0.5) * 2 / side - 1
    center_x, center_y = rng.uniform(-0.14, 0.14, 2)
    scale, tilt = rng.uniform(0.66, 0.9), np.deg2rad(rng.normal(0, 4))
    x, y = (x - center_x) / scale, (y - center_y) / scale
    u = np.cos(tilt) * x + np.sin(tilt) * y
    v = np.cos(tilt) * y - np.sin(tilt) * x
    color = np.zeros((side, side, 3))
    for paint, shape in design:
        color[shape(u, v)] = paint
    outline = design[0][1]
    return color, outline(u, v)[..., None].astype(float)


def _light(color: NDArray, rng: RandomState) -> NDArray:
    """A random gain per channel, mostly shared, and haze."""
    gain = rng.uniform(0.35, 1.0) * rng.uniform(0.92, 1.0, 3)
    haze = rng.uniform(0, 0.15)
    return color * gain * (1 - haze) + haze


def _background(size: int, rng: RandomState) -> NDArray:
    """Sky, leaves or walls: a smooth random field; posts and roofs on half of them."""
    side = SUPERSAMPLING * size
    hue = rng.uniform(0.15, 0.8) * rng.uniform(0.7, 1.0, 3)
    coarse = hue + rng.normal(0, 0.14, (4, 4, 1)) + rng.normal(0, 0.03, (4, 4, 3))
    scene = ndimage.zoom(coarse, (side / 4, side / 4, 1), order=1)
    for _ in range(rng.randint(1, 4) * rng.randint(2)):
        top, left = rng.randint(side, size=2)
        height, width = rng.randint(side // 8, side, 2)
        block = np.s_[top : top + height, left : left + width]
        scene[block] = 0.3 * scene[block] + 0.7 * rng.uniform(0, 0.9, 3)
    return scene


def _shrink(picture: NDArray) -> NDArray:
    """Mean over squares of SUPERSAMPLING pixels: (S, S, C) -> (size, size, C)."""
    side, _, channels = picture.shape
    size = side // SUPERSAMPLING
    blocks = picture.reshape(size, SUPERSAMPLING, size, SUPERSAMPLING, channels)
    return blocks.mean((1, 3))


def _disc(radius: float) -> Shape:
    return lambda u, v: np.hypot(u, v) <= radius


def _polygon(
    n_sides: int, apothem: float, turn: float = 0.0, drop: float = 0.0
) -> Shape:
    """Regular polygon with a side at the bottom, then turned and moved down."""
    angles = np.pi / 2 + np.deg2rad(turn) + 2 * np.pi * np.arange(n_sides) / n_sides

    def inside(u: NDArray, v: NDArray) -> NDArray:
        sides = (np.cos(a) * u + np.sin(a) * (v - drop) for a in angles)
        return np.maximum.reduce(list(sides)) <= apothem

    return inside


def _box(left: float, right: float, top: float, bottom: float) -> Shape:
    return lambda u, v: (left <= u) & (u <= right) & (top <= v) & (v <= bottom)


def _any(*shapes: Shape) -> Shape:
    return lambda u, v: np.logical_or.reduce([shape(u, v) for shape in shapes])


def _stripe(u: NDArray, v: NDArray) -> NDArray:
    return (abs(u + v) <= 0.22) & (np.hypot(u, v) <= 0.95)


def _designs() -> list[list[tuple[tuple[float, ...], Shape]]]:
    """Colors and shapes of each sign, painted in this order; the first is its outline.

    Shapes live in [-1, 1], x to the right and y down.
    """
    arrow = _any(_box(-0.14, 0.14, -0.3, 0.7), _polygon(3, 0.22, drop=-0.38))
    exclamation = _any(_box(-0.11, 0.11, -0.3, 0.25), _box(-0.11, 0.11, 0.36, 0.57))
    digit = _any(_box(-0.12, 0.12, -0.55, 0.55), _box(-0.32, 0.0, -0.55, -0.33))
    letter = _any(_box(-0.36, -0.12, -0.62, 0.62), _ring)
    word = _any(
        *(_box(c - 0.09, c + 0.09, -0.3, 0.3) for c in (-0.5, -0.17, 0.17, 0.5))
    )
    return [
        [(RED, _disc(1)), (WHITE, _box(-0.7, 0.7, -0.2, 0.2))],
        [
            (RED, _polygon(3, 0.66, drop=0.3)),
            (WHITE, _polygon(3, 0.42, drop=0.3)),
            (BLACK, exclamation),
        ],
        [(BLUE, _disc(1)), (WHITE, arrow)],
        [(WHITE, _polygon(4, 0.75, turn=45)), (YELLOW, _polygon(4, 0.5, turn=45))],
        [(RED, _disc(1)), (WHITE, _disc(0.74)), (BLACK, digit)],
        [(BLUE, _polygon(4, 0.9)), (WHITE, letter)],
        [(WHITE, _disc(1)), (BLACK, _stripe)],
        [(RED, _polygon(8, 0.95)), (WHITE, word)],
    ]


def _ring(u: NDArray, v: NDArray) -> NDArray:
    """The bow of the letter P."""
    radius = np.hypot(u + 0.12, v + 0.26)
    return (radius <= 0.38) & (radius >= 0.16) & (u >= -0.12)
