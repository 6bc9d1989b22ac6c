import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sklearn_sprites import SpriteClustering
from sklearn_sprites._engine.ops.centering import (
    centered,
    centered_in_parts,
    offsets,
    shifted,
)
from tests.oracles import shifted_twin
from tests.strategies import Draws, attack, draws


def placed(offset, side=24, level=0.2):
    """A square of eight pixels off the middle of a plain ground."""
    image = torch.full((1, 1, side, side), level)
    top, left = side // 2 - 4 + offset[1], side // 2 - 4 + offset[0]
    image[..., top : top + 8, left : left + 8] = 0.9
    return image


@attack
@given(draws, st.integers(-5, 5), st.integers(-5, 5))
def test_shifted_equals_its_twin(make, x, y):
    images = make.uniform(2, 3, 5, 7).float()
    offset = torch.tensor([[x, y], [y, x]])
    assert torch.equal(shifted(images, offset), shifted_twin(images, offset))


@attack
@given(st.integers(-6, 6), st.integers(-6, 6))
def test_the_offset_follows_the_object_pixel_by_pixel(x, y):
    middle, moved = offsets(placed((0, 0))), offsets(placed((x, y)))
    assert (moved - middle).tolist() == [[x, y]]
    assert torch.equal(centered(placed((x, y)))[0], centered(placed((0, 0)))[0])


def test_noise_and_level_of_the_ground_do_not_matter():
    noise = 0.02 * Draws(1).uniform(1, 1, 24, 24).float()
    assert torch.equal(offsets(placed((4, -3)) + noise), offsets(placed((4, -3))))
    assert torch.equal(offsets(1 - placed((4, -3))), offsets(placed((4, -3))))


def test_a_plain_image_stays_as_it_is():
    images = torch.full((3, 2, 6, 6), 0.4)
    assert offsets(images).tolist() == [[0, 0]] * 3
    assert torch.equal(centered(images)[0], images)


def test_parts_do_not_matter():
    images = torch.cat([placed((k - 3, 3 - k)) for k in range(7)])
    whole = centered(images)[0]
    assert torch.equal(centered_in_parts(images, 2), whole)


few_epochs = pytest.mark.filterwarnings("ignore:SpriteClustering stopped after")


@pytest.fixture(scope="module")
def scattered():
    """Bars and crosses anywhere on a large canvas, and which is which."""
    rng = np.random.default_rng(0)
    images = np.zeros((160, 28, 28))
    labels = np.arange(160) % 2
    for image, label in zip(images, labels, strict=True):
        y, x = rng.integers(1, 18, 2)
        image[y : y + 8, x + 3 : x + 5] = 1
        if label:
            image[y + 3 : y + 5, x : x + 8] = 1
    return images, labels


@few_epochs
def test_scattered_objects_are_centered_and_drawn_where_they_were(scattered):
    images, labels = scattered
    model = SpriteClustering(2, max_epochs=6, random_state=0).fit(images)
    assert "centering" in model.transformation_params_
    agreement = (model.labels_ == labels).mean()
    assert max(agreement, 1 - agreement) > 0.95
    drawn = model.reconstruct(images)[..., 0]
    assert ((drawn - images) ** 2).mean() < 0.3 * images.var()


@few_epochs
def test_distances_are_those_to_what_is_drawn_in_the_images_themselves():
    draws = np.random.default_rng(1)
    images = np.zeros((40, 20, 20))
    for image, (y, x) in zip(images, draws.integers(0, 15, (40, 2)), strict=True):
        image[y : y + 6, x : x + 6] = 1
    images = (images + 0.1 * draws.standard_normal(images.shape)).clip(0, 1)
    model = SpriteClustering(2, max_epochs=2, random_state=0).fit(images)
    assert np.abs(model.transformation_params_["centering"]).max() > 0
    errors = ((model.reconstruct(images)[..., 0] - images) ** 2).sum((1, 2))
    np.testing.assert_allclose(model.transform(images).min(1) ** 2, errors, rtol=1e-4)
    np.testing.assert_allclose(model.inertia_, errors.sum(), rtol=1e-4)


@few_epochs
def test_centering_is_listed_after_what_is_done_to_the_sprite(scattered):
    model = SpriteClustering(2, max_epochs=2, random_state=0).fit(scattered[0])
    expected = ["affine", "thin_plate_spline", "thickness", "color", "centering"]
    assert list(model.transformation_params_) == expected


@few_epochs
def test_objects_in_the_middle_are_left_there():
    images = np.zeros((60, 12, 12))
    images[:, 3:9, 5:7] = 1
    images[::2, 5:7, 3:9] = 1
    model = SpriteClustering(2, max_epochs=2, random_state=0).fit(images)
    assert "centering" not in model.transformation_params_
