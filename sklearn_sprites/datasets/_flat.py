"""Flat shapes for scenes: tetrominoes apart, and squares, ellipses, hearts in layers.

All scenes of a batch are drawn at once, one object of each at a time.
"""

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray
from sklearn.utils import Bunch

PIECES = {
    "I": ["1111"],
    "O": ["11", "11"],
    "T": ["010", "111"],
    "S": ["011", "110"],
    "Z": ["110", "011"],
    "J": ["100", "111"],
    "L": ["001", "111"],
}
PALETTE = np.array(
    [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]], float
)
SHAPES = ("square", "ellipse", "heart")
HEART = 11.2  # side of the square in it
HALF_SQUARE = 8**-0.5  # half of half its diagonal, for sides of 1
CHUNK = 128  # scenes at a time: the maps of a chunk stay in the cache
TRIES = 50  # places to try for a piece before its scene is started anew


def fixed_tetrominoes() -> dict[str, NDArray]:
    """The 19 shapes as binary arrays, named by letter and turns of 90 degrees."""
    shapes = {}
    for letter, rows in PIECES.items():
        piece = np.array([[int(cell) for cell in row] for row in rows])
        seen = set()
        for turns in range(4):
            turned = np.rot90(piece, turns)
            if (key := (turned.shape, turned.tobytes())) not in seen:
                seen.add(key)
                shapes[f"{letter} {90 * turns}" if turns else letter] = turned
    return shapes


def shaded_cell(cell: int, bevel: bool) -> NDArray:
    """Brightness of one square: edges lit from above and right, corners between."""
    if not bevel:
        return np.ones((cell, cell))
    value = np.full((cell, cell), 0.625)
    top, left, right, bottom = 1.0, 0.5, 0.75, 0.25
    value[0], value[-1], value[:, 0], value[:, -1] = top, bottom, left, right
    value[0, 0], value[0, -1] = (top + left) / 2, (top + right) / 2
    value[-1, 0], value[-1, -1] = (bottom + left) / 2, (bottom + right) / 2
    return value


class Pieces:
    """The 19 tetrominoes as lists of pixels: all have the same number of them."""

    def __init__(self, cell: int, bevel: bool) -> None:
        shapes = fixed_tetrominoes()
        shade = shaded_cell(cell, bevel)
        stamps = [np.kron(shape, shade) for shape in shapes.values()]
        pixels = [np.argwhere(stamp > 0) for stamp in stamps]
        self.names = tuple(shapes)
        self.extent = np.array([stamp.shape for stamp in stamps])  # (K, 2)
        self.pixels = np.stack(pixels)  # (K, 4 * cell**2, 2)
        self.values = np.stack([stamp[stamp > 0] for stamp in stamps])

    def place(
        self, scenes: Bunch, pending: NDArray, counts: NDArray, rng: RandomState
    ) -> NDArray:
        """Put the pieces of the pending scenes in; the scenes that failed, emptied."""
        waiting = []
        for j in range(counts[pending].max()):
            todo = pending[counts[pending] > j]
            for _ in range(TRIES):
                todo = self._put(scenes, todo, j + 1, rng)
                if not len(todo):
                    break
            waiting.append(todo)
        failed = np.unique(np.concatenate(waiting))
        for maps in (scenes.images, scenes.instances, scenes.classes):
            maps[failed] = 0
        return failed

    def _put(
        self, scenes: Bunch, todo: NDArray, number: int, rng: RandomState
    ) -> NDArray:
        """Try one place per scene; the scenes where another piece is in the way."""
        size = scenes.instances.shape[1]
        kind = rng.randint(len(self.names), size=len(todo))
        corner = rng.randint(size - self.extent[kind] + 1)  # (n, 2)
        paint = PALETTE[rng.randint(len(PALETTE), size=len(todo))]
        y, x = np.moveaxis(self.pixels[kind] + corner[:, None], -1, 0)
        free = ~scenes.instances[todo[:, None], y, x].any(axis=1)
        where = todo[free, None], y[free], x[free]
        colors = self.values[kind[free], :, None] * paint[free, None]
        scenes.images[where] = np.round(255 * colors)
        scenes.instances[where] = number
        scenes.classes[where] = kind[free, None] + 1
        return todo[~free]


def overlapping_shapes(
    counts: NDArray, size: int, scale: tuple[float, float], rng: RandomState
) -> tuple[NDArray, NDArray, NDArray]:
    """Scenes with counts[i] shapes on gray: images, instances, classes."""
    n = len(counts)
    gray = np.round(255 * rng.uniform(size=(n, 1, 1, 1)))
    images = np.broadcast_to(gray, (n, size, size, 3)).astype(np.uint8)
    instances = np.zeros((n, size, size), np.uint8)
    classes = np.zeros((n, size, size), np.uint8)
    for j in range(counts.max()):
        kind = rng.randint(len(SHAPES), size=n)
        mask = _masks(kind, size, scale, rng) & (counts > j)[:, None, None]
        color = np.round(255 * hsv_to_rgb(rng.uniform(size=(n, 3)))).astype(np.uint8)
        np.copyto(images, color[:, None, None], where=mask[..., None])
        instances[mask] = j + 1
        np.copyto(classes, (kind + 1).astype(np.uint8)[:, None, None], where=mask)
    return images, instances, classes


def _masks(
    kind: NDArray, size: int, scale: tuple[float, float], rng: RandomState
) -> NDArray:
    """One shape per scene at a random place, angle and scale: (n, size, size)."""
    n, unit = len(kind), size / 64
    length = rng.uniform(*scale, n)[:, None, None] * unit
    angle = rng.uniform(0, 2 * np.pi, (n, 1, 1))
    center = (15.5 + 32 * rng.uniform(size=(2, n, 1, 1)) + 0.5) * unit - 0.5
    y = np.arange(size)[:, None] - center[0]
    x = np.arange(size) - center[1]
    # Rows and columns are turned by themselves and added up: one pass per map.
    u = (np.cos(angle) * x + np.sin(angle) * y) / length
    v = (np.cos(angle) * y - np.sin(angle) * x) / length
    mask = np.empty((n, size, size), bool)
    for k, inside in enumerate((_square, _ellipse, _heart)):
        mask[kind == k] = inside(u[kind == k], v[kind == k])
    return mask


def _square(u: NDArray, v: NDArray) -> NDArray:
    return np.maximum(abs(u), abs(v)) <= 9.6


def _ellipse(u: NDArray, v: NDArray) -> NDArray:
    return (u / 13) ** 2 + (v / 7) ** 2 <= 1


def _heart(u: NDArray, v: NDArray) -> NDArray:
    """A square on its tip (v > 0) with a half-disc on each upper side, centered."""
    u, v = abs(u) / HEART, v / HEART - (0.5 - HALF_SQUARE) / 2
    tip = u + abs(v) <= 2 * HALF_SQUARE
    return tip | ((u - HALF_SQUARE) ** 2 + (v + HALF_SQUARE) ** 2 <= 0.25)


def hsv_to_rgb(hsv: NDArray) -> NDArray:
    """Colors (..., 3) from hue, saturation and value in [0, 1]."""
    hue, saturation, value = hsv[..., :1], hsv[..., 1:2], hsv[..., 2:]
    sector = (np.array([5, 3, 1]) + 6 * hue) % 6
    ramp = np.minimum(sector, 4 - sector).clip(0, 1)
    return value * (1 - saturation * ramp)
