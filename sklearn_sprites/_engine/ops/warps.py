"""How spatial transformations move points.

Convention
----------
Points and flows are planes ``(m, 2, P)`` in [-1, 1], ``x`` first. Output points move to
where they look in the source, so a positive translation moves the drawn sprite to the
left and up. Zero parameters displace nothing, exactly. Rotations and similarities are
rigid in pixels, also where an image is not square: `aspect` is width / height.

A flow that is a spline of the pixel centres followed by affine maps stays in the span
of one constant basis, ``g^2`` radial functions and ``(x, y, 1)``; such flows compose on
their coefficients ``(m, 2, g^2 + 3)`` and cost one matrix product in the end.
"""

import torch
from torch import Tensor

AFFINE_FAMILY = ("translation", "position", "rotation", "similarity", "affine")


def affine_part(name: str, params: Tensor, aspect: float) -> Tensor:
    """What a transformation of the affine family adds to the identity, (m, 2, 3).

    Parameters ``(m, p)``: translation ``(tx, ty)``; position ``(s, tx, ty)``, scale
    ``exp(s)``; rotation, an angle in radians; similarity ``(a, b, tx, ty)``,
    ``[[1 + a, -b], [b, 1 + a]]`` in pixels; affine, the 2 x 3 matrix by rows.
    """
    if name == "affine":
        return params.view(-1, 2, 3)
    none = torch.zeros_like(params[:, 0])
    diagonal, turn, right, below = none, none, none, none
    if name == "translation":
        right, below = params.unbind(1)
    elif name == "position":
        scale, right, below = params.unbind(1)
        diagonal = torch.expm1(scale)
    elif name == "rotation":
        diagonal, turn = torch.cos(params[:, 0]) - 1, torch.sin(params[:, 0])
    else:
        diagonal, turn, right, below = params.unbind(1)
    across = torch.stack([diagonal, -turn / aspect, right], 1)
    down = torch.stack([turn * aspect, diagonal, below], 1)
    return torch.stack([across, down], 1)


def homography(name: str, params: Tensor, aspect: float) -> Tensor:
    """The 3 x 3 matrix of a rigid warp, (m, 3, 3), acting on ``(x, y, 1)``."""
    if name == "projective":
        extra = torch.nn.functional.pad(params, (0, 1)).view(-1, 3, 3)
    else:
        extra = affine_part(name, params, aspect)
        extra = torch.nn.functional.pad(extra, (0, 0, 0, 1))
    return extra + torch.eye(3, dtype=params.dtype, device=params.device)


def affine_flow(points: Tensor, matrix: Tensor) -> Tensor:
    """Displacement of points (2, P) or (m, 2, P) by ``I + matrix``, (m, 2, 3)."""
    return matrix[..., :2] @ points + matrix[..., 2:]


def projective_flow(points: Tensor, params: Tensor) -> Tensor:
    """Displacement of points (m, 2, P) by ``I + B``; eight entries of B by rows."""
    matrix = torch.nn.functional.pad(params, (0, 1)).view(-1, 3, 3)
    moved = matrix[..., :2] @ points + matrix[..., 2:]  # (m, 3, P)
    depth = moved[:, 2:]  # the homogeneous coordinate less one
    return (moved[:, :2] - points * depth) / away_from_zero(1 + depth)


def away_from_zero(x: Tensor, least: float = 1e-6) -> Tensor:
    """`x`, with values nearer to zero than `least` replaced by `least`."""
    return torch.where(x.abs() < least, torch.full_like(x, least), x)


def control_points(side: int, *, like: Tensor) -> Tensor:
    """The regular `side` x `side` lattice on [-1, 1]^2, (2, side^2), row by row."""
    line = torch.linspace(-1, 1, side, dtype=like.dtype, device=like.device)
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()])


def _radial(a: Tensor, b: Tensor) -> Tensor:
    """Radial functions between points (..., 2, A) and (2, G): (..., G, A)."""
    squared = (a.unsqueeze(-2) - b.unsqueeze(-1)).square().sum(-3)
    return 0.5 * squared * torch.log(squared.clamp_min(1e-12))


def spline_basis(points: Tensor, side: int) -> Tensor:
    """Influence of every control point on points (..., 2, P): (..., side^2, P).

    A thin-plate spline is linear in what happens at its control points, so one constant
    matrix replaces the usual solve.
    """
    control = control_points(side, like=points)
    n = control.shape[1]
    system = points.new_zeros(n + 3, n + 3)
    plane = torch.cat([control, torch.ones_like(control[:1])])  # (3, n)
    system[:n, :n], system[n:, :n], system[:n, n:] = (
        _radial(control, control),
        plane,
        plane.T,
    )
    weights = torch.linalg.inv_ex(system.double())[0][:, :n]  # (n + 3, n)
    ones = torch.ones_like(points[..., :1, :])
    features = torch.cat([_radial(points, control), points, ones], -2)
    return weights.T.to(features.dtype) @ features


def flow_basis(points: Tensor, side: int) -> Tensor:
    """Basis (side^2 + 3, P) of flows of pixel centres (2, P): spline, x, y, 1."""
    ones = torch.ones_like(points[:1])
    spline = spline_basis(points.double(), side).to(points.dtype)
    return torch.cat([spline, points, ones])


def spline_coefficients(params: Tensor) -> Tensor:
    """A spline's parameters (m, 2 g^2), ``(x, y)`` by control point, on the basis."""
    control = params.view(len(params), -1, 2).mT  # (m, 2, g^2)
    return torch.nn.functional.pad(control, (0, 3))


def affine_coefficients(matrix: Tensor, n_radial: int) -> Tensor:
    """An affine map's displacement (m, 2, 3) on the basis."""
    return torch.nn.functional.pad(matrix, (n_radial, 0))


def then_affine(coefficients: Tensor, matrix: Tensor) -> Tensor:
    """Coefficients of a flow followed by ``I + matrix``, (m, 2, 3)."""
    moved = coefficients + matrix[..., :2] @ coefficients
    return moved + affine_coefficients(matrix, coefficients.shape[-1] - 3)


def flow(coefficients: Tensor, basis: Tensor) -> Tensor:
    """The flow (m, 2, P) of coefficients (m, 2, q) on a basis (q, P)."""
    return (coefficients.flatten(0, 1) @ basis).view(-1, 2, basis.shape[1])


def apply_homography(points: Tensor, matrix: Tensor) -> Tensor:
    """Points (m, 2, P) under matrices (m, 3, 3), (m, 2, P)."""
    moved = matrix[..., :2] @ points + matrix[..., 2:]
    return moved[:, :2] / away_from_zero(moved[:, 2:])
