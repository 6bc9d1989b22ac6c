"""Pictures of fitted estimators; matplotlib is imported when something is drawn."""

import warnings
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

__all__ = ["ReconstructionDisplay", "SpriteDisplay"]

CHECKERS = (0.75, 0.9)  # behind transparent sprites
PANEL_INCHES = 0.62  # side of one picture


class SpriteDisplay:
    """Sprites of a fitted clustering with the images that they explain.

    One row per sprite: the sprite with the number of its images, its mask if it has
    one, its nearest images, typical ones (at the median distance), how the sprite is
    transformed to explain these, and these brought into the frame of the sprite.

    Use :meth:`from_estimator` to make one.

    Parameters
    ----------
    sprites : ndarray of shape (K, H, W, C)
        Colors of the sprites, in [0, 1].
    masks : ndarray of shape (K, H, W) or None
        Opacity of the sprites; None if they are opaque.
    counts : ndarray of shape (K,)
        Images per sprite among those shown to the display.
    panels : dict of str to list of ndarray of shape (n, H, W, C)
        Title of a panel -> for each sprite, its pictures in that panel, in [0, 1].

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure drawn on.
    axes_ : ndarray of matplotlib Axes
        One per panel.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_sprites import SpriteClustering, SpriteDisplay
    >>> X = load_digits().images[:60]
    >>> model = SpriteClustering(3, transformations=(), random_state=0).fit(X)
    >>> display = SpriteDisplay.from_estimator(model, X).plot()
    >>> [axis.get_title() for axis in display.axes_][:2]
    ['sprite', 'nearest']
    """

    def __init__(
        self,
        *,
        sprites: NDArray,
        masks: NDArray | None,
        counts: NDArray,
        panels: dict[str, list[NDArray]],
    ) -> None:
        self.sprites = sprites
        self.masks = masks
        self.counts = counts
        self.panels = panels

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, *, n_images: int = 4, max_sprites: int = 20
    ) -> Self:
        """Assign images to the sprites of a fitted estimator and choose some to show.

        Parameters
        ----------
        estimator : SpriteClustering
            A fitted estimator.
        X : array-like of shape (n, H, W), (n, H, W, C) or (n, d)
            Images to show, in any form that the estimator accepts.
        n_images : int, default=4
            Images per sprite in each panel.
        max_sprites : int, default=20
            Sprites to show, the largest clusters of the fit first.

        Returns
        -------
        display : SpriteDisplay
            Call its :meth:`plot`.
        """
        check_is_fitted(estimator)
        images = _as_images(X, estimator.image_shape_)
        distances = np.asarray(estimator.transform(X))
        labels = distances.argmin(axis=1)
        own = distances[np.arange(len(labels)), labels]
        n_sprites = min(len(estimator.sprites_), max_sprites)
        members = [_by_distance(labels, own, k) for k in range(n_sprites)]
        nearest = [order[:n_images] for order in members]
        typical = [_around_median(order, own, n_images) for order in members]
        to_unit = _unit_scale(images)
        channels = images.shape[-1]
        sprites = estimator.sprites_[:n_sprites]
        has_mask = sprites.shape[-1] > channels

        def pictures(function: Any) -> list[NDArray]:
            return [to_unit(_apply(function, images, rows)) for rows in typical]

        return cls(
            sprites=to_unit(sprites[..., :channels]),
            masks=sprites[..., channels].clip(0, 1) if has_mask else None,
            counts=np.array([len(order) for order in members]),
            panels={
                "nearest": [to_unit(images[rows]) for rows in nearest],
                "typical": [to_unit(images[rows]) for rows in typical],
                "reconstructed": pictures(estimator.reconstruct),
                "aligned": pictures(estimator.align),
            },
        )

    def plot(self, *, figure: Any = None) -> Self:
        """Draw the rows.

        Parameters
        ----------
        figure : matplotlib Figure or None, default=None
            Where to draw; None makes a new figure of fitting size.

        Returns
        -------
        display : SpriteDisplay
            Itself, with ``figure_`` and ``axes_``.
        """
        columns = {"sprite": list(_over_checkers(self.sprites, self.masks)[:, None])}
        if self.masks is not None:
            columns["mask"] = list(self.masks[:, None, ..., None])
        columns |= self.panels
        widths = [max([1, *map(len, rows)]) for rows in columns.values()]
        mosaics = {
            title: _mosaic(rows, width, self.sprites.shape[1:])
            for (title, rows), width in zip(columns.items(), widths, strict=True)
        }
        self.figure_, self.axes_ = _draw(mosaics, widths, len(self.sprites), figure)
        _label_rows(self.axes_[0], [f"{k}  (n={n})" for k, n in enumerate(self.counts)])
        return self


