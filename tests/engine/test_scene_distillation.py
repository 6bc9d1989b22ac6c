"""Networks that learn from search: scenes drawn, losses, and guesses made exact."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from sklearn_sprites._engine.models.scene_build import build_guesser, build_peaks
from sklearn_sprites._engine.models.scene_network import LayerGuess
from sklearn_sprites._engine.modules.cues import CLEAR, cues, n_cues
from sklearn_sprites._engine.ops.layers import clear_share, compose, free_share
from sklearn_sprites._engine.scene_settings import Distilled
from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.guesses import exact, guessed
from sklearn_sprites._engine.search.layers import draw, no_layers, picture
from sklearn_sprites._engine.search.paying import without
from sklearn_sprites._engine.search.scene import make_searcher
from sklearn_sprites._engine.search.sprites import with_alpha
from sklearn_sprites._engine.search_settings import SearchPlan
from sklearn_sprites._engine.training.scene_distillation import focal, losses
from sklearn_sprites._engine.training.scene_sampling import (
    Taught,
    drawn_scenes,
    sampled,
)
from sklearn_sprites._engine.training.scene_teaching import (
    Lesson,
    batches,
    distilled,
    rate,
)
from tests.engine.test_scene_network import seeded

SHIFTED = SceneSpec(2, 2, 0, 3, 20, 24, 7, 7)
POSED = SceneSpec(2, 2, 1, 3, 20, 24, 9, 9, ("similarity",), "flat")
ON_BLACK = replace(POSED, n_backgrounds=0)
SPECS = pytest.mark.parametrize("spec", [SHIFTED, POSED], ids=["shifted", "posed"])
QUICK = Distilled(steps=3, batch_size=8)


def some_sprites(spec):
    masks = torch.zeros(2, spec.sprite_height, spec.sprite_width)
    masks[0, 1:-1, 2:-2] = 1
    masks[1, 2:-2, 1:4] = 1
    masks[1, 4:-1, 1:-1] = 1
    return with_alpha(masks, spec)


def some_layers(spec, n=6, seed=0):
    draws = seeded(seed)
    pose = torch.rand(n, 2, 4, generator=draws)
    pose[..., 0] = 4 + 16 * pose[..., 0]
    pose[..., 1] = 4 + 12 * pose[..., 1]
    if spec.is_additive:
        pose[..., :2] = pose[..., :2].floor() + 0.5
    pose[..., 2] = -0.3 * pose[..., 2] if spec.has_scale else 0
    pose[..., 3] = 6 * pose[..., 3] if spec.has_rotation else 0
    return Taught(
        torch.randint(2, (n, 2), generator=draws),
        pose,
        torch.ones(n, 2),
        0.3 + 0.7 * torch.rand(n, 2, 3, generator=draws),
    )


def some_scenes(spec, taught):
    behind = torch.full((len(taught.on), 3, 1, 1), 0.1 * spec.n_backgrounds)
    return drawn_scenes(taught, behind, some_sprites(spec), spec, seeded())


@SPECS
def test_scenes_are_drawn_from_what_was_seen(spec):
    taught = some_layers(spec)
    taught.on[:3, 1] = 0
    further = sampled(taught, 50, spec, seeded())
    seen = taught.on.flatten() > 0

    def rows(values):
        return {tuple(row.tolist()) for row in values.flatten(0, 1)}

    def shown(values):
        return {tuple(row.tolist()) for row in values.flatten(0, 1)[seen]}

    assert rows(further.color) <= shown(taught.color)
    assert rows(further.pose[..., :2]) <= shown(taught.pose[..., :2])
    pairs = torch.stack([taught.sprite.float(), taught.pose[..., 2]], -1)
    others = torch.stack([further.sprite.float(), further.pose[..., 2]], -1)
    assert rows(others) <= shown(pairs)
    assert {row.sum().item() for row in further.on} == {1, 2}
    assert (further.pose[..., 3].std() > 1) == spec.has_rotation


def test_nothing_seen_gives_scenes_of_nothing():
    taught = some_layers(POSED)
    taught.on[:] = 0
    further = sampled(taught, 4, POSED, seeded())
    assert (further.on == 0).all()
    images = drawn_scenes(
        further, torch.full((4, 3, 1, 1), 0.25), some_sprites(POSED), POSED, seeded()
    )
    assert (images == 0.25).all()


@SPECS
def test_a_drawn_scene_shows_its_layers_and_what_is_behind(spec):
    taught = some_layers(spec, 1)
    taught.on[:, 1] = 0
    image = some_scenes(spec, taught)[0]
    x, y = taught.pose[0, 0, :2]
    seen = image[:, int(y), int(x)]
    torch.testing.assert_close(seen, taught.color[0, 0], atol=0.2, rtol=0)
    outside = image[:, 0, -1] if x < 12 else image[:, 0, 0]
    torch.testing.assert_close(outside, torch.full((3,), 0.1 * spec.n_backgrounds))


def test_the_loss_of_heat_is_that_of_a_loop():
    logits = torch.randn(2, 7, generator=seeded())
    target = torch.rand(2, 7, generator=seeded(1))
    target[:, 3] = 1
    total = 0.0
    for z, t in zip(logits.flatten().tolist(), target.flatten().tolist(), strict=True):
        p = 1 / (1 + math.exp(-z))
        if t == 1:
            total -= (1 - p) ** 2 * math.log(p)
        else:
            total -= (1 - t) ** 4 * p**2 * math.log(1 - p)
    torch.testing.assert_close(float(focal(logits, target)), total, rtol=1e-5, atol=0)


@SPECS
def test_losses_reach_every_parameter_and_ignore_empty_layers(spec):
    network = build_peaks(spec, "small", 8, seeded(), 4)
    taught = some_layers(spec)
    images = some_scenes(spec, taught)
    with torch.no_grad():
        network.pose.head.group_weight.normal_(generator=seeded())
        network.choice.group_weight.normal_(generator=seeded())
    sum(losses(network, images, taught, seeded())).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad.abs().sum() > 0, name
    taught.on[:, 1] = 0
    other = taught._replace(
        sprite=torch.cat([taught.sprite[:, :1], 1 - taught.sprite[:, 1:]], 1),
        pose=torch.cat([taught.pose[:, :1], taught.pose[:, 1:] + 1], 1),
    )
    one, same = (losses(network, images, each, seeded()) for each in (taught, other))
    assert one == same


def test_the_learning_rate_rises_and_falls():
    rates = [rate(step, 400) for step in range(400)]
    assert rates[0] < 0.05
    assert max(rates) > 0.9
    assert rates[-1] < 1e-3


def test_batches_show_all_images_before_one_comes_again():
    found = batches(7, 3, seeded())
    seen = torch.cat([next(found) for _ in range(7)])
    for start in range(0, 21, 7):
        assert sorted(seen[start : start + 7].tolist()) == list(range(7))


@SPECS
def test_learning_is_decided_by_its_seed(spec):
    taught = some_layers(spec)
    images = some_scenes(spec, taught)
    lesson = Lesson(images, taught, torch.zeros(len(images), 3))
    before = torch.get_rng_state()

    def learn(seed):
        seed = np.random.SeedSequence(seed)
        return distilled(lesson, some_sprites(spec), spec, QUICK, seed).state_dict()

    first, again, other = learn(1), learn(1), learn(2)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


@SPECS
def test_a_network_learns_a_few_scenes_by_heart(spec):
    taught = some_layers(spec, 8, seed=3)
    taught.pose[:, 1, :2] = torch.tensor([20.0, 16.0])
    taught.pose[:, 0, 0] = 6.0
    images = some_scenes(spec, taught)
    lesson = Lesson(images, taught, torch.zeros(len(images), 3))
    settings = Distilled(steps=120, batch_size=8, drawn=0, angles=4)
    seed = np.random.SeedSequence(0)
    network = distilled(lesson, some_sprites(spec), spec, settings, seed)
    with torch.no_grad():
        searcher = make_searcher(spec, SearchPlan(), 0.05, some_sprites(spec))
        layers = guessed(images, network(images), searcher)
    assert (layers.on == 1).all()
    left_first = layers.pose[..., 0].argsort(1)
    pose = layers.pose.gather(1, left_first[..., None].expand(-1, -1, 4))
    assert (pose[..., :2] - taught.pose[..., :2]).abs().mean() < 0.6
    sprite = layers.sprite.gather(1, left_first)
    assert (sprite == taught.sprite).float().mean() > 0.9


def as_guess(taught, n_sprites=2, chance=0.9):
    """A network's guess that tells the truth."""
    pose = taught.pose[:, :, None].expand(-1, -1, n_sprites, -1)
    shown = torch.nn.functional.one_hot(taught.sprite, n_sprites) * chance
    shown = shown * taught.on[..., None]
    empty = 1 - shown.sum(2, keepdim=True)
    return LayerGuess(pose, (torch.cat([shown, empty], 2) + 1e-6).log())


