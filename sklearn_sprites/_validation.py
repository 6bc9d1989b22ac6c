"""Images in any accepted form, validated; all use of scikit-learn's private names.

Every form of input is brought to two views of the same numbers: the flat one,
``(n_samples, H * W * C)``, that scikit-learn's own validators see, and the batch
``(n, C, H, W)``, float32, that the engine sees.
"""

import math
import re
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    InvalidParameterError,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils.validation import _check_feature_names_in, validate_data

from sklearn_sprites._forms import as_array, check_kind
from sklearn_sprites._warning import warn

__all__ = [
    "HasMethods",
    "Images",
    "Interval",
    "InvalidParameterError",
    "Scaling",
    "StrOptions",
    "check_feature_names",
    "check_images",
    "check_parameters",
    "seed_sequence",
]

Shape = tuple[int, int, int]  # (H, W, C)

MOST_COLORS = 4  # more channels than this in front of H, W, C never are colors
SMALLEST_RANGE = 0.5  # share of a usual range; values that span less are scaled
USUAL_SHARE, FEW_DECIDE = 0.75, 0.05  # of images; of the range that they all span
LONG_STRIP = 64  # features from which on a row of them was hardly meant,
SIDE = 16  # and as many rows as features, each of which may be a row of one image
# Largest values of new images, in those of `fit`, that are of other units: of several
# images, which are hardly all that faint, or of a few.
FAR, NEAR, NEAR_ALONE = 3.0, 1 / 8, 1 / 64
SEVERAL = 8
ROUNDING = 1e-6  # share of the largest value below which one is told as zero
LARGEST_GIVEN = 1e300  # in the user's units; the sum of an image's still is finite
LARGEST_VALUE = 1e15  # in model units; its square, summed, still fits into float32
NAMES = ("transformations", "background_transformations")  # tuples of names
PACKAGE = "sklearn_sprites."
PRIVATE_MODULES = re.compile(r"\bsklearn_sprites\._[\w.]*\.(?=\w)")  # before a class
TOGETHER = 2**16  # values converted at a time: their float64 copy stays in the cache


@dataclass(frozen=True)
class Scaling:
    """Model units = (value - offset) / scale, computed in float64."""

    offset: float
    scale: float

    @classmethod
    def of(cls, flat: NDArray, owner: str) -> "Scaling":
        """By dtype, or as it is in [0, 1]; by the range where half of that is empty.

        Fits of images of little contrast would be poor.
        """
        low, high = float(flat.min()), float(flat.max())
        is_fixed = flat.dtype in (np.uint8, np.uint16)
        usual = float(np.iinfo(flat.dtype).max) if is_fixed else 1.0
        if not max(high, -low) <= LARGEST_GIVEN:
            raise ValueError(
                f"X has a value range too large for {owner}: from {low} to {high}, but "
                f"values may be as far from 0 as {LARGEST_GIVEN:g}; clip X, or divide "
                "it by a constant."
            )
        if high == low:
            return cls(0.0, max(abs(low), usual))
        if low >= 0 and high <= usual and high - low >= SMALLEST_RANGE * usual:
            return cls(0.0, usual)
        return cls(low, high - low)

    @property
    def is_usual(self) -> bool:
        """Whether the scale is that of a type, or [0, 1], whatever the values."""
        return self.offset == 0 and self.scale in (1.0, 255.0, 65535.0)

    def to_model(self, values: NDArray, owner: str = "X") -> NDArray:
        """Values of `owner`, in the user's units -> float32 in model units."""
        out = np.empty(values.shape, dtype=np.float32)
        rows = max(1, TOGETHER // max(1, math.prod(values.shape[1:])))
        spare = np.empty((rows, *values.shape[1:]))
        for start in range(0, len(values), rows):
            given = values[start : start + rows]
            part = spare[: len(given)]
            with np.errstate(over="ignore"):
                np.subtract(given, self.offset, out=part, dtype=np.float64)
                part /= self.scale
            if max(part.max(initial=0.0), -part.min(initial=0.0)) > LARGEST_VALUE:
                raise ValueError(
                    f"{owner} has a value range too large: some values are too far "
                    f"from [{self.offset}, {self.offset + self.scale}], seen in fit; "
                    f"clip {owner} to that, or give it in the same units."
                )
            out[start : start + rows] = part
        return out

    def outliers(self, flat: NDArray) -> str | None:
        """Why the scale may be that of a few images only, if so."""
        if self.is_usual or not len(flat):
            return None
        spans = flat.max(1) / self.scale - flat.min(1) / self.scale
        most = float(np.quantile(spans, USUAL_SHARE))
        if not 0 < most < FEW_DECIDE:
            return None
        low, high = self.offset, self.offset + self.scale
        return (
            f"X has values from {low:.4g} to {high:.4g}, but {USUAL_SHARE:.0%} of its "
            f"images span at most {most * self.scale:.4g}: a few images decide the "
            "scale, and the others look all alike; clip X, or take a logarithm of it."
        )

    def foreign(self, batch: NDArray) -> str | None:
        """Why new images in model units look like images in other units, if so."""
        least, most = float(batch.min()), float(batch.max())
        largest = max(most, -least)
        nearest = NEAR if len(batch) >= SEVERAL else NEAR_ALONE
        if largest == 0 or nearest <= largest <= FAR:
            return None
        ends = self.to_user(np.array([least, most]))
        low, high = np.where(abs(ends) > ROUNDING * abs(ends).max(), ends, 0)
        return (
            f"X has values from {low:.4g} to {high:.4g}, while the images seen in fit "
            f"were between {self.offset:.4g} and {self.offset + self.scale:.4g}; give "
            "it in the same units."
        )

    def to_user(self, values: NDArray) -> NDArray:
        """Model units -> float64 in the user's units, same shape."""
        return values.astype(np.float64) * self.scale + self.offset


@dataclass(frozen=True)
class Images:
    """Validated images: the flat view, (n, H * W * C), and the shape of one image."""

    flat: NDArray
    shape: Shape

    def batch(self, scaling: Scaling) -> NDArray:
        """Float32 in model units, (n, C, H, W), contiguous, writable, a copy."""
        pixels = scaling.to_model(self.flat).reshape(-1, *self.shape)
        return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))


