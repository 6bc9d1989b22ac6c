"""Parameters of decompositions that are refused in words."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from sklearn_sprites._validation import InvalidParameterError
from tests.scenes import (
    make_decomposition,
    make_scenes,
)

X = make_scenes()[0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_sprites", 0),
        ("n_layers", 0),
        ("n_layers", 1.5),
        ("n_backgrounds", -1),
        ("n_backgrounds", 0.5),
        ("background", "color"),
        ("sprite_size", 0),
        ("sprite_size", (3,)),
        ("sprite_size", (3, 0)),
        ("sprite_size", "large"),
        ("transformations", "affine"),
        ("color", "predict"),
        ("order", "predicted"),
        ("localizer", "attend"),
        ("localizer", None),
        ("penalty", -1.0),
        ("init", "random"),
        ("max_rounds", 0),
        ("images_per_round", 0),
        ("tol", -1),
        ("image_shape", (16,)),
    ],
)
def test_p_bad_values_are_refused_in_fit_and_not_before(name, value):
    model = make_decomposition(**{name: value})
    with pytest.raises(InvalidParameterError, match=name):
        model.fit(X)
    assert not hasattr(model, "sprites_")


def test_p_sprites_larger_than_the_images_are_refused():
    with pytest.raises(ValueError, match="sprite_size=17 is larger than the images"):
        make_decomposition(sprite_size=17).fit(X)
    with pytest.raises(ValueError, match="larger than the images, 16 x 16"):
        make_decomposition(sprite_size=(3, 20)).fit(X)


def test_p_unknown_transformations_list_the_valid_ones():
    with pytest.raises(ValueError, match="'spline'; valid names are translation"):
        make_decomposition(transformations=("spline",)).fit(X)


@pytest.mark.parametrize("name", ["transformations", "background_transformations"])
def test_p_unknown_transformations_are_refused_where_none_is_used(name):
    message = rf"{name}=\('spline',\) contains 'spline'; valid names"
    for images in (X, X[:, :3]):
        with pytest.raises(ValueError, match=message):
            make_decomposition(**{name: ("spline",)}, sprite_size=2).fit(images)


@pytest.mark.parametrize("localizer", ["regression", "attention", "distilled"])
def test_p_biases_without_search_are_refused(localizer):
    message = f"color='gain_bias' .* localizer='{localizer}' .* use localizer='search'"
    with pytest.raises(ValueError, match=message):
        make_decomposition(color="gain_bias", localizer=localizer).fit(X)


@pytest.mark.parametrize("shape", [(2, 7, 7, 3), (3, 7, 7), (3, 6, 7, 4), (3, 147)])
def test_p_given_sprites_of_another_shape(shape):
    with pytest.raises(ValueError, match=r"expects one of \(3, 7, 7, 3\)"):
        make_decomposition(init=np.ones(shape)).fit(X)


def test_p_given_sprites_that_are_not_finite():
    init = np.full((3, 7, 7, 3), np.nan)
    with pytest.raises(ValueError, match=r"init contains NaN .* finite .*; replace"):
        make_decomposition(init=init).fit(X)


def test_p_devices_that_do_not_exist():
    with pytest.raises(ValueError, match="device='tpu' is unknown"):
        make_decomposition(device="tpu").fit(X)


def test_what_needs_a_fit_says_so():
    model = make_decomposition()
    record = make_decomposition()  # anything: the fit is missed first
    for call in (
        lambda: model.predict(X),
        lambda: model.predict_semantic(X),
        lambda: model.decompose(X),
        lambda: model.transform(X),
        lambda: model.render(record),
        model.get_feature_names_out,
    ):
        with pytest.raises(NotFittedError):
            call()
