"""Sprites of scenes learned, and found again."""

from dataclasses import fields, replace
from itertools import combinations, pairwise

import numpy as np
import pytest

from sklearn_sprites._engine.scene_inference import ScenePredictor
from sklearn_sprites._engine.scene_records import FittedScenes, LayerRecord
from sklearn_sprites._engine.scene_settings import (
    SceneSettings,
    resolve_penalty,
)
from sklearn_sprites._engine.scene_spec import SceneSpec, auto_scene
from sklearn_sprites._engine.search_settings import SearchPlan
from sklearn_sprites._engine.training.rounds import fit_scenes, has_settled

QUICK = SearchPlan(sweeps=1, restarts=1, replacements=1)


def seed():
    return np.random.SeedSequence(0)


def shifted(n, rng=0, side=16):
    """Two textured squares per image, shifted, tinted, on black, in two textures."""
    make = np.random.default_rng(rng)
    textures = np.array([[[1, 0.5], [0.5, 0.2]], [[0.3, 0.9], [0.3, 0.9]]], np.float32)
    stamps = np.kron(textures, np.ones((2, 3), np.float32))  # (2, 4, 6)
    images = np.zeros((n, 3, side, side), np.float32)
    for image in images:
        for half in (0, side // 2):  # one above, one below
            k, row, column = make.integers(2), make.integers(4), make.integers(side - 6)
            gain = make.uniform(0.4, 1, 3)[:, None, None]
            place = np.s_[:, half + row : half + row + 4, column : column + 6]
            image[place] = gain * stamps[k]
    return images


def posed(n, rng=0, side=32):
    """A bar and a disc per image, in any pose, of flat colors on a gray level."""
    make = np.random.default_rng(rng)
    y, x = np.mgrid[:side, :side] + 0.5
    images = np.zeros((n, 3, side, side), np.float32)
    for image in images:
        image[:] = make.uniform()
        for k, left in ((0, 9), (1, 23)):
            cx, cy = left + make.uniform(-2, 2), make.uniform(8, side - 8)
            angle, size = make.uniform(0, 2 * np.pi), make.uniform(0.7, 1)
            u = np.cos(angle) * (x - cx) + np.sin(angle) * (y - cy)
            v = np.cos(angle) * (y - cy) - np.sin(angle) * (x - cx)
            bar = (abs(u) < 6 * size) & (abs(v) < 2.5 * size)
            disc = u**2 + v**2 < (5 * size) ** 2
            image[:, (bar, disc)[k]] = make.uniform(size=(3, 1))
    return images


def spec_of(images, k=2, layers=2, backgrounds=0, **changes):
    _, c, h, w = images.shape
    values = auto_scene(h, w, backgrounds) | changes
    return SceneSpec(k, layers, backgrounds, c, h, w, **values)


def settings(rounds=3, **changes):
    return SceneSettings(
        search=QUICK, max_rounds=rounds, images_per_round=64, **changes
    )


def predictor(fitted, search=QUICK, device="cpu"):
    spec = fitted.spec
    penalty = resolve_penalty("auto", spec)
    return ScenePredictor(fitted, search, penalty, device)


@pytest.fixture(scope="module")
def on_black():
    images = shifted(60)
    spec = spec_of(images, sprite_height=8, sprite_width=8)
    return images, fit_scenes(images, spec, settings(6), seed(), "cpu")


@pytest.fixture(scope="module")
def on_gray():
    images = posed(60)
    spec = spec_of(images, backgrounds=1, sprite_height=16, sprite_width=16)
    return images, fit_scenes(images, spec, settings(4), seed(), "cpu")


BOTH = pytest.mark.parametrize("case", ["on_black", "on_gray"])


def equal(one, other):
    return [
        f.name
        for f in fields(LayerRecord)
        if not np.array_equal(getattr(one, f.name), getattr(other, f.name))
    ] == []


def test_shifted_sprites_are_learned_and_explain_the_images(on_black):
    images, fitted = on_black
    record = predictor(fitted).decompose(images)
    assert record.error.mean() < 0.01 * np.square(images).sum((1, 2, 3)).mean()
    assert (np.sort(record.sprite, axis=1) >= 0).all()
    assert set(np.unique(record.sprite)) == {0, 1}


def test_posed_masks_are_learned_and_explain_the_images(on_gray):
    images, fitted = on_gray
    record = predictor(fitted).decompose(images)
    level = images.mean((2, 3), keepdims=True)
    assert record.error.mean() < 0.15 * np.square(images - level).sum((1, 2, 3)).mean()
    # one mask is long, the other round: their areas within the frame differ
    alpha = fitted.sprites[:, -1].clip(0, 1)
    y, x = np.mgrid[:16, :16] - 7.5
    points = np.stack([x.ravel(), y.ravel()])
    ratios = [
        np.sqrt(np.divide(*np.linalg.eigvalsh(np.cov(points, aweights=a.ravel()))))
        for a in alpha
    ]
    assert min(ratios) < 0.7 < max(ratios)


@BOTH
def test_what_is_rendered_leaves_the_error_that_the_record_says(case, request):
    images, fitted = request.getfixturevalue(case)
    model = predictor(fitted)
    record = model.decompose(images)
    drawn = model.render(record)
    error = np.square(drawn.images - images).sum((1, 2, 3))
    np.testing.assert_allclose(error, record.error, rtol=1e-2, atol=1e-3)
    assert (drawn.visible <= drawn.masks + 1e-6).all()
    assert (drawn.visible.sum(1) <= 1 + 1e-5).all()


@BOTH
def test_layers_are_sorted_by_what_they_save_and_pay(case, request):
    images, fitted = request.getfixturevalue(case)
    model = predictor(fitted)
    record = model.decompose(images)
    assert (np.diff(record.saves, axis=1) <= 0).all()
    assert ((record.saves > 0) == (record.sprite >= 0)).all()
    assert (record.saves[record.sprite >= 0] > model.searcher.penalty).all()
    empty = record.sprite < 0
    assert not record.gain[empty].any()
    assert not record.over[empty].any()
    assert not record.over.transpose(0, 2, 1)[empty].any()


@BOTH
def test_decomposing_does_not_depend_on_order_number_or_company(case, request):
    images, fitted = request.getfixturevalue(case)
    model = predictor(fitted)
    whole = model.decompose(images)
    order = np.random.default_rng(0).permutation(len(images))
    assert equal(model.decompose(images[order]), whole.take(order))
    assert equal(model.decompose(images[:21]), whole.take(slice(0, 21)))
    assert equal(model.decompose(images[5:6]), whole.take(slice(5, 6)))
    drawn = model.render(whole.take(order))
    assert np.array_equal(drawn.images, model.render(whole).images[order])


@BOTH
def test_the_same_seed_gives_the_same_sprites(case, request):
    images, fitted = request.getfixturevalue(case)
    runs = [
        fit_scenes(images, fitted.spec, settings(1), np.random.SeedSequence(3), "cpu")
        for _ in range(2)
    ]
    assert np.array_equal(runs[0].sprites, runs[1].sprites)


@BOTH
def test_a_fit_goes_on_from_where_it_was(case, request):
    images, fitted = request.getfixturevalue(case)
    more = fit_scenes(images, fitted.spec, settings(1), seed(), "cpu", warm=fitted)
    again = fit_scenes(
        images, fitted.spec, settings(1), seed(), "cpu", init_sprites=fitted.sprites
    )
    assert more.loss <= 1.5 * fitted.loss + 1e-4
    assert np.array_equal(more.sprites, again.sprites)


def test_the_listener_hears_every_round_and_may_stop(on_black):
    images, fitted = on_black
    heard = []

    def listen(info):
        heard.append((info.epoch, info.loss, info.fitted().sprites.shape))
        return len(heard) == 2

    found = fit_scenes(images, fitted.spec, settings(9), seed(), "cpu", on_round=listen)
    assert [h[0] for h in heard] == [1, 2]
    assert found.n_rounds == 2
    assert found.loss_curve == [h[1] for h in heard]
    assert heard[0][2] == found.sprites.shape == (2, 4, 8, 8)


@BOTH
def test_more_moves_never_raise_the_objective(case, request):
    images, fitted = request.getfixturevalue(case)
    objectives = []
    for moves in ((0, 0), (1, 0), (3, 0), (4, 2)):
        search = SearchPlan(
            sweeps=1, restarts=moves[0], replacements=moves[1], poor=0.0
        )
        model = predictor(fitted, search)
        record = model.decompose(images[:32])
        shown = (record.sprite >= 0).sum(1)
        objectives.append(record.error + model.searcher.penalty * shown)
    for before, after in pairwise(objectives):
        assert (after <= before + 1e-4).all()
    if case == "on_gray":  # on black there is nothing left to improve
        assert objectives[-1].sum() < objectives[0].sum()


def test_shifts_stuck_at_one_start_are_freed_by_another():
    # The long bar explains two short ones and the gap between them, a little.
    short, long = np.zeros((2, 1, 3, 9), np.float32)
    short[:, 1, 3:6], long[:, 1] = 1, 1
    image = np.zeros((1, 1, 9, 15), np.float32)
    for column in (3, 9):
        image[0, :, 4, column : column + 3] = 1
    spec = SceneSpec(2, 2, 0, 1, 9, 15, 3, 9, ("translation",), "gain")
    planes = np.stack([np.concatenate([s, s]) for s in (short, long)])
    fitted = FittedScenes(spec, {"sprites": planes, "backgrounds": image[:0]}, 0.0)
    errors = [
        float(predictor(fitted, plan).decompose(image).error[0])
        for plan in (SearchPlan(sweeps=1, restarts=r) for r in (0, 2))
    ]
    assert errors[1] <= errors[0]
    assert errors[1] < 0.01


def test_an_edited_record_is_drawn_as_edited(on_gray):
    images, fitted = on_gray
    model = predictor(fitted)
    record = model.decompose(images[:4])
    before = model.render(record)
    dropped = record.sprite.copy()
    dropped[:, 0] = -1
    without = model.render(replace(record, sprite=dropped))
    assert not without.masks[:, 0].any()
    moved = model.render(replace(record, x=record.x + 1))
    np.testing.assert_allclose(
        moved.masks[..., 1:], before.masks[..., :-1], rtol=0, atol=1e-4
    )
    gain = record.gain.copy()
    gain[:, 0] = 0
    dark = model.render(replace(record, gain=gain)).images
    seen = before.visible[:, :1] > 0.99
    assert np.abs(dark[np.broadcast_to(seen, dark.shape)]).max() < 0.02


@pytest.mark.parametrize("backgrounds", [0, 1])
@pytest.mark.parametrize(
    "images",
    [
        np.zeros((5, 3, 12, 12), np.float32),
        shifted(1),
        shifted(2)[:, :, :5, :4],
        np.full((3, 1, 9, 20), 0.5, np.float32),
        np.ones((2, 2, 1, 1), np.float32),
    ],
    ids=["black", "one", "small", "gray", "a pixel"],
)
def test_sets_with_little_to_see_give_finite_sprites(images, backgrounds):
    spec = spec_of(
        images, k=4, backgrounds=backgrounds, sprite_height=8, sprite_width=8
    )
    fitted = fit_scenes(images, spec, settings(2), seed(), "cpu")
    assert fitted.sprites.shape == (4, spec.channels + 1, 8, 8)
    assert np.isfinite(fitted.sprites).all()
    record = predictor(fitted).decompose(images)
    assert np.isfinite(record.error).all()
    assert np.isfinite(predictor(fitted).render(record).images).all()


@pytest.mark.parametrize("backgrounds", [0, 1])
def test_scenes_without_layers_are_background(backgrounds):
    images = posed(3)
    spec = spec_of(images, layers=0, backgrounds=backgrounds)
    shape = (2, 4, spec.sprite_height, spec.sprite_width)
    arrays = {
        "sprites": np.ones(shape, np.float32),
        "backgrounds": np.ones((backgrounds, 3, 32, 32), np.float32),
    }
    record = predictor(FittedScenes(spec, arrays, 0.0)).decompose(images)
    assert record.sprite.shape == (3, 0)
    level = images.mean((2, 3), keepdims=True) if backgrounds else 0
    expected = np.square(images - level).sum((1, 2, 3))
    np.testing.assert_allclose(record.error, expected, rtol=1e-3)


def test_more_objects_than_layers_leave_the_least_important(on_black):
    images, fitted = on_black
    fewer = replace(fitted, spec=replace(fitted.spec, n_layers=1))
    one = predictor(fewer).decompose(images)
    both = predictor(fitted).decompose(images)
    assert one.sprite.shape == (60, 1)
    np.testing.assert_allclose(one.saves[:, 0], both.saves[:, 0], rtol=0.1, atol=0.5)


@pytest.mark.parametrize(
    "transformations",
    [("translation",), ("translation", "scale"), ("translation", "rotation")],
)
@pytest.mark.parametrize("color", ["flat", "gain"])
def test_every_choice_of_poses_and_colors_learns(transformations, color):
    images = posed(20)
    spec = spec_of(
        images,
        backgrounds=1,
        transformations=transformations,
        color=color,
        sprite_height=16,
        sprite_width=16,
    )
    fitted = fit_scenes(images, spec, settings(2), seed(), "cpu")
    record = predictor(fitted).decompose(images)
    level = images.mean((2, 3), keepdims=True)
    assert record.error.sum() < 0.6 * np.square(images - level).sum()
    if "scale" not in transformations:
        assert not record.log_scale.any()
    if "rotation" not in transformations:
        assert not record.angle.any()


def test_what_lies_between_pixels_on_black_is_found_once():
    images = shifted(60)
    images = (images + np.roll(images, 1, 3)) / 2
    spec = spec_of(images, layers=4, sprite_height=8, sprite_width=8)
    fitted = fit_scenes(shifted(60), spec, settings(6), seed(), "cpu")
    record = predictor(fitted).decompose(images)
    for i, j in combinations(range(4), 2):
        alike = (record.sprite[:, i] == record.sprite[:, j]) & (
            record.sprite[:, j] >= 0
        )
        apart = np.maximum(
            np.abs(record.x[:, i] - record.x[:, j]),
            np.abs(record.y[:, i] - record.y[:, j]),
        )
        assert (apart[alike] > 2).all()
    assert ((record.sprite >= 0).sum(1) <= 3).mean() > 0.9


def test_a_fit_has_settled_when_rounds_bring_nothing():
    assert not has_settled([1.0, 0.5, 0.4], 0.01)
    assert not has_settled([1.0, 0.5, 0.4, 0.3, 0.2], 0.01)
    assert has_settled([1.0, 0.5, 0.2, 0.2, 0.21, 0.2], 0.01)


@pytest.mark.gpu
@BOTH
def test_a_gpu_finds_what_a_cpu_finds(case, request, device):
    if device == "cpu":
        pytest.skip("needs --device cuda")
    images, fitted = request.getfixturevalue(case)
    here = predictor(fitted).decompose(images)
    there = predictor(fitted, device=device).decompose(images)
    same = (here.sprite == there.sprite).all(1)
    assert same.mean() > 0.9
