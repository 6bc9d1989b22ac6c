"""Scores of clusterings and of segmentations against what is known to be true."""

from sklearn_sprites.metrics.clustering import (
    clustering_accuracy,
    clustering_accuracy_scorer,
)
from sklearn_sprites.metrics.instances import (
    fill_background,
    instance_mean_iou,
    segmentation_adjusted_rand_score,
)
from sklearn_sprites.metrics.scorers import (
    foreground_adjusted_rand_scorer,
    instance_mean_iou_scorer,
    mean_class_accuracy_scorer,
    mean_iou_scorer,
    segmentation_adjusted_rand_scorer,
)
from sklearn_sprites.metrics.semantic import mean_class_accuracy, mean_iou

__all__ = [
    "clustering_accuracy",
    "clustering_accuracy_scorer",
    "fill_background",
    "foreground_adjusted_rand_scorer",
    "instance_mean_iou",
    "instance_mean_iou_scorer",
    "mean_class_accuracy",
    "mean_class_accuracy_scorer",
    "mean_iou",
    "mean_iou_scorer",
    "segmentation_adjusted_rand_score",
    "segmentation_adjusted_rand_scorer",
]
