"""An estimator that is given tables and sees images."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, wraps
from inspect import getattr_static, isfunction, signature
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.base import clone
from sklearn.utils.metaestimators import available_if

_inside = ContextVar("_inside", default=False)  # a translated method is running


@dataclass(frozen=True)
class Translation:
    """How tables become images of `dtype`, one tile of pixels per number."""

    dtype: str
    tile: int

    @property
    def pixels(self) -> int:
        """Pixels that stand for one number."""
        return self.tile * self.tile

    def images(self, X: Any, limits: tuple[float, float] | None) -> Any:
        """(n, d) numbers -> (n, tile, tile * d, 1); anything else untouched."""
        table = _as_table(X)
        if table is None:
            return X
        if limits is not None and self.dtype == "uint8" and _is_finite(table):
            table = _quantized(table, limits)
        rows = np.repeat(table, self.tile, axis=1)[:, None, :, None]
        images = np.repeat(rows, self.tile, axis=1)
        images.flags.writeable = getattr(X, "flags", images.flags).writeable
        return images

    def limits(self, X: Any) -> tuple[float, float] | None:
        """Smallest and largest of the numbers in a table, if it has some."""
        table = _as_table(X)
        if table is None or table.size == 0 or not _is_finite(table):
            return None
        return float(np.min(table)), float(np.max(table))

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Let numbers of features in error messages count tiles."""
        try:
            yield
        except ValueError as error:
            told = str(error)
            text = re.sub(r"\b\d+(?= features?\b)", self._count, told)
            if text == told:
                raise
            raise type(error)(text) from error

    def _count(self, match: re.Match) -> str:
        number = int(match[0])
        return str(number // self.pixels) if number % self.pixels == 0 else match[0]


def _as_table(X: Any) -> NDArray | None:
    """Two-dimensional numbers or objects as an array; None for anything else."""
    if issparse(X):
        return None
    try:
        table = np.asarray(X)
    except ValueError:
        return None
    return table if table.ndim == 2 and table.dtype.kind in "biufcO" else None


def _is_finite(table: NDArray) -> bool:
    return table.dtype.kind in "biuf" and bool(np.isfinite(table).all())


def _quantized(table: NDArray, limits: tuple[float, float]) -> NDArray:
    low, high = limits
    share = (table.astype(np.float64) - low) / (high - low or 1.0)
    return np.rint(255 * share.clip(0, 1)).astype(np.uint8)


def replay_on_images(estimator: Any, dtype: str, tile: int) -> Any:
    """The estimator with the same parameters, translated."""
    kind = _replay_class(type(estimator), Translation(dtype, tile))
    return kind(**clone(estimator).get_params(deep=False))


def _blank(original: type, translation: Translation) -> Any:
    """An instance without state, for pickle."""
    kind = _replay_class(original, translation)
    return kind.__new__(kind)


@cache
def _replay_class(original: type, translation: Translation) -> type:
    """A subclass whose methods translate what goes in and what comes out."""

    class Replayed(original):  # type: ignore[valid-type, misc]
        _replayed = translation

        @property
        def n_features_in_(self) -> int:
            count = _stored(self, "n_features_in_")
            return count if _inside.get() else count // translation.pixels

        @n_features_in_.setter
        def n_features_in_(self, value: int) -> None:
            vars(self)["n_features_in_"] = value

        @n_features_in_.deleter
        def n_features_in_(self) -> None:
            del vars(self)["n_features_in_"]

        def __reduce__(self) -> tuple:
            return _blank, (original, translation), self.__getstate__()

        def __sklearn_tags__(self) -> Any:
            tags = super().__sklearn_tags__()
            tags.input_tags.two_d_array = True
            if translation.dtype == "uint8" and tags.transformer_tags is not None:
                tags.transformer_tags.preserves_dtype = []
            return tags

    for name in dir(original):
        if _takes_images(original, name):
            setattr(Replayed, name, _translated(Replayed, original, name))
    Replayed.__name__ = Replayed.__qualname__ = original.__name__
    Replayed.__doc__ = original.__doc__
    return Replayed


def _stored(estimator: Any, name: str) -> Any:
    try:
        return vars(estimator)[name]
    except KeyError:
        raise AttributeError(f"{type(estimator).__name__} has no {name}") from None


def _takes_images(original: type, name: str) -> bool:
    method = None if name.startswith("_") else getattr(original, name, None)
    try:
        return callable(method) and list(signature(method).parameters)[1:2] == ["X"]
    except (TypeError, ValueError):
        return False


def _translated(replayed: type, original: type, name: str) -> Any:
    """The method `name`, given images where the caller gives tables."""
    translation: Translation = replayed._replayed  # type: ignore[attr-defined]
    learns = name.startswith("fit") or name == "partial_fit"

    @wraps(getattr(original, name))
    def method(self: Any, X: Any, *args: Any, **kwargs: Any) -> Any:
        limits = translation.limits(X) if learns else None
        limits = limits or vars(self).get("_replayed_limits")
        images = translation.images(X, limits)
        token = _inside.set(True)
        try:
            with translation.errors():
                result = getattr(super(replayed, self), name)(images, *args, **kwargs)
        finally:
            _inside.reset(token)
        if learns and limits is not None:
            self._replayed_limits = limits
        return result

    if isfunction(getattr_static(original, name)):
        return method
    has_it: Callable = lambda self: hasattr(super(replayed, self), name)  # noqa: E731
    return available_if(has_it)(method)
