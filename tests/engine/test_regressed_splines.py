"""Layers whose sprites are bent by splines that a network tells."""

import numpy as np
import pytest
import torch

from sklearn_sprites._engine.attention_settings import Attention
from sklearn_sprites._engine.models.scene_model import SceneModel
from sklearn_sprites._engine.modules.bounds import SPLINE_BOUND
from sklearn_sprites._engine.ops.layers import flat
from sklearn_sprites._engine.regression_inference import RegressionPredictor
from sklearn_sprites._engine.regression_settings import Regression
from sklearn_sprites._engine.scene_settings import SceneSettings
from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.poses import pixel_axes, place, sprite_points
from sklearn_sprites._engine.search.splines import displacements, place_bent
from sklearn_sprites._engine.settings import ClonePerturb
from sklearn_sprites._engine.training.regression_steps import (
    SceneLearner,
    make_scene_optimizer,
    reassign,
    scene_epoch,
)
from sklearn_sprites._engine.training.scene_gradient import fit_regression, scene_model
from tests import oracles
from tests.regressed import assert_slope, nudge_heads, shown
from tests.strategies import Draws

K, L, C, HEIGHT, WIDTH = 3, 2, 2, 13, 15
NAMES = ("similarity", "thin_plate_spline")
OWN = pytest.mark.parametrize("per_sprite", [False, True], ids=["layers", "sprites"])


def make_model(per_sprite, scale=0.1, names=NAMES, **settings):
    make, size = Draws(0), (C, HEIGHT, WIDTH, 7, 6)
    spec = SceneSpec(K, L, 1, *size, names, "gain", "depth", "image")
    sprites = make.uniform(K, C + 1, 7, 6, low=0.1, high=0.9).float()
    behind = make.uniform(1, C, HEIGHT, WIDTH).float()
    settings = Regression(color="predict", per_sprite=per_sprite, **settings)
    model = SceneModel(spec, settings, sprites, behind, make.generator)
    nudge_heads(model, make, scale)
    return model.double().eval(), make.uniform(4, C, HEIGHT, WIDTH)


def test_splines_equal_their_slow_twin_at_the_pixels_of_sprites():
    splines = Draws(6).normal(2, 16, 2, scale=0.2)
    found = displacements(splines, (3, 5))
    for m in range(2):
        for i in range(3):
            for j in range(5):
                x, y = (2 * j + 1) / 5 - 1, (2 * i + 1) / 3 - 1
                point = oracles.spline_point(splines[m].flatten(), 4, x, y)
                moved = found[m, :, i, j] + torch.tensor([x, y])
                torch.testing.assert_close(moved, torch.stack(list(point)))


def test_sprites_are_looked_up_where_splines_lead():
    """A sprite that shows its own coordinates tells where it was looked up."""
    make, sides = Draws(1), (24, 20)
    y, x = torch.meshgrid(
        *((2 * torch.arange(n).double() + 1) / n - 1 for n in sides), indexing="ij"
    )
    sprite = torch.stack([x, y])[None]
    pose = torch.tensor([[[14.0, 11.0, 0.1, 0.5]]], dtype=torch.float64)
    spline = make.normal(1, 1, 16, 2, scale=0.1)
    index = torch.zeros((1, 1), dtype=torch.int64)
    drawn = place_bent(sprite, index, pose, spline, 22, 28)[0, 0]
    where = sprite_points(pixel_axes(22, 28, 1, pose), pose, sides)[0, 0]
    count = 0
    for i in range(0, 22, 3):
        for j in range(0, 28, 3):
            point = where[i, j]
            moved = oracles.spline_point(spline.flatten(), 4, *point.tolist())
            if max(abs(float(each)) for each in (*point, *moved)) < 0.9:
                count += 1
                for found, each in zip(drawn[:, i, j], moved, strict=True):
                    assert float(found) == pytest.approx(float(each), abs=1e-2)
    assert count > 20


def test_no_displacement_draws_the_sprite_to_the_last_bit():
    make = Draws(2)
    sprites, pose = make.uniform(2, 3, 7, 6).float(), make.normal(2, 2, 8, scale=0.2)
    pose = pose.float() + torch.tensor([6.0, 6, 0, 0, 0, 0, 0, 0])
    index = torch.tensor([[0, 1], [1, 1]])
    plain = place(sprites, index, pose, 13, 15)
    for n in (0, 16):
        bent = place_bent(sprites, index, pose, torch.zeros(2, 2, n, 2), 13, 15)
        assert torch.equal(bent, plain)


@OWN
def test_first_layers_are_not_bent(per_sprite):
    model, images = make_model(per_sprite, 0.0)
    plain, _ = make_model(per_sprite, 0.0, ("similarity",))
    with torch.no_grad():
        layers, image, _ = shown(model, images)
        expected = shown(plain, images)[1]
    assert layers.spline.shape == (4, L, 16, 2)
    assert torch.equal(image, expected)


