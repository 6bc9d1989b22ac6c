from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV

from sklearn_sprites.metrics import clustering_accuracy, clustering_accuracy_scorer

labelings = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=12
)


def best_matching(true, pred):
    """Slow twin: every way to give each cluster a class or nothing."""
    classes, clusters = sorted(set(true)), sorted(set(pred))
    padded = [*classes, *[None] * len(clusters)]
    return max(
        sum(dict(zip(clusters, choice, strict=True))[p] == t for t, p in pairs)
        for pairs in [list(zip(true, pred, strict=True))]
        for choice in permutations(padded, len(clusters))
    ) / len(true)


@given(labelings)
def test_accuracy_is_that_of_the_best_matching(pairs):
    true, pred = zip(*pairs, strict=True)
    assert clustering_accuracy(true, pred) == best_matching(true, pred)


@given(labelings, st.permutations(range(4)))
def test_names_of_clusters_do_not_matter(pairs, order):
    true, pred = (np.array(labels) for labels in zip(*pairs, strict=True))
    renamed = np.array(order)[pred]
    for matching in ("one-to-one", "many-to-one"):
        assert clustering_accuracy(
            true, renamed, matching=matching
        ) == clustering_accuracy(true, pred, matching=matching)


@given(labelings)
def test_many_to_one_gives_each_cluster_its_commonest_class(pairs):
    true, pred = (np.array(labels) for labels in zip(*pairs, strict=True))
    right = sum(np.bincount(true[pred == k]).max() for k in np.unique(pred))
    score = clustering_accuracy(true, pred, matching="many-to-one")
    assert score == pytest.approx(right / len(true))
    assert score >= clustering_accuracy(true, pred)


def test_more_clusters_than_classes_leave_clusters_unmatched():
    assert clustering_accuracy([0, 0, 0, 0], [0, 0, 1, 2]) == 0.5


def test_more_classes_than_clusters_leave_classes_unmatched():
    assert clustering_accuracy([0, 1, 2, 2], [0, 0, 0, 0]) == 0.5


def test_strings_are_labels():
    assert clustering_accuracy(["b", "a", "a"], [0, 1, 1]) == 1.0


@pytest.mark.parametrize(
    ("true", "pred", "message"),
    [
        ([], [], "labels_true is empty"),
        ([0, 1], [0], "inconsistent numbers of samples"),
        ([0.0, np.nan], [0, 1], "NaN"),
        ([[0, 1], [1, 0]], [0, 1], "1d array"),
    ],
)
def test_bad_labels_are_refused(true, pred, message):
    with pytest.raises(ValueError, match=message):
        clustering_accuracy(true, pred)


def test_unknown_matching_is_refused_with_the_choices():
    with pytest.raises(ValueError, match=r"'one-to-one', 'many-to-one'.*'best'"):
        clustering_accuracy([0], [0], matching="best")


def test_scorer_scores_predictions():
    X, y = load_iris(return_X_y=True)
    model = KMeans(3, n_init=1, random_state=0).fit(X)
    expected = clustering_accuracy(y, model.predict(X))
    assert clustering_accuracy_scorer(model, X, y) == expected
    search = GridSearchCV(
        clone(model), {"n_clusters": [2, 3]}, scoring=clustering_accuracy_scorer
    )
    assert search.fit(X, y).best_params_ == {"n_clusters": 3}
