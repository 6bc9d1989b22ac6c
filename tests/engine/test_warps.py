import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sklearn_sprites._engine.ops import warps
from sklearn_sprites._engine.ops.sampling import make_grid
from sklearn_sprites._engine.spec import RIGID, parameter_count
from tests import oracles
from tests.strategies import assert_twins, attack, batches, draws

rigid = st.sampled_from(RIGID)
aspects = st.sampled_from([1.0, 0.5, 28 / 60])
sides = st.integers(1, 4)


def flow_of(name, points, params, aspect):
    """Displacement by one rigid transformation, as the engine computes it."""
    if name == "projective":
        return warps.projective_flow(points, params)
    return warps.affine_flow(points, warps.affine_part(name, params, aspect))


def size(name):
    return parameter_count(name, 1)


@attack
@given(draws, rigid, batches, aspects)
def test_zero_parameters_move_nothing_exactly(make, name, m, aspect):
    points = make.normal(m, 2, 10).float()
    params = torch.zeros(m, size(name))
    assert torch.equal(flow_of(name, points, params, aspect), torch.zeros(m, 2, 10))
    identity = torch.eye(3).expand(m, 3, 3)
    assert torch.equal(warps.homography(name, params, aspect), identity)


@attack
@given(draws, rigid, batches, aspects)
def test_values_and_gradients_equal_the_slow_twin(make, name, m, aspect):
    def slow(points, params):
        return torch.stack(
            [
                torch.stack(
                    [
                        torch.stack(oracles.warp_point(name, p, aspect, x, y))
                        for x, y in place.T
                    ],
                    1,
                )
                for place, p in zip(points, params, strict=True)
            ]
        )

    assert_twins(
        lambda points, params: points + flow_of(name, points, params, aspect),
        slow,
        make.uniform(m, 2, 4, low=-1),
        make.normal(m, size(name), scale=0.2),
    )


@attack
@given(draws, rigid, batches, aspects)
def test_the_homography_is_the_same_map(make, name, m, aspect):
    params = make.normal(m, size(name), scale=0.2)
    points = make.uniform(m, 2, 6, low=-1)
    matrix = warps.homography(name, params, aspect)
    expected = torch.stack([oracles.warp_matrix(name, p, aspect) for p in params])
    torch.testing.assert_close(matrix, expected)
    moved = points + flow_of(name, points, params, aspect)
    torch.testing.assert_close(warps.apply_homography(points, matrix), moved)


@attack
@given(draws, rigid, aspects)
def test_the_inverse_homography_undoes_the_map(make, name, aspect):
    params = make.uniform(3, size(name), low=-0.15, high=0.15)
    points = make.uniform(3, 2, 6, low=-1)
    inverse = torch.linalg.inv(warps.homography(name, params, aspect))
    moved = points + flow_of(name, points, params, aspect)
    torch.testing.assert_close(warps.apply_homography(moved, inverse), points)


@attack
@given(draws, st.sampled_from(["rotation", "similarity"]), sides, sides)
def test_rotations_and_similarities_keep_angles_in_pixels(make, name, height, width):
    params = make.normal(1, size(name), scale=0.5)
    matrix = warps.homography(name, params, width / height)[0, :2, :2]
    pixels = torch.diag(torch.tensor([width, height], dtype=torch.float64))
    inner = pixels @ matrix @ torch.linalg.inv(pixels)
    gram = inner.T @ inner
    expected = gram[0, 0] * torch.eye(2, dtype=torch.float64)
    torch.testing.assert_close(gram, expected, rtol=0, atol=1e-9)
    if name == "rotation":
        torch.testing.assert_close(gram[0, 0], torch.ones_like(gram[0, 0]))


@attack
@given(draws, batches, sides, sides)
def test_spline_equals_its_slow_twin(make, m, height, width):
    side = 4
    grid = make_grid(height, width, device=torch.device("cpu"), dtype=torch.float64)
    basis = warps.flow_basis(grid.points, side)

    def slow(params):
        moved = [
            oracles.spline_point(p, side, x, y)
            for p in params
            for x, y in grid.points.T
        ]
        return torch.stack(moved).view(len(params), -1, 2).transpose(1, 2)

    assert_twins(
        lambda p: grid.points + warps.flow(warps.spline_coefficients(p), basis),
        slow,
        make.normal(m, 2 * side**2, scale=0.2),
        tolerance=1e-7,
    )


@pytest.mark.parametrize("side", [2, 3, 4])
def test_a_spline_sends_its_control_points_where_it_says(side):
    generator = torch.Generator().manual_seed(0)
    params = torch.randn(3, 2 * side**2, generator=generator, dtype=torch.float64)
    control = warps.control_points(side, like=params)
    flow = params.view(3, -1, 2).transpose(1, 2) @ warps.spline_basis(control, side)
    # The engine's basis cuts the kernel off at r^2 = 1e-12, hence the tolerance.
    expected = params.view(3, -1, 2).transpose(1, 2)
    torch.testing.assert_close(flow, expected, rtol=0, atol=1e-8)


@attack
@given(draws, batches)
def test_a_spline_that_moves_all_control_points_affinely_is_affine(make, m):
    matrix = make.normal(m, 2, 3, scale=0.3)
    control = warps.control_points(4, like=matrix)
    params = warps.affine_flow(control, matrix).transpose(1, 2).flatten(1)
    points = make.uniform(2, 9, low=-1)
    basis = warps.flow_basis(points, 4)
    found = warps.flow(warps.spline_coefficients(params), basis)
    torch.testing.assert_close(found, warps.affine_flow(points, matrix))


@attack
@given(draws, batches, st.sampled_from(warps.AFFINE_FAMILY), st.booleans())
def test_coefficients_compose_as_maps_do(make, m, name, from_spline):
    points = make.uniform(2, 9, low=-1)
    basis = warps.flow_basis(points, 4)
    if from_spline:
        first = warps.spline_coefficients(make.normal(m, 32, scale=0.2))
    else:
        first = warps.affine_coefficients(make.normal(m, 2, 3, scale=0.2), 16)
    matrix = warps.affine_part(name, make.normal(m, size(name), scale=0.2), 0.7)
    moved = points + warps.flow(first, basis)
    twice = moved + warps.affine_flow(moved, matrix)
    at_once = points + warps.flow(warps.then_affine(first, matrix), basis)
    torch.testing.assert_close(at_once, twice)


def test_a_horizon_inside_the_image_stays_finite():
    points = torch.linspace(-1, 1, 21).expand(1, 2, 21)
    params = torch.zeros(1, 8)
    params[0, 6] = 2.0  # the denominator is zero at x = -0.5
    params.requires_grad_()
    flow = warps.projective_flow(points, params)
    flow.sum().backward()
    assert flow.isfinite().all()
    assert params.grad.isfinite().all()