def check_images(
    estimator: Any, X: Any, *, image_shape: Any = None, fitted: Shape | None = None
) -> Images:
    """Validate X; set `n_features_in_` and `feature_names_in_`, or compare with them.

    ``fitted`` is the shape of the images seen in fit, or None in fit, where a given
    ``image_shape`` or else the width of flat input decides.
    """
    owner = type(estimator).__name__
    if image_shape is not None:
        _check_image_shape(image_shape, owner)
    X = as_array(X, owner)
    given = getattr(X, "shape", ())
    wanted = _three(image_shape) if image_shape is not None and not fitted else fitted
    X, shape = _flatten(X, wanted, owner)
    try:
        flat = _validated(estimator, X, reset=fitted is None)
    except ValueError as error:
        text = _told_by_shapes(str(error), given, shape, fitted, owner)
        if text is None:
            raise
        raise ValueError(text) from error
    check_kind(flat, owner)
    shape = shape or wanted or shape_of_width(flat.shape[1])
    _check_width(wanted, flat.shape[1])
    if wanted is None and len(given) == 2 and shape[0] == 1:
        _warn_of_strips(given)
    if wanted is not None and shape != wanted:
        told = f"{owner} was fitted on images" if fitted else "image_shape asks for one"
        raise ValueError(_other_shape(shape, told, wanted))
    return Images(flat, shape)


def _warn_of_strips(given: tuple[int, ...]) -> None:
    """Say what rows are taken for, if they were hardly meant as strips."""
    rows, width = given
    is_one = rows == width >= SIDE
    if not is_one and width < LONG_STRIP:
        return
    whole = f" If X is one image of {rows} x {width}, pass many." if is_one else ""
    warn(
        f"X is flat, and {width} features are no square image: they are taken for "
        "strips of one row, which are never warped; give image_shape=(H, W) or "
        f"(H, W, C), or image_shape={(1, width)} for strips.{whole}",
        UserWarning,
    )


