import torch
from hypothesis import given
from hypothesis import strategies as st

from sklearn_sprites._engine.ops.linear import solve_columns, solve_symmetric
from tests.strategies import assert_twins, attack, batches, draws


def positive_definite(make, *shape):
    n = shape[-1]
    roots = make.normal(*shape, n)
    return roots @ roots.transpose(-1, -2) + 0.1 * torch.eye(n, dtype=roots.dtype)


@attack
@given(draws, batches, st.integers(1, 5))
def test_solution_equals_lapack(make, m, n):
    matrix = positive_definite(make, m, 2, n)

    def symmetric(matrix):
        return (matrix + matrix.transpose(-1, -2)) / 2

    assert_twins(
        lambda a, b: solve_symmetric(symmetric(a), b),
        lambda a, b: torch.linalg.solve(symmetric(a), b[..., None])[..., 0],
        matrix,
        make.normal(m, 2, n),
        tolerance=1e-6,
    )


@attack
@given(draws, st.integers(1, 5))
def test_the_identity_returns_the_right_side_exactly(make, n):
    right = make.normal(3, n).float()
    assert torch.equal(solve_symmetric(torch.eye(n).expand(3, n, n), right), right)


@attack
@given(draws, batches, st.integers(1, 5))
def test_columns_are_solved_one_as_the_other(make, m, n):
    matrix, right = positive_definite(make, m, n), make.normal(m, n, 3)
    expected = [solve_symmetric(matrix, one) for one in right.unbind(-1)]
    found = solve_columns(matrix, right)
    torch.testing.assert_close(found, torch.stack(expected, -1), rtol=1e-6, atol=1e-6)
