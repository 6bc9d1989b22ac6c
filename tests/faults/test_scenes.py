"""Bad and unusual images of scenes: decompositions refuse in words, or go on."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.exceptions import ConvergenceWarning

from sklearn_sprites.exceptions import ClusterCollapseWarning
from sklearn_sprites.metrics import segmentation_adjusted_rand_score
from tests.marks import quiet
from tests.scenes import (
    QUICK,
    SETTLED,
    assert_same_scenes,
    assert_sound,
    make_decomposition,
    make_scenes,
)

X, INSTANCES, _, _ = make_scenes()
BACKGROUNDS = [0, 1]


@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, "contains NaN"), (np.inf, "contains infinity")]
)
def test_i1_i2_values_that_are_not_finite_are_refused(value, message):
    bad = X.copy()
    bad[3, 2, 2, 1] = value
    with pytest.raises(ValueError, match=message):
        make_decomposition().fit(bad)


@pytest.mark.parametrize(
    ("shape", "message"),
    [((0, 8, 8), "0 sample"), ((4, 8, 0), "0 feature"), ((2, 2, 4, 4, 1), "dim 5")],
)
def test_i3_i4_s2_arrays_without_images(shape, message):
    with pytest.raises(ValueError, match=message):
        make_decomposition().fit(np.zeros(shape))


@quiet
@pytest.mark.parametrize("n_backgrounds", BACKGROUNDS)
def test_i5_one_image(n_backgrounds):
    model = make_decomposition(n_backgrounds=n_backgrounds, **QUICK).fit(X[:1])
    assert_sound(model, X[:1])


@quiet
def test_i5_one_image_of_one_object_is_drawn_again():
    one, instances, _, _ = make_scenes(1, n_objects=1)
    model = make_decomposition(1, n_layers=1, max_rounds=5).fit(one)
    np.testing.assert_allclose(model.reconstruct(one), one, atol=0.1)
    np.testing.assert_array_equal(model.predict(one), instances)


@pytest.mark.parametrize("n_backgrounds", BACKGROUNDS)
@pytest.mark.parametrize("value", [0, 0.5, 1])
def test_i8_constant_images(value, n_backgrounds):
    """An all-black set has nothing in it: no layer is shown, and a warning tells."""
    constant = np.full((10, 12, 12, 3), float(value))
    model = make_decomposition(n_backgrounds=n_backgrounds, sprite_size=5)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        model.fit(constant)
    assert_sound(model, constant)
    if value == 0 or n_backgrounds:
        assert any(w.category is ClusterCollapseWarning for w in told)
        assert model.counts_.tolist() == [0, 0, 0]
        assert model.layer_counts_.tolist() == [0, 0]
        assert (model.predict(constant) == 0).all()
        np.testing.assert_allclose(model.reconstruct(constant), constant, atol=1e-3)


@quiet
def test_i9_empty_images_among_others():
    mixed = np.concatenate([X, np.zeros_like(X[:5])])
    model = make_decomposition(**SETTLED).fit(mixed)
    assert_sound(model, mixed)
    assert (model.predict(mixed)[-5:] == 0).all()
    assert (model.decompose(mixed).sprite[-5:] == -1).all()
    assert segmentation_adjusted_rand_score(INSTANCES, model.predict(X)) > 0.9


@quiet
@pytest.mark.parametrize("factor", [1e-300, 1e-12, 1e30, 1e300])
def test_i10_huge_and_tiny_values_are_scaled(factor):
    model = make_decomposition(**QUICK).fit(factor * X)
    assert_sound(model, factor * X)
    assert segmentation_adjusted_rand_score(INSTANCES, model.predict(factor * X)) > 0.7


LEVELS = np.rint(255 * X / X.max())


@quiet
def test_i11_i12_shifted_and_scaled_values_give_the_same_maps():
    expected = make_decomposition(**QUICK).fit(LEVELS)
    maps = expected.predict(LEVELS)
    assert segmentation_adjusted_rand_score(INSTANCES, maps) > 0.7
    as_bytes = LEVELS.astype(np.uint8)
    for other in (as_bytes, as_bytes / 255, 2 * LEVELS, LEVELS + 1, 4 * LEVELS - 512):
        model = make_decomposition(**QUICK).fit(other)
        np.testing.assert_array_equal(model.predict(other), maps)
    assert other.min() < 0
    colors = expected.sprites_[..., :-1]
    np.testing.assert_allclose(model.sprites_[..., :-1], 4 * colors - 512, atol=1e-3)
    np.testing.assert_allclose(model.inertia_, 16 * expected.inertia_, rtol=1e-3)


@quiet
def test_i12_doubled_values_double_the_sprites_bitwise():
    one, two = (make_decomposition(**QUICK).fit(n * LEVELS) for n in (1, 2))
    scale = [2, 2, 2, 1]  # opacity has no unit
    np.testing.assert_array_equal(two.sprites_, scale * one.sprites_)


@quiet
def test_i18_i19_dtypes_and_memory_layouts_change_no_map():
    levels = np.rint(4 * X / X.max())
    model = make_decomposition(**QUICK).fit(levels)
    maps = model.predict(levels)
    for other in (levels.astype(np.int16), levels.astype(">f8"), levels.tolist()):
        again = make_decomposition(**QUICK).fit(other)
        np.testing.assert_array_equal(again.predict(other), maps)
    for layout in (np.asfortranarray(levels), levels[::-1].copy()[::-1]):
        assert_same_scenes(make_decomposition(**QUICK).fit(layout), model)


@quiet
def test_i21_images_are_never_changed():
    images, before = X.copy(), X.copy()
    model = make_decomposition(**QUICK).fit(images)
    images.flags.writeable = False
    for method in (model.predict, model.transform, model.reconstruct, model.decompose):
        method(images)
    np.testing.assert_array_equal(images, before)


@quiet
def test_i22_i23_i24_tensors_frames_and_pictures():
    as_bytes = np.rint(255 * X).clip(0, 255).astype(np.uint8)
    maps = make_decomposition(**QUICK).fit(as_bytes).predict(as_bytes)
    pictures = [Image.fromarray(each) for each in as_bytes]
    frame = pd.DataFrame(as_bytes.reshape(len(X), -1)).add_prefix("pixel")
    for other in (torch.from_numpy(as_bytes), pictures, frame):
        model = make_decomposition(**QUICK, image_shape=(16, 16, 3))
        np.testing.assert_array_equal(model.fit(other).predict(other), maps)
    assert model.feature_names_in_[1] == "pixel1"


@quiet
def test_s6_all_ways_to_write_gray_images_agree():
    gray = X[..., :1]
    maps = make_decomposition(**QUICK).fit_predict(gray)
    for other in (gray[..., 0], gray.reshape(len(gray), -1)):
        np.testing.assert_array_equal(
            make_decomposition(**QUICK).fit_predict(other), maps
        )


def test_s7_channels_first_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r"np\.moveaxis"):
        make_decomposition().fit(np.moveaxis(X, -1, 1))


@quiet
def test_s8_other_sizes_are_refused_after_fit():
    model = make_decomposition(**QUICK).fit(X)
    with pytest.raises(ValueError, match="features"):
        model.predict(X[:, :10])
    with pytest.raises(ValueError, match=r"images of shape \(8, 32, 3\)"):
        model.predict(X.reshape(-1, 8, 32, 3))


@quiet
@pytest.mark.parametrize("n_backgrounds", BACKGROUNDS)
@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 7), (2, 2), (3, 3), (4, 4), (5, 4), (3, 20), (9, 31)]
)
def test_s10_s11_tiny_images_and_strips(shape, n_backgrounds):
    images = np.random.default_rng(0).uniform(size=(12, *shape, 1))
    model = make_decomposition(
        n_backgrounds=n_backgrounds, sprite_size="auto", **QUICK
    ).fit(images)
    assert_sound(model, images)
    height, width = model.sprites_.shape[1:3]
    assert height <= shape[0]
    assert width <= shape[1]
    assert len(model.backgrounds_) == (n_backgrounds if min(shape) >= 4 else 0)


@quiet
def test_s3_strips_are_only_shifted():
    strips = np.random.default_rng(0).uniform(size=(9, 30))
    model = make_decomposition(
        n_backgrounds=1, sprite_size="auto", transformations=("similarity",), **QUICK
    ).fit(strips)
    found = model.decomposition_
    assert model.image_shape_ == (1, 30, 1)
    assert found.shown.any()
    np.testing.assert_array_equal(found.scale, 1)
    np.testing.assert_array_equal(found.angle, 0)


@quiet
@pytest.mark.parametrize("n_backgrounds", BACKGROUNDS)
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_s12_any_number_of_channels(channels, n_backgrounds):
    images, instances, _, _ = make_scenes(channels=channels)
    model = make_decomposition(n_backgrounds=n_backgrounds, **QUICK).fit(images)
    assert_sound(model, images)
    assert model.sprites_.shape[-1] == channels + 1
    if not n_backgrounds:
        score = segmentation_adjusted_rand_score(instances, model.predict(images))
        assert score > 0.7


@quiet
def test_objects_cut_by_the_border_are_found():
    """An object that hangs over the border is the same sprite, partly outside."""
    images, instances, _, _ = make_scenes(60, side=22)
    inner, truth = images[:, 3:-3, 3:-3], instances[:, 3:-3, 3:-3]
    model = make_decomposition(max_rounds=12).fit(inner)
    score = segmentation_adjusted_rand_score(truth, model.predict(inner))
    assert score > 0.85
    found = model.decomposition_
    center = np.stack([found.x, found.y])[:, found.shown]
    assert ((center < 2) | (center > 14)).any()


@quiet
def test_more_objects_than_layers_leaves_some_unexplained():
    images, instances, _, _ = make_scenes(n_objects=3, side=20)
    model = make_decomposition(n_layers=2, **SETTLED).fit(images)
    assert (model.decomposition_.n_objects == 2).mean() > 0.9
    maps = model.predict(images)
    assert set(np.unique(maps)) == {0, 1, 2}
    missed = (instances > 0) & (maps == 0)
    assert 0.2 < missed.sum() / (instances > 0).sum() < 0.5
    enough = make_decomposition(n_layers=3, **SETTLED).fit(images)
    assert enough.inertia_ < 0.5 * model.inertia_


@quiet
def test_fewer_objects_than_layers_leaves_layers_empty():
    model = make_decomposition(n_layers=4, **SETTLED).fit(X)
    found = model.decomposition_
    assert 1.5 < found.n_objects.mean() < 2.5
    np.testing.assert_array_equal(found.shown, np.sort(found.shown)[:, ::-1])
    assert model.layer_counts_[-1] < 10


def test_more_sprites_than_windows_are_reported_not_hidden():
    with pytest.warns(ConvergenceWarning) as told:
        model = make_decomposition(30, **QUICK).fit(X[:3])
    assert any("of 30 sprites are shown in no image" in str(w.message) for w in told)
    assert (model.counts_ > 0).sum() <= 6
    assert_sound(model, X[:3])
