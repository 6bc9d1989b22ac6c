"""Decompositions whose layers a network guesses."""

import pickle
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone

from sklearn_sprites import Distilled, LayeredSpriteDecomposition, Search
from sklearn_sprites._engine.scene_inference import CHUNK, MANY
from sklearn_sprites._engine.search_settings import SearchPlan
from sklearn_sprites.metrics import segmentation_adjusted_rand_score
from tests.engine.test_scene_network import POSED
from tests.engine.test_shaded import SPEC as SHADED
from tests.scenes import (
    BRIEF,
    QUICK,
    assert_same_layers,
    assert_same_scenes,
    make_decomposition,
    make_scenes,
)
from tests.test_scene_determinism import METHODS, on_ground

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X, INSTANCES, _, _ = make_scenes(60)
NEW, NEW_INSTANCES, _, _ = make_scenes(70, seed=3)
LITTLE = {"steps": 3, "batch_size": 8}
ON_BLACK = {**QUICK, "localizer": Distilled(**LITTLE)}
OVER_A_LEVEL = {
    **QUICK,
    "n_backgrounds": 1,
    "localizer": Distilled(search=BRIEF, **LITTLE),
}


@pytest.fixture(scope="module", params=[ON_BLACK, OVER_A_LEVEL], ids=["black", "level"])
def fitted(request):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make_decomposition(**request.param).fit(seen(request.param))


def seen(params):
    """Images to fit; few where search takes long."""
    return on_ground(X[:12]) if params.get("n_backgrounds") else X


@pytest.fixture
def new(fitted):
    return on_ground(NEW, 1) if fitted.n_backgrounds else NEW


def test_what_was_found_is_what_is_predicted(fitted):
    images = seen(vars(fitted))
    assert_same_layers(fitted.decompose(images), fitted.decomposition_)


def test_fitting_again_gives_the_same_bits(fitted):
    images = seen(vars(fitted))
    assert_same_scenes(clone(fitted).fit(images), fitted)


@pytest.mark.parametrize("size", [1, 30])
def test_batches_of_any_size_give_the_same_bits(fitted, new, size):
    images = new if size > 1 else new[:3]
    parts = [images[i : i + size] for i in range(0, len(images), size)]
    for name in METHODS:
        method = getattr(fitted, name)
        together = np.concatenate([method(part) for part in parts])
        np.testing.assert_array_equal(together, method(images), err_msg=name)


def test_order_duplicates_and_subsets_change_no_bit(fitted, new):
    order = np.random.default_rng(0).permutation(len(new))
    index = np.concatenate([order, order[:6], [5, 5, 5]])
    assert_same_layers(fitted.decompose(new[index]), fitted.decompose(new)[index])


def test_a_pickle_holds_arrays_and_predicts_the_same_bits(fitted, new):
    fitted.predict(new)
    text = pickle.dumps(fitted)
    assert b"torch" not in text
    model = pickle.loads(text)
    assert all(isinstance(each, np.ndarray) for each in model._arrays.values())
    assert any(name.startswith("guesser.") for name in model._arrays)
    for name in METHODS:
        np.testing.assert_array_equal(
            getattr(model, name)(new), getattr(fitted, name)(new)
        )


def test_parameters_set_after_a_fit_change_no_prediction(fitted, new):
    maps = fitted.predict(new)
    other = pickle.loads(pickle.dumps(fitted))
    other.set_params(localizer="search", penalty=1e9)
    np.testing.assert_array_equal(other.predict(new), maps)


def test_sprites_are_those_of_search():
    search = make_decomposition(**QUICK).fit(X)
    network = make_decomposition(**ON_BLACK).fit(X)
    for name in ("loss_curve_", "backgrounds_"):
        np.testing.assert_array_equal(getattr(network, name), getattr(search, name))

    def sheets(model):
        return sorted(sprite.tobytes() for sprite in model.sprites_)

    assert sheets(network) == sheets(search)
    for name, column in search.restarts_.items():
        np.testing.assert_array_equal(network.restarts_[name], column)


