"""The adjoint is the transpose of what draws."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from sklearn_sprites._engine.ops.adjoint import adjoint
from tests.strategies import attack


@attack
@given(seed=st.integers(0, 2**16), rows=st.integers(1, 5), columns=st.integers(1, 5))
def test_errors_go_back_through_the_transposed_matrix(seed, rows, columns):
    draws = torch.Generator().manual_seed(seed)
    matrix = torch.randn(rows, columns, generator=draws, dtype=torch.float64)
    source = torch.randn(columns, 1, generator=draws, dtype=torch.float64)
    source.requires_grad_()
    drawn = matrix @ source
    for _ in range(2):  # what was recorded stays
        errors = torch.randn(rows, 1, generator=draws, dtype=torch.float64)
        with torch.no_grad():
            found = adjoint(drawn, source, errors)
        torch.testing.assert_close(found, matrix.T @ errors)
        assert torch.equal(found, torch.autograd.grad(drawn, source, errors, True)[0])
    assert source.grad is None
    assert not found.requires_grad