class ReconstructionDisplay:
    """Images beside what a fitted estimator makes of them.

    Rows: the images, their reconstructions, the absolute differences and, for
    estimators with backgrounds, the foreground: where the sprite is drawn.

    Use :meth:`from_estimator` to make one.

    Parameters
    ----------
    rows : dict of str to ndarray of shape (n, H, W, C)
        Title of a row -> its pictures, in [0, 1].

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure drawn on.
    axes_ : ndarray of matplotlib Axes
        A single one.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_sprites import ReconstructionDisplay, SpriteClustering
    >>> X = load_digits().images[:60]
    >>> model = SpriteClustering(3, transformations=(), random_state=0).fit(X)
    >>> list(ReconstructionDisplay.from_estimator(model, X).plot().rows)
    ['image', 'reconstruction', 'difference']
    """

    def __init__(self, *, rows: dict[str, NDArray]) -> None:
        self.rows = rows

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any, *, n_images: int = 12) -> Self:
        """Reconstruct the first images with a fitted estimator.

        Parameters
        ----------
        estimator : SpriteClustering
            A fitted estimator.
        X : array-like of shape (n, H, W), (n, H, W, C) or (n, d)
            Images, in any form that the estimator accepts.
        n_images : int, default=12
            How many of them to show.

        Returns
        -------
        display : ReconstructionDisplay
            Call its :meth:`plot`.
        """
        check_is_fitted(estimator)
        images = _as_images(X, estimator.image_shape_)
        to_unit = _unit_scale(images)
        first = np.arange(min(n_images, len(images)))
        shown = to_unit(images[first])
        drawn = to_unit(_apply(estimator.reconstruct, images, first))
        rows = {
            "image": shown,
            "reconstruction": drawn,
            "difference": abs(shown - drawn),
        }
        if estimator.sprites_.shape[-1] > images.shape[-1]:
            rows["foreground"] = _apply(estimator.segment, images, first)
        return cls(rows=rows)

    def plot(self, *, figure: Any = None) -> Self:
        """Draw the rows.

        Parameters
        ----------
        figure : matplotlib Figure or None, default=None
            Where to draw; None makes a new figure of fitting size.

        Returns
        -------
        display : ReconstructionDisplay
            Itself, with ``figure_`` and ``axes_``.
        """
        images = self.rows["image"]
        mosaic = _mosaic(list(self.rows.values()), len(images), images.shape[1:])
        self.figure_, self.axes_ = _draw(
            {"": mosaic}, [len(images)], len(self.rows), figure
        )
        _label_rows(self.axes_[0], list(self.rows))
        return self


def _as_images(X: Any, image_shape: tuple[int, int, int]) -> NDArray:
    """Images in any accepted form -> (n, H, W, C), in the user's units."""
    images = np.asarray(X)
    return images.reshape(len(images), *image_shape)


def _apply(function: Any, images: NDArray, rows: NDArray) -> NDArray:
    """A method of an estimator on some images -> (n, H, W, C)."""
    chosen = images[rows]
    if len(chosen) == 0:
        return chosen
    with warnings.catch_warnings():
        # An estimator that was fitted on a data frame misses the names of its columns.
        warnings.filterwarnings("ignore", "X does not have valid feature names")
        result = np.asarray(function(chosen.reshape(len(chosen), -1)))
    return result.reshape(*chosen.shape[:3], -1)


def _unit_scale(images: NDArray) -> Any:
    """How to bring values in the user's units to [0, 1], as the images span it."""
    if images.dtype.kind in "u":
        low, high = 0.0, float(np.iinfo(images.dtype).max)
    else:
        low, high = float(images.min()), float(images.max())
        if 0 <= low and high <= 1:
            low, high = 0.0, 1.0
    span = (high - low) or 1.0
    return lambda values: ((np.asarray(values, np.float64) - low) / span).clip(0, 1)


def _by_distance(labels: NDArray, own: NDArray, k: int) -> NDArray:
    members = np.flatnonzero(labels == k)
    return members[np.argsort(own[members], kind="stable")]


def _around_median(order: NDArray, own: NDArray, n_images: int) -> NDArray:
    """Of images sorted by distance, those at the middle of the sorting."""
    start = max(0, (len(order) - n_images) // 2)
    return order[start : start + n_images]


def _over_checkers(sprites: NDArray, masks: NDArray | None) -> NDArray:
    if masks is None:
        return sprites
    y, x = np.mgrid[: sprites.shape[1], : sprites.shape[2]]
    side = max(2, sprites.shape[1] // 7)
    board = np.array(CHECKERS)[(y // side + x // side) % 2][..., None]
    return masks[..., None] * sprites + (1 - masks[..., None]) * board


def _as_rgb(pictures: NDArray) -> NDArray:
    """Three channels are colors; any other number is shown as its mean, in gray."""
    if pictures.shape[-1] == 3:
        return pictures
    return np.repeat(pictures.mean(axis=-1, keepdims=True), 3, axis=-1)


def _mosaic(rows: list[NDArray], width: int, shape: tuple[int, ...]) -> NDArray:
    """Rows of pictures -> one picture, white where a row is short."""
    height, side, gap = shape[0], shape[1], max(1, shape[0] // 16)
    canvas = np.ones((len(rows) * (height + gap), width * (side + gap), 3))
    for i, pictures in enumerate(rows):
        for j, picture in enumerate(_as_rgb(np.asarray(pictures))[:width]):
            top, left = i * (height + gap), j * (side + gap)
            canvas[top : top + height, left : left + side] = picture
    return canvas[:-gap, :-gap]


def _draw(
    mosaics: dict[str, NDArray], widths: list[int], n_rows: int, figure: Any
) -> tuple[Any, NDArray]:
    if figure is None:
        figure = _pyplot().figure(
            figsize=(
                PANEL_INCHES * (sum(widths) + 2) + 0.25 * len(widths),
                PANEL_INCHES * n_rows + 0.6,
            ),
            layout="constrained",
        )
    axes = figure.subplots(1, len(widths), width_ratios=widths, squeeze=False)[0]
    for axis, (title, mosaic) in zip(axes, mosaics.items(), strict=True):
        axis.imshow(mosaic, interpolation="nearest")
        axis.set_title(title, fontsize="medium")
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    return figure, axes


def _label_rows(axis: Any, labels: list[str]) -> None:
    bottom = axis.get_ylim()[0]
    centers = (np.arange(len(labels)) + 0.5) * bottom / len(labels)
    axis.set_yticks(centers, labels)
    axis.tick_params(left=False)


def _pyplot() -> Any:
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError(
            "Displays need matplotlib: pip install 'sklearn-sprites[plot]'."
        ) from error
    return pyplot
