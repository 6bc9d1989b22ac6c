"""Scikit-learn's contract of decompositions: every check, also on images."""

from functools import partial

import pytest
from sklearn.utils import estimator_checks as checks
from sklearn.utils import get_tags

from sklearn_sprites import (
    Attention,
    ConstantSprites,
    Distilled,
    LayeredSpriteDecomposition,
    Regression,
    Search,
)
from sklearn_sprites.testing import check_image_estimator
from tests.scenes import BRIEF

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
NOT_HERE = {"check_array_api_input"}  # in test_contract.py, in a process set up for it
TWO = {"n_sprites": 2, "n_layers": 2, "max_rounds": 1}
QUICK = {**TWO, "localizer": BRIEF}
SHOWN = {**QUICK, "n_backgrounds": 1}
CONFIGURATIONS = {  # checks show tables, on which sprites can only be moved
    "default": {},
    "one layer, one sprite": {"n_sprites": 1, "n_layers": 1, "max_rounds": 2},
    "fixed order": {**QUICK, "order": "depth"},
    "a search": {**TWO, "localizer": Search(sweeps=1)},
    "restarts": {**QUICK, "n_init": 2},
}
ON_IMAGES = {
    "poses over a background": {**SHOWN, "transformations": ("similarity",)},
    "over a picture": {**SHOWN, "background": "image"},
    "own colors": {**SHOWN, "color": "own"},
    "regression": {
        **TWO,
        "localizer": Regression(batch_size=64),
        "init": ConstantSprites(),
    },
    "projective regression": {
        **TWO,
        "localizer": Regression(batch_size=64, per_sprite=True, background="mean"),
        "init": ConstantSprites(),
        "n_backgrounds": 1,
        "background": "image",
        "background_transformations": ("projective", "thin_plate_spline"),
        "transformations": ("projective", "thin_plate_spline"),
    },
    "attention": {
        **TWO,
        "localizer": Attention(n_features=4, batch_size=64),
        "init": ConstantSprites(),
    },
    "a network": {
        **TWO,
        "localizer": Distilled(steps=2, batch_size=4, search=BRIEF),
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


def problems(results):
    return {
        r["check_name"]: repr(r["exception"])
        for r in results
        if r["status"] != "passed" and r["check_name"] not in NOT_HERE
    }


@pytest.mark.timeout(600)
@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_every_check_passes(configuration):
    model = LayeredSpriteDecomposition(**CONFIGURATIONS[configuration])
    results = checks.check_estimator(model, on_fail=None, on_skip=None)
    assert problems(results) == {}
    assert not any(result["expected_to_fail"] for result in results)
    assert len(results) > 40


@pytest.mark.filterwarnings("ignore:X (has|does not have valid) feature names")
@pytest.mark.parametrize("check", ON_THEMSELVES, ids=name_of)
def test_checks_that_scikit_learn_keeps_for_itself(check):
    model = LayeredSpriteDecomposition(**QUICK)
    check("LayeredSpriteDecomposition", model)


@pytest.mark.timeout(600)
def test_every_check_passes_on_images():
    model = LayeredSpriteDecomposition(**QUICK)
    results = check_image_estimator(model, on_skip=None)
    assert problems(results) == {}
    assert {result["dtype"] for result in results} == {"float64", "uint8"}
    assert len(results) > 80


@pytest.mark.timeout(600)
@pytest.mark.parametrize("configuration", ON_IMAGES)
def test_every_check_passes_on_images_in_many_ways(configuration, monkeypatch):
    params, seen = ON_IMAGES[configuration], []
    describe = LayeredSpriteDecomposition._describe

    def watched(self, X):
        job = describe(self, X)
        seen.append(job.spec)
        return job

    monkeypatch.setattr(LayeredSpriteDecomposition, "_describe", watched)
    model = LayeredSpriteDecomposition(**params)
    results = check_image_estimator(model, on_skip=None, dtypes=("float64",))
    assert problems(results) == {}
    assert len(seen) > 50
    for name in ("color", "n_backgrounds"):
        if name in params:
            assert {getattr(spec, name) for spec in seen} == {params[name]}
    assert all(spec.has_picture for spec in seen) or "background" not in params


def test_tags_let_every_check_run_and_claim_no_labels():
    """Maps are not labels of images: scikit-learn must not take this for clusterers."""
    tags = get_tags(LayeredSpriteDecomposition())
    assert tags.estimator_type is None
    assert tags.input_tags.two_d_array
    assert tags.input_tags.three_d_array
    assert tags.requires_fit
    assert tags.transformer_tags.preserves_dtype == ["float64", "float32"]
    assert not tags.non_deterministic
    assert not tags.no_validation
    assert not tags._skip_test
    assert not tags.target_tags.required
    for name in ("sparse", "allow_nan", "string", "categorical", "positive_only"):
        assert not getattr(tags.input_tags, name)
