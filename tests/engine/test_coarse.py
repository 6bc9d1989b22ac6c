"""Large images: reduced ones tell the poses; sprites get their details in the end."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from sklearn_sprites._engine.inference import Predictor
from sklearn_sprites._engine.ops.resizing import resized
from sklearn_sprites._engine.settings import (
    ConstantSprites,
    Milestones,
    TrainingSettings,
)
from sklearn_sprites._engine.spec import ModelSpec
from sklearn_sprites._engine.training.coarse import is_coarse_first, parts, redrawn
from sklearn_sprites._engine.training.curriculum import detail_stages
from sklearn_sprites._engine.training.fit import fit_clustering
from sklearn_sprites._engine.training.run import shares
from tests import oracles
from tests.strategies import attack, draws

SIDE = 64


def two_textures(n=48, seed=0):
    """Images of two grainy textures, (n, 1, 64, 64), shifted a little; and which."""
    random = np.random.default_rng(seed)
    grains = random.random((2, SIDE, SIDE))
    textures = np.stack([gaussian_filter(x, (1, 1), mode="wrap") for x in grains])
    textures = (textures - textures.min()) / np.ptp(textures)
    labels = np.arange(n) % 2
    moves = random.integers(-3, 4, (n, 2))
    pairs = zip(labels, moves, strict=True)
    images = [np.roll(textures[k], tuple(by), (0, 1)) for k, by in pairs]
    return np.array(images, np.float32)[:, None], labels


def spec_for(images, names=("translation",), m=0, **kwargs):
    return ModelSpec(2, m, *images.shape[1:], names, **kwargs)


def fit(images, spec, on_epoch=None, warm=None, init_sprites=None, **settings):
    settings = TrainingSettings(**{"max_epochs": 20, **settings})
    seed = np.random.SeedSequence(0)
    return fit_clustering(
        images,
        spec,
        settings,
        seed,
        "cpu",
        warm=warm,
        on_epoch=on_epoch,
        init_sprites=init_sprites,
    )


@attack
@given(draws, st.tuples(*[st.integers(1, 9)] * 2), st.tuples(*[st.integers(1, 9)] * 2))
def test_reduced_images_are_means_and_enlarged_ones_interpolate(draw, small, extra):
    large = (small[0] + extra[0], small[1] + extra[1])
    images = draw.uniform(2, 2, *large)
    fewer = resized(images, small)
    for image, found in zip(images.flatten(0, 1), fewer.flatten(0, 1), strict=True):
        torch.testing.assert_close(found, oracles.area_means(image, small))
    images = draw.uniform(2, 2, *small)
    more = resized(images, large)
    for image, found in zip(images.flatten(0, 1), more.flatten(0, 1), strict=True):
        torch.testing.assert_close(found, oracles.enlarged(image, large))


def test_images_of_the_right_size_are_left_alone_and_none_stay_none():
    images = torch.rand(2, 1, 5, 7)
    assert resized(images, (5, 7)) is images
    assert resized(images[:0], (9, 3)).shape == (0, 1, 9, 3)


@pytest.mark.parametrize(
    ("size", "coarse"),
    [
        ((28, 28), (28, 28)),
        ((63, 200), (63, 200)),
        ((64, 64), (32, 32)),
        ((64, 200), (32, 100)),
        ((100, 127), (33, 42)),
        ((256, 256), (32, 32)),
    ],
)
def test_networks_look_at_images_with_a_shorter_side_of_32_to_63(size, coarse):
    spec = ModelSpec(2, 0, 1, *size, ("affine",))
    assert spec.coarse_size == coarse
    again = ModelSpec(2, 0, 1, *coarse, ("affine",))
    assert again.coarse_size == coarse  # so the network of one size fits the other


@pytest.mark.parametrize(
    ("names", "encoder", "settings"),
    [
        (("affine", "morphological"), "small", {}),
        (("affine",), "resnet20", {}),
        (("affine",), "small", {"init": ConstantSprites()}),
        (("affine",), "small", {"curriculum": Milestones((0,))}),
    ],
)
def test_what_is_measured_in_pixels_is_learned_from_all_of_them(
    names, encoder, settings
):
    spec = ModelSpec(2, 0, 1, SIDE, SIDE, names, encoder=encoder)
    assert not is_coarse_first(spec, TrainingSettings(**settings))
    plain = ModelSpec(2, 0, 1, SIDE, SIDE, ("affine",))
    assert is_coarse_first(plain, TrainingSettings())


@given(st.integers(1, 1000))
def test_epochs_are_divided_and_none_is_lost(max_epochs):
    early, late = parts(max_epochs)
    assert early >= 1
    assert early + late == max_epochs
    stages = detail_stages(ModelSpec(2, 0, 1, SIDE, SIDE, ("affine",)))
    assert sum(shares(stages, late)) == late


@pytest.mark.parametrize("m", [0, 1])
def test_sprites_have_the_details_that_reduced_images_lack(m):
    images, labels = two_textures()
    names = ("color", "translation") if m else ("translation",)
    spec = spec_for(images, names, m)
    told = []
    fitted = fit(images, spec, on_epoch=lambda info: told.append(info.fitted()) and 0)
    assert fitted.sprites.shape == (2, 1 + m, SIDE, SIDE)
    found = Predictor(fitted, "cpu").assign(images)
    assert max((found.labels == labels).mean(), (found.labels != labels).mean()) == 1
    early, _ = parts(20)
    blurred = Predictor(told[early - 1], "cpu").assign(images).errors.min(1).mean()
    assert found.errors.min(1).mean() < 0.5 * blurred
    assert np.isclose(fitted.loss * images[0].size, found.errors.min(1).mean()) or m


def test_a_listener_hears_of_one_training_at_full_size():
    images, _ = two_textures(24)
    heard = []

    def listener(info):
        shape = info.fitted().sprites.shape
        heard.append((info.epoch, info.max_epochs, info.stage, info.loss, shape))

    fitted = fit(images, spec_for(images), listener, max_epochs=10)
    epochs, most, stages, losses, shapes = zip(*heard, strict=True)
    assert epochs == tuple(range(1, fitted.n_epochs + 1))
    assert set(most) == {10}
    assert stages[-1] == "details"
    assert stages.count("details") == 1
    assert list(losses) == fitted.loss_curve
    assert set(shapes) == {fitted.sprites.shape}


def test_whoever_stops_early_gets_sprites_of_full_size():
    images, _ = two_textures(24)
    fitted = fit(images, spec_for(images), lambda info: info.epoch == 2)
    assert fitted.n_epochs == 2
    assert fitted.sprites.shape[2:] == (SIDE, SIDE)
    found = Predictor(fitted, "cpu").assign(images)
    assert np.isclose(fitted.loss * images[0].size, found.errors.min(1).mean())


def test_one_epoch_is_one_epoch():
    images, _ = two_textures(24)
    fitted = fit(images, spec_for(images), max_epochs=1)
    assert fitted.n_epochs == 1
    assert fitted.sprites.shape[2:] == (SIDE, SIDE)


def test_given_sprites_and_models_to_go_on_from_are_reduced_too():
    images, _ = two_textures(24)
    spec = spec_for(images)
    first = fit(images, spec, init_sprites=images[:2], max_epochs=6)
    second = fit(images, spec, warm=first, max_epochs=6)
    assert second.loss < first.loss
    small = redrawn(first, spec.coarse_size)
    assert small.sprites.shape[2:] == small.spec.coarse_size == (32, 32)
