"""Images are poor if layers miss more of them than noise."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.poor import is_poor, noise_error
from sklearn_sprites._engine.search_settings import SearchPlan
from sklearn_sprites.datasets import make_multi_dsprites
from tests.strategies import attack

SIDES = (48, 64)


def spec_of(rows, columns, channels=3):
    return SceneSpec(1, 1, 1, channels, rows, columns, 4, 4, ("translation",), "flat")


def scenes(count=8):
    X = make_multi_dsprites(count, random_state=0).images
    return torch.tensor(X).movedim(3, 1).float() / 255


@pytest.mark.parametrize("spread", [0.01, 0.05, 0.2])
def test_noise_is_told_also_where_there_are_edges(spread):
    images = scenes()
    draws = torch.Generator().manual_seed(0)
    noisy = images + spread * torch.randn(images.shape, generator=draws)
    told = noise_error(noisy, spec_of(*images.shape[2:]))
    n_values = images[0].numel()
    assert told.shape == (len(images),)
    assert ((told / n_values).sqrt() - spread).abs().max() < 0.1 * spread


def test_clean_scenes_have_no_noise():
    images = scenes()
    assert (noise_error(images, spec_of(*images.shape[2:])) == 0).all()


@attack
@given(number=st.integers(0, 2**16), rows=st.integers(1, 9), columns=st.integers(1, 9))
def test_light_that_grows_from_row_to_row_and_column_to_column_is_no_noise(
    number, rows, columns
):
    draws = torch.Generator().manual_seed(number)
    images = torch.rand(3, 2, rows, columns, generator=draws, dtype=torch.float64)
    slope = torch.rand(3, 2, rows, 1, generator=draws, dtype=torch.float64)
    slant = torch.rand(3, 2, 1, columns, generator=draws, dtype=torch.float64)
    spec = spec_of(rows, columns, 2)
    told = noise_error(images, spec)
    torch.testing.assert_close(noise_error(images + slope + slant, spec), told)
    assert (told >= 0).all()
    alone = torch.stack([noise_error(image[None], spec)[0] for image in images])
    assert torch.equal(alone, told)


def test_noise_makes_no_image_poor():
    error, blank = torch.tensor([2.0, 2.0, 8.0]), torch.tensor([20.0, 20.0, 20.0])
    noise = torch.tensor([0.0, 1.8, 1.8])
    search = SearchPlan(poor=0.1)
    assert is_poor(error, blank, noise, search, 0.1).tolist() == [True, False, True]
    assert is_poor(error, blank, noise, search, 7.0).tolist() == [False] * 3
    assert is_poor(error, blank, noise, search, 0.1, 3).tolist() == [False, False, True]
