"""Pictures of decompositions: scenes, their maps and layers, and the sprites."""

import colorsys
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from sklearn_sprites._decomposition import LayeredSpriteDecomposition
from sklearn_sprites.display._panels import (
    PANEL_INCHES,
    AbstractDisplay,
    as_images,
    call,
    check_counts,
    checkers,
    count_of,
    mosaic_of,
    mosaics_of,
    over_checkers,
    pyplot,
    ratios_of,
    show,
    spread,
    sprite_names,
    unit_scale,
)

__all__ = ["DecompositionDisplay"]

BOARD = (0.55, 0.65)  # behind sprites and layers: both light and dark colors stand out
BEHIND = 0.12  # gray of the background in maps
GOLDEN = 0.61803398875  # hues in steps of this share of the circle hardly repeat


class DecompositionDisplay(AbstractDisplay):
    """Scenes as a fitted decomposition sees them, under the sprites that it learned.

    Above, the sprites with their index, as in ``found.sprite == 2``, and the number of
    layers that show them in the training images, in the color that stands for them; if
    there are more sprites, the title says so. Below, one row per image: the image, how
    it is drawn from its layers, its instances, its classes, and its layers by
    themselves, in the order of what they save.

    Use :meth:`from_estimator` to make one.

    Parameters
    ----------
    sprites : ndarray of shape (K, h, w, C)
        Colors of the sprites, in [0, 1].
    masks : ndarray of shape (K, h, w)
        Opacity of the sprites.
    counts : ndarray of shape (K,)
        Layers that show each sprite.
    columns : dict of str to list of ndarray of shape (m, H, W, C)
        Title of a column -> for each image, its pictures in that column, in [0, 1].
    n_sprites : int or None, default=None
        Sprites of the estimator; None if `sprites` are all.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure drawn on.
    axes_ : ndarray of matplotlib Axes
        The sprites, then one per column.

    Examples
    --------
    >>> from sklearn_sprites import DecompositionDisplay, LayeredSpriteDecomposition
    >>> from sklearn_sprites.datasets import make_tetrominoes
    >>> X = make_tetrominoes(40, n_objects=2, size=20, cell=3, random_state=0).images
    >>> model = LayeredSpriteDecomposition(
    ...     6, n_layers=2, max_rounds=1, random_state=0
    ... ).fit(X)
    >>> display = DecompositionDisplay.from_estimator(model, X, n_images=3).plot()
    >>> list(display.columns)
    ['image', 'drawn', 'instances', 'classes', 'layers']
    """

    def __init__(
        self,
        *,
        sprites: NDArray,
        masks: NDArray,
        counts: NDArray,
        columns: dict[str, list[NDArray]],
        n_sprites: int | None = None,
    ) -> None:
        self.sprites = sprites
        self.masks = masks
        self.counts = counts
        self.columns = columns
        self.n_sprites = n_sprites

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        n_images: int = 8,
        max_sprites: int = 20,
        max_layers: int = 8,
    ) -> Self:
        """Decompose some images with a fitted estimator.

        Parameters
        ----------
        estimator : LayeredSpriteDecomposition
            A fitted estimator.
        X : array-like of shape (n, H, W), (n, H, W, C) or (n, d)
            Images, in any form that the estimator accepts.
        n_images : int, default=8
            How many of them to show, evenly over X and in its order. For the first ones
            pass these alone.
        max_sprites : int, default=20
            Sprites to show, the most used first; all with ``len(estimator.sprites_)``.
        max_layers : int, default=8
            Layers to show of each image, those that save most; the title says so if
            there are more. Columns in which all layers are empty are left out.

        Returns
        -------
        display : DecompositionDisplay
            Call its :meth:`plot`.

        Raises
        ------
        TypeError
            If `estimator` is of another class.
        ValueError
            If X holds no images, or none that the estimator accepts, or if a number
            of what to show is no positive int.
        """
        check_counts(
            cls, n_images=n_images, max_sprites=max_sprites, max_layers=max_layers
        )
        images = as_images(X, estimator, LayeredSpriteDecomposition)
        images = images[spread(n_images, len(images))]
        to_unit = unit_scale(images)
        found = call(estimator.decompose, images)
        instances = estimator.render(found, "instances")
        classes = estimator.render(found, "classes")
        n_labels = max(len(estimator.sprites_), found.sprite.shape[1]) + 1
        colors = _label_colors(n_labels)
        shown = estimator.sprites_[:max_sprites]
        n_used = max(int((found.sprite >= 0).sum(1).max()), 1)
        n_layers = max(min(n_used, max_layers), 1)
        title = "layers" if n_layers == n_used else f"{n_layers} of {n_used} layers"
        columns = {
            "image": to_unit(images),
            "drawn": to_unit(estimator.render(found)),
            "instances": colors[instances],
            "classes": colors[classes],
        }
        return cls(
            sprites=to_unit(shown[..., :-1]),
            masks=shown[..., -1],
            counts=estimator.counts_[:max_sprites],
            columns={
                **{title: list(each[:, None]) for title, each in columns.items()},
                title: list(_layers(estimator, found, to_unit, n_layers)),
            },
            n_sprites=len(estimator.sprites_),
        )

    def _draw(self, figure: Any) -> tuple[Any, NDArray]:
        """The sprites and the rows."""
        rows = next(iter(self.columns.values()))
        mosaics, widths = mosaics_of(self.columns, rows[0].shape[1:])
        per_row = max(8, sum(widths))
        n_above = -(-len(self.sprites) // per_row)
        heights = [1.6 * n_above, len(rows)]
        if figure is None:
            size = PANEL_INCHES * (sum(widths) + 1), PANEL_INCHES * sum(heights) + 0.8
            figure = pyplot().figure(figsize=size, layout="constrained")
        grid = figure.add_gridspec(
            2, len(widths), height_ratios=heights, width_ratios=ratios_of(mosaics)
        )
        axes = [figure.add_subplot(grid[0, :])]
        self._plot_sprites(axes[0], per_row)
        for i, (title, mosaic) in enumerate(mosaics.items()):
            axes.append(figure.add_subplot(grid[1, i]))
            show(axes[-1], mosaic, title)
        return figure, np.array(axes)

    def _plot_sprites(self, axis: Any, per_row: int) -> None:
        """Sprites in rows, each on its name in its color."""
        pictures = over_checkers(self.sprites, self.masks, BOARD)
        rows = [pictures[i : i + per_row] for i in range(0, len(pictures), per_row)]
        height, width = pictures.shape[1:3]
        room = height // 2  # for the numbers
        padded = [np.pad(r, [(0, 0), (0, room), (0, 0), (0, 0)]) for r in rows]
        for some in padded:
            some[:, height:] = 1
        wide = min(per_row, len(pictures))
        mosaic = mosaic_of(padded, wide, (height + room, width))
        count = count_of(len(pictures), self.n_sprites) or "sprites"
        show(axis, mosaic, f"{count} and their layers")
        colors = _label_colors(len(pictures) + 1)
        gap = max(1, (height + room) // 16)
        for k, name in enumerate(sprite_names(self.counts)):
            axis.text(
                (k % per_row) * (width + gap) + (width - 1) / 2,
                (k // per_row) * (height + room + gap) + height + room / 2,
                name,
                color=0.8 * colors[k + 1],
                ha="center",
                va="center",
                fontsize="x-small",
            )


def _label_colors(n: int) -> NDArray:
    """Colors of the labels of a map, (n, 3): dark gray for 0, then strong ones."""
    strong = [
        colorsys.hsv_to_rgb(k * GOLDEN % 1, 1 - 0.3 * (k % 2), 1 - 0.2 * (k % 3))
        for k in range(n - 1)
    ]
    return np.array([(BEHIND,) * 3, *strong])


def _layers(estimator: Any, found: Any, to_unit: Any, n_layers: int) -> NDArray:
    """The first layers, each by itself over a board, (n, L, H, W, C)."""
    masks = estimator.render(found, "masks")[:, :n_layers, ..., None]
    every = range(found.sprite.shape[1])
    behind = to_unit(estimator.render(found.drop(every)))
    board = checkers(*masks.shape[2:4], BOARD)
    alone = [to_unit(estimator.render(found.keep(i))) for i in range(n_layers)]
    free = 1 - masks
    layers = np.stack(alone, axis=1) - free * behind[:, None] + free * board
    return layers.clip(0, 1)