@OWN
def test_slopes_of_splines_are_those_of_differences(per_sprite):
    model, images = make_model(per_sprite)

    def loss():
        return (shown(model, images)[1] - flat(images)).square().sum()

    loss().backward()
    bias = model.spline.group_bias
    assert bias.shape == (K if per_sprite else 1, 32)
    assert (bias.grad.abs().amax(0) > 0).all()
    assert_slope(loss, bias, Draws(3).normal(*bias.shape))


def test_each_sprite_is_bent_its_own_way_where_it_may_be():
    model, images = make_model(True)
    splines = model(images).spline
    assert splines.shape == (4, L, K, 16, 2)
    layers = shown(model, images)[0]
    for i in range(4):
        for j in range(L):
            k = int(layers.choice[i, j])
            assert torch.equal(layers.spline[i, j], splines[i, j, k])


def test_control_points_stay_near_and_can_come_back():
    model, images = make_model(False, 0.0)
    with torch.no_grad():
        model.spline.group_bias.fill_(9.0)
    spline = model(images).spline
    near = spline.detach()
    assert SPLINE_BOUND < float(near.min()) <= float(near.max()) < 0.75
    spline.sum().backward()
    assert (model.spline.group_bias.grad > 0).all()


def make_learner(**settings):
    model, _ = make_model(True, freeze=0, **settings)
    images = Draws(4).uniform(10, C, HEIGHT, WIDTH).float()
    optimizer = make_scene_optimizer(model.float(), model.settings)
    usage = torch.zeros((L, K + 1), dtype=torch.int64)
    seeded = torch.Generator().manual_seed(0)
    joins = model.settings.joins or 0
    return SceneLearner(model, optimizer, images, seeded, seeded, 0.01, usage, joins)


def test_splines_join_when_sprites_do():
    learner = make_learner(joins=1, reassignment=None)
    before = learner.model.spline.group_bias.clone()
    scene_epoch(learner)
    unchanged = learner.model.spline.group_bias
    torch.testing.assert_close(unchanged, before, atol=1e-6, rtol=0)
    scene_epoch(learner)
    assert (learner.model.spline.group_bias - before).abs().max() > 1e-4


def test_copies_of_a_sprite_are_bent_as_it_is():
    learner = make_learner()
    learner.usage[:] = torch.tensor([10, 90, 0, 0])
    assert reassign(learner, ClonePerturb(threshold=0.2, noise=1e-3)) == 1
    for row in (learner.model.spline.group_weight, learner.model.spline.group_bias):
        assert torch.equal(row[2], row[1])
        assert not torch.equal(row[2], row[0])


def planted(n=64):
    """A cross in a ring, (1, 2, 12, 12), and images in which it is bent in two ways."""
    steps = (torch.arange(12.0) - 5.5) / 6
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    radius = (x**2 + y**2).sqrt()
    ring, cross = (
        (radius - 0.65).abs(),
        torch.minimum(x.abs(), y.abs()) + (radius > 0.7),
    )
    mask = (2.0 - 8 * torch.minimum(ring, cross)).clamp(0, 1)
    make = Draws(5)
    amount = make.uniform(n, 1, 2, 1, 1, low=-1)
    spline = (amount * make.normal(2, 16, 2, scale=0.2)).sum(2).float()
    pose = torch.tensor([8.0, 8.0, 0.0, 0.0]).expand(n, 1, 4)
    index = torch.zeros((n, 1), dtype=torch.int64)
    images = place_bent(mask[None, None], index, pose, spline, 16, 16)[:, 0]
    return torch.stack([torch.ones_like(mask), mask])[None].numpy(), images.numpy()


QUICK = {
    "reassignment": None,
    "mask_noise": 0.0,
    "stops": False,
    "freeze": 30,
    "joins": 0,
}
LOCALIZERS = {
    "regression": Regression(**QUICK, batch_size=16),
    "attention": Attention(**QUICK, batch_size=16, n_features=16, warmup=0),
}


@pytest.mark.parametrize("localizer", LOCALIZERS)
def test_splines_are_learned_and_drawn_again(localizer):
    sprite, images = planted()
    localizer = LOCALIZERS[localizer]
    settings = SceneSettings(regression=localizer, max_rounds=18)
    fits = []
    for names in (("affine",), ("affine", "thin_plate_spline")):
        spec = SceneSpec(1, 1, 0, 1, 16, 16, 12, 12, names, "gain", "depth")
        seed = np.random.SeedSequence(0)
        fits.append(
            fit_regression(images, spec, settings, localizer, seed, "cpu", sprite)
        )
    assert fits[1].loss < 0.5 * fits[0].loss
    predictor = RegressionPredictor(fits[1], localizer, 0.0, "cpu")
    record = predictor.decompose(images)
    assert record.spline.shape == (64, 1, 16, 2)
    assert np.abs(record.spline).max() > 0.1
    drawn = predictor.render(record).images
    left = np.square(drawn - images).sum((1, 2, 3))
    np.testing.assert_allclose(left, record.error, rtol=1e-4, atol=1e-6)
    model = scene_model(fits[1], localizer, "cpu").eval()
    with torch.no_grad():
        composed = shown(model, torch.from_numpy(images))[1]
    np.testing.assert_allclose(
        drawn.reshape(64, 1, -1), composed[..., :256], rtol=0, atol=1e-6
    )
