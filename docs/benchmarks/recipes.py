"""Image sets of the benchmarks: archives read, and digits recolored or deformed.

Archives are ``.npz`` files with ``images`` (uint8) and ``labels``.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.datasets import load_digits

FILES = {"mnist": "mnist_test.npz", "usps": "usps.npz", "gtsrb8": "gtsrb8.npz"}
SETS = ("digits", "mnist", "usps", "color", "affine", "gtsrb8", "scattered")


def load(name: str, folder: Path, seed: int = 5) -> tuple[NDArray, NDArray]:
    """Images and labels of a set by name."""
    if name == "digits":
        digits = load_digits()
        return digits.images / 16, digits.target
    with np.load(folder / FILES.get(name, FILES["mnist"])) as archive:
        images, labels = archive["images"], archive["labels"].astype(int)
    if name == "color":
        images = recolored(images, seed)
    elif name == "affine":
        images = deformed(images, seed)
    elif name == "scattered":
        images, labels = scattered(images[:2000], seed), labels[:2000]
    return images, labels


def recolored(images: NDArray, seed: int) -> NDArray:
    """ColoredMNIST: ``|c x + b|`` per channel, scaled to its maximum.

    c is uniform in (-1, 1) and b in (0, 1), per image and channel.
    """
    rng = np.random.default_rng(seed)
    shape = (len(images), 1, 1, 3)
    slope, level = rng.uniform(-1, 1, shape), rng.uniform(0, 1, shape)
    painted = np.abs(slope * (images[..., None] / 255) + level)
    painted /= painted.max((1, 2, 3), keepdims=True)
    return np.round(255 * painted).astype(np.uint8)


def deformed(images: NDArray, seed: int, side: int = 40) -> NDArray:
    """affNIST: every digit turned, sheared, scaled and shifted on a larger canvas.

    Rotation +-20 degrees, shear +-0.2, scales 0.8 to 1.2, and any whole shift that
    keeps the ink inside.
    """
    rng = np.random.default_rng(seed)
    return np.stack([_deform(image, side, rng) for image in images])


def scattered(images: NDArray, seed: int, side: int = 64) -> NDArray:
    """Every digit somewhere on a canvas of more than five times its area."""
    rng = np.random.default_rng(seed)
    _, height, width = images.shape
    canvas = np.zeros((len(images), side, side), np.uint8)
    for image, drawn in zip(images, canvas, strict=True):
        row, column = rng.integers(0, [side - height + 1, side - width + 1])
        drawn[row : row + height, column : column + width] = image
    return canvas


def _deform(image: NDArray, side: int, rng: np.random.Generator) -> NDArray:
    angle = np.deg2rad(rng.uniform(-20, 20))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shear = np.array([[1, rng.uniform(-0.2, 0.2)], [0, 1]])
    inverse = np.linalg.inv(turn @ shear @ np.diag(rng.uniform(0.8, 1.2, 2)))
    middle = np.full(2, (side - 1) / 2)
    padded = np.pad(image, (side - len(image)) // 2).astype(float)
    offset = middle - inverse @ middle
    drawn = ndimage.affine_transform(padded, inverse, offset, order=1)
    rows, columns = np.where(drawn > 30)
    shift = [
        rng.integers(-where.min(), side - where.max()) if len(where) else 0
        for where in (rows, columns)
    ]
    return np.clip(np.roll(drawn, shift, (0, 1)), 0, 255).astype(np.uint8)
