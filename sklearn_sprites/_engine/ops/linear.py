"""Many small symmetric systems at once, as elementwise arithmetic over the batch."""

import torch
from torch import Tensor


def solve_symmetric(matrix: Tensor, right: Tensor) -> Tensor:
    """Solve ``matrix @ x = right`` for positive definite matrices.

    Convention: matrix (..., n, n) with small n, right (..., n), result (..., n).
    Elimination without pivoting, unrolled over n: every operation runs over the whole
    batch, where LAPACK would be called once per system.
    """
    n = right.shape[-1]
    a = [list(row.unbind(-1)) for row in matrix.unbind(-2)]
    b = list(right.unbind(-1))
    for i in range(n):
        inverse = 1 / a[i][i]
        for j in range(i + 1, n):
            factor = a[i][j] * inverse  # symmetric: a[j][i] = a[i][j]
            for k in range(j, n):
                a[j][k] = a[j][k] - factor * a[i][k]
            b[j] = b[j] - factor * b[i]
    x: list[Tensor] = [b[0]] * n
    for i in reversed(range(n)):
        total = b[i]
        for j in range(i + 1, n):
            total = total - a[i][j] * x[j]
        x[i] = total / a[i][i]
    return torch.stack(x, -1)


def solve_columns(matrix: Tensor, right: Tensor) -> Tensor:
    """The same, one system after the other, for several right sides (..., n, m).

    Quicker for some hundreds of systems, where the operations of an elimination would
    take longer to start than to run.
    """
    return torch.linalg.solve_ex(matrix, right)[0]
