"""What sprite and background explain equally well is left to the background."""

import numpy as np
import pytest
import torch

from sklearn_sprites import SpriteClustering
from sklearn_sprites._engine.settings import TrainingSettings
from sklearn_sprites._engine.spec import ModelSpec
from sklearn_sprites._engine.training.fit import mask_price

few_epochs = pytest.mark.filterwarnings("ignore:SpriteClustering stopped after")


def rings(n=60, side=16):
    """Rings on plain grounds, both in any gray, and where they are."""
    draws = np.random.default_rng(0)
    y, x = np.indices((side, side))
    middles = draws.uniform(6.5, 8.5, (n, 2, 1, 1))
    far = np.hypot(y - middles[:, 0], x - middles[:, 1])
    masks = (far > 2.5) & (far < 5.5)
    colors = draws.uniform(0, 1, (n, 1))
    others = (colors + draws.uniform(0.3, 0.7, (n, 1))) % 1
    shown = np.where(masks[..., None], colors[:, None, None], others[:, None, None])
    return shown, masks


@few_epochs
def test_a_price_on_masks_keeps_them_off_the_ground():
    X, masks = rings()
    shares = []
    for penalty in (0.0, "auto", 0.2):
        model = SpriteClustering(
            1,
            n_backgrounds=1,
            transformations=("color", "translation"),
            background_transformations=("color",),
            mask_penalty=penalty,
            max_epochs=12,
            random_state=0,
        ).fit(X)
        found = model.segment(X) > 0.5
        both, either = (found & masks).sum((1, 2)), (found | masks).sum((1, 2))
        shares.append((both / either).mean())
    assert shares[0] + 0.05 < shares[1] < shares[2]


@pytest.mark.parametrize("penalty", [0.0, 0.03])
@pytest.mark.parametrize("n_backgrounds", [0, 1])
def test_the_price_is_a_share_of_the_variance_over_backgrounds(penalty, n_backgrounds):
    images = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    spec = ModelSpec(2, n_backgrounds, 1, 8, 8, ("affine",))
    settings = TrainingSettings(mask_penalty=penalty)
    price = mask_price(images, spec, settings)
    within = images.numpy().var((2, 3)).mean()
    expected = penalty * within if n_backgrounds else 0
    np.testing.assert_allclose(price, expected, rtol=1e-6)
    plain = torch.ones_like(images)
    assert mask_price(plain, spec, settings) == 0  # nothing to explain
