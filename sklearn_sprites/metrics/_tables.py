"""Contingency tables of label maps."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

LARGEST_RANGE = 2**16  # of labels that are renumbered by table instead of by sorting
ENTRIES = 2**22  # of the tables of images counted at once


def check_maps(**named: ArrayLike) -> list[NDArray]:
    """Integer label maps (n, H, W) of one shape, flattened to (n, pixels)."""
    maps = []
    for name, values in named.items():
        array = np.asarray(values)
        if array.ndim != 3 or array.size == 0:
            raise ValueError(
                f"{name} must be label maps of shape (n_images, height, width) with at "
                f"least one pixel; got shape {array.shape}."
            )
        if array.dtype.kind not in "iub":
            raise ValueError(f"{name} must be integers; got dtype {array.dtype}.")
        maps.append(array)
    shapes = {name: m.shape for name, m in zip(named, maps, strict=True)}
    if len(set(shapes.values())) > 1:
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"The label maps differ in shape: {listed}.")
    return [m.reshape(len(m), -1) for m in maps]


def renumber(labels: NDArray) -> tuple[NDArray, NDArray]:
    """Sorted distinct labels, and the position of each label among them."""
    low, high = int(labels.min()), int(labels.max())
    if high - low >= LARGEST_RANGE or high > np.iinfo(np.intp).max:
        values, positions = np.unique(labels, return_inverse=True)
        return values, positions.reshape(labels.shape)
    shift = low if low < 0 or high >= LARGEST_RANGE else 0
    labels = labels.astype(np.intp) - shift
    present = np.bincount(labels.ravel()) > 0
    return np.flatnonzero(present) + shift, (np.cumsum(present) - 1)[labels]


def confusion_table(true: NDArray, pred: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Pixels with each pair of labels (R, P), and the labels of rows and columns."""
    rows, r = renumber(true)
    columns, p = renumber(pred)
    counts = np.bincount(
        (r * len(columns) + p).ravel(), minlength=len(rows) * len(columns)
    )
    return counts.reshape(len(rows), len(columns)), rows, columns


def tables_per_image(
    true: NDArray, pred: NDArray, *, background: bool = True
) -> Iterator[NDArray]:
    """Tables (n, R, P) of successive images; without background, of pixels true > 0.

    Labels that occur in other images only have rows and columns of zeros.
    """
    n_pixels = true.shape[1]
    step = max(1, ENTRIES // n_pixels)
    for start in range(0, len(true), step):
        some = slice(start, start + step)
        rows, r = renumber(true[some])
        columns, p = renumber(pred[some])
        shape = (len(r), len(rows), len(columns))
        if np.prod(shape) > 4 * ENTRIES and len(r) > 1:
            for i in range(start, start + len(r)):
                one = slice(i, i + 1)
                yield from tables_per_image(true[one], pred[one], background=background)
            continue
        image = np.arange(len(r))[:, None]
        codes = (image * len(rows) + r) * len(columns) + p
        counts = np.bincount(codes.ravel(), minlength=int(np.prod(shape)))
        tables = counts.reshape(shape)
        yield tables if background else tables[:, rows != 0]


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raise ValueError unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {choices}, got {value!r}.")
