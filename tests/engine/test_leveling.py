"""Slopes of light: read by least squares, taken off, and given back."""

import numpy as np
import pytest
import torch
from hypothesis import given

from sklearn_sprites._engine.ops.leveling import (
    leveled,
    leveled_in_parts,
    planes,
    slope_filter,
)
from sklearn_sprites._engine.spec import ModelSpec
from sklearn_sprites._engine.training.slopes import have_slopes
from tests import oracles
from tests.pictures import make_pictures
from tests.strategies import attack, batches, channels, draws

SIZE = 5, 7


@attack
@given(draws, batches, channels)
def test_slopes_are_those_of_the_nearest_plane(make, m, c):
    images, weights = make.uniform(m, c, *SIZE), make.uniform(*SIZE) + 0.05
    for counts in (None, weights):
        read = slope_filter(*SIZE, counts, like=images)
        even = torch.ones(SIZE, dtype=images.dtype) if counts is None else counts
        found = leveled(images, read)[1]
        for i, j in np.ndindex(m, c):
            expected = oracles.slopes_of_light(images[i, j], even)
            torch.testing.assert_close(found[i, j], expected, atol=1e-6, rtol=1e-6)


@attack
@given(draws, batches, channels)
def test_what_is_sloped_further_is_leveled_to_the_same(make, m, c):
    images, further = make.uniform(m, c, *SIZE), make.normal(m, c, 2)
    read = slope_filter(*SIZE, None, like=images)
    level, slopes = leveled(images, read)
    again, more = leveled(images + planes(further, *SIZE), read)
    torch.testing.assert_close(again, level)
    torch.testing.assert_close(more, slopes + further)
    torch.testing.assert_close(level + planes(slopes, *SIZE), images)
    torch.testing.assert_close(level.mean((2, 3)), images.mean((2, 3)))
    torch.testing.assert_close(leveled(level, read)[1], 0 * slopes)
    torch.testing.assert_close(leveled_in_parts(images, None), level)


def test_pixels_that_count_nothing_are_not_read():
    images, weights = torch.rand(2, 1, *SIZE), torch.rand(SIZE)
    weights[:, 4:] = 0
    read = slope_filter(*SIZE, weights, like=images)
    other = images.clone()
    other[..., 4:] = 9
    torch.testing.assert_close(leveled(other, read)[1], leveled(images, read)[1])


def lit(n=90, side=16, strength=0.6, is_same=False, channels=3):
    """Three shapes, each picture in a light from any side, or from the same one."""
    X, _ = make_pictures(n, side, side, channels=channels)
    images = np.moveaxis(X, -1, 1).astype(np.float32)
    slopes = np.random.default_rng(1).normal(size=(n, channels, 2)) * strength
    slopes = slopes[:1].repeat(n, 0) if is_same else slopes
    light = planes(torch.from_numpy(slopes.astype(np.float32)), side, side)
    return images + light.numpy()


def spec_for(images, names=("color", "affine"), m=0):
    return ModelSpec(3, m, *images.shape[1:], names)


def test_light_from_any_side_is_seen():
    images = lit()
    assert have_slopes(images, spec_for(images))
    gray = lit(channels=1)
    assert have_slopes(gray, spec_for(gray))


@pytest.mark.parametrize(
    ("images", "names", "m"),
    [
        (lit(strength=0), ("color", "affine"), 0),
        (lit(is_same=True), ("color", "affine"), 0),  # sprites show it
        (lit(n=40), ("color", "affine"), 0),
        (lit(), ("affine",), 0),
        (lit(), ("light", "affine"), 0),
        (lit(), ("color", "thin_plate_spline"), 0),
        (lit(), ("color", "affine"), 1),
    ],
)
def test_elsewhere_images_stay_as_they_are(images, names, m):
    assert not have_slopes(images, spec_for(images, names, m))
