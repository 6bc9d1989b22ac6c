"""Things in any turn over backgrounds: poses are searched, masks are learned."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, rotate, shift

from sklearn_sprites import SpriteClustering
from sklearn_sprites._engine.inference import Predictor
from sklearn_sprites._engine.modules.pose_search import PoseSearch
from sklearn_sprites._engine.modules.transformations import make_sequence
from sklearn_sprites._engine.ops.color import RIDGE, solve_layers
from sklearn_sprites._engine.ops.compositing import over
from sklearn_sprites._engine.ops.layered_alignment import Behind, composite_errors
from sklearn_sprites._engine.ops.sampling import pad_to_canvas
from sklearn_sprites._engine.settings import TrainingSettings
from sklearn_sprites._engine.spec import ModelSpec
from sklearn_sprites._engine.training.any_turn import lie_in_any_turn
from sklearn_sprites._engine.training.apart import usual, without_backgrounds
from sklearn_sprites._engine.training.fit import fit_clustering
from sklearn_sprites.metrics import clustering_accuracy
from tests import oracles
from tests.engine.test_alignment import CPU, SIZE, blobs
from tests.engine.test_searched import fits_shortly, in_model_form, shapes
from tests.strategies import Draws, attack, draws

OVER = ModelSpec(3, 1, 1, SIZE, SIZE, ("color", "similarity"), ("color",))


def texture(random, side=SIZE):
    """A rough ground, (side, side)."""
    rough = gaussian_filter(random.normal(size=(side, side)), 1.2, mode="wrap")
    return 0.45 + 0.08 * rough / rough.std()


def on_belts(n, seed=0, side=SIZE, n_belts=1, is_turned=True):
    """Images (n, side, side) of parts on the same textured belts; kinds and masks."""
    random = np.random.default_rng(seed)
    belts = [texture(np.random.default_rng(7 + i), side) for i in range(n_belts)]
    things, y = shapes(4 * side), random.integers(3, size=n)
    X, masks = [], []
    for i, k in enumerate(y):
        turn = random.uniform(0, 360) if is_turned else 0
        mask = rotate(things[k], turn, reshape=False, order=1).clip(0, 1)
        mask = shift(mask, random.uniform(-side / 2, side / 2, 2), order=1)
        mask = mask.reshape(side, 4, side, 4).mean((1, 3))
        light, level = random.uniform(0.8, 1.1), random.uniform(0.8, 1)
        X.append(light * (belts[i % n_belts] * (1 - mask) + level * mask))
        masks.append(mask > 0.5)
    X = np.stack(X) + random.normal(0, 0.02, (n, side, side))
    return X, y, np.stack(masks)


def fit(X, spec=OVER, on_epoch=None, **settings):
    settings = TrainingSettings(**settings)
    images, seed = in_model_form(X), np.random.SeedSequence(0)
    return fit_clustering(images, spec, settings, seed, "cpu", on_epoch=on_epoch)


@attack
@given(draws, st.integers(1, 3), st.integers(1, 3), st.sampled_from([1, 3]))
@pytest.mark.parametrize(
    "freedoms", [(1, 0), (2, 0), (1, 2), (2, 2), (3, 0), (3, 2), (3, 3)]
)
def test_errors_of_composites_are_those_in_their_best_colors(
    freedoms, make, m, r, channels
):
    images, back = make.uniform(m, channels, 12), make.uniform(channels, 12)
    posed = make.uniform(r, channels + 1, 12)
    found = composite_errors(images, posed, back, Behind(back[None], freedoms))
    for i in range(m):
        for j in range(r):
            front, alpha = posed[j : j + 1, :-1], posed[j : j + 1, -1:]
            looks, shares = [front, back[None]], [alpha, 1 - alpha]
            colors = oracles.solve_layers(
                looks, shares, freedoms, images[i : i + 1], RIDGE
            )
            painted = [oracles.apply_color(*x) for x in zip(looks, colors, strict=True)]
            drawn = sum(s * x for s, x in zip(shares, painted, strict=True))
            pull = RIDGE * sum(color.square().sum() for color in colors) * 12
            error = (images[i] - drawn[0]).square().sum() + pull
            torch.testing.assert_close(found[i, j], error, atol=1e-6, rtol=1e-6)


@attack
@given(draws)
def test_no_turn_of_a_sprite_before_its_background_explains_more(make):
    sprites = torch.cat([1 - 0.8 * blobs(k=2), blobs(1, k=2)], 1)
    backs = 0.3 + 0.2 * blobs(2, k=1)
    sequence = make_sequence(("rotation",), SIZE, SIZE, "zeros", CPU)
    canvas = pad_to_canvas(sprites, "zeros")

    def composites(angles):  # (2, 1)
        drawn = sequence.apply(canvas, {"rotation": angles})
        return over(drawn[:, :1], drawn[:, 1:].clamp(0, 1), backs)

    images = composites(2 * math.pi * make.uniform(2, 1).float())
    images = images + 0.01 * make.normal(*images.shape).float()
    search = PoseSearch("rotation", (0, 0), (SIZE, SIZE), CPU)
    search.weight.fill_(1e4)  # nothing but errors counts
    told = search(images, sprites, backs)[torch.arange(2), torch.arange(2)]
    found = (composites(told) - images).square().flatten(1).mean(1)
    for degrees in range(0, 360, 2):
        other = composites(torch.full((2, 1), math.radians(degrees)))
        assert (found < 1.1 * (other - images).square().flatten(1).mean(1)).all()


def test_each_sprite_lies_over_the_background_that_suits_it():
    make = Draws(3)
    sprites = torch.cat([blobs(k=3), blobs(k=3).gt(0.1).float()], 1)
    backs = make.uniform(2, 1, SIZE, SIZE).float()
    images = over(sprites[:, :1], sprites[:, 1:], backs[torch.tensor([1, 0, 1])])
    search = PoseSearch("similarity", (0, 0), (SIZE, SIZE), CPU)
    found = search.align(images, sprites, backs)
    assert found.errors.diagonal().max() < 1e-3
    alone = torch.stack([search.align(images, sprites, b[None]).errors for b in backs])
    torch.testing.assert_close(alone.amin(0).diagonal(), found.errors.diagonal())


@pytest.mark.parametrize("n_backgrounds", [1, 2])
@pytest.mark.parametrize("names", [(), ("linear_color",), ("color",), ("light",)])
def test_backgrounds_are_taken_off_in_their_light(n_backgrounds, names):
    random = np.random.default_rng(0)
    backs = np.stack([texture(random) for _ in range(n_backgrounds)])
    light = random.uniform(0.7, 1.2, 60) if names else np.ones(60)
    level = (
        random.uniform(-0.1, 0.1, 60)
        if {"color", "light"} & set(names)
        else np.zeros(60)
    )
    X = light[:, None, None] * backs[np.arange(60) % n_backgrounds]
    X = X + level[:, None, None]
    y, x = np.mgrid[:SIZE, :SIZE]
    things = np.hypot(y - SIZE / 2, x - random.uniform(8, SIZE - 8, (60, 1, 1))) < 4
    images = torch.from_numpy(in_model_form(np.where(things, 1.5, X)))
    spec = replace(OVER, n_backgrounds=n_backgrounds, background_transformations=names)
    known = torch.from_numpy(in_model_form(backs))
    left = without_backgrounds(images, known, spec)[:, 0].numpy()
    assert np.abs(left[~things]).max() < 0.05
    np.testing.assert_allclose(left[things], (1.5 - X)[things], atol=0.1)
    first = usual(images, spec, torch.Generator().manual_seed(0))
    assert first.shape == known.shape
    if n_backgrounds == 1 and not names:
        far = (first[0, 0].numpy() - backs[0])[:, : SIZE // 5]
        assert np.abs(far).max() < 1e-6


@pytest.mark.parametrize("names", ["auto", ("color", "similarity")])
def test_parts_in_any_turn_are_told_apart_and_from_their_belt(names):
    X, y, masks = on_belts(240)
    model = SpriteClustering(3, n_backgrounds=1, transformations=names, random_state=0)
    model.fit(X)
    assert model.resolved_params_ == {
        "transformations": ("color", "similarity"),
        "background_transformations": ("color",),
    }
    assert clustering_accuracy(y, model.labels_) > 0.97
    np.testing.assert_array_equal(model.predict(X), model.labels_)
    found = model.segment(X) > 0.5
    assert (found & masks).sum() > 0.7 * (found | masks).sum()
    new, kinds, _ = on_belts(100, seed=1)
    assert clustering_accuracy(kinds, model.predict(new)) > 0.97
    explained = 1 - (model.reconstruct(new)[..., 0] - new).var() / new.var()
    assert explained > 0.9


def test_belts_may_differ():
    X, y, _ = on_belts(240, n_belts=2)
    model = SpriteClustering(3, n_backgrounds=2, random_state=0).fit(X)
    assert model._spec["is_searched"]
    assert clustering_accuracy(y, model.labels_) > 0.95
    belts = model.transformation_params_["background"][:, 0]
    assert clustering_accuracy(np.arange(240) % 2, belts) > 0.95


def test_what_lies_upright_on_a_belt_is_told_by_a_network():
    X, _, _ = on_belts(150, is_turned=False)
    assert not lie_in_any_turn(in_model_form(X), OVER)
    assert lie_in_any_turn(in_model_form(on_belts(150)[0]), OVER)
    assert not fit(X, max_epochs=2).spec.is_searched


@pytest.mark.parametrize("side", [SIZE, 64])
def test_a_listener_hears_of_whole_models_and_may_stop(side):
    X = on_belts(90, side=side)[0]
    spec = replace(OVER, height=side, width=side)
    for last in (2, 13):
        heard = []

        def listener(info, heard=heard, last=last):
            shape = info.fitted().sprites.shape, info.fitted().backgrounds.shape
            heard.append((info.epoch, info.max_epochs, info.loss, shape))
            return info.epoch == last

        fitted = fit(X, spec, listener, max_epochs=20)
        epochs, most, losses, sizes = zip(*heard, strict=True)
        assert epochs == tuple(range(1, last + 1))
        assert set(most) == {20}
        assert list(losses) == fitted.loss_curve
        assert set(sizes) == {((3, 2, side, side), (1, 1, side, side))}
        assert fitted.sprites.shape == (3, 2, side, side)


@pytest.mark.parametrize("max_epochs", [1, 12])
@pytest.mark.parametrize("side", [SIZE, 64])
def test_the_loss_is_what_prediction_leaves(max_epochs, side):
    X, _, _ = on_belts(60, side=side)
    spec = replace(OVER, height=side, width=side, transformations=("similarity",))
    fitted = fit(X, spec, max_epochs=max_epochs)
    assert fitted.spec.is_searched
    assert fitted.n_epochs == len(fitted.loss_curve) <= max_epochs
    left = Predictor(fitted, "cpu").assign(in_model_form(X)).errors.min(1).mean()
    assert fitted.loss == pytest.approx(left / X[0].size, rel=1e-3)


@fits_shortly
def test_a_fit_over_a_belt_goes_on_where_it_ended_and_is_the_same_again():
    X, _, _ = on_belts(120)
    model = SpriteClustering(3, n_backgrounds=1, random_state=0, max_epochs=16)
    first = model.set_params(warm_start=True).fit(X).inertia_
    twin = SpriteClustering(**model.get_params()).fit(X)
    np.testing.assert_array_equal(twin.sprites_, model.sprites_)
    np.testing.assert_array_equal(twin.transform(X), model.transform(X))
    assert model.fit(X[:60]).resolved_params_ == twin.resolved_params_
    assert model.fit(X).inertia_ < first


def test_colors_of_layers_are_solved_as_when_they_are_drawn():
    make = Draws(0)
    images, posed = make.uniform(2, 3, 20).float(), make.uniform(1, 4, 20).float()
    back = make.uniform(3, 20).float()
    front, alpha = posed[:, :-1].expand(2, -1, -1), posed[:, -1:].expand(2, -1, -1)
    looks, shares = [front, back.expand(2, -1, -1)], [alpha, 1 - alpha]
    colors = solve_layers(looks, shares, [2, 2], images)
    drawn = sum(
        s * ((1 + c[..., :1]) * x + c[..., 1:])
        for s, c, x in zip(shares, colors, looks, strict=True)
    )
    error = (images - drawn).square().flatten(1).sum(1)
    found = composite_errors(images, posed, back, Behind(back[None], (2, 2)))[:, 0]
    pull = 20 * RIDGE * sum(c.square().flatten(1).sum(1) for c in colors)
    torch.testing.assert_close(found, error + pull, rtol=1e-4, atol=1e-4)
