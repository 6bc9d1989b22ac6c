"""Pixels that count more than others: their weights, and images as a start sees them.

Training and predicting weigh squared errors (:class:`ClusteringModel`). What comes
before, alignment and k-means, knows no weights: it sees images in which pixels are the
fainter the less they count.
"""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sklearn_sprites._engine.models.clustering import color_of
from sklearn_sprites._engine.ops.resizing import resized
from sklearn_sprites._engine.records import FittedModel
from sklearn_sprites._engine.spec import ModelSpec

NAME = "pixel_weights"  # among the arrays of a fitted model


def in_size(weights: NDArray | None, size: tuple[int, int]) -> NDArray | None:
    """Weights (H, W) of images reduced to `size`, one on average."""
    if weights is None:
        return None
    small = resized(torch.from_numpy(weights)[None, None], size)[0, 0]
    return (small / small.mean()).numpy()


def with_weights(fitted: FittedModel, weights: NDArray | None) -> FittedModel:
    """The same model with these weights instead of its own."""
    others = {name: v for name, v in fitted.arrays.items() if name != NAME}
    own = {} if weights is None else {NAME: weights}
    return replace(fitted, arrays={**others, **own})


def faded(images: Tensor, weights: Tensor | None, spec: ModelSpec) -> Tensor:
    """Images (n, C, H, W) whose differences from a plain one are weighed errors.

    Plain is an image's own mean color where colors are solved, and else the mean image.
    """
    if weights is None:
        return images
    if color_of(spec.transformations) is None:
        plain = images.mean(0, keepdim=True)
    else:
        plain = (images * weights).mean((2, 3), keepdim=True)
    share = (weights / weights.max()).sqrt()
    return plain + share * (images - plain)


def stretched(images: Tensor, weights: Tensor | None) -> Tensor:
    """Images (n, C, H, W) as points (n, C * H * W) whose distances are weighed."""
    return (images if weights is None else images * weights.sqrt()).flatten(1)


def on_device(weights: NDArray | None, like: Tensor) -> Tensor | None:
    """Weights (H, W) where another tensor is."""
    return None if weights is None else torch.from_numpy(np.array(weights)).to(like)