def shape_of_width(width: int) -> Shape:
    """Shape of a flat image: a gray square, an RGB square, or a strip."""
    for channels in (1, 3):
        side = math.isqrt(width // channels)
        if channels * side * side == width:
            return side, side, channels
    return 1, width, 1


def check_feature_names(estimator: Any, input_features: Any) -> None:
    """Refuse names of features that are not those seen in fit."""
    _check_feature_names_in(estimator, input_features, generate_names=False)


def check_parameters(estimator: Any) -> None:
    """Raise InvalidParameterError unless every parameter meets its constraints."""
    params = estimator.get_params(deep=False)
    try:
        validate_parameter_constraints(
            estimator._parameter_constraints,
            params,
            caller_name=type(estimator).__name__,
        )
    except InvalidParameterError as error:
        told = PRIVATE_MODULES.sub(PACKAGE, str(error))
        for name in (n for n in NAMES if f"The {n!r} parameter" in told):
            if isinstance(params[name], str) and params[name] != "auto":
                told += f" For one name pass ({params[name]!r},)."
        raise InvalidParameterError(told) from None


def seed_sequence(random_state: Any) -> np.random.SeedSequence:
    """Root of all randomness of a fit; draws from a RandomState, never from NumPy's.

    ``None`` takes entropy from the operating system, so that the process's own
    generators stay as they are.
    """
    if random_state is None:
        return np.random.SeedSequence()
    if isinstance(random_state, Integral):
        return np.random.SeedSequence(int(random_state))
    words = random_state.randint(0, 2**32, size=4, dtype=np.uint32)
    return np.random.SeedSequence([int(word) for word in words])


def _validated(estimator: Any, X: Any, reset: bool) -> NDArray:
    """What scikit-learn makes of flat images."""
    kind = getattr(getattr(X, "dtype", None), "kind", "f")
    dtype = "numeric" if kind in "biufcO" else np.float64
    with np.errstate(invalid="ignore"):  # infinities are refused in words
        return validate_data(estimator, X, reset=reset, dtype=dtype)


def _told_by_shapes(
    error: str,
    given: tuple[int, ...],
    shape: Shape | None,
    fitted: Shape | None,
    owner: str,
) -> str | None:
    """What scikit-learn says of features, with what that means for images.

    `given` is the shape of X, `shape` that of its images if they are not flat. None
    if there is nothing to add.
    """
    if fitted is None or math.prod(given[1:]) == math.prod(fitted):
        return None
    if given == fitted or (*given, 1) == fitted:
        return f"{error} One image? Pass X[None]."
    if shape is not None:
        told = f"{owner} was fitted on images"
        return f"{_other_shape(shape, told, fitted)} {error}"
    return None


def _other_shape(shape: Shape, told: str, wanted: Shape) -> str:
    return f"X has images of shape {shape} (H, W, C), but {told} of shape {wanted}."


def _check_image_shape(image_shape: Any, owner: str) -> None:
    valid = (
        isinstance(image_shape, tuple)
        and len(image_shape) in (2, 3)
        and all(isinstance(n, Integral) and n > 0 for n in image_shape)
    )
    if not valid:
        raise InvalidParameterError(
            f"The 'image_shape' parameter of {owner} must be None or a tuple of 2 or 3 "
            f"positive ints, (H, W) or (H, W, C). Got {image_shape!r} instead."
        )


def _three(shape: tuple) -> Shape:
    height, width, *channels = (int(n) for n in shape)
    return height, width, channels[0] if channels else 1


def _flatten(X: Any, wanted: Shape | None, owner: str) -> tuple[Any, Shape | None]:
    """Images as rows, and their shape; flat or unknown input untouched."""
    if not isinstance(X, np.ndarray) or X.ndim < 3:
        return X, None
    if X.ndim > 4:
        raise ValueError(
            f"Found array with dim {X.ndim}, while dim <= 4 is required by {owner}: "
            "images are (n, H, W) or (n, H, W, C), flat ones (n, n_features)."
        )
    shape = _three(X.shape[1:])
    if shape != wanted:
        _refuse_channels_first(X.shape, owner)
    return X.reshape(len(X), math.prod(shape)), shape


def _refuse_channels_first(shape: tuple[int, ...], owner: str) -> None:
    """Channels come last; what is clearly the other way round is not guessed at."""
    if len(shape) < 4 or 0 in shape:
        return
    _, first, middle, last = shape
    few_first = first <= MOST_COLORS < last
    if few_first or (last > MOST_COLORS and middle == last and first < last):
        raise ValueError(
            f"X of shape {shape} looks like images with channels first; {owner} needs "
            "them last, (n, H, W, C). Use np.moveaxis(X, 1, -1), or pass "
            f"image_shape={shape[1:]} if the last axis is indeed the channels."
        )


def _check_width(wanted: Shape | None, width: int) -> None:
    if wanted is not None and math.prod(wanted) != width:
        raise ValueError(
            f"image_shape={wanted} has {math.prod(wanted)} values but X has {width} "
            "features."
        )
