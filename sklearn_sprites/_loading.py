"""Fitted estimators from files, checked before anyone uses them."""

import os
from typing import Any

from sklearn_sprites._clustering import SpriteClustering
from sklearn_sprites._consistency import refuse_contradictions
from sklearn_sprites._decomposition import LayeredSpriteDecomposition
from sklearn_sprites._engine.checkpoint import Checkpoint, read, unreadable
from sklearn_sprites._plain_values import Reader

__all__ = ["load"]

# The only estimators that a file can name, and what no fit leaves out.
ESTIMATORS = {
    kind.__name__: kind for kind in (SpriteClustering, LayeredSpriteDecomposition)
}
SHARED = (
    *("_spec", "_arrays", "_scaling", "resolved_params_", "restarts_"),
    *("image_shape_", "n_features_in_", "sprites_", "backgrounds_", "counts_"),
    *("inertia_", "loss_curve_", "n_iter_"),
)
REQUIRED = {
    "SpriteClustering": ("cluster_centers_", "labels_", "transformation_params_"),
    "LayeredSpriteDecomposition": (
        "_order",
        "_search",
        "decomposition_",
        "layer_counts_",
    ),
}


def load(
    path: str | os.PathLike,
) -> SpriteClustering | LayeredSpriteDecomposition:
    """Read a fitted estimator from the file that its method `save` wrote.

    Unlike a pickle, such a file cannot run code: it has numbers and text only, a name
    that says which of the estimators of this package it is, and a checksum.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    estimator : SpriteClustering or LayeredSpriteDecomposition
        As it was saved: the same parameters and fitted attributes, and the same
        predictions, to the last bit on the same machine.

    Raises
    ------
    ModelFileError
        If the file is none of these, was cut off or changed, was saved by a version
        with a newer format, or if what is in it does not fit together.
    OSError
        If there is no such file, or it cannot be read.

    See Also
    --------
    SpriteClustering.save : Writes the file.
    LayeredSpriteDecomposition.save : Writes the file.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from sklearn_sprites import SpriteClustering, load
    >>> images = np.repeat([np.eye(6), np.ones((6, 6))], 5, axis=0)
    >>> model = SpriteClustering(n_clusters=2, transformations=()).fit(images)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model.save(Path(folder) / "shapes.safetensors")
    ...     again = load(Path(folder) / "shapes.safetensors")
    >>> again
    SpriteClustering(n_clusters=2, transformations=())
    >>> bool((again.predict(images) == model.labels_).all())
    True
    """
    found = read(path)
    try:
        return _restored(found)
    except _Refused as error:
        raise unreadable(path, str(error)) from error.__cause__


class _Refused(Exception):
    """What is wrong in a file that is whole."""


def _restored(found: Checkpoint) -> Any:
    kind = ESTIMATORS.get(found.kind)
    if kind is None:
        names = " or ".join(ESTIMATORS)
        raise _Refused(f"it is of a {found.kind!r}, which is no {names}")
    reader = Reader(found.arrays)
    try:
        params, state = (reader.value(found.values[n]) for n in ("params", "state"))
        estimator = kind(**params)
        estimator._validate_params()
    except Exception as error:
        raise _Refused(f"a value in it makes no sense ({error})") from error
    if reader.arrays:
        raise _Refused(f"nothing refers to its array {min(reader.arrays)!r}")
    _refuse_names(kind, params, state)
    vars(estimator).update(state)
    try:
        refuse_contradictions(estimator)
    except Exception as error:
        raise _Refused(f"what is in it does not fit together ({error})") from error
    return estimator


def _refuse_names(kind: type, params: dict, state: dict) -> None:
    """All that a fit leaves must be there, and nothing that hides a method."""
    missing = [n for n in (*SHARED, *REQUIRED[kind.__name__]) if n not in state]
    if missing:
        raise _Refused(f"the attribute {missing[0]!r} is missing")
    odd = [n for n in state if n in params or hasattr(kind, n) or not n.isidentifier()]
    if odd:
        raise _Refused(f"it has an attribute {odd[0]!r}, which no fit leaves")
