"""Which affine maps alignment may use for a transformation, and their parameters."""

import torch
from torch import Tensor

from sklearn_sprites._engine.ops.alignment import Family
from sklearn_sprites._engine.ops.constants import constant
from sklearn_sprites._engine.ops.sampling import Grid
from sklearn_sprites._engine.spec import RIGID, ModelSpec

ERROR_WEIGHT = 7.0  # of the mean squared error, in units of the images' variance


def rigid_name(spec: ModelSpec) -> str | None:
    """The first transformation that alignment can find."""
    return next((name for name in spec.transformations if name in RIGID), None)


def _directions(name: str, aspect: float) -> list[list[float]]:
    """Rows of a 2 x 3 matrix per parameter, to first order."""
    across, down = [0.0, 0, 1, 0, 0, 0], [0.0, 0, 0, 0, 0, 1]
    scale = [1.0, 0, 0, 0, 1, 0]
    turn = [0.0, -1 / aspect, 0, aspect, 0, 0]
    known = {
        "translation": [across, down],
        "position": [scale, across, down],
        "rotation": [turn],
        "similarity": [scale, turn, across, down],
    }
    return known.get(name, torch.eye(6).tolist())


def error_weight(images: Tensor) -> Tensor:
    """What mean squared errors of `images` (n, C, H, W) weigh against the prior."""
    return ERROR_WEIGHT / images.var(0, correction=0).mean().clamp_min(1e-12)


def family_of(name: str, freedom: int, weight: float | Tensor, grid: Grid) -> Family:
    """The family of affine maps of a rigid transformation on a grid."""
    entries = [x for row in _directions(name, grid.width / grid.height) for x in row]
    basis = constant(entries, grid.points).view(-1, 6)
    return Family(grid, basis, weight, freedom)


def make_family(name: str, freedom: int, images: Tensor, grid: Grid) -> Family:
    """The same for `images` (n, C, H, W), whose errors are weighed by their variance.

    Waits for the device once.
    """
    return family_of(name, freedom, float(error_weight(images)), grid)


def to_parameters(name: str, matrices: Tensor, family: Family) -> Tensor:
    """Parameters (n, p) of the transformation `name` for matrices (n, 6)."""
    found = matrices @ torch.linalg.pinv(family.basis)
    if name == "position":
        return torch.cat([torch.log1p(found[:, :1].clamp_min(-0.9)), found[:, 1:]], 1)
    if name == "rotation":
        return torch.atan2(found, 1 + matrices[:, [0, 4]].mean(1, keepdim=True))
    if name == "projective":
        return torch.nn.functional.pad(found, (0, 2))
    return found
