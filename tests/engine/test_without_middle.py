"""The ground of cosegmentations holds nothing of the thing before its middle."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sklearn_sprites._engine.settings import TrainingSettings
from sklearn_sprites._engine.spec import ModelSpec
from sklearn_sprites._engine.training.fit import fit_clustering
from sklearn_sprites._engine.training.start import (
    BLUR,
    GAUSSIAN_SPREAD,
    without_middle,
)
from tests.strategies import Draws, attack, batches, channels, draws


def bump(i, j, spread):
    """exp of minus half of the squared distance of two pixels, in spreads."""
    return torch.tensor(-0.5 * ((i - j) / spread) ** 2, dtype=torch.float64).exp()


@attack
@given(draws, batches, channels, st.integers(2, 6), st.integers(2, 6))
def test_it_equals_its_slow_twin(make, m, c, height, width):
    images = make.uniform(m, c, height, width)
    found = without_middle(images)
    middle = (height - 1) / 2, (width - 1) / 2
    spread = GAUSSIAN_SPREAD * height, GAUSSIAN_SPREAD * width

    def is_middle(y, x):
        return bump(y, middle[0], spread[0]) * bump(x, middle[1], spread[1])

    for y in range(height):
        for x in range(width):
            total, count = 0.0, 0.0
            for v in range(height):
                for u in range(width):
                    near = bump(y, v, BLUR * height) * bump(x, u, BLUR * width)
                    share = near * (1 - is_middle(v, u)) ** 2
                    total = total + share * images[:, :, v, u]
                    count = count + share
            torch.testing.assert_close(found[:, :, y, x], total / count)


@attack
@given(draws, batches, channels)
def test_a_plain_ground_stays_and_values_stay_in_range(make, m, c):
    level = make.uniform(m, c, 1, 1).expand(m, c, 9, 12)
    torch.testing.assert_close(without_middle(level), level)
    images = make.uniform(m, c, 9, 12)
    found = without_middle(images)
    assert images.amin() <= found.amin()
    assert found.amax() <= images.amax()


def test_a_thing_in_the_middle_is_gone_and_the_ground_stays():
    ground = torch.linspace(0, 0.5, 24).expand(1, 3, 24, 24)
    image = ground.clone()
    image[:, :, 7:17, 7:17] = 1.0
    torch.testing.assert_close(without_middle(image), ground, atol=0.15, rtol=0)


@pytest.mark.parametrize(
    ("k", "init", "is_mean"),
    [(1, "align", False), (2, "align", True), (1, "sample", True)],
)
def test_only_one_sprite_begins_before_a_ground_without_middle(k, init, is_mean):
    images = Draws(0).uniform(30, 1, 12, 12).float().numpy()
    images[:, :, 4:8, 4:8] = 1
    spec = ModelSpec(k, 1, 1, 12, 12, ("affine",))
    settings = TrainingSettings(max_epochs=0, init=init)
    seed = np.random.SeedSequence(0)
    fitted = fit_clustering(images, spec, settings, seed, "cpu")
    mean = images.mean(0, keepdims=True)
    assert np.allclose(fitted.backgrounds, mean, atol=1e-5) == is_mean
