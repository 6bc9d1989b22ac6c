"""Backgrounds that a network moves and bends."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sklearn_sprites._engine.models.scene_model import SceneModel
from sklearn_sprites._engine.modules.ground_head import GroundHead, GroundPose
from sklearn_sprites._engine.ops.layers import flat
from sklearn_sprites._engine.regression_inference import RegressionPredictor
from sklearn_sprites._engine.regression_settings import Regression
from sklearn_sprites._engine.scene_settings import SceneSettings
from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.training.moved_ground import moved_ground
from sklearn_sprites._engine.training.scene_gradient import fit_regression
from tests.oracles_scenes import placed_point
from tests.regressed import assert_slope, nudge_heads, shown
from tests.strategies import Draws

HEIGHT, WIDTH = 13, 15
MOST = ("projective", "thin_plate_spline")


def spec_of(names, **sizes):
    sizes = {"n_sprites": 2, "n_layers": 2, "channels": 2, **sizes}
    return SceneSpec(
        n_backgrounds=1,
        height=HEIGHT,
        width=WIDTH,
        sprite_height=7,
        sprite_width=6,
        order="depth",
        background_color="image",
        background_transformations=names,
        **sizes,
    )


@pytest.mark.parametrize("names", [("translation",), ("affine",), MOST])
def test_a_new_head_leaves_the_background_as_it_is_to_the_last_bit(names):
    make = Draws(0)
    head = GroundHead(spec_of(names).of_ground(), 6, make.generator)
    where = head(make.normal(3, 6).float())
    backgrounds = make.uniform(1, 2, HEIGHT, WIDTH).float()
    drawn = moved_ground(backgrounds, where)
    assert torch.equal(drawn, backgrounds.expand(3, -1, -1, -1))
    assert where.pose[0, :2].tolist() == [WIDTH / 2, HEIGHT / 2]


@pytest.mark.parametrize("size", [4, 6, 8])
def test_backgrounds_are_where_the_convention_says(size):
    """A background that shows its own coordinates tells where it was looked up."""
    y, x = torch.meshgrid(
        *((2 * torch.arange(n).double() + 1) / n - 1 for n in (HEIGHT, WIDTH)),
        indexing="ij",
    )
    pose = [WIDTH / 2 + 0.7, HEIGHT / 2 - 0.4, 0.1, 0.2, 0.1, -0.2, 0.1, -0.1][:size]
    where = GroundPose(torch.tensor([pose]).double(), torch.zeros(1, 0, 2).double())
    drawn = moved_ground(torch.stack([x, y])[None], where)[0]
    count = 0
    for i in range(HEIGHT):
        for j in range(WIDTH):
            point = drawn[:, i, j].tolist()
            if max(abs(each) for each in point) < 0.9:
                count += 1
                full = pose if size > 4 else [*pose, 0, 0]
                there = placed_point(point, full, (HEIGHT, WIDTH))
                assert there == pytest.approx([j + 0.5, i + 0.5])
    assert count > 50


def test_the_border_goes_on():
    backgrounds = Draws(1).uniform(1, 2, HEIGHT, WIDTH).float()
    pose = torch.tensor([[WIDTH / 2 + 3, HEIGHT / 2, 0, 0]])
    drawn = moved_ground(backgrounds, GroundPose(pose, torch.zeros(1, 0, 2)))
    expected = torch.cat(
        [backgrounds[..., :1].expand(-1, -1, -1, 3), backgrounds[..., :-3]], 3
    )
    torch.testing.assert_close(drawn, expected)


def test_slopes_of_backgrounds_are_those_of_differences():
    make, settings = Draws(2), Regression(color="predict", empty=False)
    sprites = make.uniform(2, 3, 7, 6, low=0.1, high=0.5).float()
    behind = make.uniform(1, 2, HEIGHT, WIDTH).float()
    model = SceneModel(spec_of(MOST), settings, sprites, behind, make.generator)
    nudge_heads(model, make, 0.1)
    model, images = model.double().eval(), make.uniform(3, 2, HEIGHT, WIDTH)

    def loss():
        return (shown(model, images)[1] - flat(images)).square().sum()

    loss().backward()
    for head in (model.ground.pose.head, model.ground.spline):
        bias = head.group_bias
        assert (bias.grad != 0).all()
        assert_slope(loss, bias, make.normal(*bias.shape))


def shaken(n=64):
    """A smooth picture that is moved: images, and by how many pixels."""
    make = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 1, 6, 6, generator=make)
    size = (HEIGHT, WIDTH)
    picture = torch.nn.functional.interpolate(coarse, size, mode="bicubic").clamp(0, 1)
    offset = 4 * torch.rand(n, 2, generator=make) - 2
    pose = torch.zeros(n, 4)
    pose[:, :2] = offset + torch.tensor([WIDTH / 2, HEIGHT / 2])
    images = moved_ground(picture, GroundPose(pose, torch.zeros(n, 0, 2)))
    return images.numpy(), offset.numpy()


def test_movements_of_the_background_are_learned_and_drawn_again():
    images, offset = shaken()
    localizer = Regression(
        batch_size=16, background="mean", stops=False, reassignment=None, joins=0
    )
    settings = SceneSettings(regression=localizer, max_rounds=30, penalty=1e6)
    sprites = np.full((1, 2, 7, 6), 0.5, np.float32)
    fits = []
    for names in ((), ("translation",)):
        spec = spec_of(names, n_sprites=1, n_layers=1, channels=1)
        seed = np.random.SeedSequence(0)
        fits.append(
            fit_regression(images, spec, settings, localizer, seed, "cpu", sprites)
        )
    assert fits[1].loss < 0.3 * fits[0].loss
    predictor = RegressionPredictor(fits[1], localizer, 1e6, "cpu")
    record = predictor.decompose(images)
    assert record.background_pose.shape == (64, 4)
    for axis in (0, 1):
        told = np.corrcoef(record.background_pose[:, axis], offset[:, axis])[0, 1]
        assert told > 0.9
    drawn = predictor.render(record).images
    left = np.square(drawn - images).sum((1, 2, 3))
    np.testing.assert_allclose(left, record.error, rtol=1e-4, atol=1e-6)
    back = record.background_pose.copy()
    back[:, :2] = WIDTH / 2, HEIGHT / 2
    still = predictor.render(replace(record, background_pose=back)).images
    assert still.std(0).max() < 0.5 * images.std(0).max()
