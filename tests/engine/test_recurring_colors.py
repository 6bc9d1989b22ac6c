"""Colors that recur may tell kinds apart: "auto" leaves them, or changes the light."""

import numpy as np
import pytest
import torch

from sklearn_sprites import SpriteClustering
from sklearn_sprites._engine.training.recurring_colors import colors_that_change
from sklearn_sprites.metrics import clustering_accuracy
from tests.marks import quiet

SIDE = 20
COLORS = np.array([[0.8, 0.1, 0.1], [0.1, 0.2, 0.8]])
fits_shortly = pytest.mark.filterwarnings("ignore:SpriteClustering stopped after")
pytestmark = [quiet, fits_shortly]


def tokens(n=100, light=0.0, seed=0):
    """Discs and squares in two colors, (n, SIDE, SIDE, 3), in uneven light if asked."""
    random = np.random.default_rng(seed)
    kinds = random.integers(4, size=n)
    rows, columns = np.mgrid[:SIDE, :SIDE] + 0.5
    images = np.ones((n, SIDE, SIDE, 3))
    for image, kind in zip(images, kinds, strict=True):
        y, x = SIDE / 2 + random.uniform(-2, 2, 2)
        radius = random.uniform(5, 7.5)
        apart = np.abs(rows - y), np.abs(columns - x)
        far = np.hypot(*apart) if kind % 2 else np.maximum(*apart)
        alpha = np.clip(radius - far + 0.5, 0, 1)[..., None]
        image[:] = (1 - alpha) * image + alpha * COLORS[kind // 2]
    images *= 1 - light * random.random((n, 1, 1, 3))
    images += random.normal(0, 0.01, images.shape)
    return images.clip(0, 1), kinds


def names_of(model, X):
    return tuple(model.fit(X).transformation_params_)


def model_of(**params):
    params = {"max_epochs": 1, "random_state": 0, **params}
    return SpriteClustering(4, **params)


def test_kinds_that_differ_in_color_alone_are_told_apart():
    X, kinds = tokens(160)
    model = model_of(max_epochs=12).fit(X)
    assert {"affine", "color"} & set(model.transformation_params_) == {"affine"}
    assert clustering_accuracy(kinds, model.labels_) > 0.98


def in_any_light(n=160):
    """The tokens, each picture as a whole between 40 % and all of its brightness."""
    X, kinds = tokens(n)
    return X * np.random.default_rng(1).uniform(0.4, 1, (n, 1, 1, 1)), kinds


def test_light_changes_where_hues_tell_kinds_apart():
    X, kinds = in_any_light()
    model = model_of(max_epochs=8).fit(X)
    assert model.resolved_params_["transformations"][0] == "light"
    assert clustering_accuracy(kinds, model.labels_) > 0.98
    light = model.transformation_params_["light"]
    assert light.shape == (len(X), 2)
    merging = model_of(max_epochs=4, transformations=("color", "affine"))
    assert clustering_accuracy(kinds, merging.fit_predict(X)) < 0.9


@pytest.mark.parametrize("channels", [3, 2])
def test_colors_change_with_the_light(channels):
    X, _ = tokens(light=0.6)
    assert "color" in names_of(model_of(), X[..., :channels])
    X, _ = tokens()
    assert "color" not in names_of(model_of(), X[..., :channels])


@pytest.mark.parametrize(
    "change",
    [
        {"transformations": ("color", "affine")},
        {"color": "predict"},
        {"curriculum": (("color", "affine", "thin_plate_spline"),)},
        {"n_backgrounds": 1},
    ],
)
def test_what_is_asked_for_stays(change):
    assert "color" in names_of(model_of(**change), tokens()[0])


def test_gray_and_few_images_keep_what_they_had():
    X, _ = tokens()
    assert "color" in names_of(model_of(), X.mean(3))
    assert "color" in names_of(model_of(), X[:40])


def test_a_fit_that_goes_on_keeps_its_choice():
    X, _ = tokens()
    model = model_of(warm_start=True)
    assert "color" not in names_of(model, X)
    assert "color" not in names_of(model, X[:20])
    X, _ = in_any_light()
    model = model_of(warm_start=True)
    assert "light" in names_of(model, X)
    assert "light" in names_of(model, X[:20])


@pytest.mark.parametrize("names", [("color", "similarity"), ("linear_color", "affine")])
def test_a_look_touches_nothing_and_is_the_same_again(names):
    X, _ = tokens()
    spec = model_of(transformations=names)._spec_of(X.shape[1:])
    batch = np.ascontiguousarray(X.transpose(0, 3, 1, 2).astype(np.float32))
    before = batch.copy(), torch.get_rng_state(), torch.is_grad_enabled()
    assert [colors_that_change(batch, spec) for _ in range(2)] == [(), ()]
    assert (batch == before[0]).all()
    assert torch.equal(torch.get_rng_state(), before[1])
    assert torch.is_grad_enabled() == before[2]


def test_gray_images_in_three_channels_are_gray():
    X, _ = tokens()
    assert "color" in names_of(model_of(), X.mean(3, keepdims=True).repeat(3, 3))
