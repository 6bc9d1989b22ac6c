"""How each spatial transformation moves points.

Convention
----------
Every function takes points ``(m, P, 2)`` in [-1, 1], ``(x, y)``, and parameters
``(m, p)``, and returns the *displacement* ``(m, P, 2)`` of each point: zero parameters
displace nothing, exactly. Output points move to where they look in the source, so a
positive translation moves the drawn sprite to the left and up. Rotations and
similarities are rigid in pixels, also where an image is not square: `aspect` is
width / height.
"""

import torch
from torch import Tensor


def translation(points: Tensor, params: Tensor, aspect: float) -> Tensor:
    """Shift by ``(tx, ty)``."""
    return params[:, None, :].expand_as(points)


def position(points: Tensor, params: Tensor, aspect: float) -> Tensor:
    """Scale by ``exp(s)`` and shift: parameters ``(s, tx, ty)``."""
    return torch.expm1(params[:, None, :1]) * points + params[:, None, 1:]


def rotation(points: Tensor, params: Tensor, aspect: float) -> Tensor:
    """Turn by an angle in radians, rigid in pixels."""
    x, y = points.unbind(-1)
    less, sine = torch.cos(params) - 1, torch.sin(params)  # (m, 1)
    return torch.stack([less * x - sine * y / aspect, sine * x * aspect + less * y], -1)


def similarity(points: Tensor, params: Tensor, aspect: float) -> Tensor:
    """``[[1 + a, -b], [b, 1 + a]]`` in pixels, and a shift: ``(a, b, tx, ty)``."""
    x, y = points.unbind(-1)
    a, b = params[:, :1], params[:, 1:2]  # (m, 1)
    moved = torch.stack([a * x - b * y / aspect, b * x * aspect + a * y], -1)
    return moved + params[:, None, 2:]


def affine(points: Tensor, params: Tensor, aspect: float) -> Tensor:
    """``I + B`` and a shift: parameters are the 2 x 3 matrix ``[B | t]``, by rows."""
    matrix = params.view(-1, 2, 3)
    x, y = points[..., :1], points[..., 1:]  # (m, P, 1)
    columns = matrix.unsqueeze(1).unbind(-1)  # 3 x (m, 1, 2)
    return torch.addcmul(torch.addcmul(columns[2], y, columns[1]), x, columns[0])


def projective(points: Tensor, params: Tensor, aspect: float) -> Tensor:
    """Homography ``I + B``, eight parameters by rows, the last entry of B being zero."""
    x, y = points.unbind(-1)
    b = params[:, :, None].unbind(1)  # 8 x (m, 1)
    depth = b[6] * x + b[7] * y  # (m, P); the homogeneous coordinate less one
    whole = 1 + depth
    safe = torch.where(whole.abs() < 1e-6, torch.full_like(whole, 1e-6), whole)
    across = b[0] * x + b[1] * y + b[2] - x * depth
    down = b[3] * x + b[4] * y + b[5] - y * depth
    return torch.stack([across / safe, down / safe], -1)


def control_points(side: int, *, like: Tensor) -> Tensor:
    """The regular `side` x `side` lattice on [-1, 1]^2, (side^2, 2), row by row."""
    line = torch.linspace(-1, 1, side, dtype=like.dtype, device=like.device)
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], 1)


def _radial(a: Tensor, b: Tensor) -> Tensor:
    squared = (a.unsqueeze(-2) - b).square().sum(-1)
    return 0.5 * squared * torch.log(squared.clamp_min(1e-12))


def spline_basis(points: Tensor, side: int) -> Tensor:
    """Matrix from control displacements to displacements of `points`.

    For points (..., P, 2) it is (..., P, side^2): a thin-plate spline is linear in what
    happens at its control points, so one constant matrix replaces the usual solve.
    """
    control = control_points(side, like=points)
    n = len(control)
    system = points.new_zeros(n + 3, n + 3)
    affine_part = torch.cat([control.new_ones(n, 1), control], 1)
    system[:n, :n], system[:n, n:] = _radial(control, control), affine_part
    system[n:, :n] = affine_part.T
    weights = torch.linalg.inv(system.double())[:, :n].to(points.dtype)
    ones = torch.ones_like(points[..., :1])
    return torch.cat([_radial(points, control), ones, points], -1) @ weights


def thin_plate_spline(basis: Tensor, params: Tensor) -> Tensor:
    """Displace by a spline: basis (P, g^2) or (m, P, g^2), parameters (m, 2 g^2)."""
    control = params.view(len(params), -1, 2)  # (m, g^2, 2)
    if basis.dim() == 3:
        return basis @ control
    m, n = control.shape[:2]
    flat = basis @ control.transpose(0, 1).reshape(n, -1)  # (P, 2 m): one product
    return flat.view(len(basis), m, 2).transpose(0, 1)


RIGID_WARPS = {
    "translation": translation,
    "position": position,
    "rotation": rotation,
    "similarity": similarity,
    "affine": affine,
    "projective": projective,
}


def homography(name: str, params: Tensor, aspect: float) -> Tensor:
    """The 3 x 3 matrix of a rigid warp, (m, 3, 3), acting on ``(x, y, 1)``."""
    matrix = torch.eye(3, dtype=params.dtype, device=params.device)
    matrix = matrix.repeat(len(params), 1, 1)
    if name == "projective":
        matrix = matrix + torch.nn.functional.pad(params, (0, 1)).view(-1, 3, 3)
        return matrix
    corners = params.new_tensor([[[0.0, 0], [1, 0], [0, 1]]]).expand(len(params), 3, 2)
    moved = corners + RIGID_WARPS[name](corners, params, aspect)  # where 0, x, y go
    matrix[:, :2, 2] = moved[:, 0]
    matrix[:, :2, 0] = moved[:, 1] - moved[:, 0]
    matrix[:, :2, 1] = moved[:, 2] - moved[:, 0]
    return matrix


def apply_homography(points: Tensor, matrix: Tensor) -> Tensor:
    """Points (m, P, 2) under matrices (m, 3, 3), (m, P, 2)."""
    moved = points @ matrix[:, :, :2].transpose(1, 2) + matrix[:, None, :, 2]
    depth = moved[..., 2:]
    safe = torch.where(depth.abs() < 1e-6, torch.full_like(depth, 1e-6), depth)
    return moved[..., :2] / safe
