"""Scores of instance maps: labels of one image mean nothing in another."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from sklearn_sprites.metrics._tables import check_maps, tables_per_image

__all__ = ["fill_background", "instance_mean_iou", "segmentation_adjusted_rand_score"]


def segmentation_adjusted_rand_score(
    instances_true: ArrayLike,
    instances_pred: ArrayLike,
    *,
    background: bool = True,
    average: bool = True,
) -> float | NDArray:
    """Adjusted Rand index of the pixels of each image, averaged over images.

    With `background`, this is the ARI of DTI-Sprites [1]_; without, ARI-FG, which
    looks only at pixels that truly show an object.

    Parameters
    ----------
    instances_true : array-like of shape (n_images, height, width), integers
        True instance of each pixel; 0 is background.
    instances_pred : array-like of shape (n_images, height, width), integers
        Predicted instance of each pixel. The labels of one image have nothing to do
        with those of another.
    background : bool, default=True
        Whether to count pixels whose true instance is 0. If False, predicted
        background is an instance like others; see :func:`fill_background` for the
        rule of [1]_ that leaves none.
    average : bool, default=True
        Whether to return the mean over images.

    Returns
    -------
    score : float or ndarray of shape (n_images,), dtype float64
        At most 1; around 0 for labels at random. 1 for an image without any pixel to
        count.

    Raises
    ------
    ValueError
        If the maps differ in shape, are empty or not integers.

    References
    ----------
    .. [1] T. Monnier et al., "Unsupervised Layered Image Decomposition into Object
       Prototypes", ICCV 2021, section 4.1.

    Examples
    --------
    >>> from sklearn_sprites.metrics import segmentation_adjusted_rand_score
    >>> true, pred = [[[0, 0, 1, 2]]], [[[5, 5, 7, 7]]]
    >>> round(segmentation_adjusted_rand_score(true, pred), 3)
    0.571
    >>> segmentation_adjusted_rand_score(true, pred, background=False)
    0.0
    """
    maps = check_maps(instances_true=instances_true, instances_pred=instances_pred)
    tables = tables_per_image(*maps, background=background)
    scores = np.concatenate([_adjusted_rand(counts) for counts in tables])
    return float(scores.mean()) if average else scores


def _adjusted_rand(counts: NDArray) -> NDArray:
    """From tables (n, R, P) of pixels to scores (n,)."""
    both = _pairs(counts).sum((1, 2))
    true = _pairs(counts.sum(axis=2)).sum(axis=1)
    pred = _pairs(counts.sum(axis=1)).sum(axis=1)
    every = _pairs(counts.sum((1, 2)))
    same = (both == true) & (both == pred)  # among them: no pixel, or only one
    expected = true * pred / np.where(same, 1, every)
    return np.where(
        same, 1, (both - expected) / np.where(same, 1, (true + pred) / 2 - expected)
    )


def _pairs(counts: NDArray) -> NDArray:
    counts = counts.astype(np.float64)
    return counts * (counts - 1) / 2


def instance_mean_iou(
    instances_true: ArrayLike, instances_pred: ArrayLike, *, average: bool = True
) -> float | NDArray:
    """Intersection over union of matched instances, averaged per image.

    The measure of AST [1]_ and ClevrTex: in each image, the true and the predicted
    instances, the background among both, are matched one to one so that the sum of
    intersections over unions is largest. This sum is divided by the number of pairs,
    those with nothing on one side included.

    Parameters
    ----------
    instances_true : array-like of shape (n_images, height, width), integers
        True instance of each pixel.
    instances_pred : array-like of shape (n_images, height, width), integers
        Predicted instance of each pixel. The labels of one image have nothing to do
        with those of another.
    average : bool, default=True
        Whether to return the mean over images.

    Returns
    -------
    score : float or ndarray of shape (n_images,), dtype float64
        Between 0 and 1.

    Raises
    ------
    ValueError
        If the maps differ in shape, are empty or not integers.

    Notes
    -----
    Each image has as many pairs as the larger of its numbers of true and predicted
    instances: two instances without match are one pair. Code with spare empty slots
    may count them as two.

    References
    ----------
    .. [1] B. Sauvalle and A. de La Fortelle, "Unsupervised Multi-object Segmentation
       Using Attention and Soft-argmax", WACV 2023.

    Examples
    --------
    >>> from sklearn_sprites.metrics import instance_mean_iou
    >>> instance_mean_iou([[[0, 0, 1, 1]]], [[[3, 3, 4, 5]]])
    0.5
    """
    maps = check_maps(instances_true=instances_true, instances_pred=instances_pred)
    scores = [_matched_iou(c) for t in tables_per_image(*maps) for c in t]
    return float(np.mean(scores)) if average else np.array(scores)


def _matched_iou(counts: NDArray) -> float:
    counts = counts[counts.any(axis=1)][:, counts.any(axis=0)]
    union = counts.sum(axis=1, keepdims=True) + counts.sum(axis=0) - counts
    iou = counts / union
    return float(iou[linear_sum_assignment(iou, maximize=True)].sum() / max(iou.shape))


def fill_background(
    instances_pred: ArrayLike, images: ArrayLike, layer_colors: ArrayLike
) -> NDArray:
    """Give predicted background to the instance whose color is nearest.

    The rule by which DTI-Sprites [1]_ is scored without background: every layer
    competes with its colors as placed in the image, whatever its mask.

    Parameters
    ----------
    instances_pred : array-like of shape (n_images, height, width), integers
        Predicted instance of each pixel; 0 is background, l + 1 is layer l.
    images : array-like of shape (n_images, height, width, n_channels)
        The images.
    layer_colors : array-like of shape (n_images, n_layers, height, width, n_channels)
        Colors of each layer without its mask, in the units of `images`.

    Returns
    -------
    instances : ndarray of shape (n_images, height, width), dtype of `instances_pred`
        Without 0; of layers equally near, the first.

    Raises
    ------
    ValueError
        If the shapes do not agree or there is no layer.

    References
    ----------
    .. [1] T. Monnier et al., "Unsupervised Layered Image Decomposition into Object
       Prototypes", ICCV 2021.

    Examples
    --------
    >>> from sklearn_sprites.metrics import fill_background
    >>> image = [[[[0.9], [0.1], [0.2]]]]
    >>> layers = [[[[[1.0], [1.0], [1.0]]], [[[0.0], [0.0], [0.0]]]]]
    >>> fill_background([[[0, 0, 1]]], image, layers)
    array([[[1, 2, 1]]])
    """
    (_,) = check_maps(instances_pred=instances_pred)
    instances = np.asarray(instances_pred).copy()
    images, layers = np.asarray(images), np.asarray(layer_colors)
    if (
        images.ndim != 4
        or images.shape[:3] != instances.shape
        or layers.ndim != 5
        or not layers.shape[1]
        or layers[:, 0].shape != images.shape
    ):
        raise ValueError(
            "Expected instances_pred (n, H, W), images (n, H, W, C) and layer_colors "
            f"(n, L, H, W, C) with L > 0; got {instances.shape}, {images.shape} and "
            f"{layers.shape}."
        )
    i, y, x = np.nonzero(instances == 0)
    errors = layers[i, :, y, x].astype(float) - images[i, y, x][:, None].astype(float)
    instances[i, y, x] = (errors**2).sum(axis=-1).argmin(axis=1) + 1
    return instances
