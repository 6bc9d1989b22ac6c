"""Shapes of all kinds, rows S of the list of faults."""

import re
import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from tests.estimators import ESTIMATORS, TRAINED
from tests.marks import quiet
from tests.pictures import (
    KMEANS,
    QUICK,
    assert_all_finite,
    assert_same_fit,
    make_model,
    make_pictures,
)


@pytest.mark.parametrize(
    ("X", "found"), [(np.array(3.0), "scalar"), (np.arange(9.0), "1D")]
)
def test_s1_too_few_axes(X, found, make, either):
    message = f"Expected 2D array, got {found} array instead"
    with pytest.raises(ValueError, match=message):
        make().fit(X)
    with pytest.raises(ValueError, match=message):
        either.predict(X)


@pytest.mark.parametrize("ndim", [5, 6])
def test_s2_too_many_axes(ndim, fitted):
    message = f"Found array with dim {ndim}, while dim <= 4 is required by SpriteCl"
    for call in (make_model().fit, fitted.predict):
        with pytest.raises(ValueError, match=message):
            call(np.zeros((4,) * ndim))


@quiet
@pytest.mark.parametrize(
    ("width", "shape"),
    [
        (10, (1, 10, 1)),
        (64, (8, 8, 1)),
        (75, (5, 5, 3)),
        (100, (10, 10, 1)),
        (3, (1, 1, 3)),
        (30, (1, 30, 1)),
    ],
)
def test_s3_flat_images_without_a_shape(width, shape, make):
    X = np.random.default_rng(0).uniform(size=(9, width))
    assert make(2).fit(X).image_shape_ == shape


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_s3_long_strips_that_were_hardly_meant_are_warned_of(make):
    X = np.random.default_rng(0).uniform(size=(9, 4 * 20))
    with pytest.warns(UserWarning, match="80 features are no square") as told:
        make(2).fit(X)
    assert told[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        fits = [
            make(2).set_params(image_shape=shape).fit(X) for shape in [(4, 20), (1, 80)]
        ]
        fits[0].predict(X)
        make(2).fit(X[:, None])
    assert [model.image_shape_ for model in fits] == [(4, 20, 1), (1, 80, 1)]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_s14_one_image_that_is_taken_for_rows_is_warned_of(make):
    X = np.random.default_rng(0).uniform(size=(20, 20))
    with pytest.warns(UserWarning, match="If X is one image of 20 x 20, pass many"):
        assert make(2).fit(X).image_shape_ == (1, 20, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        make(2).fit(X[:19])
        make(2).fit(X[:15, :15])


def test_s3_strips_are_not_warped():
    X = np.random.default_rng(0).uniform(size=(9, 30))
    model = make_model(2).fit(X)
    assert model.transformation_params_ == {}
    assert_same_fit(model, make_model(2, **KMEANS).fit(X))


def test_s4_a_shape_that_does_not_fit(make):
    message = r"image_shape=\(3, 28, 28\) has 2352 values but X has 784 features"
    with pytest.raises(ValueError, match=message):
        make(2, image_shape=(3, 28, 28)).fit(np.zeros((5, 784)))


def test_s4_a_shape_that_contradicts_the_array(make):
    with pytest.raises(ValueError, match=r"\(8, 8, 1\).*\(4, 16, 1\)"):
        make(2, image_shape=(4, 16)).fit(np.zeros((5, 8, 8)))


@pytest.mark.parametrize(
    "shape", [28, (28,), (0, 4), (-1, 4), (4.0, 4), [8, 8], "8x8", (2, 2, 2, 2), ()]
)
def test_s5_shapes_that_are_none(shape, make):
    model = make(2, image_shape=shape)
    message = f"The 'image_shape' parameter of {type(model).__name__} must be"
    with pytest.raises(ValueError, match=message):
        model.fit(np.zeros((5, 64)))


@quiet
@pytest.mark.parametrize("params", [KMEANS, QUICK])
def test_s6_all_ways_to_write_gray_images_agree(pictures, params):
    expected = make_model(**params).fit(pictures)
    flat = pictures.reshape(len(pictures), -1)
    assert_same_fit(make_model(**params).fit(pictures[..., None]), expected)
    assert_same_fit(make_model(**params).fit(flat), expected)
    given_shape = make_model(**params, image_shape=(8, 8)).fit(flat)
    assert_same_fit(given_shape, expected)
    assert expected.image_shape_ == (8, 8, 1)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_s7_channels_first_is_refused_with_the_remedy(channels):
    X, _ = make_pictures(channels=channels)
    first = np.moveaxis(X, -1, 1)
    with pytest.raises(ValueError, match=r"Use np.moveaxis\(X, 1, -1\)"):
        make_model().fit(first)
    model = make_model(**KMEANS).fit(np.moveaxis(first, 1, -1))
    np.testing.assert_array_equal(model.labels_, make_model(**KMEANS).fit(X).labels_)


def test_s7_a_given_shape_settles_it():
    X = np.random.default_rng(0).uniform(size=(9, 4, 5, 12))
    with pytest.raises(ValueError, match="channels first"):
        make_model(2, **KMEANS).fit(X)
    model = make_model(2, **KMEANS, image_shape=(4, 5, 12)).fit(X)
    assert model.image_shape_ == (4, 5, 12)


def test_s8_other_sizes_are_refused_after_fit(fitted):
    message = "X has 400 features, but SpriteClustering is expecting 64 features"
    for X in (np.zeros((3, 400)), np.zeros((3, 20, 20))):
        with pytest.raises(ValueError, match=message):
            fitted.predict(X)
    with pytest.raises(ValueError, match=r"\(4, 16, 1\).*\(8, 8, 1\)"):
        fitted.predict(np.zeros((3, 4, 16)))
    with pytest.raises(ValueError, match="X has 192 features"):
        fitted.predict(np.zeros((3, 8, 8, 3)))


@pytest.mark.parametrize("shape", [(6, 8), (20, 20), (8, 8, 3)])
def test_s8_images_of_other_sizes_are_told_by_their_shapes(fitted, shape):
    seen = (*shape, 1)[:3]
    message = rf"{re.escape(str(seen))} \(H, W, C\), but .* shape \(8, 8, 1\)\. X has"
    with pytest.raises(ValueError, match=message):
        fitted.predict(np.zeros((3, *shape)))


@pytest.mark.parametrize("channels", [None, 3])
def test_s8_a_single_image_is_refused_with_the_remedy(channels):
    X, _ = make_pictures(channels=channels)
    model = make_model(**KMEANS).fit(X)
    remedy = r"is expecting .* One image\? Pass X\[None\]\."
    with pytest.raises(ValueError, match=remedy):
        model.predict(X[0])
    assert model.predict(X[0][None]) == model.labels_[:1]


def test_s8_what_is_no_single_image_is_not_taken_for_one(fitted):
    with pytest.raises(ValueError, match=r"expecting 64 features as input\.$"):
        fitted.predict(np.zeros((3, 8)))
    strips = make_model(2, **KMEANS).fit(np.random.default_rng(0).uniform(size=(9, 5)))
    with pytest.raises(ValueError, match="contains NaN") as refused:
        strips.predict(np.full((1, 5), np.nan))
    assert "One image" not in str(refused.value)


@quiet
@pytest.mark.parametrize(
    "make",
    [*ESTIMATORS.values(), TRAINED["clustering"]],
    ids=[*ESTIMATORS, "trained clustering"],
)
def test_s9_fit_on_images_predict_flat_and_the_reverse(make):
    X, _ = make_pictures(channels=3)
    flat = X.reshape(len(X), -1)
    model = make().fit(X)
    np.testing.assert_array_equal(model.transform(X), model.transform(flat))
    again = make().fit(flat)
    np.testing.assert_array_equal(again.transform(X), model.transform(X))


@pytest.mark.parametrize("size", [(1, 1), (1, 64), (2, 2), (3, 3), (3, 64)])
def test_s10_tiny_images_are_clustered_without_warps(size):
    X = np.random.default_rng(0).uniform(size=(12, *size))
    model = make_model(2, n_backgrounds=1).fit(X)
    assert model.transformation_params_ == {}
    assert model.backgrounds_.shape == (0, *size, 1)
    np.testing.assert_array_equal(model.predict(X), model.labels_)
    too_small = f"images of {size[0]} x {size[1]} pixels are always clustered without"
    with pytest.raises(ValueError, match=f"{too_small} one, .* of 4 x 4 pixels"):
        model.segment(X)


def test_nothing_is_segmented_where_a_background_was_not_asked_for(fitted, pictures):
    with pytest.raises(ValueError, match=r"sprites from; fit .* n_backgrounds=1 or"):
        fitted.segment(pictures)


@quiet
@pytest.mark.parametrize("channels", [2, 5, 12])
def test_s12_any_number_of_channels(channels):
    X, _ = make_pictures(n=12, height=13, width=9, channels=channels)
    model = make_model(**QUICK).fit(X)
    assert model.sprites_.shape == (3, 13, 9, channels)
    assert model.reconstruct(X).shape == X.shape
    assert_all_finite(model)


@quiet
def test_s14_one_image_is_taken_for_samples_and_features(make):
    image = np.random.default_rng(0).uniform(size=(28, 30))
    model = make(2).fit(image)
    assert len(model.transform(image)) == 28
    assert model.image_shape_ == (1, 30, 1)
