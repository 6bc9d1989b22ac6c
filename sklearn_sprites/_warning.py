"""Warnings that point to the line of the user's that caused them."""

import sys
import warnings

from sklearn.exceptions import ConvergenceWarning

OURS = ("sklearn_sprites", "sklearn")  # and what wraps our methods


def warn(message: str, category: type[Warning] = ConvergenceWarning) -> None:
    """Warn, and point to the first line outside of this package and scikit-learn."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and _is_ours(frame.f_globals.get("__name__", "")):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] in OURS
