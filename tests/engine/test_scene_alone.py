"""What sprites look like beyond their masks."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from sklearn_sprites._engine.scene_layers import unmasked
from sklearn_sprites._engine.search.sprites import FAINT


def slowly_unmasked(sprite):
    """Colors (C, h, w) of a sprite (C + 1, h, w), pixel by pixel."""
    *colors, alpha = sprite
    found = np.zeros((len(colors), *alpha.shape))
    for row, column in np.ndindex(*alpha.shape):
        for reach in (0, 1, 2, 4, 8, 16):
            rows = slice(max(row - reach, 0), row + reach + 1)
            columns = slice(max(column - reach, 0), column + reach + 1)
            weight = np.where(alpha > FAINT, alpha, 0)[rows, columns]
            if weight.sum() > 0:
                for c, color in enumerate(colors):
                    seen = (weight * color[rows, columns]).sum()
                    found[c, row, column] = seen / weight.sum()
                break
    return found


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**16))
def test_beyond_its_mask_a_sprite_looks_like_what_is_nearest(height, width, seed):
    rng = np.random.default_rng(seed)
    sprites = rng.random((2, 4, height, width), dtype=np.float32)
    sprites[:, -1] *= rng.random((height, width)) < 0.2
    found = unmasked(torch.from_numpy(sprites)).numpy()
    for one, sprite in zip(found, sprites, strict=True):
        np.testing.assert_allclose(one, slowly_unmasked(sprite), atol=1e-5)
