"""Things that lie in any turn: poses are searched, and no network tells them."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from scipy.ndimage import gaussian_filter, rotate
from sklearn.base import clone

from sklearn_sprites import ClonePerturb, Milestones, SpriteClustering, Swap
from sklearn_sprites._engine.inference import Predictor
from sklearn_sprites._engine.modules.pose_search import ALIGNED, PoseSearch
from sklearn_sprites._engine.modules.transformations import make_sequence
from sklearn_sprites._engine.ops.sampling import pad_to_canvas
from sklearn_sprites._engine.settings import TrainingSettings
from sklearn_sprites._engine.spec import ModelSpec
from sklearn_sprites._engine.training.angles import evenness, upright_share
from sklearn_sprites._engine.training.any_turn import lie_in_any_turn
from sklearn_sprites._engine.training.fit import fit_clustering
from sklearn_sprites._engine.training.searched import is_searchable
from sklearn_sprites._engine.training.start import aligned_start, are_turned
from sklearn_sprites.metrics import clustering_accuracy
from tests.engine.test_alignment import CPU, SIZE, blobs
from tests.strategies import attack, draws

PLAIN = ModelSpec(3, 0, 1, SIZE, SIZE, ("color", "similarity"))
fits_shortly = pytest.mark.filterwarnings("ignore:SpriteClustering stopped after")


def shapes(side=SIZE):
    """A nut, a bolt and a bracket, (3, side, side)."""
    line = (np.arange(4 * side) + 0.5) / (2 * side) - 1
    x, y = np.meshgrid(line, line)
    sectors = math.pi / 3
    angle = (np.arctan2(y, x) % sectors) - sectors / 2
    nut = (np.hypot(x, y) * np.cos(angle) < 0.6) & (np.hypot(x, y) > 0.3)
    bolt = (abs(y) < 0.12) & (abs(x) < 0.7) | (abs(y) < 0.35) & (abs(x + 0.6) < 0.15)
    bracket = (abs(x + 0.4) < 0.15) & (abs(y) < 0.6) | (abs(y - 0.45) < 0.15) & (
        abs(x) < 0.55
    )
    parts = np.stack([nut, bolt, bracket]).astype(float)
    return parts.reshape(3, side, 4, side, 4).mean((2, 4))


def parts(n, shares=(1 / 3, 1 / 3, 1 / 3), noise=0.03, seed=0, side=SIZE):
    """Images (n, side, side) of them in any turn and light, and which."""
    random = np.random.default_rng(seed)
    things, y = shapes(side), random.choice(3, n, p=shares)
    turns, light = random.uniform(0, 360, n), random.uniform(0.6, 1, n)
    X = [
        level * rotate(things[k], turn, reshape=False, order=1)
        for k, turn, level in zip(y, turns, light, strict=True)
    ]
    return np.stack(X) + random.normal(0, noise, (n, side, side)), y


def in_model_form(X):
    return np.ascontiguousarray(X[:, None], dtype=np.float32)


def fit(X, spec=PLAIN, on_epoch=None, **settings):
    settings = TrainingSettings(**settings)
    images, seed = in_model_form(X), np.random.SeedSequence(0)
    return fit_clustering(images, spec, settings, seed, "cpu", on_epoch=on_epoch)


@attack
@given(draws)
def test_no_turn_explains_an_image_better_than_the_one_that_is_found(make):
    sprites, names = blobs(k=2), ("rotation",)
    sequence = make_sequence(names, SIZE, SIZE, "border", CPU)
    canvas = pad_to_canvas(sprites, "border")
    angle = 2 * math.pi * make.uniform(2, 1).float()
    images = sequence.apply(canvas, {"rotation": angle})
    images = images + 0.02 * make.normal(*images.shape).float()
    search = PoseSearch("rotation", (0, 0), (SIZE, SIZE), CPU)
    search.weight.fill_(1e4)  # nothing but errors counts
    told = search(images, sprites)

    def errors(angles):  # (2, 1) of each image under its own sprite
        drawn = sequence.apply(canvas, {"rotation": angles})
        return (drawn - images).square().flatten(1).mean(1)

    found = errors(told[torch.arange(2), torch.arange(2)])
    for degrees in range(0, 360, 2):
        other = errors(torch.full((2, 1), math.radians(degrees)))
        assert (found < 1.1 * other).all()


def test_sprites_that_are_hardly_plausible_are_only_turned():
    sprites = blobs(k=ALIGNED + 3)
    search = PoseSearch("similarity", (0, 0), (SIZE, SIZE), CPU)
    found = search.align(sprites[:5], sprites)
    assert found.energies.isinf().sum(1).tolist() == [3] * 5
    assert found.errors.isfinite().all()
    worst = found.errors.masked_fill(found.energies.isfinite(), torch.inf).amin(1)
    assert (found.errors.amin(1) < worst).all()
    a, b, x, y = search.told(found)[found.energies.isinf()].unbind(1)
    torch.testing.assert_close(torch.hypot(1 + a, b), torch.ones(15))
    assert not x.any()
    assert not y.any()


@pytest.mark.parametrize(
    ("change", "settings", "searched"),
    [
        ({}, {}, True),
        ({"transformations": ("rotation",)}, {"reassignment": None}, True),
        ({"transformations": ("affine",)}, {}, False),
        ({"transformations": ("similarity", "thin_plate_spline")}, {}, False),
        ({"transformations": ("similarity", "morphological")}, {}, False),
        ({"transformations": ("similarity", "thickness")}, {}, False),
        ({"n_backgrounds": 1}, {}, True),
        ({"n_backgrounds": 1}, {"init": "array"}, False),
        ({"n_backgrounds": 1, "background_transformations": ("color",)}, {}, True),
        ({"n_backgrounds": 1, "background_transformations": ("affine",)}, {}, False),
        ({"encoder": "resnet20"}, {}, False),
        ({"color": "predict"}, {}, False),
        ({"color": "predict", "transformations": ("rotation",)}, {}, True),
        ({}, {"init": "k-means++"}, False),
        ({}, {"curriculum": Milestones((0, 1))}, False),
        ({}, {"curriculum": (("color",), ("color", "similarity"))}, False),
        ({}, {"reassignment": ClonePerturb()}, False),
    ],
)
def test_who_asks_for_a_network_gets_it(change, settings, searched):
    spec = replace(PLAIN, **change)
    assert is_searchable(spec, TrainingSettings(**settings)) == searched


@pytest.mark.parametrize("names", [("color", "rotation"), ("color", "similarity")])
def test_rare_kinds_keep_their_sprites(names):
    X, y = parts(400, (0.8, 0.12, 0.08))
    model = SpriteClustering(3, transformations=names, random_state=0).fit(X)
    assert model._spec["is_searched"]
    assert clustering_accuracy(y, model.labels_) > 0.99
    np.testing.assert_array_equal(model.predict(X), model.labels_)
    explained = 1 - (model.reconstruct(X)[..., 0] - X).var() / X.var()
    assert explained > 0.9


def test_upright_things_are_told_by_a_network():
    X, y = parts(150)
    things = shapes()
    X = things[y] + np.random.default_rng(0).normal(0, 0.1, X.shape)
    fitted = fit(X, replace(PLAIN, transformations=("similarity",)), max_epochs=2)
    assert not fitted.spec.is_searched


@pytest.mark.parametrize("is_turned", [True, False])
def test_turns_are_seen_through_noise(is_turned):
    random = np.random.default_rng(0)
    smooth = gaussian_filter(shapes(36), (0, 1.5, 1.5))
    y = random.integers(3, size=500)
    turns = random.uniform(0, 360, len(y)) if is_turned else np.zeros(len(y))
    pairs = zip(y, turns, strict=True)
    X = np.stack([rotate(smooth[k], t, reshape=False, order=1) for k, t in pairs])
    X = X + random.normal(0, 2.2 * smooth.std(), X.shape)
    spec = ModelSpec(5, 0, 1, 36, 36, ("rotation",))
    images, start = torch.from_numpy(in_model_form(X)), torch.Generator().manual_seed(0)
    _, lesson, _ = aligned_start(images, spec, start)
    assert lesson.is_turned == is_turned


def test_given_sprites_are_looked_for_in_any_turn():
    X, y = parts(150)
    model = SpriteClustering(3, init=shapes(), transformations=("color", "similarity"))
    labels = model.fit(X).labels_
    assert clustering_accuracy(y, labels) > 0.99
    again = [SpriteClustering.predict(model, thing[None])[0] for thing in shapes()]
    assert sorted(again) == [0, 1, 2]


@pytest.mark.parametrize("is_turned", [True, False])
def test_given_sprites_tell_through_noise_how_things_lie(is_turned):
    random, things = np.random.default_rng(1), torch.from_numpy(in_model_form(shapes()))
    X = parts(300, noise=0)[0] if is_turned else shapes()[random.integers(3, size=300)]
    X = torch.from_numpy(in_model_form(X + random.normal(0, 0.7, X.shape)))
    draws = torch.Generator().manual_seed(0)
    assert are_turned(X, PLAIN, things, draws) == is_turned


@fits_shortly
def test_a_fit_goes_on_where_it_ended_and_is_the_same_again():
    X, _ = parts(90)
    model = SpriteClustering(
        3,
        transformations=("color", "similarity"),
        random_state=0,
        max_epochs=6,
        warm_start=True,
    )
    first = model.fit(X).inertia_
    twin = clone(model).fit(X)
    np.testing.assert_array_equal(twin.sprites_, model.sprites_)
    np.testing.assert_array_equal(twin.transform(X), model.transform(X))
    assert model.fit(X).inertia_ < first
    assert model.n_iter_ <= 6


@fits_shortly
@pytest.mark.parametrize(
    "change",
    [
        {"reassignment": "clone"},
        {"init": "sample"},
        {"curriculum": (("color", "similarity"),)},
    ],
)
def test_what_was_searched_goes_on_searching(change):
    X, _ = parts(60)
    names = ("color", "similarity")
    model = SpriteClustering(3, transformations=names, random_state=0, max_epochs=4)
    first = model.set_params(warm_start=True).fit(X).inertia_
    assert model.set_params(**change).fit(X).inertia_ < first
    np.testing.assert_array_equal(model.predict(X), model.labels_)


@pytest.mark.parametrize("side", [SIZE, 64])
def test_a_listener_hears_every_round_and_may_stop(side):
    X, heard = parts(90, side=side)[0], []
    spec = replace(PLAIN, height=side, width=side)

    def listener(info):
        heard.append((info.epoch, info.stage, info.loss, info.fitted().sprites.shape))
        return info.epoch == 3

    fitted = fit(X, spec, listener, reassignment=Swap(spares=2))
    epochs, stages, losses, sizes = zip(*heard, strict=True)
    assert epochs == (1, 2, 3)
    assert set(stages) == {"turns"}
    assert list(losses) == fitted.loss_curve
    assert set(sizes) == {fitted.sprites.shape} == {(3, 1, side, side)}
    quiet = fit(X, spec, lambda info: info.epoch == 3, reassignment=Swap(spares=2))
    np.testing.assert_array_equal(quiet.sprites, fitted.sprites)


@pytest.mark.parametrize("max_epochs", [1, 30])
def test_the_loss_is_what_prediction_leaves(max_epochs):
    X, _ = parts(60, side=64)
    spec = ModelSpec(3, 0, 1, 64, 64, ("similarity",))
    fitted = fit(X, spec, max_epochs=max_epochs)
    assert fitted.spec.is_searched
    assert fitted.sprites.shape == (3, 1, 64, 64)
    assert fitted.n_epochs == len(fitted.loss_curve) <= max_epochs
    left = Predictor(fitted, "cpu").assign(in_model_form(X)).errors.min(1).mean()
    assert fitted.loss == pytest.approx(left / X[0].size, rel=1e-3)


def test_sprites_of_large_images_get_their_details():
    X, _ = parts(60, noise=0, side=64)
    told = []
    spec = ModelSpec(3, 0, 1, 64, 64, ("similarity",))
    fitted = fit(X, spec, lambda info: told.append((info.loss, info.fitted())) and 0)
    assert fitted.sprites.shape == told[0][1].sprites.shape
    images = in_model_form(X)
    blurred = Predictor(told[-4][1], "cpu").assign(images).errors.min(1).mean()
    sharp = Predictor(fitted, "cpu").assign(images).errors.min(1).mean()
    assert sharp < 0.8 * blurred


@given(draws)
def test_angles_from_all_around_are_even_and_others_are_not(make):
    around = make.uniform(400, low=-math.pi, high=math.pi)
    assert evenness(around) > 0.98
    assert upright_share(around) < 0.27
    assert upright_share(around + 2 * math.pi) == upright_share(around)
    quarters = (around / (math.pi / 2)).round() * math.pi / 2
    assert evenness(quarters + make.normal(400, scale=0.1)) < 0.8
    assert upright_share(0.1 * around) > 0.9


@fits_shortly
@pytest.mark.parametrize(
    ("change", "turned"),
    [
        ({}, True),
        ({"init": shapes()}, True),
        ({"init": "k-means++"}, False),
        ({"curriculum": (("color", "affine", "thin_plate_spline"),)}, False),
        ({"transformations": ("color", "affine")}, False),
        ({"n_backgrounds": 1, "background_transformations": ("affine",)}, False),
    ],
)
def test_auto_sees_that_things_lie_in_any_turn(change, turned):
    X, y = parts(160)
    model = SpriteClustering(3, max_epochs=8, random_state=0).set_params(**change)
    names = tuple(model.fit(X).transformation_params_)
    assert ("similarity" in names) == turned
    taken = model.resolved_params_
    assert set(taken["transformations"]) <= set(names)
    behind = () if model.n_backgrounds == 0 else model.background_transformations
    assert taken["background_transformations"] == behind
    if turned:
        assert "affine" not in names
        assert clustering_accuracy(y, model.labels_) > 0.99
        model.set_params(warm_start=True).fit(X[:20])  # too few to see it again
        assert "similarity" in model.transformation_params_


def upright(n, random):
    return shapes()[np.arange(n) % 3]


def lying_or_standing(n, random):
    """Bars of which one kind is the other, turned."""
    x, y = np.meshgrid(*[np.arange(SIZE) - SIZE / 2] * 2)
    return np.stack([abs((x, y)[i % 2] - random.normal(0, 3)) < 2 for i in range(n)])


@pytest.mark.parametrize("things", [upright, lying_or_standing])
@pytest.mark.parametrize("seed", range(3))
def test_auto_does_not_take_other_things_for_turned_ones(things, seed):
    random = np.random.default_rng(seed)
    X = things(300, random) + random.normal(0, 0.05, (300, SIZE, SIZE))
    assert not lie_in_any_turn(in_model_form(X), PLAIN)
    assert not lie_in_any_turn(in_model_form(parts(90, seed=seed)[0]), PLAIN)
    assert lie_in_any_turn(in_model_form(parts(300, seed=seed)[0]), PLAIN)
