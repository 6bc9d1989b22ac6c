"""What linear operations make of errors of their results."""

import torch
from torch import Tensor


def adjoint(drawn: Tensor, source: Tensor, errors: Tensor) -> Tensor:
    """Errors of what was drawn, brought to where it was drawn from.

    The vector-Jacobian product, by a sum: for given vectors torch loads what its
    compiler proves shapes with, which takes a second.

    Convention
    ----------
    `drawn` and `errors` have one shape; the result has the shape of `source`, from
    which `drawn` was computed with gradients, and which is read only. What has been
    recorded stays, for further errors.
    """
    with torch.enable_grad():
        total = (drawn * errors.detach()).sum()
    return torch.autograd.grad(total, source, retain_graph=True)[0]