@SPECS
def test_guesses_that_are_a_little_off_become_exact(spec):
    taught = some_layers(spec, 4)
    taught.pose[:, 1, :2] = torch.tensor([20.0, 16.0])
    taught.pose[:, 0, :2] = torch.tensor([6.0, 5.0])
    if spec.is_additive:
        taught.pose[..., :2] += 0.5
    images = some_scenes(spec, taught)
    near = taught._replace(pose=taught.pose + torch.tensor([0.3, -0.3, 0, 0]))
    searcher = make_searcher(spec, SearchPlan(), 0.05, some_sprites(spec))
    with torch.no_grad():
        guess = as_guess(near)
        found = exact(images, guess, searcher, 6)
    assert torch.equal(found.layers.on, taught.on)
    far = (found.layers.pose - taught.pose)[..., :2].abs().amax()
    assert far < (1e-6 if spec.is_additive else 0.1)
    assert (found.picture.error < 0.05).all()
    assert (found.saves > 1).all()


@SPECS
def test_layers_that_are_not_there_are_dropped(spec):
    taught = some_layers(spec, 4)
    images = some_scenes(spec, taught._replace(on=torch.tensor([[1.0, 0.0]] * 4)))
    searcher = make_searcher(spec, SearchPlan(), 0.05, some_sprites(spec))
    with torch.no_grad():
        guess = as_guess(taught)
        layers = guessed(images, guess, searcher)
        found = exact(images, guess, searcher, 2)
    assert (layers.on == 1).all()
    assert (found.layers.on.sum(1) == 1).all()


