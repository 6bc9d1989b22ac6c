"""Fitted estimators on their way to files that hold no code."""

import os
from typing import Any

from sklearn.utils.validation import check_is_fitted

from sklearn_sprites._engine.checkpoint import Checkpoint, write
from sklearn_sprites._plain_values import Writer
from sklearn_sprites._version import __version__

# Callbacks of scikit-learn, which are code, and what they keep during a fit.
LEFT_OUT = ("_skl_callbacks", "_callback_", "_parent_callback_")


def save(estimator: Any, path: str | os.PathLike) -> None:
    """Write parameters and all that a fit has found."""
    check_is_fitted(estimator)
    kind = type(estimator)
    if not kind.__module__.startswith("sklearn_sprites."):
        raise TypeError(
            f"{kind.__name__} is not an estimator of this package, so that its code "
            "could not be found again; pickle it instead."
        )
    estimator._validate_params()  # what is written is also read again
    writer, params = Writer(), estimator.get_params(deep=False)
    state = {
        name: value
        for name, value in estimator.__getstate__().items()
        if name not in params and not name.startswith(LEFT_OUT)
    }
    values = {
        "params": {n: writer.plain(v, n) for n, v in params.items()},
        "state": {n: writer.plain(v, n) for n, v in state.items()},
    }
    write(path, Checkpoint(kind.__name__, __version__, values, writer.arrays))
