"""Image sets of the benchmarks: archives read, and digits recolored or deformed.

Archives are ``.npz`` files with ``images`` (uint8) and ``labels``.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.datasets import load_digits, load_sample_images

FILES = {
    "mnist": "mnist_test.npz",
    "usps": "usps.npz",
    "gtsrb8": "gtsrb8.npz",
    "mnist_70k": "mnist_70k.npz",
    "fashion_70k": "fashion_70k.npz",
}
SETS = (
    "digits",
    "mnist",
    "usps",
    "color",
    "affine",
    "gtsrb8",
    "scattered",
    "parts",
    "badges",
    "lit",
    "belt",
    "shields",
    "crowded",
    "crowded_center",
    "sloped",
    "leaning",
    "uneven",
    "uneven_rare",
)
ANEW = ("uneven", "uneven_rare")  # sets that are drawn anew for each fit
SEED = 5  # of all the others
LARGE = ("mnist_70k", "fashion_70k")  # sets to be asked for
BADGES = [(220, 30, 40), (20, 110, 200), (30, 150, 60), (250, 160, 20)]  # colors
SHIELDS = [(0.85, 0.1, 0.15), (0.1, 0.3, 0.8)]  # colors of discs and of squares
PARTS = (0.6, 0.2, 0.1, 0.05, 0.05)  # shares of nuts, washers, screws, gears, brackets
ON_BELT = (0.4, 0.2, 0.2, 0.1, 0.1)  # and of these on a belt


def load(name: str, folder: Path, seed: int = SEED) -> tuple[NDArray, NDArray]:
    """Images and labels of a set by name."""
    if name == "digits":
        digits = load_digits()
        return digits.images / 16, digits.target
    if name == "parts":
        return machine_parts(1000, seed)
    if name == "badges":
        return badges(1000, seed)
    if name == "lit":
        images, labels = badges(1000, seed)
        return in_any_light(images, seed), labels
    if name == "belt":
        return on_a_belt(600, seed)
    if name == "shields":
        return shields(1000, seed)
    with np.load(folder / FILES.get(name, FILES["mnist"])) as archive:
        images, labels = archive["images"], archive["labels"].astype(int)
    if name == "color":
        images = recolored(images, seed)
    elif name == "affine":
        images = deformed(images, seed)
    elif name == "scattered":
        images, labels = scattered(images[:2000], seed), labels[:2000]
    elif name in ("crowded", "crowded_center"):
        images, labels = crowded(images[:4000], seed), labels[:4000]
    elif name == "sloped":
        images, labels = sloped(images[:4000], seed), labels[:4000]
    elif name == "leaning":
        images, labels = leaning(images[:2000], seed), labels[:2000]
    elif name in ANEW:
        chosen = rare_and_frequent(labels, seed)
        images, labels = images[chosen], labels[chosen]
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


def crowded(images: NDArray, seed: int, side: int = 32) -> NDArray:
    """Digits in a row, as of house numbers, each with what shows of its neighbors.

    They are in two colors of their own, 14 to 17 pixels apart, and 3 in 5 have a
    neighbor on a side.
    """
    rng = np.random.default_rng(seed)
    n, height, width = images.shape
    rows = np.zeros((n, side, side + 2 * width), images.dtype)
    top, middle = (side - height) // 2, (side + width) // 2
    for row, image in zip(rows[:, top : top + height], images, strict=True):
        row[:, middle : middle + width] = image
        for sign in (-1, 1):
            if rng.uniform() < 0.6:
                left = middle + sign * rng.integers(14, 18)
                part = row[:, left : left + width]
                np.maximum(part, images[rng.integers(n)], out=part)
    ink = rows[:, :, width : width + side, None] / 255
    ground, colors = rng.uniform(0, 1, (2, n, 1, 1, 3))
    near = np.abs(colors - ground).mean(-1, keepdims=True) < 0.25
    colors = np.where(near, (ground + 0.5) % 1, colors)
    painted = ground + ink * (colors - ground)
    return np.round(255 * painted).astype(np.uint8)


def sloped(images: NDArray, seed: int) -> NDArray:
    """Digits in any color before a gradient from any color to any other."""
    rng = np.random.default_rng(seed)
    n, height, width = images.shape
    ends, ink = rng.uniform(0, 1, (2, n, 1, 1, 3)), rng.uniform(0, 1, (n, 1, 1, 3))
    near = np.abs(ink - ends.mean(0)).mean(-1, keepdims=True) < 0.25
    ink = np.where(near, (ink + 0.5) % 1, ink)
    y, x = np.mgrid[:height, :width] / height - 0.5
    way = rng.uniform(0, 2 * np.pi, (n, 1, 1))
    share = (0.5 + np.cos(way) * x + np.sin(way) * y).clip(0, 1)[..., None]
    ground = (1 - share) * ends[0] + share * ends[1]
    alpha = images[..., None] / 255
    drawn = ground + alpha * (ink - ground) + rng.normal(0, 0.02, ground.shape)
    return np.round(255 * drawn.clip(0, 1)).astype(np.uint8)


def leaning(images: NDArray, seed: int) -> NDArray:
    """Digits turned by up to 45 degrees."""
    rng = np.random.default_rng(seed)
    angles = rng.uniform(-45, 45, len(images))
    turned = [
        ndimage.rotate(image.astype(float), angle, reshape=False, order=1)
        for image, angle in zip(images, angles, strict=True)
    ]
    return np.stack(turned).clip(0, 255).astype(np.uint8)


def rare_and_frequent(labels: NDArray, seed: int) -> NDArray:
    """Indices of 880 images of one kind down to 63 of another, which is by chance."""
    rng = np.random.default_rng(seed)
    counts = rng.permutation(np.geomspace(880, 63, 10).astype(int))
    chosen = [
        rng.permutation(np.flatnonzero(labels == kind))[:count]
        for kind, count in enumerate(counts)
    ]
    return rng.permutation(np.concatenate(chosen))


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


def machine_parts(n_images: int, seed: int, side: int = 32) -> tuple[NDArray, NDArray]:
    """Parts seen from above, in any turn, light and noise, some of them rare; kinds."""
    rng = np.random.default_rng(seed)
    kinds = rng.choice(len(PARTS), n_images, p=PARTS)
    line = (np.arange(4 * side) + 0.5) / (2 * side) - 1
    images = np.empty((n_images, side, side))
    for image, kind in zip(images, kinds, strict=True):
        right, down = (line - shift for shift in rng.normal(0, 0.06, 2))
        turn = np.exp(1j * rng.uniform(0, 2 * np.pi))
        drawn = _part(kind, turn * (right + 1j * down[:, None]))
        image[:] = drawn.reshape(side, 4, side, 4).mean((1, 3)) + 0.4
        image *= rng.uniform(0.85, 1.15)
    noise = rng.normal(0, 6, images.shape)
    return np.clip(150 * images + noise, 0, 255).astype(np.uint8), kinds


def on_a_belt(n_images: int, seed: int, side: int = 32) -> tuple[NDArray, NDArray]:
    """Such parts in any turn on the same rough belt, in light that varies; kinds."""
    rng, rough = np.random.default_rng(seed), np.random.default_rng(0)
    kinds = rng.choice(len(PARTS), n_images, p=ON_BELT)
    line = (np.arange(4 * side) + 0.5) / (2 * side) - 1
    belt = ndimage.gaussian_filter(rough.normal(size=(side, side)), 1.5)
    belt = 0.4 + 0.1 * belt / belt.std()
    images = np.empty((n_images, side, side))
    for image, kind in zip(images, kinds, strict=True):
        right, down = (line - shift for shift in rng.normal(0, 0.1, 2))
        turn = np.exp(1j * rng.uniform(0, 2 * np.pi))
        drawn = _part(kind, turn * (right + 1j * down[:, None]))
        drawn = drawn.reshape(side, 4, side, 4).mean((1, 3))
        alpha = np.clip(drawn / 0.75, 0, 1)
        image[:] = (1 - alpha) * belt + alpha * drawn
        image *= rng.uniform(0.85, 1.15)
    noise = rng.normal(0, 5, images.shape)
    return np.clip(220 * images + noise, 0, 255).astype(np.uint8), kinds


def badges(n_images: int, seed: int, side: int = 32) -> tuple[NDArray, NDArray]:
    """Discs, squares, triangles and stars on white, each in two colors; eight kinds."""
    rng = np.random.default_rng(seed)
    kinds = rng.choice(8, n_images, p=np.arange(8, 0, -1) / 36)
    line = (np.arange(4 * side) + 0.5) / (2 * side) - 1
    images = np.empty((n_images, side, side, 3))
    for image, kind in zip(images, kinds, strict=True):
        right, down = (line - shift for shift in rng.uniform(-0.2, 0.2, 2))
        z = (right + 1j * down[:, None]) / rng.uniform(0.5, 0.8)
        alpha = _is_within(kind // 2, z).reshape(side, 4, side, 4).mean((1, 3))
        color = BADGES[(kind // 2 + kind % 2) % len(BADGES)]
        image[:] = 255 + alpha[..., None] * (np.array(color) - 255)
    images += rng.normal(0, 4, images.shape)
    return np.clip(images, 0, 255).astype(np.uint8), kinds


def in_any_light(images: NDArray, seed: int) -> NDArray:
    """Images at 40 to 100 % of their brightness, all channels alike."""
    light = np.random.default_rng([seed, 1]).uniform(0.4, 1, (len(images), 1, 1, 1))
    return np.round(images * light).astype(np.uint8)


def shields(n_images: int, seed: int, side: int = 32) -> tuple[NDArray, NDArray]:
    """Red discs and blue squares over photographs, in any light; eight kinds.

    They are plain, or show a white bar, disc or post.
    """
    rng = np.random.default_rng(seed)
    photographs = load_sample_images().images
    kinds = rng.integers(0, 8, n_images)
    line = (np.arange(4 * side) + 0.5) / (2 * side) - 1
    images = np.empty((n_images, side, side, 3))
    for image, kind in zip(images, kinds, strict=True):
        right, down = (line - shift for shift in rng.uniform(-0.2, 0.2, 2))
        z = (right + 1j * down[:, None]) / rng.uniform(0.6, 0.8)
        alpha = _is_within(kind // 4, z)[..., None].astype(float)
        white = alpha * _is_drawn(kind % 4, z)[..., None]
        color = white * 0.95 + (alpha - white) * SHIELDS[kind // 4]
        color *= rng.uniform(0.4, 1) * rng.uniform(0.9, 1, 3)
        color, alpha = (
            a.reshape(side, 4, side, 4, -1).mean((1, 3)) for a in (color, alpha)
        )
        behind = _cut_out(photographs[rng.integers(2)], side, rng)
        image[:] = color + (1 - alpha) * behind / 255
    images += rng.normal(0, 0.015, images.shape)
    return np.clip(255 * images, 0, 255).astype(np.uint8), kinds


def _is_drawn(drawing: int, z: NDArray) -> NDArray:
    """Whether points `z` of a shield are white: nowhere, in a bar, a disc or a post."""
    x, y = np.abs(z.real), np.abs(z.imag)
    if drawing == 0:
        return np.zeros(z.shape, bool)
    if drawing == 2:
        return np.abs(z) < 0.4
    return (y < 0.2) & (x < 0.65) if drawing == 1 else (x < 0.2) & (y < 0.6)


def _cut_out(photograph: NDArray, side: int, rng: np.random.Generator) -> NDArray:
    """A square of a photograph, one to six times as large and reduced to `side`."""
    zoom = rng.integers(1, 7)
    top, left = (rng.integers(0, n - zoom * side + 1) for n in photograph.shape[:2])
    part = photograph[top : top + zoom * side, left : left + zoom * side]
    return part.reshape(side, zoom, side, zoom, 3).mean((1, 3))


def _is_within(outline: int, z: NDArray) -> NDArray:
    """Whether points `z`, complex numbers, are within an outline of radius one."""
    angle = np.angle(z * 1j)
    if outline == 0:
        return np.abs(z) < 1
    if outline == 3:
        return np.abs(z) < 0.7 + 0.3 * np.cos(5 * angle)
    corners = (4, 3)[outline - 1]
    slice_ = np.pi / corners
    return np.abs(z) * np.cos((angle + slice_) % (2 * slice_) - slice_) < np.cos(slice_)


def _part(kind: int, z: NDArray) -> NDArray:
    """How bright a part is at points `z`, complex numbers from -1 to 1."""
    radius, angle = np.abs(z), np.angle(z)
    x, y = z.real, z.imag
    if kind == 0:
        edge = radius * np.cos((angle % (np.pi / 3)) - np.pi / 6)
        return 0.9 * ((edge < 0.62) & (radius > 0.32))
    if kind == 1:
        return 0.8 * ((radius < 0.68) & (radius > 0.4))
    if kind == 2:
        head = (np.abs(x + 0.6) < 0.16) & (np.abs(y) < 0.36)
        return np.where(head, 1.0, 0.75 * ((np.abs(x - 0.2) < 0.64) & (abs(y) < 0.16)))
    if kind == 3:
        return 0.85 * (
            (radius < 0.6 + 0.1 * np.sign(np.cos(8 * angle))) & (radius > 0.16)
        )
    upright = (np.abs(x + 0.45) < 0.15) & (np.abs(y) < 0.65)
    return 0.85 * (upright | ((np.abs(y - 0.5) < 0.15) & (np.abs(x) < 0.6)))
