"""Kinds that are rare: what `Swap(size_power=...)` is for."""

import numpy as np
import pytest
from scipy import ndimage

from sklearn_sprites import Swap
from tests.pictures import make_model

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def bars_and_blocks(turned, n_bars=80, n_blocks=10, side=12):
    """Many bars, half of them wider, and a few blocks; which are blocks."""
    draws = np.random.default_rng(0)
    bar, wide, block = np.zeros((3, side, side))
    bar[2:-2, 5:7] = 1
    wide[2:-2, 4:8] = 0.4
    block[3:-3, 3:-3] = 1
    kinds = [bar, np.maximum(bar, wide), block]
    images = np.repeat(kinds, [n_bars, n_bars, n_blocks], 0)
    if turned:
        for image, angle in zip(
            images, draws.uniform(0, 360, len(images)), strict=True
        ):
            image[:] = ndimage.rotate(image, angle, reshape=False, order=1)
    images += draws.normal(0, 0.1, images.shape)
    return images.clip(0, 1), np.arange(len(images)) >= 2 * n_bars


@pytest.mark.parametrize("name", ["translation", "similarity"])
@pytest.mark.parametrize(
    ("power", "n_blocks", "is_kept"),
    [(1.0, 10, False), (1.0, 18, False), (None, 18, True), (0.25, 10, True)],
)
def test_a_rare_kind_has_a_sprite_if_sizes_count_little(name, power, n_blocks, is_kept):
    images, is_block = bars_and_blocks(turned=name == "similarity", n_blocks=n_blocks)
    rule = Swap(size_power=power)
    model = make_model(2, transformations=(name,), reassignment=rule, max_epochs=12)
    labels = model.fit(images).labels_
    assert model._spec["is_searched"] == (name == "similarity")
    assert (len(np.unique(labels[~is_block])) == 1) == is_kept
    assert len(np.unique(labels[is_block])) == 1
