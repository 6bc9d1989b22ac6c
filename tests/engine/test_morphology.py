import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sklearn_sprites._engine.ops.morphology import (
    LARGEST_EXPONENT,
    morphological,
    window_weights,
)
from tests import oracles
from tests.strategies import assert_twins, attack, batches, channels, draws, sides

kernels = st.sampled_from([3, 5, 7])


@attack
@given(draws, batches, channels, sides, sides, kernels)
def test_zero_parameters_are_the_identity_exactly(make, m, d, h, w, kernel):
    images = make.normal(m, d, h, w, scale=3).float()
    params = torch.zeros(m, 1 + kernel**2)
    assert torch.equal(morphological(images, params, kernel), images)


@attack
@given(draws, batches, channels, st.integers(1, 4), st.integers(1, 4), kernels)
def test_values_and_gradients_equal_the_slow_twin(make, m, d, h, w, kernel):
    images = make.uniform(m, d, h, w, low=-0.5, high=1.5)
    params = make.normal(m, 1 + kernel**2, scale=4)
    assert_twins(
        lambda x, p: morphological(x, p, kernel),
        lambda x, p: oracles.morphological(x, p, kernel),
        images,
        params,
        tolerance=1e-8,
    )


def test_gradients_agree_with_finite_differences():
    generator = torch.Generator().manual_seed(3)
    images = torch.rand(2, 2, 4, 3, generator=generator, dtype=torch.float64)
    params = torch.randn(2, 10, generator=generator, dtype=torch.float64)
    inputs = (images.requires_grad_(), params.requires_grad_())
    assert torch.autograd.gradcheck(lambda x, p: morphological(x, p, 3), inputs)


def test_every_neighbor_starts_with_a_gradient():
    images = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    params = torch.zeros(4, 10, requires_grad=True)
    morphological(images, params, 3).square().sum().backward()
    reached = params.grad.abs().amax(0) > 0
    neighbors = torch.ones(10, dtype=torch.bool)
    neighbors[[0, 5]] = False  # alpha has nobody to prefer; the center's weight is one
    assert torch.equal(reached, neighbors)


@attack
@given(draws, sides, sides, st.sampled_from([30.0, 1e3, 1e30]))
def test_large_alpha_takes_the_brightest_and_the_darkest_neighbor(make, h, w, alpha):
    images = make.uniform(1, 1, h, w).float()
    params = torch.full((1, 10), 20.0)  # every neighbor counts like the center
    params[:, 0] = alpha
    around = torch.nn.functional.max_pool2d(images, 3, 1, 1)
    dilated = morphological(images, params, 3)
    assert dilated.isfinite().all()
    assert (dilated <= around + 1e-6).all()
    # Eight neighbors share exp(-alpha gap) gap, which is at most 1 / (e alpha) each.
    assert (dilated >= around - 3 / min(alpha, LARGEST_EXPONENT)).all()
    params[:, 0] = -alpha
    eroded = morphological(1 - images, params, 3)
    torch.testing.assert_close(eroded, 1 - dilated, rtol=0, atol=1e-5)


def test_a_white_dot_grows_to_the_window():
    image = torch.zeros(1, 1, 7, 7)
    image[0, 0, 3, 3] = 1
    params = torch.full((1, 10), 20.0)
    params[:, 0] = 50
    expected = torch.zeros(7, 7)
    expected[2:5, 2:5] = 1
    grown = morphological(image, params, 3)[0, 0]
    torch.testing.assert_close(grown, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("value", [1e4, -1e4, 1e38])
def test_gradients_stay_finite_for_any_parameters(value):
    images = torch.rand(2, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    for column in (0, 1, slice(None)):
        params = torch.zeros(2, 10)
        params[:, column] = value
        params.requires_grad_()
        out = morphological(images, params, 3)
        out.sum().backward()
        assert out.isfinite().all()
        assert params.grad.isfinite().all()


@attack
@given(draws, kernels)
def test_weights_are_in_the_unit_interval_and_the_center_has_none(make, kernel):
    weights = window_weights(make.normal(5, kernel**2, scale=30), kernel)
    assert ((weights >= 0) & (weights <= 1)).all()
    assert (weights[:, kernel**2 // 2] == 0).all()


@attack
@given(draws, sides, sides, st.sampled_from([-100.0, -3.0, 3.0, 100.0]))
def test_brighter_images_stay_as_much_brighter(make, h, w, alpha):
    images = make.uniform(2, 1, h, w).float()
    params = make.normal(2, 10, scale=5).float()
    params[:, 0] = alpha
    for level in (-20, 20):
        moved = morphological(images + level, params, 3) - level
        expected = morphological(images, params, 3)
        torch.testing.assert_close(moved, expected, rtol=0, atol=1e-3)
