"""Things of one size, much smaller than the sprites that are to show them."""

import numpy as np
import pytest

from sklearn_sprites import LayeredSpriteDecomposition, Search
from sklearn_sprites.metrics import segmentation_adjusted_rand_score

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
COLORS = [(1, 0.2, 0.2), (0.1, 0.8, 0.2), (0.1, 0.2, 1)]


def shapes(size):
    """A plus, a square and a triangle, (3, size, size)."""
    y, x = np.indices((size, size)) - (size - 1) / 2
    plus = (np.abs(x) < size / 6) | (np.abs(y) < size / 6)
    square = np.maximum(np.abs(x), np.abs(y)) < size * 0.4
    triangle = np.abs(x) < (y + size / 2) / 2
    return np.stack([plus, square, triangle])


def scenes_of(size, level, n=32, side=48):
    """Two shapes per image, which do not overlap, over a plain ground."""
    draws = np.random.default_rng(0)
    X, instances = np.full((n, side, side, 3), level), np.zeros((n, side, side), int)
    for image, instance in zip(X, instances, strict=True):
        for number in (1, 2):  # one on the left, one on the right
            kind = draws.integers(3)
            row = draws.integers(0, side - size)
            column = draws.integers(0, side // 2 - size) + (number - 1) * side // 2
            window = np.s_[row : row + size, column : column + size]
            mask = shapes(size)[kind]
            image[window][mask] = COLORS[kind]
            instance[window][mask] = number
    return X, instances


@pytest.mark.parametrize(("size", "level"), [(14, 0.5), (10, 0.5), (20, 1.0)])
def test_things_that_are_only_shifted_are_told_apart_at_any_size(size, level):
    X, instances = scenes_of(size, level)
    model = LayeredSpriteDecomposition(
        3,
        n_layers=2,
        n_backgrounds=1,
        transformations=("translation",),
        max_rounds=6,
        random_state=0,
    ).fit(X)
    assert size < 0.9 * model.sprites_.shape[1]
    found = model.render(model.decomposition_, "instances")
    assert segmentation_adjusted_rand_score(instances, found) > 0.9
    assert model.counts_.min() > 0.5 * model.counts_.max()


def large_squares(sizes, side=48):
    """A square of each size in the middle of an image."""
    X = np.full((len(sizes), side, side, 3), 0.5)
    for number, (image, size) in enumerate(zip(X, sizes, strict=True)):
        low = (side - size) // 2
        image[low : low + size, low : low + size] = COLORS[number % 3]
    return X


@pytest.mark.parametrize("localizer", ["search", Search(scales=(0.46, 0.68, 1.0))])
def test_what_fills_an_image_is_found_where_sprites_are_as_large(localizer):
    X = large_squares(np.linspace(20, 38, 30).round().astype(int))
    model = LayeredSpriteDecomposition(
        1,
        n_layers=1,
        n_backgrounds=1,
        sprite_size=48,
        transformations=("translation", "scale"),
        localizer=localizer,
        max_rounds=8,
        random_state=0,
    ).fit(X)
    left = np.square(X - model.render(model.decomposition_)).mean((1, 2, 3))
    assert left[:10].max() < 3e-3
    if localizer == "search":
        assert left.max() < 3e-3
        assert model.decomposition_.scale.max() > 1.25
    else:  # scales that are given are kept to
        assert left.max() > 3e-3
        assert model.decomposition_.scale.max() < 1.25
