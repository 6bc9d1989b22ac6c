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
from sklearn_sprites.testing import check_image_estimator, image_estimator_checks
from tests.scenes import BRIEF

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
NOT_HERE = {"check_array_api_input"}  # needs a process that is set up for it
TWO = {"n_sprites": 2, "n_layers": 2, "max_rounds": 1}
QUICK = {**TWO, "localizer": BRIEF}
CONFIGURATIONS = {
    "default": {},
    "over a background": {**QUICK, "n_backgrounds": 1},
    "gains and biases": {**QUICK, "color": "gain_bias"},
    "affine": {**QUICK, "transformations": ("affine",)},
    "one layer, one sprite": {"n_sprites": 1, "n_layers": 1, "max_rounds": 2},
    "flat colors": {**QUICK, "color": "flat"},
    "own colors": {**QUICK, "color": "own", "n_backgrounds": 1},
    "fixed order": {**QUICK, "order": "depth"},
    "a search": {**TWO, "localizer": Search(sweeps=1)},
    "restarts": {**QUICK, "n_init": 2},
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
    "a network": {**TWO, "localizer": Distilled(steps=2, batch_size=4)},
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


OVER_BACKGROUNDS = {
    "check_dict_unchanged",
    "check_estimators_pickle",
    "check_fit_idempotent",
    "check_image_shape_is_compared",
    "check_memory_layout_does_not_matter",
    "check_methods_sample_order_invariance",
    "check_methods_subset_invariance",
    "check_transformer_general",
}


PAIRS = [(name, {}) for name in sorted(OVER_BACKGROUNDS)]
PAIRS += [("check_estimators_pickle", {"transformations": ("projective",)})]
PAIRS += [(name, {"color": "own"}) for name in sorted(OVER_BACKGROUNDS)]


@pytest.mark.parametrize(("chosen", "params"), PAIRS)
def test_scenes_over_a_background_pass_checks_on_images(chosen, params):
    model = LayeredSpriteDecomposition(**QUICK, n_backgrounds=1, **params)
    pairs = image_estimator_checks(model, dtypes=("float64",))
    checks_of_that_name = [pair for pair in pairs if name_of(pair[1]) == chosen]
    assert checks_of_that_name
    for estimator, check in checks_of_that_name[:1]:
        check(estimator)


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
