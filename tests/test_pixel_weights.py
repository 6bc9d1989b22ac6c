"""What pixels count: in colors, errors, k-means and whole fits."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from sklearn_sprites import GaussianWindow, SpriteClustering
from sklearn_sprites._engine.ops.color import RIDGE, Freedom, layered_errors
from sklearn_sprites._pixel_weights import weights_of
from sklearn_sprites.metrics import clustering_accuracy
from tests import oracles
from tests.marks import quiet
from tests.pictures import KMEANS, QUICK, make_model, make_pictures
from tests.strategies import attack, batches, channels, draws

HALF = np.repeat([1.0, 0.0], 4)[None].repeat(8, 0)  # the right half counts nothing
LAYERED = {**QUICK, "n_backgrounds": 1}
MODELS = {
    "kmeans": KMEANS,
    "opaque": QUICK,
    "predicted": {**QUICK, "color": "predict", "transformations": ("color", "affine")},
    "leveled": {**QUICK, "transformations": ("color", "affine", "slope")},
    "leveled kmeans": {"transformations": ("slope",)},
    "light": {**QUICK, "transformations": ("light", "affine")},
    "layered": LAYERED,
    "layered, predicted": {**LAYERED, "color": "predict"},
}
each_model = pytest.mark.parametrize("params", MODELS.values(), ids=list(MODELS))


@attack
@given(draws, batches, channels, st.integers(2, 30))
def test_weighed_errors_of_layers_equal_their_slow_twin(make, m, c, p):
    appearances = [make.uniform(m, c, p) for _ in range(2)]
    target, alpha = make.uniform(m, c, p), make.uniform(m, 1, p)
    weights = make.uniform(p) + 0.05
    weights = weights / weights.mean()
    shares, freedoms = [alpha, 1 - alpha], [Freedom.FULL, Freedom.GAIN]
    errors = layered_errors(appearances, shares, freedoms, target, weights)
    for i in range(m):
        left = 0.0
        for j in range(c):
            front, back = alpha[i, 0], 1 - alpha[i, 0]
            terms = (front * appearances[0][i, j], front, back * appearances[1][i, j])
            columns = torch.stack(terms, 1)
            one, none = torch.tensor([1.0, 0.0]).double()
            pulls = [torch.tensor(RIDGE).double()] * 3
            found = oracles.ridge(
                columns, target[i, j], weights / p, [one, none, one], pulls
            )
            left += float((weights * (target[i, j] - columns @ found).square()).sum())
        np.testing.assert_allclose(float(errors[i]), left, rtol=1e-6, atol=1e-9)


@quiet
@each_model
def test_pixels_that_all_count_the_same_count_as_they_are(params):
    X, _ = make_pictures()
    plain = make_model(**params).fit(X)
    even = make_model(**params, pixel_weights=np.full((8, 8), 7)).fit(X)
    np.testing.assert_array_equal(even.labels_, plain.labels_)
    np.testing.assert_allclose(even.sprites_, plain.sprites_, atol=1e-3)
    np.testing.assert_allclose(even.inertia_, plain.inertia_, rtol=1e-3)


@quiet
@each_model
def test_what_counts_nothing_decides_nothing(params):
    X, _ = make_pictures()
    model = make_model(**params, pixel_weights=HALF).fit(X)
    other = X.copy()
    other[:, :, 4:] = np.random.default_rng(0).random((len(X), 8, 4))
    np.testing.assert_array_equal(model.predict(other), model.predict(X))
    np.testing.assert_allclose(model.transform(other), model.transform(X), atol=1e-6)


@quiet
@each_model
def test_distances_are_weighed_differences_from_reconstructions(params):
    X, _ = make_pictures()
    weights = np.random.default_rng(1).random((8, 8))
    model = make_model(**params, pixel_weights=weights).fit(X)
    left = (model.reconstruct(X)[..., 0] - X) ** 2 * (weights / weights.mean())
    found = model.transform(X).min(1) ** 2
    # With solved colors over backgrounds, errors are computed without a composite.
    np.testing.assert_allclose(found, left.sum((1, 2)), rtol=2e-3, atol=1e-4)
    np.testing.assert_allclose(model.inertia_, found.sum(), rtol=1e-5)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.transform(X), model.transform(X))
    np.testing.assert_array_equal(model.predict(X), model.labels_)
    one = np.concatenate([model.transform(x[None]) for x in X])
    np.testing.assert_array_equal(one, model.transform(X))


def test_without_transformations_it_is_kmeans_of_stretched_images():
    X, _ = make_pictures(n=90)
    weights = weights_of("center", (8, 8), "")
    points = (X * np.sqrt(weights)).reshape(len(X), -1)
    model = make_model(**KMEANS, init=X[:3], pixel_weights="center").fit(X)
    twin = KMeans(3, init=points[:3], n_init=1, tol=0).fit(points)
    assert (np.sort(np.bincount(twin.labels_))[::-1] == model.counts_).all()
    np.testing.assert_allclose(model.inertia_, twin.inertia_, rtol=1e-5)
    means = [X[model.labels_ == k].mean(0) for k in range(3)]
    np.testing.assert_allclose(model.sprites_[..., 0], means, atol=1e-6)


def crowded(n=240, seed=0):
    """Crosses, bars and frames in the middle; brighter halves of any at both sides."""
    draws = np.random.default_rng(seed)
    kinds = np.zeros((3, 8, 8))
    kinds[0, 3:5], kinds[0, :, 3:5] = 1, 1
    kinds[1, :, 2:6] = 1
    kinds[2] = 1
    kinds[2, 2:6, 2:6] = 0
    shown = draws.integers(3, size=(n, 3))
    tops = 4 + draws.integers(-1, 2, size=(n, 3))
    X = np.zeros((n, 16, 32))
    for image, three, top in zip(X, shown, tops, strict=True):
        for i, light in enumerate((3, 1, 3)):
            rows, columns = slice(top[i], top[i] + 8), slice(2 + 10 * i, 10 + 10 * i)
            image[rows, columns] = light * kinds[three[i]]
    return X[:, :, 8:24] + 0.05 * draws.normal(size=(n, 16, 16)), shown[:, 1]


@quiet
def test_neighbors_at_the_sides_do_not_decide_where_the_middle_counts_most():
    X, y = crowded()
    params = {"transformations": ("translation",), "max_epochs": 20}
    found = [
        clustering_accuracy(y, make_model(**params, pixel_weights=w).fit(X).labels_)
        for w in (None, "center")
    ]
    assert found[0] + 0.2 < found[1]
    assert found[1] > 0.95


@quiet
def test_sampled_sprites_are_images_as_they_are():
    X, _ = make_pictures()
    params = {**QUICK, "init": "sample", "learning_rate": 1e-12}
    model = make_model(**params, pixel_weights="center").fit(X)
    far = np.abs(model.sprites_[:, None, ..., 0] - X).max((2, 3)).min(1)
    np.testing.assert_allclose(far, 0, atol=1e-5)


@quiet
def test_sprites_of_large_images_are_weighed_at_both_sizes():
    X, _ = make_pictures(n=40, height=64, width=64)
    weights = np.ones((64, 64))
    weights[:, 32:] = 0
    params = {**QUICK, "max_epochs": 2, "n_backgrounds": 1}
    model = make_model(**params, pixel_weights=weights).fit(X)
    kept = model._arrays["pixel_weights"]
    np.testing.assert_allclose(kept, weights / weights.mean())
    other = np.where(weights > 0, X, 1 - X)
    np.testing.assert_array_equal(model.predict(other), model.labels_)


@quiet
@pytest.mark.parametrize("params", [KMEANS, QUICK], ids=["kmeans", "opaque"])
def test_a_fit_that_goes_on_takes_the_weights_given_now(params):
    X, _ = make_pictures()
    model = make_model(**params, warm_start=True).fit(X)
    assert "pixel_weights" not in model._arrays
    model.set_params(pixel_weights="center").fit(X)
    assert "pixel_weights" in model._arrays
    model.set_params(pixel_weights=None).fit(X)
    assert "pixel_weights" not in model._arrays


@pytest.mark.parametrize(
    ("given", "size", "sigma"),
    [
        (GaussianWindow(7.0), (32, 32), (7.0, 7.0)),
        ("center", (32, 32), (7.0, 7.0)),
        ("center", (16, 64), (3.5, 14.0)),
    ],
)
def test_the_window_is_a_gaussian_around_the_middle(given, size, sigma):
    height, width = size
    row, column = np.indices(size)
    row, column = row - (height - 1) / 2, column - (width - 1) / 2
    far = (row / sigma[0]) ** 2 + (column / sigma[1]) ** 2
    expected = np.exp(-far / 2)
    found = weights_of(given, size, "")
    np.testing.assert_allclose(found, expected / expected.mean(), rtol=1e-5)


def test_a_window_narrower_than_a_pixel_is_the_middle():
    found = weights_of(GaussianWindow(1e-9), (5, 4), "")
    assert found.argmax() == 9
    assert found.sum() == 20
    assert (found > 0).sum() == 2


@pytest.mark.parametrize(
    ("weights", "got"),
    [
        (np.ones((8, 7)), r"shape \(8, 7\)"),
        (np.ones(64), r"shape \(64,\)"),
        (np.zeros((8, 8)), "values from 0 to 0"),
        (-np.ones((8, 8)), "values from -1 to -1"),
        (np.full((8, 8), np.nan), "values from nan to nan"),
        ([["a"] * 8] * 8, r"shape \(\)"),
    ],
)
def test_weights_that_are_none_are_refused(weights, got):
    model = SpriteClustering(3, pixel_weights=weights)
    told = rf"'pixel_weights' parameter .* \(H, W\) = \(8, 8\)\. Got {got}"
    with pytest.raises(ValueError, match=told):
        model.fit(make_pictures()[0])
