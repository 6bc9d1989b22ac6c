"""From what the engine learned to the attributes that users see, in their units."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_sprites._engine.records import Assignment, FittedModel
from sklearn_sprites._engine.spec import COLORS
from sklearn_sprites._restarts import Job
from sklearn_sprites._validation import Scaling

LARGEST = np.finfo(np.float64).max


def model_attributes(job: Job, fitted: FittedModel) -> dict[str, Any]:
    """What an estimator needs to predict, and what describes its model."""
    spec, scaling = fitted.spec, job.scaling
    sprites = sprites_to_user(fitted, scaling)
    backgrounds = scaling.to_user(channels_last(fitted.backgrounds))
    centers = sprites[..., : spec.channels]
    if spec.is_layered:
        alpha = sprites[..., spec.channels :]
        centers = alpha * centers + (1 - alpha) * backgrounds[0]
    return {
        **job.features,
        "_spec": spec.to_dict(),
        "_arrays": fitted.arrays,
        "_scaling": (scaling.offset, scaling.scale),
        "resolved_params_": {
            "transformations": spec.names,
            "background_transformations": spec.background_transformations,
        },
        "image_shape_": job.images.shape,
        "sprites_": sprites,
        "backgrounds_": backgrounds,
        "cluster_centers_": np.ascontiguousarray(centers).reshape(len(sprites), -1),
        "n_iter_": fitted.n_epochs,
        "loss_curve_": np.asarray(fitted.loss_curve, dtype=np.float64),
    }


def image_attributes(
    job: Job, fitted: FittedModel, assigned: Assignment
) -> dict[str, Any]:
    """What was found for each of the training images."""
    spec = fitted.spec
    params = _as_applied(assigned.params, spec.transformations)
    if spec.is_layered:
        params["background"] = assigned.background[:, None]
        behind = _as_applied(
            assigned.background_params, spec.background_transformations
        )
        params |= {f"background_{name}": values for name, values in behind.items()}
    return {
        "labels_": assigned.labels,
        "counts_": np.bincount(assigned.labels, minlength=spec.n_sprites),
        "inertia_": inertia(assigned, job.scaling),
        "transformation_params_": params,
    }


def _as_applied(
    params: dict[str, NDArray], transformations: tuple[str, ...]
) -> dict[str, NDArray]:
    """Parameters in the order of application: as named, but for what comes last."""
    last = ("thickness", *COLORS)
    early = [name for name in transformations if name not in last]
    order = (*early, *last, "centering", "slope")
    return {name: params[name] for name in order if name in params}


def inertia(assigned: Assignment, scaling: Scaling) -> float:
    """Sum of squared distances to the closest sprite, in squared units of X."""
    total = float(assigned.errors.min(axis=1).sum())
    return min(total * scaling.scale * scaling.scale, LARGEST)


def channels_last(images: NDArray) -> NDArray:
    """(n, C, H, W) -> (n, H, W, C), contiguous."""
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1))


def sprites_to_user(fitted: FittedModel, scaling: Scaling) -> NDArray:
    """Sprites as (K, H, W, C or C+1) float64; colors in the user's units, alpha not."""
    sprites = channels_last(fitted.sprites).astype(np.float64)
    channels = fitted.spec.channels
    sprites[..., :channels] = scaling.to_user(sprites[..., :channels])
    return sprites
