"""Pictures side by side; matplotlib is imported when something is drawn."""

import warnings
from abc import ABC, abstractmethod
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from sklearn_sprites._validation import Scaling, check_images

CHECKERS = (0.75, 0.9)  # behind transparent sprites
CLIPPED = 3  # times what the middle image spans: more is not shown
PANEL_INCHES = 0.62  # side of one picture


class AbstractDisplay(ABC):
    """What the displays share: they draw a whole figure."""

    @abstractmethod
    def _draw(self, figure: Any) -> tuple[Any, NDArray]:
        """Draw into a figure, or a new one if it is None: the figure and its axes."""

    def plot(self, *, figure: Any = None, ax: None = None) -> Self:
        """Draw what the display shows.

        Parameters
        ----------
        figure : matplotlib Figure, SubFigure or None, default=None
            Where to draw; None makes a new figure of fitting size.
        ax : None
            Not used: a whole figure is drawn. To draw beside other things, pass a
            subfigure as `figure`.

        Returns
        -------
        display : object
            The display itself, with ``figure_`` and ``axes_``.

        Raises
        ------
        TypeError
            If `ax` is given.
        """
        if ax is not None:  # as scikit-learn's displays have it
            raise TypeError(
                f"{type(self).__name__} draws a whole figure, not on one axis, but "
                f"plot got ax={ax!r}; pass figure=, a figure or a subfigure, or "
                "nothing for a new one."
            )
        self.figure_, self.axes_ = self._draw(figure)
        return self


def as_images(X: Any, estimator: Any, kind: type) -> NDArray:
    """Images as a fitted estimator takes them -> (n, H, W, C), in the user's units."""
    if not isinstance(estimator, kind):
        raise TypeError(
            f"estimator must be a fitted {kind.__name__}, got an object of the class "
            f"{type(estimator).__name__}."
        )
    check_is_fitted(estimator)
    images = check_images(estimator, X, fitted=estimator.image_shape_)
    return images.flat.reshape(-1, *images.shape)


def check_counts(owner: type, **counts: Any) -> None:
    """Refuse numbers of what to show, by name, that are no positive integers."""
    for name, count in counts.items():
        if not isinstance(count, Integral) or count < 1:
            raise ValueError(
                f"{name} of {owner.__name__}.from_estimator must be an int of at least "
                f"1, got {count!r}."
            )


def call(method: Any, images: NDArray) -> Any:
    """What a method of an estimator makes of images (n, H, W, C) of `as_images`."""
    with warnings.catch_warnings():
        # An estimator that was fitted on a data frame misses the names of its columns.
        warnings.filterwarnings("ignore", "X does not have valid feature names")
        return method(images.reshape(len(images), -1))


def apply(method: Any, images: NDArray, rows: NDArray) -> NDArray:
    """What a method makes of some of the images, as images (n, H, W, C)."""
    chosen = images[rows]
    if len(chosen) == 0:
        return chosen
    result = np.asarray(call(method, chosen))
    return result.reshape(*chosen.shape[:3], -1)


def spread(n_images: int, n_all: int) -> NDArray:
    """Rows of images evenly over a set, in its order: the middles of equal parts."""
    n_images = min(n_images, n_all)
    return (2 * np.arange(n_images) + 1) * n_all // (2 * max(1, n_images))


def unit_scale(images: NDArray) -> Any:
    """How to bring values in the user's units to [0, 1], as the images span it.

    Where a few images span far more than the others, they are clipped.
    """
    scaling = Scaling.of(images, "a display")
    if len(images) and not scaling.is_usual:
        flat = images.reshape(len(images), -1)
        low, high = float(np.median(flat.min(1))), float(np.median(flat.max(1)))
        if 0 < CLIPPED * (high - low) < scaling.scale:
            scaling = Scaling(low, high - low)
    return lambda values: scaling.to_model(np.asarray(values)).clip(0, 1)


