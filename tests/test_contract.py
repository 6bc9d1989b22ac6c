"""Scikit-learn's contract: every check, on several configurations, on images too."""

import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import scipy
import sklearn
from sklearn.cluster import KMeans
from sklearn.utils import estimator_checks as checks
from sklearn.utils import get_tags
from sklearn.utils.fixes import parse_version

import sklearn_sprites
from sklearn_sprites import Milestones, SpriteClustering
from sklearn_sprites._engine.training import fit
from sklearn_sprites.testing import (
    check_image_estimator,
    parametrize_with_image_checks,
)
from tests.pace import pace

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
ROOT = Path(sklearn_sprites.__file__).parents[1]
NOT_HERE = {"check_array_api_input"}  # runs below, in a process that is set up for it
QUICK = {"max_epochs": 1, "batch_size": 4, "init": "kmeans"}
DATED = {
    "max_epochs": 2,
    "batch_size": 32,
    "init": "sample",
    "curriculum": Milestones((0, 1)),
}
CONFIGURATIONS = {  # checks show tables of which most are too narrow to be transformed
    "default": {},
    "two layers": {"n_backgrounds": 1},
    "tiny batch": {"batch_size": 2, "reassignment": "clone"},
    "warm start": {"warm_start": True, "init": "k-means++"},
}
ON_IMAGES = {
    "two layers": {**QUICK, "n_backgrounds": 1},
    "color, spline and slope": {
        **DATED,
        "transformations": ("color", "thin_plate_spline", "slope"),
    },
    "predicted": {
        **DATED,
        "transformations": ("light", "projective"),
        "color": "predict",
    },
    "tiny batch, clones": {
        **DATED,
        "batch_size": 2,
        "reassignment": "clone",
        "transformations": ("translation", "affine"),
    },
    "aligned": {"max_epochs": 1, "transformations": ("linear_color", "affine")},
    "in any turn, two layers": {
        "max_epochs": 1,
        "n_backgrounds": 1,
        "transformations": ("rotation",),
        "background_transformations": (),
    },
}
ON_THEMSELVES = [
    checks.check_param_validation,
    checks.check_set_output_transform,
    checks.check_set_output_transform_pandas,
    checks.check_set_output_transform_polars,
    checks.check_global_output_transform_pandas,
    checks.check_global_set_output_transform_polars,
    checks.check_transformer_get_feature_names_out,
    checks.check_transformer_get_feature_names_out_pandas,
    checks.check_get_feature_names_out_error,
    checks.check_dataframe_column_names_consistency,
    checks.check_inplace_ensure_writeable,
    checks.check_estimators_unfitted,
]


def name_of(check):
    return name_of(check.func) if isinstance(check, partial) else check.__name__


def names_of(estimator):
    return [name_of(c) for _, c in checks.estimator_checks_generator(estimator)]


def problems(results):
    return {
        r["check_name"]: repr(r["exception"])
        for r in results
        if r["status"] != "passed" and r["check_name"] not in NOT_HERE
    }


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_every_check_passes(configuration):
    model = SpriteClustering(**CONFIGURATIONS[configuration])
    results = checks.check_estimator(model, on_fail=None, on_skip=None)
    assert problems(results) == {}
    assert not any(result["expected_to_fail"] for result in results)


def test_no_check_is_left_out():
    """All that KMeans has but those of `sample_weight` and sparse input, it has."""
    ours, theirs = names_of(SpriteClustering()), names_of(KMeans())
    missing = [name for name in theirs if name not in ours]
    if parse_version(sklearn.__version__) >= parse_version("1.9"):
        assert len(theirs) >= 59
    assert all("sample_weight" in name for name in missing)
    assert len(ours) + len(missing) == len(theirs)


def test_tags_let_every_check_run():
    tags = get_tags(SpriteClustering())
    assert tags.estimator_type == "clusterer"
    assert tags.input_tags.two_d_array
    assert tags.input_tags.three_d_array
    assert tags.requires_fit
    assert tags.transformer_tags.preserves_dtype == ["float64", "float32"]
    assert not tags.non_deterministic
    assert not tags.no_validation
    assert not tags._skip_test
    assert not tags.array_api_support
    assert not tags.target_tags.required
    for name in ("sparse", "allow_nan", "string", "categorical", "positive_only"):
        assert not getattr(tags.input_tags, name)


@pytest.mark.filterwarnings("ignore:X (has|does not have valid) feature names")
@pytest.mark.parametrize("configuration", ["default", "two layers"])
@pytest.mark.parametrize("check", ON_THEMSELVES, ids=name_of)
def test_checks_that_scikit_learn_keeps_for_itself(check, configuration):
    model = SpriteClustering(3, **CONFIGURATIONS[configuration])
    check("SpriteClustering", model)


