"""Images in a light that falls from a side: the slope is no matter of the sprites."""

import pickle

import numpy as np
import pytest

from sklearn_sprites import SpriteClustering
from sklearn_sprites._engine.spec import ModelSpec
from sklearn_sprites._engine.training.slopes import have_slopes
from sklearn_sprites.metrics import clustering_accuracy
from tests.marks import quiet
from tests.pictures import QUICK, assert_same_fit, make_model, make_pictures
from tests.test_redraw import recolored, warped

pytestmark = quiet
NAMES = ("color", "affine", "slope")


def light_on(X, strength=0.5, seed=1):
    """Planes through zero, one per image and channel, as large as X."""
    n, height, width, channels = X.shape
    y, x = (2 * np.indices((height, width)) + 1) / [[[height]], [[width]]] - 1
    slopes = strength * np.random.default_rng(seed).normal(size=(n, 2, channels))
    return (
        x[..., None] * slopes[:, None, None, 0]
        + y[..., None] * slopes[:, None, None, 1]
    )


@pytest.fixture(scope="module")
def pictures():
    return make_pictures(n=120, height=14, width=14, channels=3)


@pytest.fixture(scope="module")
def leveled(pictures):
    params = {**QUICK, "max_epochs": 4, "transformations": NAMES}
    with pytest.warns(UserWarning, match="stopped after"):
        return make_model(**params).fit(pictures[0])


def test_auto_takes_slopes_off_where_light_falls_from_any_side(pictures):
    X, kinds = pictures
    model = make_model(max_epochs=5).fit(X + light_on(X))
    assert model.resolved_params_["transformations"][-1] == "slope"
    assert clustering_accuracy(kinds, model.labels_) == 1
    plain = make_model(max_epochs=1).fit(X)
    assert "slope" not in plain.resolved_params_["transformations"]


@pytest.mark.parametrize(("strength", "is_seen"), [(0.0, False), (0.7, True)])
def test_auto_sees_light_that_falls_on_images_from_a_side(strength, is_seen):
    X, _ = make_pictures(n=120, height=14, width=14)
    sides = np.random.default_rng(0).uniform(-strength, strength, (120, 1, 1))
    x = (2 * np.arange(14) + 1) / 14 - 1
    batch = ((0.3 + 0.5 * X) * (1 + sides * x))[:, None].astype(np.float32)
    spec = ModelSpec(3, 0, 1, 14, 14, ("color", "affine"))
    assert have_slopes(batch, spec) == is_seen


def test_light_from_another_side_changes_nothing_but_what_is_drawn(pictures, leveled):
    X, light = pictures[0], light_on(pictures[0], 0.1)
    np.testing.assert_array_equal(leveled.predict(X + light), leveled.predict(X))
    np.testing.assert_allclose(
        leveled.transform(X + light), leveled.transform(X), atol=1e-4
    )
    drawn = leveled.reconstruct(X + light) - leveled.reconstruct(X)
    np.testing.assert_allclose(drawn, light, atol=1e-4)
    np.testing.assert_allclose(
        leveled.align(X + light), leveled.align(X), atol=1e-3, rtol=1e-3
    )


def test_images_are_redrawn_from_attributes(pictures, leveled):
    X = pictures[0]
    params = {name: p[5] for name, p in leveled.transformation_params_.items()}
    assert list(params) == ["affine", "color", "slope"]
    sprite = leveled.sprites_[leveled.labels_[5]]
    drawn = warped(sprite, params["affine"].reshape(2, 3), "nearest")
    drawn = recolored(drawn, params["color"], 1)
    y, x = (2 * np.indices((14, 14)) + 1) / 14 - 1
    planes = np.stack([x, y], -1) @ params["slope"].reshape(3, 2).T
    np.testing.assert_allclose(
        drawn + planes, leveled.reconstruct(X[5:6])[0], atol=1e-4
    )


def test_distances_are_those_to_what_is_drawn(pictures, leveled):
    X = pictures[0]
    left = np.square(leveled.reconstruct(X) - X).sum((1, 2, 3))
    np.testing.assert_allclose(leveled.transform(X).min(1) ** 2, left, rtol=1e-3)
    np.testing.assert_array_equal(leveled.predict(X), leveled.labels_)
    again = pickle.loads(pickle.dumps(leveled))
    np.testing.assert_array_equal(again.transform(X), leveled.transform(X))


def test_without_other_transformations_it_is_kmeans_of_leveled_images(pictures):
    X, _ = pictures
    flat = X.reshape(len(X), -1)
    y, x = (2 * np.indices((14, 14)) + 1) / 14 - 1
    basis = np.stack([x.ravel(), y.ravel()])  # orthogonal, and to what is constant
    pixels = X.reshape(len(X), 196, 3)
    slopes = np.einsum("dp,npc->ndc", basis, pixels) / np.square(basis).sum(1)[:, None]
    level = (pixels - np.einsum("dp,ndc->npc", basis, slopes)).reshape(flat.shape)
    sprites = level[:3].reshape(3, 14, 14, 3)
    one = make_model(transformations=("slope",), init=sprites).fit(X)
    other = make_model(transformations=(), init=sprites).fit(level, None)
    np.testing.assert_array_equal(one.labels_, other.labels_)
    assert one.inertia_ == pytest.approx(other.inertia_, rel=1e-4)


def test_a_warm_start_and_given_sprites_see_leveled_images(pictures):
    X, kinds = pictures
    slanted = X + light_on(X, 0.3)
    model = make_model(max_epochs=2, warm_start=True).fit(slanted)
    assert "slope" in model.fit(slanted).resolved_params_["transformations"]
    params = {"transformations": NAMES, "max_epochs": 2}
    given = make_model(init=slanted[:3], **params).fit(slanted)
    assert clustering_accuracy(kinds, given.labels_) == 1
    first = slanted[:3] + light_on(X[:3], 0.5, seed=2)
    other = make_model(init=first, **params).fit(slanted)
    np.testing.assert_array_equal(other.labels_, given.labels_)


def test_stages_may_name_the_slope_which_is_always_off(pictures):
    X, _ = pictures
    params = {**QUICK, "transformations": NAMES}
    stages = (("color", "slope"), ("color", "affine"))
    named = make_model(**params, curriculum=stages).fit(X)
    silent = make_model(**params, curriculum=(("color",), ("color", "affine"))).fit(X)
    assert_same_fit(named, silent)


def test_over_backgrounds_it_is_refused(pictures):
    message = "'slope', which is taken off images of opaque sprites only"
    with pytest.raises(ValueError, match=message):
        make_model(transformations=NAMES, n_backgrounds=1).fit(pictures[0])
    with pytest.raises(ValueError, match=r"background_transformations.*'slope'; valid"):
        SpriteClustering(3, n_backgrounds=1, background_transformations=("slope",)).fit(
            pictures[0]
        )


def test_strips_have_no_slope():
    model = make_model(transformations=NAMES).fit(
        np.random.default_rng(0).random((20, 3))
    )
    assert model.resolved_params_["transformations"] == ()
