import pickle

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import GridSearchCV

from sklearn_sprites import metrics
from sklearn_sprites.metrics import (
    _tables,
    fill_background,
    instance_mean_iou,
    mean_class_accuracy,
    mean_iou,
    segmentation_adjusted_rand_score,
)
from tests import oracles_metrics as slow

attack = settings(max_examples=40, deadline=None)
MEASURES = [
    segmentation_adjusted_rand_score,
    instance_mean_iou,
    mean_class_accuracy,
    mean_iou,
]


def label_maps(draw, n_labels):
    n, height, width = draw(st.tuples(*[st.integers(1, 3)] * 3))
    rng = np.random.RandomState(draw(st.integers(0, 2**32 - 1)))
    true = rng.randint(draw(st.integers(1, n_labels)), size=(n, height, width))
    pred = rng.randint(draw(st.integers(1, n_labels)), size=(n, height, width))
    pred = np.where(rng.uniform(size=true.shape) < 0.5, true, pred)
    return true, pred


pairs = st.composite(label_maps)(4)


@attack
@given(pairs, st.booleans())
def test_adjusted_rand_index_counts_pairs_of_pixels(maps, background):
    found = segmentation_adjusted_rand_score(
        *maps, background=background, average=False
    )
    assert found == pytest.approx(slow.adjusted_rand(*maps, background), abs=1e-12)
    mean = segmentation_adjusted_rand_score(*maps, background=background)
    assert mean == pytest.approx(found.mean(), abs=1e-12)


def test_adjusted_rand_index_is_that_of_sklearn_on_large_images():
    rng = np.random.RandomState(0)
    true, noise = rng.randint(6, size=(2, 3, 200, 300))
    pred = np.where(rng.uniform(size=true.shape) < 0.6, true, noise)
    whole = segmentation_adjusted_rand_score(true, pred, average=False)
    front = segmentation_adjusted_rand_score(
        true, pred, background=False, average=False
    )
    for i, (t, p) in enumerate(zip(true, pred, strict=True)):
        assert whole[i] == pytest.approx(adjusted_rand_score(t.ravel(), p.ravel()))
        assert front[i] == pytest.approx(adjusted_rand_score(t[t > 0], p[t > 0]))


@attack
@given(pairs)
def test_instance_iou_is_that_of_the_best_matching(maps):
    found = instance_mean_iou(*maps, average=False)
    assert found == pytest.approx(slow.instance_iou(*maps), abs=1e-12)
    assert instance_mean_iou(*maps) == pytest.approx(found.mean(), abs=1e-12)


@attack
@given(pairs, st.booleans())
def test_class_scores_are_those_of_a_best_matching(maps, background):
    assume(background or (maps[0] != 0).any())
    found = (
        mean_class_accuracy(*maps, background=background),
        mean_iou(*maps, background=background),
    )
    best = slow.semantic_scores(*maps, background)
    assert any(found == pytest.approx(scores, abs=1e-12) for scores in best)


@attack
@given(pairs)
def test_many_to_one_gives_each_label_its_commonest_class(maps):
    found = (
        mean_class_accuracy(*maps, matching="many-to-one"),
        mean_iou(*maps, matching="many-to-one"),
    )
    assert found == pytest.approx(slow.many_to_one_scores(*maps), abs=1e-12)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(
    "names", [(3, 1, 0, 2), (-5, 10**12, 7, 0), (-9, 70_000, 1, 5)]
)
def test_names_of_labels_do_not_matter(measure, names):
    rng = np.random.RandomState(0)
    true, noise = rng.randint(4, size=(2, 3, 20, 20))  # no two matchings tie
    pred = np.where(rng.uniform(size=true.shape) < 0.5, true, noise)
    renamed = np.array(names)[pred]
    assert measure(true, renamed) == pytest.approx(measure(true, pred), abs=1e-12)


def test_labels_are_renumbered_in_order():
    for labels in ([[3, -2, 3]], [[200, 255, 3]], [[10**15, 10**15 + 4, 10**15]]):
        values, positions = _tables.renumber(np.array(labels))
        assert list(values) == sorted(set(labels[0]))
        assert np.array_equal(values[positions], labels)
    huge = np.array([2**64 - 1, 2**64 - 2], np.uint64)
    assert list(_tables.renumber(huge)[1]) == [1, 0]
    values, positions = _tables.renumber(np.array([-128, 127], np.int8))
    assert (list(values), list(positions)) == ([-128, 127], [0, 1])


@pytest.mark.parametrize("measure", MEASURES)
def test_truth_scores_one_and_one_label_for_all_scores_less(measure):
    true = np.array([[[0, 0, 1], [0, 2, 2]], [[0, 0, 0], [1, 1, 2]]])
    assert measure(true, true) == 1
    assert measure(true, np.array([2, 0, 1])[true]) == 1
    assert measure(true, 0 * true) < 0.5


@pytest.mark.parametrize("measure", MEASURES[:2])
def test_instances_may_be_numbered_differently_in_each_image(measure):
    true = np.array([[[0, 1, 1, 2]], [[0, 1, 1, 2]]])
    pred = np.array([[[0, 1, 1, 2]], [[2, 0, 0, 1]]])
    assert measure(true, pred) == 1
    assert mean_iou(true, pred) < 1


def test_an_image_without_objects_counts_one_in_the_foreground():
    true, pred = np.zeros((1, 2, 2), int), np.array([[[1, 0], [2, 0]]])
    assert segmentation_adjusted_rand_score(true, pred, background=False) == 1


