import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sklearn_sprites._engine.ops.sampling import (
    canvas_side,
    make_grid,
    pad_to_canvas,
    sample,
)
from tests import oracles
from tests.strategies import assert_twins, attack, batches, channels, draws, paddings

sides = st.integers(1, 9)
small = st.integers(1, 5)


def grid_of(height, width, dtype=torch.float64):
    return make_grid(height, width, device=torch.device("cpu"), dtype=dtype)


def read(images, flow, padding):
    """The engine's way from images to sampled images."""
    grid = grid_of(*images.shape[-2:], images.dtype)
    return sample(pad_to_canvas(images, padding), flow, grid, padding)


@given(st.integers(1, 5000))
def test_a_canvas_is_the_smallest_power_of_two_that_fits(side):
    found = canvas_side(side)
    assert found.bit_count() == 1
    assert found / 2 < side <= found


@attack
@given(sides, sides)
def test_points_are_pixel_centers_row_by_row(height, width):
    found = grid_of(height, width).points.T
    expected = torch.tensor(oracles.centers(height, width), dtype=torch.float64)
    torch.testing.assert_close(found, expected)


@attack
@given(draws, batches, channels, st.integers(1, 70), st.integers(1, 70), paddings)
def test_no_flow_reads_the_source_exactly(make, m, d, height, width, padding):
    images = make.normal(m, d, height, width).float()
    still = torch.zeros(m, 2, height * width)
    assert torch.equal(read(images, still, padding), images)
    assert torch.equal(read(images, None, padding), images)


@attack
@given(draws, batches, channels, small, small, paddings)
def test_values_and_gradients_equal_the_slow_twin(make, m, d, height, width, padding):
    points = grid_of(height, width).points

    def slow(images, flow):
        return oracles.sample(images, points + flow, padding).view(images.shape)

    assert_twins(
        lambda images, flow: read(images, flow, padding),
        slow,
        make.normal(m, d, height, width),
        make.normal(m, 2, height * width, scale=0.6),
    )


@attack
@given(draws, sides, sides, st.integers(-9, 9), st.integers(-9, 9))
def test_s11_one_pixel_is_one_pixel_on_both_axes(make, height, width, right, down):
    images = make.normal(1, 1, height, width).float()
    flow = torch.tensor([[2 * right / width], [2 * down / height]])
    flow = flow.expand(1, 2, height * width)
    expected = torch.zeros_like(images)
    for i in range(height):
        for j in range(width):
            if 0 <= i + down < height and 0 <= j + right < width:
                expected[0, 0, i, j] = images[0, 0, i + down, j + right]
    found = read(images, flow, "zeros")
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    inside = read(images, flow, "border")
    rows = (torch.arange(height) + down).clamp(0, height - 1)
    columns = (torch.arange(width) + right).clamp(0, width - 1)
    nearest = images[:, :, rows][..., columns]
    torch.testing.assert_close(inside, nearest, rtol=0, atol=1e-5)


def test_gradients_agree_with_finite_differences():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 2, 3, 5, generator=generator, dtype=torch.float64)
    flow = torch.rand(2, 2, 15, generator=generator, dtype=torch.float64) - 0.5
    inputs = (images.requires_grad_(), flow.requires_grad_())
    for padding in ("border", "zeros"):
        assert torch.autograd.gradcheck(
            lambda images, flow, padding=padding: read(images, flow, padding), inputs
        )


@pytest.mark.parametrize("padding", ["border", "zeros"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf, 1e30, -1e12])
def test_flows_of_a_diverging_model_are_read_and_differentiated_safely(value, padding):
    images = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    flow = torch.zeros(3, 2, 64)
    flow[1] = value
    inputs = (images.requires_grad_(), flow.requires_grad_())
    out = read(*inputs, padding)
    assert out.isfinite().all()
    assert torch.equal(out[::2], images[::2])
    (gradient, _) = torch.autograd.grad(out.sum(), inputs)
    assert gradient.isfinite().all()
