"""Large scenes of large things are learned from reduced copies; small ones are not."""

import numpy as np
import pytest
import torch
from sklearn.base import clone

from sklearn_sprites import Distilled, LayeredSpriteDecomposition
from sklearn_sprites._engine.ops.resizing import in_pixels_of
from sklearn_sprites.metrics import (
    mean_class_accuracy,
    segmentation_adjusted_rand_score,
)
from tests.marks import quiet
from tests.scenes import assert_same_layers, make_large_scenes

pytestmark = quiet


def fitted(X, **params):
    names = {"n_layers": 2, "n_backgrounds": 1, "max_rounds": 6, "random_state": 0}
    return LayeredSpriteDecomposition(3, **{**names, **params}).fit(X)


@pytest.fixture(scope="module", params=[0.0, 0.3], ids=["level", "slope"])
def large(request):
    sides = (96, 112) if request.param else (97, 110)
    X, *truth = make_large_scenes(shape=sides, slope=request.param)
    return fitted(X), X, truth


def test_what_is_large_is_learned_from_reduced_images(large):
    model, X, (instances, classes) = large
    spec = model._scene_spec()
    assert spec.reduction == 2
    assert spec.reduced().height == -(-X.shape[1] // 2)
    assert model.sprites_.shape[1:3] == (spec.sprite_height, spec.sprite_width)
    found = model.predict(X), model.predict_semantic(X)
    assert segmentation_adjusted_rand_score(instances, found[0]) > 0.94
    assert mean_class_accuracy(classes, found[1]) > 0.94


def test_errors_are_those_of_whole_pixels(large):
    model, X, _ = large
    found = model.decompose(X)
    left = np.square(X - model.reconstruct(X)[..., 0]).sum((1, 2))
    np.testing.assert_allclose(found.error, left, rtol=2e-3)
    assert found.x.max() > X.shape[2] / 2


def test_a_large_image_does_not_depend_on_its_company(large):
    model, X, _ = large
    found = model.decompose(X[:19])
    assert_same_layers(model.decompose(X[18::-1])[::-1], found)
    assert_same_layers(model.decompose(X[17:18]), found[17])


def test_a_fit_of_large_scenes_goes_on_in_the_same_pixels(large):
    model, X, _ = large
    again = clone(model).set_params(warm_start=True)
    again.fit(X).fit(X[:, ::-1])
    assert again._scene_spec() == model._scene_spec()


@pytest.mark.parametrize(
    ("shape", "size", "params"),
    [
        ((97, 110), 16, {}),  # too small to be told apart in half the pixels
        ((64, 80), 30, {}),  # quick enough
        (
            (97, 110),
            30,
            {"sprite_update": "gradient", "max_rounds": 1, "images_per_round": 8},
        ),
        ((97, 110), 30, {"sprite_size": 35, "max_rounds": 1}),
    ],
)
def test_other_scenes_are_learned_as_they_are(shape, size, params):
    X, *_ = make_large_scenes(24, shape, size)
    assert fitted(X, **{"max_rounds": 2, **params})._scene_spec().reduction == 1


def test_frames_are_as_small_as_small_things():
    X, instances, _ = make_large_scenes(36, (80, 88), 12)
    model = fitted(X)
    assert model.sprites_.shape[1] < 32
    found = model.predict(X)
    assert segmentation_adjusted_rand_score(instances, found) > 0.95


@pytest.mark.parametrize("slope", [0.1, 0.3])
def test_a_level_in_uneven_light_is_a_level_to_what_seeks_layers(slope):
    X, instances, classes = make_large_scenes(shape=(48, 64), size=18, slope=slope)
    model = fitted(X)
    taken = model.resolved_params_
    assert (taken["background"], taken["color"]) == ("gain", "flat")
    assert "rotation" in taken["transformations"]
    assert segmentation_adjusted_rand_score(instances, model.predict(X)) > 0.95
    assert mean_class_accuracy(classes, model.predict_semantic(X)) > 0.95
    light = model.decomposition_.background_light
    assert np.abs(light).max() > slope / 8  # light stays in the record


@pytest.mark.parametrize(
    ("params", "color"), [({"shaded": True}, "gain"), ({"slope": 1.2}, "flat")]
)
def test_light_and_dark_sides_and_deep_shadows_keep_the_picture(params, color):
    X, *_ = make_large_scenes(shape=(48, 64), size=18, **{"slope": 0.3, **params})
    model = fitted(X, max_rounds=1)
    assert model.resolved_params_["color"] == color
    assert not model._spec["evens"]


def test_names_that_are_given_stay():
    X, *_ = make_large_scenes(shape=(48, 64), size=18, slope=0.3)
    model = fitted(X, max_rounds=1, transformations=("translation",))
    assert model.resolved_params_["transformations"] == ("translation",)
    model = fitted(X, max_rounds=1, color="gain")
    assert model.resolved_params_["color"] == "gain"


@pytest.mark.parametrize("side", [1, 2, 4])
def test_larger_pixels_are_means(side):
    images = torch.rand((2, 3, 9, 6), generator=torch.Generator().manual_seed(0))
    found = in_pixels_of(images, side)
    for row in range(found.shape[2]):
        for column in range(found.shape[3]):
            block = images[..., row * side :, column * side :][..., :side, :side]
            expected = block.mean((2, 3))
            torch.testing.assert_close(found[..., row, column], expected)
    assert found.shape[2:] == (-(-9 // side), -(-6 // side))


def test_very_large_scenes_of_things_in_their_own_colors_are_reduced_too():
    draws = np.random.default_rng(0)
    flags = np.zeros((2, 32, 32, 3))
    flags[0, :16], flags[0, 16:] = (0.9, 0.1, 0.1), (0.1, 0.2, 0.8)
    flags[1, :, :12], flags[1, :, 12:] = (0.1, 0.6, 0.2), (0.9, 0.8, 0.1)
    X = np.full((24, 192, 200, 3), 0.5)
    instances, classes = np.zeros((2, *X.shape[:3]), int)
    for image, instance, kind in zip(X, instances, classes, strict=True):
        for number in (1, 2):
            k, row = draws.integers(2), draws.integers(160)
            column = draws.integers(68) + (number - 1) * 100
            window = np.s_[row : row + 32, column : column + 32]
            image[window], instance[window], kind[window] = flags[k], number, k + 1
    X += 0.01 * draws.standard_normal(X.shape)
    model = LayeredSpriteDecomposition(
        2, n_layers=2, n_backgrounds=1, max_rounds=3, random_state=0
    ).fit(X)
    assert model.resolved_params_["color"] == "own"
    assert model._scene_spec().reduction == 2
    found = model.decompose(X)
    left = np.square(X - model.reconstruct(X)).sum((1, 2, 3))
    np.testing.assert_allclose(found.error, left, rtol=2e-3)
    maps = model.render(found, "instances"), model.render(found, "classes")
    assert segmentation_adjusted_rand_score(instances, maps[0]) > 0.9  # to two pixels
    assert mean_class_accuracy(classes, maps[1]) > 0.9
    assert_same_layers(model.decompose(X[5:6]), found[5])


def test_networks_learn_from_search_in_uneven_light():
    X, instances, _ = make_large_scenes(36, (48, 64), 18, slope=0.3)
    taught = Distilled(steps=50)
    model = fitted(X, localizer=taught, max_rounds=3)
    assert model._scene_spec().evens
    assert segmentation_adjusted_rand_score(instances, model.predict(X)) > 0.8