def test_more_labels_than_classes_leave_labels_unmatched():
    true, pred = [[[0, 0, 1, 1]]], [[[0, 0, 1, 2]]]
    assert mean_class_accuracy(true, pred) == 0.75
    assert mean_class_accuracy(true, pred, matching="many-to-one") == 1
    assert mean_iou(true, pred) == 0.75


def test_pixels_predicted_as_background_are_left_out_with_it():
    true, pred = [[[0, 1, 1, 1]]], [[[0, 0, 1, 1]]]
    assert mean_class_accuracy(true, pred, background=False) == 1
    assert mean_class_accuracy(true, [[[0, 0, 0, 0]]], background=False) == 0


def test_counting_in_parts_changes_nothing(monkeypatch):
    true, pred = np.random.RandomState(0).randint(5, size=(2, 7, 4, 4))
    whole = [measure(true, pred) for measure in MEASURES]
    monkeypatch.setattr(_tables, "ENTRIES", 8)
    assert [measure(true, pred) for measure in MEASURES] == whole


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int8, np.uint64])
def test_any_integers_are_labels(dtype):
    true, pred = np.random.RandomState(0).randint(2, size=(2, 3, 4, 4))
    for measure in MEASURES:
        assert measure(true.astype(dtype), pred.astype(dtype)) == measure(true, pred)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(
    ("true", "pred", "message"),
    [
        ([[[0, 1]]], [[[0], [1]]], r"differ in shape: .*_true \(1, 1, 2\)"),
        ([[0, 1]], [[0, 1]], r"_true must be label maps .* got shape \(1, 2\)"),
        (np.zeros((0, 2, 2), int), np.zeros((0, 2, 2), int), "at least one pixel"),
        ([[[0, 1]]], [[[0.0, 1.0]]], "_pred must be integers; got dtype float64"),
    ],
)
def test_bad_maps_are_refused_by_name(measure, true, pred, message):
    with pytest.raises(ValueError, match=message):
        measure(true, pred)


@pytest.mark.parametrize("measure", MEASURES[2:])
def test_bad_choices_are_refused(measure):
    with pytest.raises(ValueError, match=r"'one-to-one', 'many-to-one'.*'best'"):
        measure([[[0]]], [[[0]]], matching="best")
    with pytest.raises(ValueError, match="classes_true is background only"):
        measure([[[0]]], [[[1]]], background=False)


def test_background_goes_to_the_layer_of_the_nearest_color():
    rng = np.random.RandomState(0)
    instances = rng.randint(4, size=(3, 5, 6)).astype(np.uint8)
    images = rng.randint(256, size=(3, 5, 6, 3)).astype(np.uint8)
    layers = rng.randint(256, size=(3, 3, 5, 6, 3)).astype(np.uint8)
    before = instances.copy()
    filled = fill_background(instances, images, layers)
    assert np.array_equal(instances, before)
    assert filled.dtype == np.uint8
    for place in np.ndindex(*instances.shape):
        i, y, x = place
        errors = [
            sum(
                (float(a) - float(b)) ** 2
                for a, b in zip(c, images[place], strict=True)
            )
            for c in layers[i, :, y, x]
        ]
        nearest = 1 + errors.index(min(errors))
        assert filled[place] == (instances[place] or nearest)


@pytest.mark.parametrize("shape", [(1, 2, 2, 2, 1), (1, 0, 2, 3, 1), (2, 2, 3, 1)])
def test_layers_that_do_not_agree_are_refused(shape):
    with pytest.raises(ValueError, match=r"layer_colors \(n, L, H, W, C\)"):
        fill_background([[[0] * 3] * 2], np.zeros((1, 2, 3, 1)), np.zeros(shape))


class Threshold(BaseEstimator):
    """Segments gray images; classes are as the instances, up to their order."""

    def __init__(self, level=0.5):
        self.level = level

    def fit(self, X, y=None):
        return self

    def predict(self, X):
        return (X > self.level).astype(int)

    def predict_semantic(self, X):
        return 1 - self.predict(X)


SCORERS = {
    "segmentation_adjusted_rand_scorer": segmentation_adjusted_rand_score,
    "instance_mean_iou_scorer": instance_mean_iou,
    "mean_class_accuracy_scorer": mean_class_accuracy,
    "mean_iou_scorer": mean_iou,
}


@pytest.mark.parametrize("name", SCORERS)
def test_scorers_choose_in_a_grid_search(name):
    X = np.random.RandomState(0).uniform(size=(9, 6, 6))
    y = (X > 0.3).astype(int)
    scorer = getattr(metrics, name)
    model = Threshold(0.6)
    expected = SCORERS[name](y, model.predict(X))
    assert scorer(model, X, y) == expected < 1
    search = GridSearchCV(model, {"level": [0.1, 0.3, 0.8]}, scoring=scorer, cv=3)
    search.fit(X, y)
    assert (search.best_params_, search.best_score_) == ({"level": 0.3}, 1)
    assert pickle.loads(pickle.dumps(scorer))(model, X, y) == scorer(model, X, y)


def test_the_foreground_scorer_leaves_the_background_out():
    y = np.array([[[0, 0, 1, 2]]])
    X = np.array([[[0.9, 0.1, 0.2, 0.8]]])
    scorer = metrics.foreground_adjusted_rand_scorer
    assert scorer(Threshold(), X, y) == 1
    assert metrics.segmentation_adjusted_rand_scorer(Threshold(), X, y) < 1
