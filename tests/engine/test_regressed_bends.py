"""Affine and projective layers of networks that are trained by gradient."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given

from sklearn_sprites._engine.attention_settings import Attention
from sklearn_sprites._engine.models.scene_model import SceneModel
from sklearn_sprites._engine.ops.layers import flat
from sklearn_sprites._engine.regression_inference import RegressionPredictor
from sklearn_sprites._engine.regression_settings import Regression
from sklearn_sprites._engine.scene_settings import SceneSettings
from sklearn_sprites._engine.scene_spec import BEND_BOUNDS, SceneSpec
from sklearn_sprites._engine.search.poses import image_points, place
from sklearn_sprites._engine.training.regressed import draw_all
from sklearn_sprites._engine.training.scene_gradient import fit_regression, scene_model
from tests.regressed import nudge_heads, shown
from tests.strategies import Draws, attack, draws

K, L, C, HEIGHT, WIDTH = 3, 2, 2, 13, 15
NO_SPLINE = torch.zeros(2, L, 1, 0, 2)
SIZES = {"affine": 6, "projective": 8}
NAMES = pytest.mark.parametrize("name", SIZES)
OWN = pytest.mark.parametrize("per_sprite", [False, True], ids=["layers", "sprites"])


def spec_of(name):
    size = (C, HEIGHT, WIDTH, 7, 6)
    return SceneSpec(K, L, 1, *size, (name,), "gain", "depth", "image")


def make_model(name, scale=0.0, **settings):
    """A model whose heads say something if `scale` is positive, and images."""
    make = Draws(0)
    sprites = make.uniform(K, C + 1, 7, 6, low=0.1, high=0.9).float()
    behind = make.uniform(1, C, HEIGHT, WIDTH).float()
    settings = Regression(color="predict", **settings)
    model = SceneModel(spec_of(name), settings, sprites, behind, make.generator)
    nudge_heads(model, make, scale)
    return model.double().eval(), make.uniform(4, C, HEIGHT, WIDTH)


@NAMES
@OWN
def test_first_layers_are_those_of_a_similarity_to_the_last_bit(name, per_sprite):
    model, images = make_model(name, per_sprite=per_sprite)
    plain, _ = make_model("similarity", per_sprite=per_sprite)
    with torch.no_grad():
        layers, image, _ = shown(model, images)
        expected = shown(plain, images)[1]
    assert layers.pose.shape == (4, L, SIZES[name])
    assert not layers.pose[..., 3:].any()
    assert torch.equal(image, expected)


@NAMES
@OWN
def test_slopes_of_bends_are_those_of_differences(name, per_sprite):
    model, images = make_model(name, 0.1, per_sprite=per_sprite)

    def loss():
        return (shown(model, images)[1] - flat(images)).square().sum()

    loss().backward()
    bias = (model.own if per_sprite else model.network.pose).head.group_bias
    for i in range(4, SIZES[name]):
        step = torch.zeros_like(bias)
        step[:, i] = 1e-6
        with torch.no_grad():
            bias += step
            above = loss()
            bias -= 2 * step
            below = loss()
            bias += step
        assert bias.grad[:, i].abs().max() > 0
        found = (above - below) / 2e-6
        torch.testing.assert_close(found, bias.grad[:, i].sum(), rtol=1e-4, atol=1e-5)


def test_only_sprites_are_bent_where_they_add_poses():
    model, images = make_model("projective", 0.1, per_sprite=True)
    assert model(images).pose.shape == (4, L, K, 8)
    assert model(images, with_own=False).pose.shape == (4, L, 1, 8)
    assert not model(images, with_own=False).pose[..., 3:].any()
    assert model(images).pose[..., 4:].flatten(0, 2).std(0).min() > 0


@NAMES
def test_bends_join_later(name):
    model, images = make_model(name, 0.1)
    before, after = model(images, with_own=False).pose, model(images).pose
    assert not before[..., 4:].any()
    assert torch.equal(before[..., :4], after[..., :4])
    assert (after[..., 4:] != 0).all()


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("far", [9.0, 1e6])
def test_layers_are_bent_within_bounds_and_can_come_back(sign, far):
    model, images = make_model("projective")
    bias = model.network.pose.head.group_bias
    with torch.no_grad():
        bias[:, 4:] = sign * far
    pose = model(images).pose
    bounds = torch.tensor(BEND_BOUNDS, dtype=pose.dtype)
    assert (pose[..., 4:].abs() > bounds).all()
    assert (pose[..., 4:].abs() < 1.5 * bounds).all()
    assert (pose[..., 6:].abs().sum(-1) < 1).all()
    pose.sum().backward()
    assert (bias.grad[:, 4:] > 0).all() or far > 1e3


@attack
@given(draws)
def test_candidates_are_what_is_drawn_one_by_one(make):
    planes = make.uniform(K, C + 1, 5, 4)
    for name, size in SIZES.items():
        pose = make.normal(2, L, K, size, scale=0.2)
        pose[..., :2] += HEIGHT / 2
        drawn = draw_all(planes, pose, NO_SPLINE, spec_of(name))
        for k in range(K):
            index = torch.full((2, L), k)
            one = place(planes, index, pose[:, :, k], HEIGHT, WIDTH)
            torch.testing.assert_close(
                drawn[:, :, k, :, : HEIGHT * WIDTH], one.flatten(3)
            )


def letter():
    """An F with soft edges, (1, 2, 12, 12): no affine map but one fits."""
    steps = (torch.arange(12.0) - 5.5) / 6
    y, x = torch.meshgrid(steps, steps, indexing="ij")

    def bar(x0, x1, y0, y1):
        inside = torch.stack([x - x0, x1 - x, y - y0, y1 - y]).amin(0)
        return (0.5 + 5 * inside).clamp(0, 1)

    bars = (
        bar(-0.6, -0.2, -0.7, 0.7),
        bar(-0.6, 0.6, -0.7, -0.3),
        bar(-0.6, 0.3, 0, 0.3),
    )
    mask = torch.stack(bars).amax(0)
    return torch.stack([torch.ones_like(mask), mask])[None]


def planted(name, n=64):
    """Images (n, 1, 16, 16) of an F on black that is bent in many ways, and poses."""
    make = torch.Generator().manual_seed(0)
    unit = torch.tensor([1, 1, 0.0, 0.0, 0.35, 0.5, 0.25, 0.25])[: SIZES[name]]
    pose = unit * (2 * torch.rand(n, 1, SIZES[name], generator=make) - 1)
    pose[..., :2] += 8
    index = torch.zeros((n, 1), dtype=torch.int64)
    return place(letter()[:, 1:], index, pose, 16, 16)[:, 0].numpy(), pose


def fitted(name, images, localizer, max_rounds, tol=1e-3):
    spec = SceneSpec(1, 1, 0, 1, 16, 16, 12, 12, (name,), "gain", "depth")
    settings = SceneSettings(regression=localizer, max_rounds=max_rounds, tol=tol)
    seed = np.random.SeedSequence(0)
    return fit_regression(
        images, spec, settings, localizer, seed, "cpu", letter().numpy()
    )


def points(inside, record):
    return image_points(inside, torch.from_numpy(record.pose()), (12, 12))


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


@pytest.fixture(scope="module", params=LOCALIZERS)
def localizer(request):
    return LOCALIZERS[request.param]


@NAMES
def test_bends_are_learned_and_drawn_again(name, localizer):
    images, pose = planted(name)
    bent, stiff = (fitted(each, images, localizer, 16) for each in (name, "similarity"))
    assert bent.loss_curve[-1] < 0.5 * stiff.loss_curve[-1]
    predictor, other = (
        RegressionPredictor(each, localizer, 0.0, "cpu") for each in (bent, stiff)
    )
    record = predictor.decompose(images)
    inner = 0.6 * torch.tensor([[-1.0, -1], [-1, 1], [1, 1], [1, -1]])
    off, stiff_off = (
        (points(inner, found) - image_points(inner, pose, (12, 12))).norm(dim=3)
        for found in (record, other.decompose(images))
    )
    assert float(off.mean()) < 0.6 * float(stiff_off.mean())  # pixels
    drawn = predictor.render(record).images
    np.testing.assert_allclose(
        np.square(drawn - images).sum((1, 2, 3)), record.error, rtol=1e-4, atol=1e-6
    )
    model = scene_model(bent, localizer, "cpu").eval()
    with torch.no_grad():
        composed = shown(model, torch.from_numpy(images))[1]
    np.testing.assert_allclose(
        drawn.reshape(64, 1, -1), composed[..., :256], rtol=0, atol=1e-6
    )
    stretched = predictor.render(replace(record, log_stretch=record.log_stretch + 0.2))
    assert np.abs(stretched.images - drawn).max() > 0.1


def test_a_fit_does_not_settle_before_bends_have_joined():
    images, _ = planted("affine", 16)
    rounds = [
        fitted("affine", images, Regression(joins=joins, freeze=0), 40, tol=10.0)
        for joins in (0, 12)
    ]
    assert rounds[1].n_rounds == rounds[0].n_rounds + 12 < 40