@pytest.mark.skipif(
    parse_version(scipy.__version__) < parse_version("1.14"),
    reason="scikit-learn dispatches arrays with SciPy 1.14",
)
@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("SpriteClustering", "n_clusters=3, max_epochs=1"),
        ("LayeredSpriteDecomposition", "n_sprites=2, n_layers=2, max_rounds=1"),
    ],
)
def test_array_api_input_where_it_is_switched_on(name, params):
    code = (
        "from functools import partial\n"
        "from sklearn.utils.estimator_checks import check_array_api_input\n"
        f"from sklearn_sprites import {name}\n"
        "import warnings; warnings.simplefilter('ignore')\n"
        "from inspect import signature\n"
        "free = {'expect_only_array_outputs': False}  # since scikit-learn 1.8\n"
        "known = signature(check_array_api_input).parameters\n"
        f"check_array_api_input({name!r}, {name}({params}),"
        " array_namespace='numpy', **{k: v for k, v in free.items() if k in known})\n"
        "print('passed')"
    )
    env = {**os.environ, "SCIPY_ARRAY_API": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    found = subprocess.run(
        command, env=env, capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert found.stdout == "passed\n", found.stderr


@pytest.mark.timeout(600)
def test_every_check_passes_on_images():
    start = time.process_time()
    results = check_image_estimator(SpriteClustering(3, **QUICK), on_skip=None)
    assert problems(results) == {}
    assert {result["dtype"] for result in results} == {"float64", "uint8"}
    assert len(results) > 2 * len(names_of(SpriteClustering())) - 2
    assert time.process_time() - start < 90 * pace()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("configuration", ON_IMAGES)
def test_every_check_passes_on_images_that_are_transformed(configuration, monkeypatch):
    params, seen, learn = ON_IMAGES[configuration], [], fit.fit_clustering

    def watched(images, spec, *args, **kwargs):
        seen.append(spec)
        return learn(images, spec, *args, **kwargs)

    monkeypatch.setattr(fit, "fit_clustering", watched)
    model = SpriteClustering(3, **params)
    results = check_image_estimator(model, on_skip=None, dtypes=("float64",))
    assert problems(results) == {}
    assert len(seen) > 50
    assert not any(spec.is_kmeans for spec in seen)
    if "transformations" in params:
        assert {spec.names for spec in seen} == {params["transformations"]}
    assert {spec.n_backgrounds for spec in seen} == {params.get("n_backgrounds", 0)}


def test_a_warm_start_without_transformations_passes_on_images():
    """With some, a second fit of the same images goes on, as it should."""
    model = SpriteClustering(3, warm_start=True, transformations=())
    results = check_image_estimator(model, on_skip=None, dtypes=("float64",))
    assert problems(results) == {}


# ----------------------------------------------- the replay itself finds faults


def failures(estimator):
    results = check_image_estimator(
        estimator, on_fail=None, on_skip=None, dtypes=("float64",)
    )
    return {r["check_name"] for r in results if r["status"] == "failed"}


class Flattening(KMeans):
    """K-means of images, right but for what the tests below break."""

    def _flat(self, X):
        X = np.asarray(X) if not hasattr(X, "tocsr") else X
        return X.reshape(len(X), -1) if getattr(X, "ndim", 2) > 2 else X

    def fit(self, X, y=None):
        return super().fit(self._flat(X))

    def predict(self, X):
        return super().predict(self._flat(X))

    def transform(self, X):
        return super().transform(self._flat(X))

    def fit_transform(self, X, y=None):
        return self.fit(X).transform(X)

    def fit_predict(self, X, y=None):
        return self.fit(X).labels_

    def score(self, X, y=None):
        return super().score(self._flat(X))


class SeesOtherImages(Flattening):
    """The prediction for an image depends on the others."""

    def transform(self, X):
        X = self._flat(X)
        return super().transform(X - X.mean())


class WritesIntoX(Flattening):
    def fit(self, X, y=None):
        X = np.asarray(X)
        super().fit(X)
        if X.ndim == 4 and X.flags.writeable:
            X *= 2
        return self


def test_a_table_estimator_fails_on_images():
    with pytest.raises(ValueError, match="Found array with dim 4"):
        check_image_estimator(KMeans())


def test_flattening_loses_the_shape_and_nothing_else():
    assert failures(Flattening()) == {"check_image_shape_is_compared"}


def test_dependence_on_other_images_is_found():
    found = failures(SeesOtherImages())
    assert "check_methods_subset_invariance" in found


def test_writing_into_images_is_found():
    assert "check_images_are_not_changed" in failures(WritesIntoX())


def test_estimators_under_test_see_images():
    seen = []

    class Spy(Flattening):
        def fit(self, X, y=None):
            seen.append((np.shape(X), getattr(X, "dtype", None)))
            return super().fit(X)

    failures(Spy())
    pictures = [shape for shape, _ in seen if len(shape) == 4]
    assert len(pictures) > 50
    assert all(min(s[1:3]) >= 4 or 0 in s for s in pictures)
    check_image_estimator(Spy(), dtypes=("uint8",), on_fail=None, on_skip=None)
    assert sum(dtype == np.uint8 for _, dtype in seen) > 50


def test_tests_of_others_run_once_per_estimator_and_check():
    @parametrize_with_image_checks([Flattening()], dtypes=("uint8",))
    def test(estimator, check):
        check(estimator)

    (mark,) = test.pytestmark
    pairs, ids = mark.args[1], mark.kwargs["ids"]
    assert len(ids) == len(pairs) > 30
    bad = [i for i in range(len(ids)) if "check_image_shape_is_compared" in ids[i]]
    test(*pairs[0])
    with pytest.raises(AssertionError):
        test(*pairs[bad[0]])


@pytest.mark.parametrize("on_fail", [None, "warn"])
def test_expected_failures_are_reported_as_such(on_fail):
    reason = {"check_image_shape_is_compared": "shapes are lost"}
    results = check_image_estimator(
        Flattening(), expected_failed_checks=reason, on_fail=on_fail, on_skip=None
    )
    failed = [r for r in results if r["status"] == "xfail"]
    assert {r["check_name"] for r in failed} == set(reason)
    assert failed[0]["expected_to_fail_reason"] == "shapes are lost"
