"""Scores of class maps: one confusion matrix over all images, labels matched."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from sklearn_sprites.metrics._tables import check_choice, check_maps, confusion_table

__all__ = ["mean_class_accuracy", "mean_iou"]

MATCHINGS = ("one-to-one", "many-to-one")


def mean_class_accuracy(
    classes_true: ArrayLike,
    classes_pred: ArrayLike,
    *,
    background: bool = True,
    matching: str = "one-to-one",
) -> float:
    """Share of each class's pixels that are predicted so, averaged over classes.

    The mAcc of DTI-Sprites [1]_: pixels of all images are counted in one confusion
    matrix, predicted labels are matched with classes, the background like any other,
    and the recalls of the classes are averaged.

    Parameters
    ----------
    classes_true : array-like of shape (n_images, height, width), integers
        True class of each pixel; 0 is background.
    classes_pred : array-like of shape (n_images, height, width), integers
        Predicted label of each pixel, of the same meaning in all images, such as the
        index of the sprite plus one; 0 is background.
    background : bool, default=True
        Whether background counts. If False, pixels where either map is 0 are left
        out, as in the official code of [1]_; a class left with no pixel scores 0.
    matching : {"one-to-one", "many-to-one"}, default="one-to-one"
        ``"one-to-one"``: the matching that agrees in most pixels (Hungarian
        algorithm); with more labels than classes, some labels match none.
        ``"many-to-one"``: each label goes with the class that it shares most pixels
        with, for predictions with several labels per class.

    Returns
    -------
    score : float
        Between 0 and 1. The mean is over classes that occur in `classes_true`.

    Raises
    ------
    ValueError
        If the maps differ in shape, are empty or not integers, if `matching` is not
        one of the above, or if no true class is left without background.

    References
    ----------
    .. [1] T. Monnier et al., "Unsupervised Layered Image Decomposition into Object
       Prototypes", ICCV 2021, section 4.1.

    Examples
    --------
    >>> from sklearn_sprites.metrics import mean_class_accuracy
    >>> mean_class_accuracy([[[0, 0, 1, 1]]], [[[7, 7, 0, 7]]])
    0.75
    """
    counts = _matched_table(classes_true, classes_pred, background, matching)
    hit, size = np.diagonal(counts), counts.sum(axis=1)
    return float(np.mean(hit / np.maximum(size, 1)))


def mean_iou(
    classes_true: ArrayLike,
    classes_pred: ArrayLike,
    *,
    background: bool = True,
    matching: str = "one-to-one",
) -> float:
    """Intersection over union of each class with its prediction, averaged over classes.

    The mIoU of DTI-Sprites [1]_, with the matching of :func:`mean_class_accuracy`.

    Parameters
    ----------
    classes_true : array-like of shape (n_images, height, width), integers
        True class of each pixel; 0 is background.
    classes_pred : array-like of shape (n_images, height, width), integers
        Predicted label of each pixel, of the same meaning in all images, such as the
        index of the sprite plus one; 0 is background.
    background : bool, default=True
        Whether background counts. If False, pixels where either map is 0 are left
        out, as in the official code of [1]_; a class left with no pixel scores 0.
    matching : {"one-to-one", "many-to-one"}, default="one-to-one"
        How labels go with classes, see :func:`mean_class_accuracy`.

    Returns
    -------
    score : float
        Between 0 and 1. The mean is over classes that occur in `classes_true`.

    Raises
    ------
    ValueError
        If the maps differ in shape, are empty or not integers, if `matching` is not
        one of the above, or if no true class is left without background.

    References
    ----------
    .. [1] T. Monnier et al., "Unsupervised Layered Image Decomposition into Object
       Prototypes", ICCV 2021, section 4.1.

    Examples
    --------
    >>> from sklearn_sprites.metrics import mean_iou
    >>> round(mean_iou([[[0, 0, 1, 1]]], [[[7, 7, 0, 7]]]), 3)
    0.583
    """
    counts = _matched_table(classes_true, classes_pred, background, matching)
    n_classes = len(counts)
    hit = np.diagonal(counts)
    union = counts.sum(axis=1) + counts.sum(axis=0)[:n_classes] - hit
    return float(np.mean(hit / np.maximum(union, 1)))


def _matched_table(
    classes_true: ArrayLike, classes_pred: ArrayLike, background: bool, matching: str
) -> NDArray:
    """Table (R, >= R) with the labels matched with class r in column r."""
    check_choice("matching", matching, MATCHINGS)
    maps = check_maps(classes_true=classes_true, classes_pred=classes_pred)
    counts, classes, labels = confusion_table(*maps)
    if not background:
        counts = counts[classes != 0][:, labels != 0]
        if not len(counts):
            raise ValueError("classes_true is background only; no class to score.")
    n_classes, n_labels = counts.shape
    order = np.zeros((n_labels, max(n_classes, n_labels)), counts.dtype)
    if matching == "many-to-one":
        order[np.arange(n_labels), counts.argmax(axis=0)] = 1
    else:
        rows, columns = linear_sum_assignment(counts, maximize=True)
        order[columns, rows] = 1
        others = np.setdiff1d(np.arange(n_labels), columns)
        order[others, n_classes + np.arange(len(others))] = 1
    return counts @ order
