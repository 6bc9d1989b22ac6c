"""Scikit-learn's tools around the estimator, on real images."""

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn import set_config
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sklearn_sprites import ClonePerturb, Swap
from tests.pictures import KMEANS, QUICK, make_model

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def digits():
    data = load_digits(n_class=3)
    return data.images[:150], data.target[:150]


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_grid_search_over_transformations(digits, n_jobs):
    X, y = digits
    grid = {"transformations": [(), ("affine",), "auto"], "n_clusters": [2, 3]}
    search = GridSearchCV(
        make_model(**QUICK), grid, scoring="adjusted_rand_score", n_jobs=n_jobs, cv=2
    ).fit(X, y)
    results = search.cv_results_
    assert np.isfinite(results["mean_test_score"]).all()
    assert search.best_params_["n_clusters"] == 3
    assert search.predict(X).shape == y.shape


def test_r20_grid_search_over_arrays_that_workers_see_as_memory_maps(digits):
    X = np.tile(digits[0], (15, 1, 1))
    y = np.tile(digits[1], 15)
    assert X.nbytes > 2**20
    searches = [
        GridSearchCV(
            make_model(**KMEANS),
            {"n_clusters": [2, 3]},
            scoring="adjusted_rand_score",
            n_jobs=n_jobs,
            cv=2,
        ).fit(X, y)
        for n_jobs in (1, 2)
    ]
    one, two = (s.cv_results_["mean_test_score"] for s in searches)
    np.testing.assert_array_equal(one, two)


def test_grid_search_over_components(digits):
    X, y = digits
    grid = {"reassignment": [Swap(), Swap(every=1), ClonePerturb(), "clone", None]}
    search = GridSearchCV(
        make_model(**QUICK), grid, scoring="adjusted_rand_score", cv=KFold(2)
    ).fit(X, y)
    assert len(search.cv_results_["params"]) == 5


def test_cross_val_score_without_and_with_labels(digits):
    X, y = digits
    model = make_model(**QUICK)
    assert (cross_val_score(model, X, cv=3) < 0).all()
    scores = cross_val_score(model, X, y, scoring="adjusted_rand_score", cv=3)
    assert scores.shape == (3,)
    assert scores.max() <= 1


def test_a_pipeline_before_and_behind(digits):
    X, y = digits
    flat = X.reshape(len(X), -1)
    pipeline = make_pipeline(
        FunctionTransformer(np.sqrt), make_model(12, **KMEANS), LogisticRegression()
    ).fit(flat, y)
    assert pipeline.score(flat, y) > 0.9
    search = GridSearchCV(
        pipeline, {"spriteclustering__n_clusters": [1, 12]}, cv=2
    ).fit(flat, y)
    assert search.best_params_ == {"spriteclustering__n_clusters": 12}


def test_clone_keeps_parameters_and_forgets_the_fit(digits):
    model = make_model(**QUICK, reassignment=Swap(every=3)).fit(digits[0])
    copied = clone(model)
    assert copied.get_params() == model.get_params()
    assert not [name for name in vars(copied) if name.endswith("_")]


@pytest.mark.parametrize(
    ("library", "frame"), [("pandas", pd.DataFrame), ("polars", pl.DataFrame)]
)
def test_set_output(digits, library, frame):
    X = digits[0]
    model = make_model(**KMEANS).fit(X)
    plain = model.transform(X)
    names = ["spriteclustering0", "spriteclustering1", "spriteclustering2"]
    assert model.get_feature_names_out().tolist() == names
    table = model.set_output(transform=library).transform(X)
    assert isinstance(table, frame)
    assert list(table.columns) == names
    np.testing.assert_array_equal(table.to_numpy(), plain)
    assert isinstance(model.fit_transform(X), frame)


def test_set_output_for_the_process(digits):
    set_config(transform_output="pandas")
    try:
        table = make_model(**KMEANS).fit_transform(digits[0])
    finally:
        set_config(transform_output="default")
    assert isinstance(table, pd.DataFrame)


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_parallel_predictions_from_joblib(digits, backend):
    X = digits[0]
    model = make_model(**QUICK).fit(X)
    parts = joblib.Parallel(n_jobs=2, backend=backend)(
        joblib.delayed(model.predict)(part) for part in np.array_split(X, 4)
    )
    np.testing.assert_array_equal(np.concatenate(parts), model.labels_)


def test_no_transformation_is_kmeans():
    X = load_digits().data
    y = load_digits().target
    init = np.stack([X[y == k].mean(0) for k in range(10)])
    ours = make_model(10, **KMEANS, init=init).fit(X)
    theirs = KMeans(10, init=init, n_init=1).fit(X)
    assert adjusted_rand_score(ours.labels_, theirs.labels_) >= 0.99
    assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=0.01)
    order = np.argsort(-np.bincount(theirs.labels_), kind="stable")
    centers = theirs.cluster_centers_[order]
    assert np.abs(ours.cluster_centers_ - centers).max() < 1
    distances = theirs.transform(X)[:, order]
    np.testing.assert_allclose(ours.transform(X), distances, atol=1)


def test_transformations_explain_digits_better_than_none(digits):
    X = digits[0]
    kmeans = make_model(**KMEANS).fit(X)
    affine = make_model(max_epochs=5, transformations=("affine",)).fit(X)
    assert affine.inertia_ < kmeans.inertia_
