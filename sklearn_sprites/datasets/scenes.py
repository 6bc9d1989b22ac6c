"""Scenes of several objects with ground truth by construction."""

from typing import Any

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray
from sklearn.utils import Bunch, check_random_state

from sklearn_sprites.datasets import _flat, _shading
from sklearn_sprites.datasets._ranges import check_counts, check_interval, check_range

__all__ = ["make_multi_dsprites", "make_shaded_scenes", "make_tetrominoes"]

Counts = int | tuple[int, int]
MOST_OBJECTS = 255  # instance maps are uint8
ATTEMPTS = 1000  # to place an object, or to draw a scene, before giving up


def make_tetrominoes(
    n_samples: int = 1000,
    *,
    n_objects: Counts = 3,
    size: int = 35,
    cell: int = 5,
    bevel: bool = True,
    random_state: int | RandomState | None = None,
) -> Bunch:
    """Draw tetrominoes that do not overlap on black, as in Tetrominoes [1]_.

    The 19 fixed tetrominoes (rotations count, reflections are other pieces) in red,
    green, blue, yellow, magenta or cyan, at uniformly random places. Pieces may touch
    each other and the border.

    Parameters
    ----------
    n_samples : int, default=1000
        Number of images.
    n_objects : int or (least, most), default=3
        Number of pieces per image; if a pair, uniformly random between the two.
    size : int, default=35
        Height and width of the images, at least ``4 * cell``.
    cell : int, default=5
        Height and width of each of the four squares of a piece, in pixels.
    bevel : bool, default=True
        Whether the squares have lighter and darker edges of one pixel, which needs
        ``cell >= 3``; otherwise they are of one color.
    random_state : int, RandomState instance or None, default=None
        Determines everything that is drawn at random. Pass an int for the same
        images on every call.

    Returns
    -------
    scenes : :class:`~sklearn.utils.Bunch`
        images : ndarray of shape (n_samples, size, size, 3), dtype uint8
            The images, RGB, channels last.
        instances : ndarray of shape (n_samples, size, size), dtype uint8
            Number of the piece that each pixel shows, from 1; 0 is background.
        classes : ndarray of shape (n_samples, size, size), dtype uint8
            Class that each pixel shows, from 1; 0 is background.
        target_names : tuple of str
            Names of the classes; ``target_names[0]`` is ``"background"``.

    Raises
    ------
    ValueError
        If a parameter is out of range or the pieces do not fit into the image.

    References
    ----------
    .. [1] R. Kabra et al., "Multi-Object Datasets" (2019),
       https://github.com/google-deepmind/multi_object_datasets

    Examples
    --------
    >>> from sklearn_sprites.datasets import make_tetrominoes
    >>> scenes = make_tetrominoes(10, random_state=0)
    >>> scenes.images.shape, len(scenes.target_names)
    ((10, 35, 35, 3), 20)
    """
    check_range("n_samples", n_samples, 1)
    check_range("cell", cell, 3 if bevel else 1)
    check_range("size", size, 4 * cell)
    least, most = check_counts(
        "n_objects", n_objects, min(MOST_OBJECTS, size**2 // (8 * cell**2))
    )
    rng = check_random_state(random_state)
    counts = rng.randint(least, most + 1, n_samples)
    pieces = _flat.Pieces(cell, bevel)
    scenes = _empty(n_samples, size, pieces.names)
    pending = np.arange(n_samples)
    for _ in range(ATTEMPTS):
        pending = pieces.place(scenes, pending, counts, rng)
        if not len(pending):
            return scenes
    raise ValueError(
        f"{most} pieces of {4 * cell} pixels hardly fit into {size} x {size} pixels; "
        "choose fewer with n_objects, or a larger size."
    )


def make_multi_dsprites(
    n_samples: int = 1000,
    *,
    n_objects: Counts = (2, 5),
    size: int = 64,
    scale: tuple[float, float] = (0.5, 1.0),
    min_pixels: int = 12,
    random_state: int | RandomState | None = None,
) -> Bunch:
    """Draw squares, ellipses and hearts that overlap, as in Multi-dSprites [1]_.

    Colored shapes with hard edges on a random level of gray. Position, angle, scale
    and color (uniform in hue, saturation and value) are independent; later objects
    occlude earlier ones. The shapes measure as in dSprites [2]_.

    Parameters
    ----------
    n_samples : int, default=1000
        Number of images.
    n_objects : int or (least, most), default=(2, 5)
        Number of objects per image; if a pair, uniformly random between the two.
    size : int, default=64
        Height and width of the images, at least 8 pixels; objects grow with them.
    scale : (low, high), default=(0.5, 1.0)
        Range of the sizes of objects, in (0, 1]. At 1 and 64 pixels, the square has
        sides of 19.2, the ellipse axes of 26 and 14, the heart a box of 19.1 x 17.5.
    min_pixels : int, default=12
        Every object shows at least that many pixels; images in which one does not are
        drawn anew.
    random_state : int, RandomState instance or None, default=None
        Determines everything that is drawn at random. Pass an int for the same
        images on every call.

    Returns
    -------
    scenes : :class:`~sklearn.utils.Bunch`
        images : ndarray of shape (n_samples, size, size, 3), dtype uint8
            The images, RGB, channels last.
        instances : ndarray of shape (n_samples, size, size), dtype uint8
            Number of the object that each pixel shows, from 1; larger ones are in
            front; 0 is background.
        classes : ndarray of shape (n_samples, size, size), dtype uint8
            Class that each pixel shows, from 1; 0 is background.
        target_names : tuple of str
            Names of the classes; ``target_names[0]`` is ``"background"``.

    Raises
    ------
    ValueError
        If a parameter is out of range or objects hardly ever show `min_pixels`.

    References
    ----------
    .. [1] R. Kabra et al., "Multi-Object Datasets" (2019),
       https://github.com/google-deepmind/multi_object_datasets
    .. [2] L. Matthey et al., "dSprites: Disentanglement testing Sprites dataset"
       (2017), https://github.com/google-deepmind/dsprites-dataset

    Examples
    --------
    >>> from sklearn_sprites.datasets import make_multi_dsprites
    >>> scenes = make_multi_dsprites(10, random_state=0)
    >>> scenes.images.shape, scenes.target_names
    ((10, 64, 64, 3), ('background', 'square', 'ellipse', 'heart'))
    """
    check_range("n_samples", n_samples, 1)
    check_range("size", size, 8)
    check_range("min_pixels", min_pixels, 0)
    least, most = check_counts("n_objects", n_objects, MOST_OBJECTS)
    scale = check_interval("scale", scale, 0, 1)
    rng = check_random_state(random_state)
    counts = rng.randint(least, most + 1, n_samples)

    def draw(chosen: NDArray) -> tuple[NDArray, NDArray, NDArray]:
        return _flat.overlapping_shapes(counts[chosen], size, scale, rng)

    return _draw_until_visible(
        draw, counts, _empty(n_samples, size, _flat.SHAPES), min_pixels
    )


def make_shaded_scenes(
    n_samples: int = 1000,
    *,
    n_objects: Counts = (3, 6),
    size: int = 64,
    min_pixels: int = 12,
    random_state: int | RandomState | None = None,
) -> Bunch:
    """Render cubes, spheres and cylinders on a lit floor, in the manner of CLEVR [1]_.

    Solids of two sizes, two materials (rubber is matt, metal glossy) and eight colors
    stand apart on a gray floor, seen from above in perspective. They cast shadows on
    the floor and on each other; nearer ones occlude farther ones. The light changes
    from image to image, the camera does not. Rendered by casting rays, four per pixel.

    Parameters
    ----------
    n_samples : int, default=1000
        Number of images.
    n_objects : int or (least, most), default=(3, 6)
        Number of objects per image, at most 10; if a pair, uniformly random between
        the two.
    size : int, default=64
        Height and width of the images, at least 16 pixels; objects grow with them.
    min_pixels : int, default=12
        Every object shows at least that many pixels; images in which one does not are
        drawn anew.
    random_state : int, RandomState instance or None, default=None
        Determines everything that is drawn at random. Pass an int for the same
        images on every call.

    Returns
    -------
    scenes : :class:`~sklearn.utils.Bunch`
        images : ndarray of shape (n_samples, size, size, 3), dtype uint8
            The images, RGB, channels last.
        instances : ndarray of shape (n_samples, size, size), dtype uint8
            Number of the object that most of the pixel shows, from 1; larger ones are
            nearer to the camera; 0 is floor.
        classes : ndarray of shape (n_samples, size, size), dtype uint8
            Class that most of the pixel shows, from 1; 0 is floor.
        target_names : tuple of str
            Names of the classes; ``target_names[0]`` is ``"background"``.

    Raises
    ------
    ValueError
        If a parameter is out of range or objects hardly ever show `min_pixels`.

    References
    ----------
    .. [1] J. Johnson et al., "CLEVR: A Diagnostic Dataset for Compositional Language
       and Elementary Visual Reasoning", CVPR 2017.

    Examples
    --------
    >>> from sklearn_sprites.datasets import make_shaded_scenes
    >>> scenes = make_shaded_scenes(4, size=32, min_pixels=3, random_state=0)
    >>> scenes.images.shape, scenes.target_names[1]
    ((4, 32, 32, 3), 'rubber cube')
    """
    check_range("n_samples", n_samples, 1)
    check_range("size", size, 16)
    check_range("min_pixels", min_pixels, 0)
    least, most = check_counts("n_objects", n_objects, _shading.MOST_OBJECTS)
    rng = check_random_state(random_state)
    counts = rng.randint(least, most + 1, n_samples)
    camera = _shading.Camera(size)

    def draw(chosen: NDArray) -> tuple[NDArray, NDArray, NDArray]:
        rendered = [_shading.render(counts[i], camera, rng) for i in chosen]
        return tuple(np.stack(part) for part in zip(*rendered, strict=True))

    return _draw_until_visible(
        draw, counts, _empty(n_samples, size, _shading.CLASSES), min_pixels
    )


def _empty(n_samples: int, size: int, names: tuple[str, ...]) -> Bunch:
    return Bunch(
        images=np.zeros((n_samples, size, size, 3), np.uint8),
        instances=np.zeros((n_samples, size, size), np.uint8),
        classes=np.zeros((n_samples, size, size), np.uint8),
        target_names=("background", *names),
    )


def _draw_until_visible(
    draw: Any, counts: NDArray, scenes: Bunch, min_pixels: int
) -> Bunch:
    """Draw all scenes, then again those in which an object shows too little."""
    pending = np.arange(len(counts))
    for _ in range(ATTEMPTS):
        for chosen in np.array_split(pending, -(-len(pending) // _flat.CHUNK)):
            images, instances, classes = draw(chosen)
            scenes.images[chosen] = images
            scenes.instances[chosen] = instances
            scenes.classes[chosen] = classes
        hidden = _least_visible(scenes.instances[pending], counts[pending]) < min_pixels
        pending = pending[hidden]
        if not len(pending):
            return scenes
    raise ValueError(
        f"With up to {counts.max()} objects, some hardly ever show "
        f"min_pixels={min_pixels} pixels; choose a smaller min_pixels, fewer objects "
        "with n_objects, or a larger size."
    )


def _least_visible(instances: NDArray, counts: NDArray) -> NDArray:
    """Pixels that the least visible object of each scene shows: (n,)."""
    shown = [(instances == j).sum((1, 2)) for j in range(1, counts.max() + 1)]
    absent = np.arange(1, counts.max() + 1)[:, None] > counts
    return np.where(absent, instances[0].size, shown).min(axis=0)
