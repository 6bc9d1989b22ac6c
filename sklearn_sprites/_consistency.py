"""Whether the attributes of a fitted estimator that came from elsewhere agree."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_sprites._publishing import sprites_to_user
from sklearn_sprites._scene_checks import check_decomposition
from sklearn_sprites._scene_publishing import sprites_to_user as scene_sprites_to_user
from sklearn_sprites._validation import Scaling

MAY_BE_INFINITE = "restarts_"  # tells of those that diverged
WEIGHTS = ("float32", "bool", "int64")


def refuse_contradictions(estimator: Any) -> None:
    """Raise an error if the model cannot be used, or is not what it seems to be."""
    params = estimator.get_params(deep=False)  # which were looked at before
    for name, value in vars(estimator).items():
        if name not in params and name != MAY_BE_INFINITE:
            _refuse_not_finite(name, value)
    for name, weight in estimator._arrays.items():
        if not isinstance(weight, np.ndarray) or weight.dtype.name not in WEIGHTS:
            raise ValueError(f"the weight {name!r} is not of {', '.join(WEIGHTS)}")
    for name, (found, expected) in _sizes(estimator, estimator._spec).items():
        if found != expected:
            raise ValueError(f"{name} is {found!r}, but the model says {expected!r}")
    scaling = Scaling(*estimator._scaling)
    if "decomposition_" in vars(estimator):
        scenes = estimator._fitted_scenes()
        check_decomposition(estimator.decomposition_, scenes.spec.sizes())
        drawn = scene_sprites_to_user(scenes, scaling, estimator._order)
    else:
        counts = np.bincount(estimator.labels_, minlength=len(estimator.counts_))
        if counts.tolist() != estimator.counts_.tolist():
            raise ValueError("labels_ and counts_ disagree")
        drawn = sprites_to_user(estimator._fitted_model(), scaling)
    if drawn.shape != estimator.sprites_.shape or not np.allclose(
        drawn, estimator.sprites_, atol=1e-6 * scaling.scale
    ):
        raise ValueError("sprites_ are not those with which the model predicts")
    estimator._build_predictor("cpu")


def _sizes(estimator: Any, spec: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Sizes as they are, and as they must be."""
    shape = (spec["height"], spec["width"], spec["channels"])
    return {
        "image_shape_": (estimator.image_shape_, shape),
        "n_features_in_": (estimator.n_features_in_, int(np.prod(shape))),
        "the number of sprites_": (len(estimator.sprites_), spec["n_sprites"]),
        "the shape of backgrounds_": (
            estimator.backgrounds_.shape,
            (spec["n_backgrounds"], *shape),
        ),
        "the number of counts_": (len(estimator.counts_), spec["n_sprites"]),
    }


def _refuse_not_finite(name: str, value: Any) -> None:
    for array in _numbers(value):
        if not np.isfinite(array).all():
            raise ValueError(f"{name} has values that are not finite")


def _numbers(value: Any) -> Iterator[NDArray | float]:
    """All floating-point numbers in a value and what it holds."""
    if isinstance(value, float):
        yield value
    elif isinstance(value, np.ndarray) and value.dtype.kind == "f":
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _numbers(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _numbers(item)
    elif is_dataclass(value):
        for field in fields(value):
            yield from _numbers(getattr(value, field.name))
