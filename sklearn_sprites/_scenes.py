"""What a decomposition found in images, in the user's units, open to edits."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Decomposition"]

DARKEST = 1e-6  # a sprite whose color is nearer to black has no color to scale
POSE_NAMES = (
    *("x", "y", "scale", "angle"),
    *("stretch", "shear", "tilt_x", "tilt_y"),
)
SCALES = ("scale", "stretch")
PER_SPRITE = ("palette", "black")  # fields whose first axis does not run over images


@dataclass(frozen=True, eq=False)
class Decomposition:
    """The layers of n images: what, where, how large, in which color, over which.

    A record of arrays that :meth:`LayeredSpriteDecomposition.decompose` makes and
    :meth:`LayeredSpriteDecomposition.render` draws. Nothing in it changes; methods
    that edit return another one. They take the layers to edit as an index or indices
    of layers, the same in each image, or as booleans of shape (n, L), such as
    ``found.sprite == 2``; empty layers are left alone.

    Parameters
    ----------
    sprite : ndarray of shape (n, L), int64
        Index of the sprite of each layer; -1 where the layer is empty. Layers are in
        the order of what they save, empty ones last.
    x, y : ndarray of shape (n, L), float64
        Center of the sprite's frame in pixels, from the upper left corner of the
        image; the center of the first pixel is at (0.5, 0.5).
    scale : ndarray of shape (n, L), float64
        Size relative to the sprite.
    angle : ndarray of shape (n, L), float64
        Angle in radians by which the sprite is turned, from x to y: clockwise as
        seen.
    stretch : ndarray of shape (n, L), float64
        How many times as wide, and how many times less high, the sprite is made before
        it is scaled and turned; 1 if layers are not affine.
    shear : ndarray of shape (n, L), float64
        How many pixels points move to the right for each pixel that they are below the
        center, before the sprite is stretched; 0 if layers are not affine.
    tilt_x, tilt_y : ndarray of shape (n, L), float64
        How much farther away the right and the lower edge are than the center: with
        coordinates u and v from -1 to 1 over the sprite, points are first of all drawn
        to the center by ``1 + tilt_x * u + tilt_y * v``; 0 if layers are not
        projective.
    spline : ndarray of shape (n, L, G, 2), float64
        How the sprite is bent before all else: at each of G = 16 control points, a
        lattice of 4 x 4 points over the sprite, row by row, it shows what lies this far
        to the right and below, in halves of its width and height, and between them a
        thin-plate spline. Zeros do not bend it; G is 0 if layers have no splines.
    gain, bias : ndarray of shape (n, L, C), float64
        A layer shows `gain` times the colors of its sprite plus `bias`, in the units
        of the images.
    over : ndarray of shape (n, L, L), bool
        ``over[:, i, j]``: layer i hides layer j where they overlap.
    saves : ndarray of shape (n, L), float64
        How much larger the squared error of the image would be without the layer, in
        squared units of the images. As found: edits do not change it.
    background : ndarray of shape (n,), int64
        Index of the background.
    background_gain, background_bias : ndarray of shape (n, C), float64
        What `gain` and `bias` are for the background.
    background_light : ndarray of shape (n, C, 5), float64
        How the gain of the background changes over the image: what x, y, x^2, x y and
        y^2 are multiplied by, which go from -1 to 1 between its edges. It multiplies
        the background's difference from black. 0 for plain grounds.
    background_pose : ndarray of shape (n, Q), float64
        Where the background is, as if it were a sprite of the size of the image: x and
        y of its center, then, up to what it may do, scale, angle, stretch, shear,
        tilt_x and tilt_y, as above. Beyond its border, its outermost pixels go on. Q is
        0 if it stays where it is.
    background_spline : ndarray of shape (n, G, 2), float64
        What `spline` is for the background.
    error : ndarray of shape (n,), float64
        Squared error of the image, in squared units of the images; as found.
    palette : ndarray of shape (K, C), float64
        Mean color of each sprite.
    black : float
        The value that stands for black, from which :meth:`recolor` scales colors.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_sprites import Decomposition
    >>> one = np.ones((1, 2))
    >>> found = Decomposition(
    ...     sprite=np.array([[4, -1]]), x=5 * one, y=7 * one, scale=one, angle=0 * one,
    ...     stretch=one, shear=0 * one, tilt_x=0 * one, tilt_y=0 * one,
    ...     spline=np.zeros((1, 2, 0, 2)),
    ...     gain=np.ones((1, 2, 3)), bias=np.zeros((1, 2, 3)),
    ...     over=np.zeros((1, 2, 2), bool), saves=one, background=np.zeros(1, int),
    ...     background_gain=np.zeros((1, 3)), background_bias=np.zeros((1, 3)),
    ...     background_light=np.zeros((1, 3, 5)), background_pose=np.zeros((1, 0)),
    ...     background_spline=np.zeros((1, 0, 2)), error=np.zeros(1),
    ...     palette=np.full((5, 3), 0.5), black=0.0,
    ... )
    >>> found.n_objects
    array([1])
    >>> found.move(0, dx=2).x
    array([[7., 5.]])
    >>> found.recolor(0, (1.0, 0.0, 0.0)).color[0, 0]
    array([1., 0., 0.])
    """

    sprite: NDArray
    x: NDArray
    y: NDArray
    scale: NDArray
    angle: NDArray
    stretch: NDArray
    shear: NDArray
    tilt_x: NDArray
    tilt_y: NDArray
    spline: NDArray
    gain: NDArray
    bias: NDArray
    over: NDArray
    saves: NDArray
    background: NDArray
    background_gain: NDArray
    background_bias: NDArray
    background_light: NDArray
    background_pose: NDArray
    background_spline: NDArray
    error: NDArray
    palette: NDArray
    black: float

    def __getitem__(self, images: Any) -> "Decomposition":
        """The record of some of the images: an index, a slice, indices or booleans."""
        if isinstance(images, int | np.integer):
            images = [images]
        return replace(self, **{n: getattr(self, n)[images] for n in PER_IMAGE})

    def __repr__(self) -> str:
        return (
            f"Decomposition({self.n_images} images, up to {self.sprite.shape[1]} "
            f"layers, {int(self.n_objects.sum())} objects)"
        )

    @property
    def n_images(self) -> int:
        """Number of images. There is no `len`: a record is no sequence of images."""
        return len(self.sprite)

    @property
    def shown(self) -> NDArray:
        """Whether a layer shows a sprite, (n, L) bool."""
        return self.sprite >= 0

    @property
    def n_objects(self) -> NDArray:
        """Number of layers that show a sprite, (n,) int64."""
        return self.shown.sum(axis=1)

    @property
    def color(self) -> NDArray:
        """Mean color of each layer, (n, L, C), in the units of the images."""
        return self.gain * self.palette[self.sprite] + self.bias

    def replace(self, **arrays: ArrayLike) -> "Decomposition":
        """Put other values in place of whole fields.

        Parameters
        ----------
        **arrays : array-like
            Name of a field -> its values, broadcast to the shape of the field.

        Returns
        -------
        edited : Decomposition
            The record with these values.

        Raises
        ------
        ValueError
            If there is no field of that name, or if values do not fit it.
        """
        unknown = set(arrays) - set(PER_IMAGE)
        if unknown:
            raise ValueError(
                f"Decomposition has no field {min(unknown)!r} to replace; there are "
                f"{', '.join(PER_IMAGE)}."
            )
        return replace(self, **{n: self._like(n, v) for n, v in arrays.items()})

    def move(
        self, layers: ArrayLike, dx: ArrayLike = 0.0, dy: ArrayLike = 0.0
    ) -> "Decomposition":
        """Move layers to the right by `dx` pixels and down by `dy`.

        Parameters
        ----------
        layers : int, sequence of int, or ndarray of bool of shape (n, L)
            Which layers.
        dx, dy : float or array-like of shape (n, L) or (n, 1), default=0.0
            Distances in pixels.

        Returns
        -------
        edited : Decomposition
            The record with these layers elsewhere.

        Raises
        ------
        ValueError
            If `layers` are neither indices of layers nor booleans,
            or if `dx` or `dy` has another shape.
        """
        chosen = self._chosen(layers)
        dx, dy = self._per_layer("dx", dx), self._per_layer("dy", dy)
        return replace(
            self,
            x=np.where(chosen, self.x + dx, self.x),
            y=np.where(chosen, self.y + dy, self.y),
        )

    def resize(self, layers: ArrayLike, factor: ArrayLike) -> "Decomposition":
        """Make layers larger (`factor` above 1) or smaller, around their center.

        Parameters
        ----------
        layers : int, sequence of int, or ndarray of bool of shape (n, L)
            Which layers.
        factor : float or array-like of shape (n, L) or (n, 1)
            Positive factor on the size.

        Returns
        -------
        edited : Decomposition
            The record with these layers in another size.

        Raises
        ------
        ValueError
            If `layers` are neither indices of layers nor booleans,
            or if `factor` is not positive or has another shape.
        """
        factor = self._positive("factor", factor)
        chosen = self._chosen(layers)
        return replace(self, scale=np.where(chosen, self.scale * factor, self.scale))

    def turn(self, layers: ArrayLike, angle: ArrayLike) -> "Decomposition":
        """Turn layers by `angle` around their center.

        Parameters
        ----------
        layers : int, sequence of int, or ndarray of bool of shape (n, L)
            Which layers.
        angle : float or array-like of shape (n, L) or (n, 1)
            Angle in radians, clockwise as seen.

        Returns
        -------
        edited : Decomposition
            The record with these layers turned.

        Raises
        ------
        ValueError
            If `layers` are neither indices of layers nor booleans,
            or if `angle` has another shape.
        """
        chosen, angle = self._chosen(layers), self._per_layer("angle", angle)
        return replace(self, angle=np.where(chosen, self.angle + angle, self.angle))

    def deform(
        self, layers: ArrayLike, stretch: ArrayLike = 1.0, shear: ArrayLike = 0.0
    ) -> "Decomposition":
        """Shear and stretch layers along the axes of their sprites.

        Parameters
        ----------
        layers : int, sequence of int, or ndarray of bool of shape (n, L)
            Which layers.
        stretch : float or array-like of shape (n, L) or (n, 1), default=1.0
            How many times as wide, and how many times less high, to make them.
        shear : float or array-like of shape (n, L) or (n, 1), default=0.0
            How far to move points to the right for each pixel below the center, before
            the stretch.

        Returns
        -------
        edited : Decomposition
            The record with these layers in another shape.

        Raises
        ------
        ValueError
            If `layers` are neither indices of layers nor booleans,
            or if `stretch` is not positive, or one of the two has another shape.
        """
        stretch = self._positive("stretch", stretch)
        chosen = self._chosen(layers)
        more = self.shear + self._per_layer("shear", shear) / self.stretch**2
        return replace(
            self,
            stretch=np.where(chosen, self.stretch * stretch, self.stretch),
            shear=np.where(chosen, more, self.shear),
        )

    def recolor(self, layers: ArrayLike, color: ArrayLike) -> "Decomposition":
        """Give layers another mean color; their shading is kept in proportion.

        Parameters
        ----------
        layers : int, sequence of int, or ndarray of bool of shape (n, L)
            Which layers.
        color : array-like of shape (C,), (n, 1, C) or (n, L, C)
            The mean color, in the units of the images.

        Returns
        -------
        edited : Decomposition
            The record with these layers recolored.

        Raises
        ------
        ValueError
            If `layers` are neither indices of layers nor booleans,
            or if `color` has another shape.
        """
        chosen = self._chosen(layers)[..., None]
        color = _fitted_to(self.gain.shape, "color", color)
        own = self.palette[self.sprite] - self.black
        has_color = np.abs(own) > DARKEST
        gain = np.where(
            has_color, (color - self.black) / np.where(has_color, own, 1), 0
        )
        bias = color - gain * self.palette[self.sprite]
        return replace(
            self,
            gain=np.where(chosen, gain, self.gain),
            bias=np.where(chosen, bias, self.bias),
        )

    def swap_sprite(self, layers: ArrayLike, sprite: ArrayLike) -> "Decomposition":
        """Show another sprite in the same place, pose and mean color.

        Where a layer shows its sprite in the sprite's own colors, it will show the
        other one in those of that.

        Parameters
        ----------
        layers : int, sequence of int, or ndarray of bool of shape (n, L)
            Which layers.
        sprite : int or array-like of shape (n, L) or (n, 1)
            Index of the sprite to show.

        Returns
        -------
        edited : Decomposition
            The record with another sprite in these layers.

        Raises
        ------
        ValueError
            If `layers` are neither indices of layers nor booleans,
            or if there is no such sprite, or `sprite` has another shape.
        """
        sprite = self._per_layer("sprite", sprite)
        is_whole = sprite.dtype.kind in "iu"
        wrong = sprite[(sprite < 0) | (sprite >= len(self.palette)) | (not is_whole)]
        if wrong.size:
            raise ValueError(
                f"sprite must be an index from 0 to {len(self.palette) - 1}, an "
                f"integer; got {wrong[0].item()!r}."
            )
        chosen, color = self._chosen(layers), self.color
        kept = np.where(chosen, sprite, self.sprite).astype(self.sprite.dtype)
        swapped = replace(self, sprite=kept)
        is_own = (self.gain == 1).all(-1) & (self.bias == 0).all(-1)
        return swapped.recolor(chosen & ~is_own, color)

    def bring_to_front(self, layers: ArrayLike) -> "Decomposition":
        """Let layers hide all others; among themselves they keep their order.

        Parameters
        ----------
        layers : int, sequence of int, or ndarray of bool of shape (n, L)
            Which layers.

        Returns
        -------
        edited : Decomposition
            The record with these layers in front.

        Raises
        ------
        ValueError
            If `layers` are neither indices of layers nor booleans.
        """
        return self._reordered(self._chosen(layers), in_front=True)

    def send_to_back(self, layers: ArrayLike) -> "Decomposition":
        """Let all others hide these layers; among themselves they keep their order.

        Parameters
        ----------
        layers : int, sequence of int, or ndarray of bool of shape (n, L)
            Which layers.

        Returns
        -------
        edited : Decomposition
            The record with these layers at the back.

        Raises
        ------
        ValueError
            If `layers` are neither indices of layers nor booleans.
        """
        return self._reordered(self._chosen(layers), in_front=False)

    def drop(self, layers: ArrayLike) -> "Decomposition":
        """Empty layers.

        Parameters
        ----------
        layers : int, sequence of int, or ndarray of bool of shape (n, L)
            Which layers.

        Returns
        -------
        edited : Decomposition
            The record without them.

        Raises
        ------
        ValueError
            If `layers` are neither indices of layers nor booleans.
        """
        return replace(self, sprite=np.where(self._chosen(layers), -1, self.sprite))

    def keep(self, layers: ArrayLike) -> "Decomposition":
        """Empty all other layers.

        Parameters
        ----------
        layers : int, sequence of int, or ndarray of bool of shape (n, L)
            Which layers.

        Returns
        -------
        edited : Decomposition
            The record with no layers but these.

        Raises
        ------
        ValueError
            If `layers` are neither indices of layers nor booleans.
        """
        return replace(self, sprite=np.where(self._chosen(layers), self.sprite, -1))

    def _chosen(self, layers: ArrayLike) -> NDArray:
        """Which of the layers that show something are meant, (n, L) bool."""
        return _as_mask(layers, self.sprite.shape) & self.shown

    def _per_layer(self, name: str, values: ArrayLike) -> NDArray:
        """Numbers for each layer, (n, L), by name."""
        return _fitted_to(self.sprite.shape, name, values)

    def _positive(self, name: str, values: ArrayLike) -> NDArray:
        """The same, all above zero."""
        array = self._per_layer(name, values)
        wrong = array[~(array > 0)]
        if wrong.size:
            raise ValueError(f"{name} must be positive, got {wrong[0].item()!r}.")
        return array

    def _like(self, name: str, values: ArrayLike) -> NDArray:
        """Values of the shape and the type of a field."""
        field = getattr(self, name)
        return _kept_type(name, _fitted_to(field.shape, name, values), field.dtype)

    def _reordered(self, chosen: NDArray, in_front: bool) -> "Decomposition":
        mine, yours = chosen[:, :, None], chosen[:, None, :]
        over = np.where(mine == yours, self.over, mine if in_front else yours)
        return replace(self, over=over)


PER_IMAGE = tuple(
    field.name for field in fields(Decomposition) if field.name not in PER_SPRITE
)


def _as_mask(layers: ArrayLike, shape: Sequence[int]) -> NDArray:
    """Layers by index, the same in each image, or booleans -> (n, L) bool."""
    layers = np.asarray(layers)
    if layers.shape == (0,):  # none, whatever the type
        return np.zeros(shape, dtype=bool)
    if layers.dtype == bool:
        if layers.shape != tuple(shape):
            raise ValueError(
                f"layers, if boolean, must have the shape {tuple(shape)} of images and "
                f"layers; got {layers.shape}."
            )
        return layers
    if layers.dtype.kind not in "iu" or layers.ndim > 1:
        raise ValueError(
            f"layers must be indices or booleans, got {layers.tolist()!r}."
        )
    wrong = layers[(layers < -shape[1]) | (layers >= shape[1])]
    if wrong.size:
        raise ValueError(
            f"layers must be indices from 0 to {shape[1] - 1}, or as far below 0 from "
            f"the last; {wrong[0].item()} is out of range."
        )
    mask = np.zeros(shape, dtype=bool)
    mask[:, layers] = True
    return mask


def _fitted_to(shape: Sequence[int], name: str, values: ArrayLike) -> NDArray:
    """Numbers, by name, broadcast to a shape; anything else is refused."""
    try:
        array = np.asarray(values)
        if array.dtype.kind == "O":
            array = array.astype(np.float64)
    except (TypeError, ValueError) as error:  # ragged, or no numbers
        raise _misfit(shape, name, repr(values)) from error
    if array.dtype.kind not in "biuf":
        raise _misfit(shape, name, repr(values))
    try:
        return np.broadcast_to(array, shape)
    except ValueError as error:
        raise _misfit(shape, name, f"the shape {array.shape}") from error


def _misfit(shape: Sequence[int], name: str, came: str) -> ValueError:
    return ValueError(
        f"{name} must be a number, or numbers of the shape {tuple(shape)} or of one "
        f"that broadcasts to it; got {came}."
    )


def _kept_type(name: str, values: NDArray, dtype: np.dtype) -> NDArray:
    """A copy in the type of a field, which must hold the values."""
    with np.errstate(invalid="ignore"):
        kept = values.astype(dtype)
    wrong = values[kept != values] if dtype.kind == "i" else values[:0]
    if wrong.size:
        raise ValueError(f"{name} must be whole numbers, got {wrong[0].item()!r}.")
    return kept
