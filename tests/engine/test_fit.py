import re

import numpy as np
import pytest
import torch
from torch import nn

from sklearn_sprites._engine.inference import Predictor
from sklearn_sprites._engine.settings import ClonePerturb, Swap, TrainingSettings
from sklearn_sprites._engine.spec import ModelSpec
from sklearn_sprites._engine.training.fit import fit_clustering
from sklearn_sprites._engine.training.loop import batch_size
from sklearn_sprites.exceptions import TrainingDivergedError

SIDE = 8
WARPS = ("affine", "thin_plate_spline")


def noise(n=24, channels=1, seed=0):
    shape = (n, channels, SIDE, SIDE)
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def spec_for(images, k=2, names=("affine",), m=0, behind=(), **kwargs):
    return ModelSpec(k, m, *images.shape[1:], names, behind, **kwargs)


def fit(images, spec, seed=0, encoder=None, **settings):
    settings = TrainingSettings(**{"max_epochs": 2, **settings})
    seed = np.random.SeedSequence(seed)
    return fit_clustering(images, spec, settings, seed, "cpu", encoder)


@pytest.mark.parametrize(
    ("n", "names", "expected"), [(20, WARPS, 1), (4000, WARPS, 2), (20, (), 2)]
)
def test_batches_of_little_images_are_learned_on_one_core(n, names, expected):
    images, seen = noise(n), []

    def listen(_):
        seen.append(torch.get_num_threads())
        return False

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        settings = TrainingSettings(max_epochs=1, init="sample")
        seed = np.random.SeedSequence(0)
        spec = spec_for(images, names=names)
        fit_clustering(images, spec, settings, seed, "cpu", on_epoch=listen)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert set(seen) == {expected}


def assert_sound(fitted, images):
    """Everything learned and said is finite and has the shape it should have."""
    spec = fitted.spec
    assert np.isfinite(fitted.loss)
    assert all(np.isfinite(value).all() for value in fitted.arrays.values())
    shape = (spec.n_sprites, spec.sprite_channels, SIDE, SIDE)
    assert fitted.sprites.shape == shape
    assert fitted.backgrounds.shape == (spec.n_backgrounds, *images.shape[1:])
    predictor = Predictor(fitted, "cpu")
    found = predictor.assign(images)
    assert np.isfinite(found.errors).all()
    assert np.isfinite(predictor.align(images)).all()
    assert np.isfinite(predictor.reconstruct(images)).all()
    return found


CONTENT = {
    "I5 one image": lambda: noise(1),
    "I5 one image, color": lambda: noise(1, channels=3),
    "I8 zeros": lambda: np.zeros((9, 1, SIDE, SIDE), np.float32),
    "I8 half": lambda: np.full((9, 3, SIDE, SIDE), 0.5, np.float32),
    "I9 a constant channel": lambda: noise(9, channels=2) * [[[[1]], [[0]]]],
    "I9 a zero image": lambda: noise(9) * (np.arange(9) > 0)[:, None, None, None],
    "I10 a tiny range": lambda: 0.5 + 1e-7 * noise(9),
}


@pytest.mark.parametrize("layered", [False, True])
@pytest.mark.parametrize("name", CONTENT)
def test_degenerate_images_are_fitted_without_nan_or_warning(name, layered):
    images = CONTENT[name]().astype(np.float32)
    names = ("color", *WARPS) if layered or images.shape[1] > 1 else WARPS
    m, behind = (1, ("color",)) if layered else (0, ())
    k = min(2, len(images))
    fitted = fit(images, spec_for(images, k, names, m, behind))
    found = assert_sound(fitted, images)
    if name.startswith(("I5", "I8")):
        assert found.errors.min(1).mean() / images[0].size < 1e-3


@pytest.mark.parametrize("k", [2, 3, 6])
def test_i7_duplicates_and_as_many_sprites_as_images(k):
    images = np.repeat(noise(2), 3, 0)
    found = assert_sound(fit(images, spec_for(images, k, WARPS)), images)
    assert found.errors.min(1).mean() / SIDE**2 < 1e-2


@pytest.mark.parametrize(
    "encoder",
    [
        "small",
        "resnet20",
        "resnet18",
        nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8)),
    ],
)
@pytest.mark.parametrize("n", [1, 5])
def test_a_batch_of_one_is_enough_for_every_encoder(encoder, n):
    images = noise(n)
    name = encoder if isinstance(encoder, str) else "custom"
    module = None if isinstance(encoder, str) else encoder
    spec = spec_for(images, 1, encoder=name)
    fitted = fit(images, spec, encoder=module, batch_size=1, max_epochs=1)
    assert all(np.isfinite(value).all() for value in fitted.arrays.values())


EVERY_KIND = pytest.mark.parametrize(
    "names", [("affine",), ("morphological",), ("projective",)]
)


@EVERY_KIND
def test_r2_a_learning_rate_beyond_floats_diverges_loudly(names):
    images = noise()
    message = re.escape("with learning_rate=1e+30; ") + ".* Lower learning_rate"
    with pytest.raises(TrainingDivergedError, match=message):
        fit(images, spec_for(images, 2, names), learning_rate=1e30, max_epochs=4)


@EVERY_KIND
@pytest.mark.parametrize("rate", [1e3, 1e9])
def test_r3_an_exploding_loss_leaves_nothing_worse_than_the_mean_image(names, rate):
    images = noise()
    spec = spec_for(images, 2, names)
    try:
        fitted = fit(images, spec, learning_rate=rate, max_epochs=4)
    except TrainingDivergedError as error:
        assert f"learning_rate={rate:g}" in str(error)  # noqa: PT017
    else:
        assert_sound(fitted, images)
        assert fitted.loss <= 1.05 * images.var(0).mean()


