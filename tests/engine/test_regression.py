"""Regressed scenes: what is drawn, its gradients, steps, schedules, new starts."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sklearn_sprites._engine.models.scene_model import SceneModel
from sklearn_sprites._engine.ops.layers import flat
from sklearn_sprites._engine.regression_settings import Regression
from sklearn_sprites._engine.scene_settings import SceneSettings
from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.poses import place
from sklearn_sprites._engine.settings import ClonePerturb
from sklearn_sprites._engine.training.regressed import (
    Look,
    Rule,
    draw_all,
    draw_chosen,
    select,
    show,
)
from sklearn_sprites._engine.training.regression_steps import (
    SceneLearner,
    make_scene_optimizer,
    noise_of_masks,
    passes,
    reassign,
    scene_epoch,
)
from sklearn_sprites._engine.training.scene_gradient import fit_regression
from sklearn_sprites.exceptions import TrainingDivergedError
from tests import oracles_scenes as slow
from tests.regressed import assert_slope
from tests.strategies import Draws, attack, draws

K, L, C, SIDE = 3, 2, 2, 9


def spec_of(order="depth", backgrounds=1, kind="image", color="gain"):
    names = ("translation", "scale", "rotation")
    background = kind if backgrounds else "flat"
    size = (C, SIDE, SIDE + 2, 5, 4)
    return SceneSpec(K, L, backgrounds, *size, names, color, order, background)


def make_model(make, spec=None, **settings):
    """A model that already says something, and images for it."""
    spec = spec or spec_of()
    settings = Regression(**{"color": "predict", "per_sprite": True, **settings})
    sprites = make.uniform(K, C + 1, 5, 4, low=0.1, high=0.9)
    behind = make.uniform(spec.n_backgrounds, C, SIDE, SIDE + 2)
    model = SceneModel(spec, settings, sprites.float(), behind.float(), make.generator)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.rpartition(".")[2] in ("group_weight", "group_bias"):
                parameter.copy_(make.normal(*parameter.shape, scale=0.1))
    model = model.double().eval()
    return model, make.uniform(3, C, SIDE, SIDE + 2)


def make_learner(make, n=10, **settings):
    spec = settings.pop("spec", None)
    model, _ = make_model(make, spec, **settings)
    model, images = model.float(), make.uniform(n, C, SIDE, SIDE + 2).float()
    usage = torch.zeros((L, K + 1), dtype=torch.int64)
    optimizer = make_scene_optimizer(model, model.settings)
    return SceneLearner(
        *(model, optimizer, images, make.generator, make.generator, 0.01, usage),
        joins=model.settings.joins or 0,
    )


@attack
@given(draws)
def test_candidates_are_what_is_drawn_one_by_one(make):
    spec, planes = spec_of(), make.uniform(K, C + 1, 5, 4)
    shared, own = (make.normal(2, L, k, 4, scale=0.3) for k in (1, K))
    shared[..., :2] += SIDE / 2
    own[..., :2] += SIDE / 2
    stiff = torch.zeros(2, L, 1, 0, 2)
    for pose in (shared, own):
        drawn = draw_all(planes, pose, stiff, spec)
        for k in range(K):
            index = torch.full((2, L), k)
            of_k = pose[:, :, k if pose.shape[2] > 1 else 0]
            one = place(planes, index, of_k, SIDE, SIDE + 2)
            pixels = drawn[:, :, k, :, : SIDE * (SIDE + 2)].unflatten(3, (SIDE, -1))
            torch.testing.assert_close(pixels, one)
            again = draw_chosen(planes, index, of_k, stiff[:, :, 0], spec)
            torch.testing.assert_close(again, drawn[:, :, k])


@attack
@given(draws, st.sampled_from(["depth", "predict", "solve"]), st.booleans())
def test_what_is_shown_is_the_composite_of_what_is_selected(make, order, backgrounds):
    model, images = make_model(make, spec_of(order, int(backgrounds)))
    look, rule = Look(model.sprites.planes()), Rule(0.05, True)
    with torch.no_grad():
        regressed = model(images)
        shown, image, _ = show(images, model, regressed, look, rule)
    assert torch.equal(shown.choice, select(images, model, regressed, look, rule))
    for i in range(len(images)):
        behind = torch.zeros_like(images[i])
        if backgrounds:
            gain, bias = shown.behind[i].unbind(1)
            behind = model.backgrounds[0] * gain[:, None, None] + bias[:, None, None]
        colors, alphas = [], []
        for layer in range(L):
            k = int(shown.choice[i, layer])
            planes = look.planes[[min(k, K - 1)]] * (k < K)
            pose = shown.pose[i, layer][None, None]
            drawn = place(planes, torch.zeros(1, 1, dtype=int), pose, SIDE, SIDE + 2)
            gain, bias = shown.color[i, layer].unbind(1)
            color = drawn[0, 0, :-1] * gain[:, None, None] + bias[:, None, None]
            colors.append(color.flatten(1))
            alphas.append(drawn[0, 0, -1].flatten())
        expected = slow.composite(
            torch.stack(colors), torch.stack(alphas), behind.flatten(1), shown.over[i]
        )
        found = image[i, :, : SIDE * (SIDE + 2)]
        torch.testing.assert_close(found, expected.detach(), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("order", ["depth", "predict"])
def test_gradients_are_those_of_differences(order):
    make = Draws(1)
    model, images = make_model(make, spec_of(order))
    noise = make.uniform(K, flat(images).shape[2], low=-0.2, high=0.2)

    def loss():
        look = Look(model.sprites.raw(frozen=False), noise)
        image = show(images, model, model(images), look, Rule(0.0, False))[1]
        return (image - flat(images)).square().sum()

    loss().backward()
    heads = [model.network.pose.head, model.own.head, model.color, model.behind]
    heads += [model.network.order] if order == "predict" else []
    drawn = [model.sprites.colors, model.sprites.masks, model.backgrounds]
    for parameter in [*drawn, *(head.group_bias for head in heads)]:
        assert_slope(loss, parameter, make.normal(*parameter.shape))
        assert parameter.grad.abs().max() > 0


def test_solved_colors_cannot_be_bettered():
    make = Draws(2)
    model, images = make_model(make, spec_of("depth"), color="solve")
    look, rule = Look(model.sprites.planes()), Rule(0.0, False)
    with torch.no_grad():
        shown, image, _ = show(images, model, model(images), look, rule)
        least = (image - flat(images)).square().sum((1, 2))
        fixed = model(images)._replace(
            color=shown.color, behind=shown.behind, over=shown.over
        )
        for part in ("color", "behind"):
            for change in (-0.05, 0.05):
                gains = getattr(shown, part).clone()
                gains[..., 0] = (gains[..., 0] + change).clamp_min(0)
                other = fixed._replace(**{part: gains})
                moved = show(images, model, other, look, rule)
                if torch.equal(moved[0].choice, shown.choice):
                    worse = (moved[1] - flat(images)).square().sum((1, 2))
                    assert (worse > least - 1e-2).all()  # but for the ridge


def test_noise_is_shared_by_images_and_layers_and_bounded():
    spec, draws_ = spec_of(), torch.Generator().manual_seed(0)
    noise = noise_of_masks(spec, 0.4, draws_)
    pixels = noise[:, : SIDE * (SIDE + 2)]
    assert noise.shape == (K, flat(torch.zeros(1, 1, SIDE, SIDE + 2)).shape[2])
    assert 0.35 < pixels.abs().max() <= 0.4
    assert abs(float(pixels.mean())) < 0.05
    assert not torch.equal(noise, noise_of_masks(spec, 0.4, draws_))


@attack
@given(draws, st.integers(1, 9), st.integers(2, 5))
def test_every_epoch_passes_all_images_once(make, n, size):
    learner = make_learner(make, n, batch_size=size)
    parts = list(passes(learner))
    seen = torch.cat(parts).tolist()
    assert all(2 <= len(part) <= size for part in parts)
    left = n % size == 1 and n > 1  # statistics of a single image are none
    assert len(set(seen)) == n - left
    assert len(seen) == (2 if n == 1 else n - left)


def test_frozen_sprites_stay_and_no_layer_is_empty():
    learner = make_learner(Draws(0), freeze=1, reassignment=None, learning_rate=1e-2)
    sprites, before = learner.model.sprites, learner.model.sprites.raw(False).clone()
    behind = learner.model.backgrounds.clone()
    scene_epoch(learner)
    assert torch.equal(sprites.raw(False), before)
    assert not torch.equal(learner.model.backgrounds, behind)
    assert learner.usage[:, -1].sum() == 0
    scene_epoch(learner)
    assert not torch.equal(sprites.raw(False), before)


def test_sprites_add_poses_of_their_own_when_they_join():
    learner = make_learner(Draws(0), joins=1, reassignment=None, freeze=0)
    before = learner.model.own.head.group_bias.clone()
    scene_epoch(learner)
    torch.testing.assert_close(
        learner.model.own.head.group_bias, before, atol=1e-6, rtol=0
    )
    scene_epoch(learner)
    changed = learner.model.own.head.group_bias - before
    assert changed.abs().max() > 1e-4


def test_rates_drop_for_the_network_only():
    learner = make_learner(Draws(0), drops=(1, 2), factor=0.5, reassignment=None)
    seen = []
    for _ in range(3):
        scene_epoch(learner)
        seen.append([group.rate for group in learner.optimizer.groups])
    rate = learner.settings.learning_rate
    assert seen == [[rate, rate], [rate, rate / 2], [rate, rate / 4]]
    decays = [group.decay for group in learner.optimizer.groups]
    assert decays == [0, 1e-6]


@pytest.mark.parametrize(
    ("uses", "empty", "cloned"),
    [
        ([50, 49, 1, 0], False, [2]),  # 1 % < 20 % / 3
        ([50, 43, 7, 0], False, []),
        ([10, 90, 0, 900], True, [2]),  # of 90, not of 1000
        ([7, 90, 5, 900], True, [2]),  # 7 / 90 > 20 % / 3 > 5 / 90
    ],
)
def test_idle_sprites_become_noisy_copies_of_the_most_used(uses, empty, cloned):
    learner = make_learner(Draws(0), empty=empty, freeze=0)
    scene_epoch(learner)
    learner.usage[:] = torch.tensor(uses)  # the same in every layer
    before = [p.detach().clone() for p in learner.model.per_sprite()]
    known = learner.optimizer.moments
    moments = [known[p].first for p in learner.model.per_sprite()]
    kept = [m.clone() for m in moments]
    rule = ClonePerturb(threshold=0.2, noise=1e-3)
    assert reassign(learner, rule) == len(cloned)
    most = int(np.argmax(uses[:K]))
    now = learner.model.per_sprite()
    for i in range(K):
        source = most if i in cloned else i
        for j in range(len(now)):
            moved = (now[j][i] - before[j][source]).abs().max()
            noisy = j == 0 and bool(cloned) and i in (*cloned, most)
            assert (0 < moved < 6e-3) if noisy else moved == 0
            assert torch.equal(moments[j][i], kept[j][source])
    assert learner.usage.sum() == 0


def test_nothing_is_cloned_while_sprites_are_frozen():
    learner = make_learner(Draws(0), freeze=5)
    learner.usage[:, 0] = 100
    assert reassign(learner, ClonePerturb()) == 0


def test_a_loss_that_is_not_finite_is_an_error():
    make = Draws(0)
    images = make.uniform(6, C, SIDE, SIDE + 2).float().numpy()
    sprites = np.full((K, C + 1, 5, 4), np.inf, np.float32)
    with pytest.raises(TrainingDivergedError, match="nan in epoch 1"):
        fit_regression(
            images,
            spec_of("depth", 0),
            SceneSettings(),
            Regression(),
            np.random.SeedSequence(0),
            "cpu",
            init_sprites=sprites,
        )


@pytest.mark.parametrize(
    "wrong",
    [
        {"encoder": "vgg"},
        {"color": "gain"},
        {"selection": "all"},
        {"background": "median"},
        {"selection": "exhaustive"},
        {"sweeps": 0},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"mask_noise": float("nan")},
    ],
)
def test_settings_refuse_what_does_not_exist(wrong):
    name = next(iter(wrong))
    with pytest.raises(ValueError, match=name):
        Regression(**wrong)


def test_settings_survive_as_plain_values():
    for settings in (Regression(), Regression(reassignment=None, drops=(3, 5))):
        assert Regression.from_dict(settings.to_dict()) == settings


@pytest.mark.parametrize("sign", [-1, 1])
def test_layers_far_out_stay_in_reach_and_can_come_back(sign):
    model, images = make_model(Draws(0))
    head = model.network.pose.head
    with torch.no_grad():
        head.group_bias.fill_(sign * 9.0)
    pose = model(images).pose
    assert pose[..., 0].min() > -1
    assert pose[..., 0].max() < SIDE + 3
    assert pose[..., 2].abs().max() < 1.6
    pose[..., :3].sum().backward()
    assert (head.group_bias.grad.abs() > 0).all()
