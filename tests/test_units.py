"""Values in any units: what is scaled, and what is said when units differ."""

import inspect
import warnings

import numpy as np
import pytest
from sklearn.datasets import load_digits

from sklearn_sprites import LayeredSpriteDecomposition, SpriteClustering
from sklearn_sprites._validation import Scaling
from sklearn_sprites.datasets import make_tetrominoes
from sklearn_sprites.exceptions import UnitsWarning

few_epochs = pytest.mark.filterwarnings("ignore:SpriteClustering stopped after")
few_rounds = pytest.mark.filterwarnings(
    "ignore:LayeredSpriteDecomposition stopped after",
    "ignore:.* sprites are shown in no image",
)


def small_scenes():
    return make_tetrominoes(24, n_objects=2, size=20, cell=3, random_state=0).images


def quick_scenes(**options):
    options = {"n_layers": 2, "max_rounds": 2, "random_state": 0, **options}
    return LayeredSpriteDecomposition(6, **options)


@few_epochs
@pytest.mark.parametrize(
    ("dtype", "largest"), [(np.uint16, 16), (np.uint16, 255), (np.uint8, 1)]
)
def test_integers_that_fill_little_of_their_type_are_scaled(dtype, largest):
    X = np.rint(load_digits().images[:80] / 16 * largest).astype(dtype)
    make = SpriteClustering(5, max_epochs=2, random_state=0)
    model, plain = make.fit(X), SpriteClustering(**make.get_params())
    plain.fit(X.astype(np.float64) / largest)
    np.testing.assert_array_equal(model.labels_, plain.labels_)
    np.testing.assert_allclose(model.sprites_, plain.sprites_ * largest)


@few_epochs
def test_integers_that_fill_their_type_are_divided_by_its_largest_value():
    X = load_digits().images[:60].astype(np.uint8) * 12  # up to 192
    model = SpriteClustering(3, max_epochs=2, random_state=0)
    same = SpriteClustering(3, max_epochs=2, random_state=0).fit(X / 255)
    np.testing.assert_array_equal(model.fit(X).labels_, same.labels_)


@pytest.mark.parametrize(
    ("dtype", "low", "high", "expected"),
    [
        (np.uint8, 10, 138, (0, 255)),
        (np.uint8, 10, 137, (10, 127)),
        (np.uint16, 1000, 33768, (0, 65535)),
        (np.uint16, 1000, 33767, (1000, 32767)),
        (np.float64, 0.25, 0.75, (0, 1)),
        (np.float64, 0.25, 0.749, (0.25, 0.499)),
        (np.float64, -0.25, 0.75, (-0.25, 1)),
        (np.int64, 0, 255, (0, 255)),
    ],
)
def test_usual_units_stay_if_values_span_half_of_them(dtype, low, high, expected):
    scaling = Scaling.of(np.array([[low, high]], dtype), "SpriteClustering")
    assert (scaling.offset, scaling.scale) == pytest.approx(expected)


@few_epochs
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float64])
def test_images_of_little_contrast_are_clustered_like_others(dtype):
    shapes = np.zeros((2, 12, 12))
    shapes[0, 2:10, 3:5] = shapes[1, 4:6, 2:10] = 1
    X = shapes[np.arange(40) % 2] * np.linspace(0.5, 1, 40)[:, None, None]
    levels = (16 * X).astype(int)  # the same numbers in all types
    usual = SpriteClustering(2, max_epochs=3, random_state=0).fit(levels)
    hazy = np.asarray(levels / 64 + 0.3 if dtype == np.float64 else levels + 90, dtype)
    found = SpriteClustering(2, max_epochs=3, random_state=0).fit(hazy)
    np.testing.assert_array_equal(found.labels_, usual.labels_)
    scale = 64 if dtype == np.float64 else 1
    assert found.inertia_ * scale**2 == pytest.approx(usual.inertia_, rel=1e-3)


@few_rounds
@pytest.mark.parametrize("factor", [1 / 64, 1 / 1024])
def test_scenes_of_faint_values_are_decomposed_like_others(factor):
    X = small_scenes() / 255
    usual, faint = quick_scenes().fit(X), quick_scenes().fit(X * factor)
    found, seen = usual.decomposition_, faint.decomposition_
    np.testing.assert_array_equal(found.sprite, seen.sprite)
    assert (seen.sprite >= 0).any()


@few_epochs
@pytest.mark.parametrize("factor", [255, 4, 1 / 16, 1 / 255, 1 / 65535])
def test_new_images_in_other_units_are_told(factor):
    X = np.random.default_rng(0).uniform(size=(20, 8, 8))
    model = SpriteClustering(2, transformations=(), random_state=0).fit(X)
    foreign = X * factor
    foreign[0, 0, :2] = 0, factor
    told = rf"X has values from 0 to {factor:.4g}, .* same units"
    with pytest.warns(UnitsWarning, match=told):
        model.predict(foreign)
    model.predict(X[:1])
    model.predict(X[:1] / 16)  # one faint image is no other unit
    model.predict(np.zeros_like(X))  # black in any units


@few_epochs
@few_rounds
@pytest.mark.parametrize(
    "make",
    [
        lambda: SpriteClustering(2, transformations=(), random_state=0),
        lambda: quick_scenes(max_rounds=1),
    ],
)
def test_a_fit_that_goes_on_with_images_in_other_units_tells_it(make):
    X = small_scenes() / 255
    model = make().fit(X).set_params(warm_start=True)
    with pytest.warns(
        UnitsWarning, match="X has values from 0 to 1e\\+05, .* same unit"
    ):
        model.fit(X / X.max() * 1e5)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnitsWarning)
        model.fit(X)


@few_rounds
def test_new_scenes_in_other_units_are_told():
    X = small_scenes()
    model = quick_scenes().fit(X)
    with pytest.warns(UnitsWarning, match="between 0 and 255"):
        model.decompose(X / 255)


@few_rounds
@pytest.mark.filterwarnings("ignore:The ground of the images")
def test_a_plain_ground_that_is_not_black_is_told():
    X = small_scenes()
    white = np.where(X.max(-1, keepdims=True) > 0, X, 255).astype(np.uint8)
    with pytest.warns(UserWarning, match="about 255, .* use n_backgrounds=1"):
        quick_scenes(max_rounds=1).fit(white)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "The ground")
        quick_scenes(max_rounds=1).fit(X)
        quick_scenes(max_rounds=1, n_backgrounds=1).fit(white)
        noise = np.random.default_rng(0).uniform(0.5, 1, size=(12, 10, 10))
        quick_scenes(max_rounds=1).fit(noise)


def test_warnings_point_to_the_line_that_caused_them():
    X = np.random.default_rng(0).uniform(size=(20, 8, 8))
    with pytest.warns(UserWarning, match="stopped after") as record:
        SpriteClustering(2, max_epochs=1, random_state=0).fit(X)
    assert record[0].filename == __file__
    model = SpriteClustering(2, transformations=(), random_state=0).fit(X)
    with pytest.warns(UnitsWarning) as record:
        model.predict(X * 255)
    assert record[0].filename == __file__
    assert record[0].lineno == inspect.currentframe().f_lineno - 2
