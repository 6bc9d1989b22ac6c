"""Scores of a clustering against known classes."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import make_scorer
from sklearn.metrics.cluster import contingency_matrix
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils.validation import assert_all_finite

__all__ = ["clustering_accuracy", "clustering_accuracy_scorer"]

MATCHINGS = ("one-to-one", "many-to-one")


def clustering_accuracy(
    labels_true: ArrayLike, labels_pred: ArrayLike, *, matching: str = "one-to-one"
) -> float:
    """Share of samples whose cluster is matched to their class.

    Parameters
    ----------
    labels_true : array-like of shape (n_samples,)
        Known classes, of any type that sorts.
    labels_pred : array-like of shape (n_samples,)
        Clusters, of any type that sorts.
    matching : {"one-to-one", "many-to-one"}, default="one-to-one"
        ``"one-to-one"``: the matching of clusters with classes that agrees with most
        samples (Hungarian algorithm [1]_); every cluster goes with at most one class
        and every class with at most one cluster, so that with more clusters than
        classes some clusters count as wrong altogether.
        ``"many-to-one"``: every cluster goes with its most frequent class, which is
        customary where there are more clusters than classes. It never falls when a
        cluster is split, and reaches 1 with one cluster per sample.

    Returns
    -------
    accuracy : float
        Between 0 and 1.

    Raises
    ------
    ValueError
        If the labels are empty, not one-dimensional, contain NaN, or differ in
        length, or if `matching` is not one of the above.

    References
    ----------
    .. [1] H. W. Kuhn, "The Hungarian method for the assignment problem", Naval
       Research Logistics Quarterly 2 (1955), 83-97.

    Examples
    --------
    >>> from sklearn_sprites.metrics import clustering_accuracy
    >>> clustering_accuracy([0, 0, 1, 1], [1, 1, 0, 0])
    1.0
    >>> clustering_accuracy([0, 0, 1, 1], [0, 1, 2, 2])
    0.75
    >>> clustering_accuracy([0, 0, 1, 1], [0, 1, 2, 2], matching="many-to-one")
    1.0
    """
    if matching not in MATCHINGS:
        raise ValueError(f"matching must be one of {MATCHINGS}, got {matching!r}.")
    counts = contingency_matrix(*_check_labels(labels_true, labels_pred))
    if matching == "many-to-one":
        return float(counts.max(axis=0).sum() / counts.sum())
    rows, columns = linear_sum_assignment(counts, maximize=True)
    return float(counts[rows, columns].sum() / counts.sum())


def _check_labels(
    labels_true: ArrayLike, labels_pred: ArrayLike
) -> tuple[NDArray, NDArray]:
    checked = []
    for name, labels in (("labels_true", labels_true), ("labels_pred", labels_pred)):
        labels = column_or_1d(np.asarray(labels))
        if len(labels) == 0:
            raise ValueError(f"{name} is empty; at least one label is needed.")
        assert_all_finite(labels, input_name=name)
        checked.append(labels)
    check_consistent_length(*checked)
    return checked[0], checked[1]


clustering_accuracy_scorer = make_scorer(clustering_accuracy)
"""Scorer ``(estimator, X, y) -> clustering_accuracy(y, estimator.predict(X))``."""
