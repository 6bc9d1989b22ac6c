"""What pixels count, as the user says it, checked."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_sprites._engine.settings import GaussianWindow

CENTER_SHARE = 7 / 32  # of a side: standard deviation of the window


def weights_of(given: Any, size: tuple[int, int], owner: str) -> NDArray | None:
    """Weights (H, W) float32, one on average; None where all pixels count the same."""
    if given is None:
        return None
    if isinstance(given, str | GaussianWindow):
        width = given.width if isinstance(given, GaussianWindow) else None
        weights = window(size, width)
    else:
        weights = _checked(given, size, owner)
    return (weights / weights.mean()).astype(np.float32)


def window(size: tuple[int, int], width: float | None) -> NDArray:
    """A Gaussian around the middle, (H, W), that is one in the pixels next to it."""
    lines = []
    for side in size:
        far = (np.arange(side) - (side - 1) / 2) ** 2
        spread = width or CENTER_SHARE * side
        lines.append(np.exp(-0.5 * (far - far.min()) / spread**2))
    return np.outer(*lines)


def _checked(given: Any, size: tuple[int, int], owner: str) -> NDArray:
    try:
        weights = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        weights = np.array(np.nan)
    is_right = weights.shape == size and np.isfinite(weights).all()
    if not (is_right and (weights >= 0).all() and weights.any()):
        found = f"shape {weights.shape}"
        if weights.shape == size:
            found = f"values from {weights.min():g} to {weights.max():g}"
        raise ValueError(
            f"The 'pixel_weights' parameter of {owner} must hold a number of at least "
            f"0 for every pixel of an image, not all of them 0, in an array of shape "
            f"(H, W) = {size}. Got {found} instead."
        )
    return weights / weights.max()