def test_a_network_learns_to_find_what_search_finds():
    settings = Distilled(steps=200, batch_size=32)
    model = make_decomposition(max_rounds=8, localizer=settings).fit(X)
    score = segmentation_adjusted_rand_score(NEW_INSTANCES, model.predict(NEW))
    assert score > 0.7


def test_the_users_torch_seed_has_no_influence():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        one = make_decomposition(**ON_BLACK).fit(X)
        torch.manual_seed(2)
        assert_same_scenes(make_decomposition(**ON_BLACK).fit(X), one)


def test_names_stand_for_settings():
    model = LayeredSpriteDecomposition(localizer="distilled")
    settings = model._settings(POSED)
    assert settings.distilled == Distilled()
    assert settings.search == SearchPlan()
    assert LayeredSpriteDecomposition()._settings(POSED).distilled is None
    over_pictures = Distilled.from_dict(Distilled(steps=3).to_dict())
    for localizer in ("search", over_pictures):  # what is not given is as by name
        model = LayeredSpriteDecomposition(localizer=localizer)
        assert model._settings(SHADED).search == Search().plan(has_picture=True)
    given = Distilled(search=Search(sweeps=1))
    assert (
        LayeredSpriteDecomposition(localizer=given)._settings(POSED).search.sweeps == 1
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("search", "search"),
        ("steps", 0),
        ("batch_size", 1),
        ("drawn", 1.5),
        ("learning_rate", 0),
        ("angles", 0),
        ("polish", -1),
        ("end_to_end", -1),
    ],
)
def test_settings_out_of_range_are_named(name, value):
    with pytest.raises(ValueError, match=name):
        Distilled(**{name: value})


@pytest.mark.parametrize("drawn", [0.0, 1.0])
def test_images_alone_or_drawn_scenes_alone_teach(drawn):
    settings = Distilled(drawn=drawn, **LITTLE)
    model = make_decomposition(**QUICK, localizer=settings).fit(X)
    assert model.predict(X).shape == INSTANCES.shape


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (4, 4), (9, 31)])
@pytest.mark.parametrize("n_backgrounds", [0, 1])
def test_tiny_images_and_strips(shape, n_backgrounds):
    images = np.random.default_rng(0).uniform(size=(12, *shape, 1))
    settings = Distilled(search=BRIEF, **LITTLE)
    model = make_decomposition(
        n_backgrounds=n_backgrounds, sprite_size="auto", localizer=settings, **QUICK
    ).fit(images)
    assert model.predict(images).shape == images.shape[:3]
    assert np.isfinite(model.transform(images)).all()


def test_an_all_black_set_shows_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = make_decomposition(**ON_BLACK).fit(np.zeros((10, 12, 12, 3)))
    assert (model.predict(np.zeros((10, 12, 12, 3))) == 0).all()


def test_over_pictures_a_network_sees_the_ground():
    picture = np.linspace(0, 0.5, 256).reshape(16, 16, 1)
    images = np.where(X.max(-1, keepdims=True) > 0, X, picture)
    settings = Distilled(search=BRIEF, **LITTLE)
    model = make_decomposition(
        **QUICK, n_backgrounds=1, background="image", localizer=settings
    ).fit(images)
    assert_same_layers(model.decompose(images), model.decomposition_)


@pytest.mark.parametrize("n_threads", [1, 2, 3, 5, 100])
@pytest.mark.parametrize("n", [0, 1, 64, 1000, 10_000])
def test_images_are_found_in_whole_batches_on_any_number_of_cores(
    fitted, monkeypatch, n_threads, n
):
    predictor = fitted._model()
    monkeypatch.setattr(torch, "get_num_threads", lambda: n_threads)
    chunk = predictor._chunk(n)
    assert chunk % predictor.size == 0
    assert chunk > 0
    assert chunk <= max(MANY * CHUNK // n_threads, predictor.size)
