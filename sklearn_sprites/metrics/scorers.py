"""Scorers ``(estimator, X, y)`` of segmentations, for cross-validation and searches.

`y` holds true label maps, of shape (n_images, height, width).
"""

from typing import Any

from numpy.typing import ArrayLike
from sklearn.metrics import make_scorer

from sklearn_sprites.metrics.instances import (
    instance_mean_iou,
    segmentation_adjusted_rand_score,
)
from sklearn_sprites.metrics.semantic import mean_class_accuracy, mean_iou

__all__ = [
    "foreground_adjusted_rand_scorer",
    "instance_mean_iou_scorer",
    "mean_class_accuracy_scorer",
    "mean_iou_scorer",
    "segmentation_adjusted_rand_scorer",
]

segmentation_adjusted_rand_scorer = make_scorer(segmentation_adjusted_rand_score)
"""Scores ``predict(X)``, instances, by :func:`segmentation_adjusted_rand_score`."""

foreground_adjusted_rand_scorer = make_scorer(
    segmentation_adjusted_rand_score, background=False
)
"""Scores ``predict(X)``, instances, likewise, where `y` is not background."""

instance_mean_iou_scorer = make_scorer(instance_mean_iou)
"""Scores ``predict(X)``, instances, by :func:`instance_mean_iou`."""


def mean_class_accuracy_scorer(estimator: Any, X: ArrayLike, y: ArrayLike) -> float:
    """Score ``predict_semantic(X)`` by :func:`mean_class_accuracy`.

    Parameters
    ----------
    estimator : estimator with ``predict_semantic``
        Fitted.
    X : array-like of shape (n_images, ...)
        Images, as `estimator` takes them.
    y : array-like of shape (n_images, height, width), integers
        True class of each pixel; 0 is background.

    Returns
    -------
    score : float
        Between 0 and 1, higher is better.
    """
    return mean_class_accuracy(y, estimator.predict_semantic(X))


def mean_iou_scorer(estimator: Any, X: ArrayLike, y: ArrayLike) -> float:
    """Score ``predict_semantic(X)`` by :func:`mean_iou`.

    Parameters
    ----------
    estimator : estimator with ``predict_semantic``
        Fitted.
    X : array-like of shape (n_images, ...)
        Images, as `estimator` takes them.
    y : array-like of shape (n_images, height, width), integers
        True class of each pixel; 0 is background.

    Returns
    -------
    score : float
        Between 0 and 1, higher is better.
    """
    return mean_iou(y, estimator.predict_semantic(X))