def checkers(height: int, width: int, shades: tuple[float, float]) -> NDArray:
    """A board of two shades, (height, width, 1)."""
    y, x = np.mgrid[:height, :width]
    side = max(2, height // 7)
    return np.array(shades)[(y // side + x // side) % 2][..., None]


def over_checkers(
    sprites: NDArray,
    masks: NDArray | None,
    shades: tuple[float, float] = CHECKERS,
) -> NDArray:
    """Sprites (K, h, w, C) over a board that shows where they are transparent."""
    if masks is None:
        return sprites
    board = checkers(*sprites.shape[1:3], shades)
    return masks[..., None] * sprites + (1 - masks[..., None]) * board


def _as_rgb(pictures: NDArray) -> NDArray:
    """Three channels are colors; any other number is shown as its mean, in gray."""
    if pictures.shape[-1] == 3:
        return pictures
    return np.repeat(pictures.mean(axis=-1, keepdims=True), 3, axis=-1)


def mosaic_of(rows: list[NDArray], width: int, shape: tuple[int, ...]) -> NDArray:
    """Rows of pictures -> one picture, white where a row is short."""
    height, side, gap = shape[0], shape[1], max(1, shape[0] // 16)
    canvas = np.ones((len(rows) * (height + gap), width * (side + gap), 3))
    for i, pictures in enumerate(rows):
        for j, picture in enumerate(_as_rgb(np.asarray(pictures))[:width]):
            top, left = i * (height + gap), j * (side + gap)
            canvas[top : top + height, left : left + side] = picture
    return canvas[:-gap, :-gap]


def mosaics_of(
    columns: dict[str, list[NDArray]], shape: tuple[int, ...]
) -> tuple[dict[str, NDArray], list[int]]:
    """Columns, each a list of rows of pictures, as mosaics, and how wide they are."""
    widths = [max([1, *map(len, rows)]) for rows in columns.values()]
    named = zip(columns.items(), widths, strict=True)
    return {title: mosaic_of(rows, n, shape) for (title, rows), n in named}, widths


def ratios_of(mosaics: dict[str, NDArray]) -> list[int]:
    """Widths, gaps included, at which rows of mosaics side by side line up."""
    return [mosaic.shape[1] for mosaic in mosaics.values()]


def draw_columns(
    mosaics: dict[str, NDArray], widths: list[int], n_rows: int, figure: Any
) -> tuple[Any, NDArray]:
    """One axis per mosaic, side by side, on a figure of fitting size if none is given.

    A mosaic has `n_rows` rows and, in its entry of `widths`, a number of columns.
    """
    if figure is None:
        figure = pyplot().figure(
            figsize=(
                PANEL_INCHES * (sum(widths) + 2) + 0.25 * len(widths),
                PANEL_INCHES * n_rows + 0.6,
            ),
            layout="constrained",
        )
    ratios = ratios_of(mosaics)
    axes = figure.subplots(1, len(ratios), width_ratios=ratios, squeeze=False)[0]
    for axis, (title, mosaic) in zip(axes, mosaics.items(), strict=True):
        show(axis, mosaic, title)
    return figure, axes


def show(axis: Any, picture: NDArray, title: str) -> None:
    """A picture without a frame."""
    axis.imshow(picture, interpolation="nearest")
    axis.set_anchor("N")  # titles side by side stay at one height
    axis.set_title(title, fontsize="medium")
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)


def label_rows(axis: Any, labels: list[str]) -> None:
    """Labels beside the rows of a mosaic."""
    bottom = axis.get_ylim()[0]
    centers = (np.arange(len(labels)) + 0.5) * bottom / len(labels)
    axis.set_yticks(centers, labels)
    axis.tick_params(left=False)


def sprite_names(counts: NDArray) -> list[str]:
    """Index of each sprite, by which results call it, and how often it is shown."""
    return [f"{k} (n={n})" for k, n in enumerate(counts)]


def count_of(n_shown: int, n_all: int | None) -> str:
    """As in "20 of 40 sprites"; nothing if these are all."""
    return f"{n_shown} of {n_all} sprites" if n_shown < (n_all or 0) else ""


def pyplot() -> Any:
    """matplotlib.pyplot, or an error that says what to install."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "Displays need matplotlib: pip install matplotlib."
        ) from error
    return plt