def test_r1_one_epoch_that_diverges_is_repeated_with_half_the_rate(monkeypatch):
    from sklearn_sprites._engine.training import run

    rates, true_epoch = [], run.run_epoch

    def run_epoch(learner, *args):
        rates.append(learner.optimizer.groups[0].rate)
        loss = true_epoch(learner, *args)
        if len(rates) == 2:
            with torch.no_grad():
                learner.model.sprites.fill_(torch.nan)
            return float("nan")
        return loss

    monkeypatch.setattr(run, "run_epoch", run_epoch)
    images = noise()
    fitted = fit(images, spec_for(images), max_epochs=6, learning_rate=1e-2)
    assert rates[2] == rates[1] / 2
    assert len(fitted.loss_curve) == len(rates) - 1
    assert max(rates[2:]) <= rates[1] / 2
    assert_sound(fitted, images)


@pytest.mark.parametrize("n_exploding", [1, 2])
def test_r3_training_ends_before_the_epoch_that_explodes_twice(
    monkeypatch, n_exploding
):
    from sklearn_sprites._engine.training import run

    kept, true_epoch = [], run.run_epoch

    def run_epoch(learner, *args):
        loss = true_epoch(learner, *args)
        kept.append(learner.model.sprites.detach().cpu().numpy().copy())
        if 2 < len(kept) <= 2 + n_exploding:
            with torch.no_grad():
                learner.model.sprites.fill_(1e3)
            return 1e6
        return loss

    monkeypatch.setattr(run, "run_epoch", run_epoch)
    images = noise()
    fitted = fit(images, spec_for(images), max_epochs=6, reassignment=None)
    assert fitted.exploded == (n_exploding == 2)
    if fitted.exploded:
        assert not fitted.converged
        assert len(fitted.loss_curve) == 2
        np.testing.assert_array_equal(fitted.sprites, kept[1])
    assert_sound(fitted, images)


RULES = {"none": None, "swap": Swap(every=1), "clone": ClonePerturb(check=5)}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_d1_the_same_seed_gives_the_same_bits(rule):
    images = noise(60, channels=2)
    spec = spec_for(images, 3, ("color", "affine"), 1, ("color",))
    first, again, other = (
        fit(images, spec, seed, reassignment=rule, max_epochs=4, init=init)
        for seed, init in ((1, "align"), (1, "align"), (2, "align"))
    )
    assert first.loss_curve == again.loss_curve
    for name, value in first.arrays.items():
        np.testing.assert_array_equal(value, again.arrays[name], err_msg=name)
    assert not np.array_equal(first.sprites, other.sprites)


@pytest.mark.parametrize(
    ("n_images", "layered", "size"),
    [
        (10_000, False, 128),
        (2_560, False, 128),
        (1_800, False, 90),
        (300, False, 32),
        (20, False, 20),
        (1, False, 2),
        (13_000, True, 128),
        (7_200, True, 72),
        (3_600, True, 36),
        (1_800, True, 32),
    ],
)
def test_batches_of_small_sets_are_small_and_of_two_layers_smaller(
    n_images, layered, size
):
    assert batch_size(128, n_images, layered) == size
    assert batch_size(8, n_images, layered) == min(size, 8)


def test_the_images_are_left_as_they_were():
    images = noise()
    before = images.copy()
    fit(images, spec_for(images, 2, ("color", *WARPS)))
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize("init", ["align", "k-means++", "sample", "random", "kmeans"])
def test_every_start_explains_better_than_the_mean_image(init):
    images = noise(40)
    fitted = fit(images, spec_for(images, 3), init=init, max_epochs=8)
    found = assert_sound(fitted, images)
    assert found.errors.min(1).mean() < ((images - images.mean(0)) ** 2).sum() / 40


def test_warm_start_goes_on_from_what_was_learned():
    images = noise(40)
    spec = spec_for(images, 3, WARPS)
    first = fit(images, spec, max_epochs=10)
    settings = TrainingSettings(max_epochs=4, learning_rate=1e-4)
    seed = np.random.SeedSequence(5)
    second = fit_clustering(images, spec, settings, seed, "cpu", warm=first)
    assert second.loss < 1.05 * first.loss
    assert np.abs(second.sprites - first.sprites).mean() < 0.05
    assert not np.array_equal(second.sprites, first.sprites)


def test_given_sprites_are_where_training_starts():
    images = noise(20)
    given = noise(2, seed=9)
    spec = spec_for(images)
    settings = TrainingSettings(init="array", max_epochs=1, learning_rate=1e-6)
    seed = np.random.SeedSequence(0)
    fitted = fit_clustering(images, spec, settings, seed, "cpu", init_sprites=given)
    np.testing.assert_allclose(fitted.sprites, given, atol=1e-3)


def test_a_listener_hears_every_epoch_and_may_stop():
    images, heard = noise(), []

    def listener(info):
        heard.append((info.epoch, info.loss, info.fitted().sprites.shape))
        return info.epoch == 2

    settings = TrainingSettings(max_epochs=6)
    seed, spec = np.random.SeedSequence(0), spec_for(images)
    fitted = fit_clustering(images, spec, settings, seed, "cpu", on_epoch=listener)
    assert [epoch for epoch, _, _ in heard] == [1, 2]
    assert [loss for _, loss, _ in heard] == fitted.loss_curve
    assert fitted.n_epochs == 2
    assert heard[0][2] == fitted.sprites.shape
