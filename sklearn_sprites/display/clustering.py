"""Pictures of clusterings: sprites with their images, images with what they became."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sklearn_sprites._clustering import SpriteClustering
from sklearn_sprites.display._panels import (
    AbstractDisplay,
    apply,
    as_images,
    call,
    check_counts,
    count_of,
    draw_columns,
    label_rows,
    mosaic_of,
    mosaics_of,
    over_checkers,
    spread,
    sprite_names,
    unit_scale,
)

__all__ = ["ReconstructionDisplay", "SpriteDisplay"]

BLANK = 0.01  # of the mean variance; images of less contrast hardly count as near


class SpriteDisplay(AbstractDisplay):
    """Sprites of a fitted clustering with the images that they explain.

    One row per sprite: the sprite with the number of its images, its mask if it has
    one, its nearest images, typical ones (at the median), how the sprite is transformed
    to explain these, and these brought into the frame of the sprite. If there are more
    sprites than rows, a line below says so.

    Images are near if their squared error is small for their own variance: of two that
    are drawn equally well, a pale one has the smaller distance. A hundredth of the mean
    variance is added to both, so that blank images are not near.

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
    n_sprites : int or None, default=None
        Sprites of the estimator; None if `sprites` are all.

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
        n_sprites: int | None = None,
    ) -> None:
        self.sprites = sprites
        self.masks = masks
        self.counts = counts
        self.panels = panels
        self.n_sprites = n_sprites

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
            Sprites to show, the largest clusters of the fit first; more of them, or all
            with ``len(estimator.sprites_)``, make a longer figure.

        Returns
        -------
        display : SpriteDisplay
            Call its :meth:`plot`.

        Raises
        ------
        TypeError
            If `estimator` is of another class.
        ValueError
            If X holds no images, or none that the estimator accepts, or if a number
            of what to show is no positive int.
        """
        check_counts(cls, n_images=n_images, max_sprites=max_sprites)
        images = as_images(X, estimator, SpriteClustering)
        distances = np.asarray(call(estimator.transform, images))
        labels = distances.argmin(axis=1)
        misfit = _relative_errors(images, distances.min(axis=1))
        n_sprites = min(len(estimator.sprites_), max_sprites)
        members = [_nearest_first(labels, misfit, k) for k in range(n_sprites)]
        nearest = [order[:n_images] for order in members]
        typical = [_around_median(order, n_images) for order in members]
        to_unit = unit_scale(images)
        channels = images.shape[-1]
        sprites = estimator.sprites_[:n_sprites]
        has_mask = sprites.shape[-1] > channels

        def pictures(function: Any) -> list[NDArray]:
            return [to_unit(apply(function, images, rows)) for rows in typical]

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
            n_sprites=len(estimator.sprites_),
        )

    def _draw(self, figure: Any) -> tuple[Any, NDArray]:
        """The rows."""
        columns = {"sprite": list(over_checkers(self.sprites, self.masks)[:, None])}
        if self.masks is not None:
            columns["mask"] = list(self.masks[:, None, ..., None])
        columns |= self.panels
        mosaics, widths = mosaics_of(columns, self.sprites.shape[1:])
        figure, axes = draw_columns(mosaics, widths, len(self.sprites), figure)
        label_rows(axes[0], sprite_names(self.counts))
        note = count_of(len(self.sprites), self.n_sprites)
        if note:
            axes[0].set_xlabel(note)
        return figure, axes


class ReconstructionDisplay(AbstractDisplay):
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
        """Reconstruct some images with a fitted estimator.

        Parameters
        ----------
        estimator : SpriteClustering
            A fitted estimator.
        X : array-like of shape (n, H, W), (n, H, W, C) or (n, d)
            Images, in any form that the estimator accepts.
        n_images : int, default=12
            How many of them to show, evenly over X and in its order, as sets are often
            sorted by kind. For the first ones pass these alone.

        Returns
        -------
        display : ReconstructionDisplay
            Call its :meth:`plot`.

        Raises
        ------
        TypeError
            If `estimator` is of another class.
        ValueError
            If X holds no images, or none that the estimator accepts, or if `n_images`
            is no positive int.
        """
        check_counts(cls, n_images=n_images)
        images = as_images(X, estimator, SpriteClustering)
        to_unit = unit_scale(images)
        chosen = spread(n_images, len(images))
        shown = to_unit(images[chosen])
        drawn = to_unit(apply(estimator.reconstruct, images, chosen))
        rows = {
            "image": shown,
            "reconstruction": drawn,
            "difference": abs(shown - drawn),
        }
        if estimator.sprites_.shape[-1] > images.shape[-1]:
            rows["foreground"] = apply(estimator.segment, images, chosen)
        return cls(rows=rows)

    def _draw(self, figure: Any) -> tuple[Any, NDArray]:
        """The rows."""
        images = self.rows["image"]
        mosaic = mosaic_of(list(self.rows.values()), len(images), images.shape[1:])
        figure, axes = draw_columns({"": mosaic}, [len(images)], len(self.rows), figure)
        label_rows(axes[0], list(self.rows))
        return figure, axes


def _relative_errors(images: NDArray, distances: NDArray) -> NDArray:
    """Squared errors for the images' own variance, close to 1 for blank ones, (n,)."""
    span = np.float64(images.max()) - np.float64(images.min()) or np.float64(1)
    variances = (images / span).var(axis=(1, 2)).sum(axis=-1)
    variances *= np.prod(images.shape[1:3])  # summed over pixels, as errors are
    blank = BLANK * variances.mean() or 1.0
    return ((distances / span) ** 2 + blank) / (variances + blank)


def _nearest_first(labels: NDArray, misfit: NDArray, k: int) -> NDArray:
    members = np.flatnonzero(labels == k)
    return members[np.argsort(misfit[members], kind="stable")]


def _around_median(order: NDArray, n_images: int) -> NDArray:
    """Of images sorted by how near they are, those at the middle of the sorting."""
    start = max(0, (len(order) - n_images) // 2)
    return order[start : start + n_images]
