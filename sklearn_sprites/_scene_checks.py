"""Records that an estimator cannot draw, refused in words."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_sprites._scenes import POSE_NAMES, SCALES, Decomposition

N_LIGHT = 5  # numbers of a light that changes smoothly, per channel
FARTHEST = 1e6  # of places and shapes; products of some still fit into float32
WHOLE = ("sprite", "over", "background")  # fields of indices and of truth


def check_decomposition(found: Any, sizes: dict[str, int]) -> None:
    """Refuse what an estimator cannot draw.

    `sizes` are the numbers of an estimator's "sprites", "layers", "channels",
    "control" points and "backgrounds", and "ground_pose" and "ground_control" of these.
    """
    if not isinstance(found, Decomposition):
        raise TypeError(
            f"render draws a Decomposition, got {type(found).__name__}; find the "
            "layers of images first: render(decompose(X))."
        )
    _check_shapes(found, sizes)
    last_background = max(sizes["backgrounds"] - 1, 0)
    _check_range("sprite", found.sprite, -1, sizes["sprites"] - 1)
    _check_range("background", found.background, 0, last_background)
    for name, values in vars(found).items():
        if name not in WHOLE and not np.isfinite(values).all():
            raise ValueError(
                f"The decomposition has {name} that is not finite, which cannot be "
                "drawn; edit what decompose found with finite numbers."
            )
    _check_poses("", {name: getattr(found, name) for name in POSE_NAMES})
    behind = zip(POSE_NAMES, found.background_pose.T, strict=False)
    _check_poses("background_pose with ", dict(behind))
    for name in ("spline", "background_spline"):
        _check_range(name, getattr(found, name), -FARTHEST, FARTHEST)


def _check_shapes(found: Decomposition, sizes: dict[str, int]) -> None:
    n, n_layers, channels = found.n_images, sizes["layers"], sizes["channels"]
    shapes = {
        **dict.fromkeys(("sprite", *POSE_NAMES, "saves"), (n, n_layers)),
        "spline": (n, n_layers, sizes["control"], 2),
        **dict.fromkeys(("gain", "bias"), (n, n_layers, channels)),
        "over": (n, n_layers, n_layers),
        **dict.fromkeys(("background", "error"), (n,)),
        **dict.fromkeys(("background_gain", "background_bias"), (n, channels)),
        "background_light": (n, channels, N_LIGHT),
        "background_pose": (n, sizes["ground_pose"]),
        "background_spline": (n, sizes["ground_control"], 2),
        "palette": (sizes["sprites"], channels),
    }
    for name, shape in shapes.items():
        if getattr(found, name).shape != shape:
            raise ValueError(
                f"The decomposition has {name} of shape {getattr(found, name).shape}, "
                f"but the estimator needs {shape}; was it fitted again since?"
            )


def _check_poses(owner: str, values: dict[str, NDArray]) -> None:
    """Refuse places and shapes, by name, that are out of range."""
    for name, each in values.items():
        if name in SCALES and not (each > 0).all():
            raise ValueError(
                f"The decomposition has {owner}{name} that is not positive."
            )
        least = 1 / FARTHEST if name in SCALES else -FARTHEST
        _check_range(owner + name, each, least, FARTHEST)
    tilt = sum(np.abs(values.get(name, 0.0)) for name in ("tilt_x", "tilt_y"))
    if np.any(np.asarray(tilt) >= 1):
        raise ValueError(
            f"The decomposition has {owner}tilt_x and tilt_y that turn a corner away; "
            "the sum of their absolute values must be below 1."
        )


def _check_range(name: str, values: NDArray, least: float, most: float) -> None:
    wrong = values[(values < least) | (values > most)]
    if len(wrong):
        raise ValueError(
            f"{name} must lie between {least:g} and {most:g} to be drawn, got "
            f"{wrong[0]:g}."
        )
