"""Scenes over pictures: what is published, drawn, edited and refused."""

import warnings

import numpy as np
import pytest
from sklearn.base import clone

from sklearn_sprites import LayeredSpriteDecomposition, Search
from tests.scenes import (
    assert_same_layers,
    assert_same_scenes,
    make_decomposition,
    make_scenes,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
SIDE = 24


def hills(seed=0, side=SIDE):
    """A smooth picture (side, side, 3)."""
    y, x = np.mgrid[:side, :side] / side
    waves = [
        0.5 + 0.25 * np.sin(7 * x + c + seed) * np.cos(5 * y + c) for c in range(3)
    ]
    return np.stack(waves, -1)


def on_pictures(n=24, seeds=(0,), seed=0, side=SIDE):
    """Shapes over pictures in a light that differs; and the grounds alone."""
    shapes = make_scenes(n, side=side, seed=seed)[0]
    which = np.arange(n) % len(seeds)
    gain = np.random.default_rng(seed).uniform(0.85, 1.15, (n, 1, 1, 3))
    slope = 1 + 0.2 * np.linspace(-1, 1, side)[:, None] * (gain - 1)
    grounds = np.stack([hills(s, side) for s in seeds])[which] * gain * slope
    shown = shapes.max(-1, keepdims=True) > 0
    return np.where(shown, shapes * 0.9, grounds).clip(0, 1), grounds


def over_pictures(**params):
    return make_decomposition(**{"n_backgrounds": 1, "max_rounds": 1, **params})


@pytest.fixture(scope="module")
def fitted():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return over_pictures().fit(on_pictures()[0])


def test_a_picture_behind_is_seen_and_published(fitted):
    assert fitted.backgrounds_.shape == (1, SIDE, SIDE, 3)
    ratio = fitted.backgrounds_[0] / hills()
    assert (ratio / ratio.mean((0, 1))).std() < 0.05


def test_grounds_are_drawn_where_layers_are_dropped(fitted):
    _, grounds = on_pictures()
    bare = fitted.render(fitted.decomposition_.drop(range(2)))
    assert np.abs(bare - grounds).mean() < 0.02
    found = fitted.decomposition_
    dark = fitted.render(
        found.replace(background_gain=0, background_light=0).drop([0, 1])
    )
    assert np.abs(dark).max() < 1e-6


def test_errors_are_those_of_what_is_drawn(fitted):
    images = on_pictures()[0]
    left = np.square(images - fitted.reconstruct(images)).sum((1, 2, 3))
    np.testing.assert_allclose(fitted.decomposition_.error, left, rtol=1e-3, atol=1e-3)
    assert fitted.inertia_ == pytest.approx(-fitted.score(images), rel=1e-6)


def test_units_do_not_matter():
    images = on_pictures()[0]
    levels = np.round(images * 200 + 20)
    one = over_pictures().fit(levels / 255.0)
    two = over_pictures().fit(levels.astype(np.uint8))
    np.testing.assert_allclose(two.backgrounds_, 255 * one.backgrounds_, rtol=1e-4)
    found = two.decomposition_
    np.testing.assert_allclose(
        found.background_light, one.decomposition_.background_light, atol=1e-3
    )
    shifted = over_pictures().fit(images * 40 - 20)
    left = np.square(images * 40 - 20 - shifted.reconstruct(images * 40 - 20))
    np.testing.assert_allclose(
        shifted.decomposition_.error, left.sum((1, 2, 3)), rtol=1e-2, atol=1e-2
    )


def test_one_of_several_pictures_is_behind_each_image():
    images, grounds = on_pictures(30, seeds=(0, 4))
    model = over_pictures(n_backgrounds=2).fit(images)
    background = model.decomposition_.background
    assert (background[::2] == background[0]).all()
    assert (background[1::2] == 1 - background[0]).all()
    other = model.decomposition_.replace(background=1 - background).drop([0, 1])
    assert np.abs(model.render(other) - grounds).mean() > 0.05


def test_several_plain_backgrounds_are_refused():
    with pytest.raises(ValueError, match="n_backgrounds=2 needs backgrounds that are"):
        over_pictures(n_backgrounds=2, background="flat").fit(on_pictures(4)[0])


def test_a_picture_without_gain_is_the_same_in_every_image():
    images = on_pictures(16)[0]
    found = over_pictures(background="image").fit(images).decomposition_
    assert (found.background_gain == 1).all()
    assert (found.background_light == 0).all()


def test_a_plain_ground_is_still_plain():
    shapes = make_scenes(16, side=SIDE)[0]
    level = np.random.default_rng(0).uniform(0.1, 0.4, (16, 1, 1, 1))
    images = np.where(shapes.max(-1, keepdims=True) > 0, shapes, level)
    model = over_pictures().fit(images)
    assert (model.backgrounds_ == 1).all()
    by_name = clone(model).set_params(background="flat").fit(images)
    assert_same_scenes(model, by_name)


def test_large_images_are_searched_in_larger_pixels():
    images = np.kron(on_pictures(8)[0], np.ones((1, 4, 4, 1)))
    search = Search(sweeps=1, restarts=0, replacements=0)
    model = LayeredSpriteDecomposition(
        3, n_layers=2, n_backgrounds=1, sprite_size=28, localizer=search, max_rounds=1
    ).fit(images)
    assert model.sprites_.shape == (3, 28, 28, 4)
    assert model.predict(images).shape == images.shape[:3]
    found = model.decomposition_
    left = np.square(images - model.reconstruct(images)).sum((1, 2, 3))
    np.testing.assert_allclose(found.error, left, rtol=1e-3)
    assert found.x.max() > 48


def test_a_fit_goes_on_with_the_same_pictures(fitted):
    images = on_pictures()[0]
    model = clone(fitted).set_params(warm_start=True).fit(images)
    before = model.backgrounds_
    np.testing.assert_array_equal(model.fit(images).backgrounds_, before)


def test_an_image_does_not_depend_on_its_company(fitted):
    images = on_pictures(19, seed=5)[0]
    found = fitted.decompose(images)
    assert_same_layers(fitted.decompose(images[::-1])[::-1], found)
    assert_same_layers(fitted.decompose(images[17:18]), found[17])


def test_fitting_again_gives_the_same_bits(fitted):
    assert_same_scenes(clone(fitted).fit(on_pictures()[0]), fitted)


def test_colors_are_flat_if_asked():
    model = over_pictures(color="flat").fit(on_pictures(12)[0])
    assert (model.sprites_[..., :-1] == 1).all()