@SPECS
def test_unlikely_layers_are_not_tried(spec):
    taught = some_layers(spec, 4)
    searcher = make_searcher(spec, SearchPlan(), 0.05, some_sprites(spec))
    images = some_scenes(spec, taught)
    assert (guessed(images, as_guess(taught, chance=0.1), searcher).on == 0).all()


def apart(n=4):
    """Layers that do not touch."""
    taught = some_layers(POSED, n)
    taught.pose[:, 1, :2] = torch.tensor([20.0, 16.0])
    taught.pose[:, 0, :2] = torch.tensor([6.0, 5.0])
    return taught


@pytest.mark.parametrize("restarts", [0, 1])
def test_what_a_guess_misses_is_searched_where_images_stay_poor(restarts):
    taught = apart()
    images = some_scenes(POSED, taught)
    missed = taught._replace(on=torch.tensor([[1.0, 1.0], [1, 0], [0, 1], [1, 1]]))
    searcher = make_searcher(
        POSED, SearchPlan(restarts=restarts), 0.05, some_sprites(POSED)
    )
    with torch.no_grad():
        found = exact(images, as_guess(missed), searcher, 2)
    if restarts:
        assert (found.layers.on == 1).all()
        assert (found.picture.error < 0.5).all()
    else:
        assert torch.equal(found.layers.on, missed.on)


def test_a_sprite_in_doubt_is_decided_by_the_image():
    taught = apart()
    images = some_scenes(POSED, taught)
    searcher = make_searcher(POSED, SearchPlan(restarts=0), 0.05, some_sprites(POSED))
    wrong = as_guess(taught._replace(sprite=1 - taught.sprite), chance=0.7)
    doubted = wrong._replace(logits=(wrong.logits.exp() + 0.8).log())
    with torch.no_grad():
        sure = exact(images, wrong, searcher, 2)
        found = exact(images, doubted, searcher, 2)
    assert (sure.layers.sprite == taught.sprite).sum() == 0
    assert (found.layers.sprite == taught.sprite).float().mean() > 0.8


@pytest.mark.parametrize("spec", [POSED, ON_BLACK], ids=["level", "black"])
def test_what_layers_are_worth_is_what_a_loop_says(spec):
    """Compose again without each layer, in the same colors."""
    taught = some_layers(spec)
    taught.pose[:, 1, :2] = taught.pose[:, 0, :2] + 2
    images = some_scenes(spec, taught)
    layers = no_layers(images, spec)._replace(
        sprite=taught.sprite, pose=taught.pose, on=taught.on
    )
    drawn = draw(some_sprites(spec), layers, spec.height, spec.width)
    found = picture(images, drawn, layers.over, spec)
    told = without(images, found, spec)
    for i in range(2):
        alpha, ink = found.alpha.clone(), found.ink.clone()
        alpha[:, i] = ink[:, i] = 0
        planes = free_share(alpha, found.over) * ink
        if spec.has_level:
            planes = torch.cat([clear_share(alpha), planes], 1)
        image = compose(planes, found.colors)
        error = (images - image).square().sum((1, 2, 3)) - found.error
        torch.testing.assert_close(told.saves[:, i], error, rtol=0.1, atol=0.3)
    assert (told.share <= 1).all()


def test_cues_are_those_of_a_loop():
    views = torch.rand(2, 3, 5, 6, generator=seeded())
    level = views[..., ::4, ::4].flatten(2).median(2).values
    found = cues(views, POSED)
    assert found.shape == (2, n_cues(POSED), 5, 6)
    for b, i, j in ((0, 2, 3), (1, 4, 5), (1, 0, 5)):
        here = views[b, :, i, j]
        torch.testing.assert_close(found[b, :3, i, j], here - level[b])
        right = views[b, :, i, j + 1] if j < 5 else here
        below = views[b, :, i + 1, j] if i < 4 else here
        for cue, other in zip(
            found[b, 3:, i, j], (level[b], right, below), strict=True
        ):
            far = (here - other).square().sum()
            torch.testing.assert_close(cue, far / (far + CLEAR))


def test_the_ground_of_cues_is_what_lies_behind():
    views = torch.rand(1, 6, 5, 6, generator=seeded())
    pictures = replace(POSED, background_color="gain")
    torch.testing.assert_close(
        cues(views, pictures)[:, :3], views[:, :3] - views[:, 3:]
    )
    torch.testing.assert_close(cues(views[:, :3], SHIFTED)[:, :3], views[:, :3])


def test_the_network_of_settings_sees_what_searches_see():
    pictures = SceneSpec(2, 2, 1, 3, 20, 24, 8, 8, ("scale",), "gain", "solve", "gain")
    network = build_guesser(pictures, QUICK, seeded())
    assert network(torch.zeros(2, 6, 20, 24)).pose.shape == (2, 2, 2, 4)
