"""Sequences of transformations: parameters in, transformed images out."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sklearn_sprites._engine.ops import warps
from sklearn_sprites._engine.ops.morphology import morphological
from sklearn_sprites._engine.ops.sampling import Grid, make_grid, pad_to_canvas, sample
from sklearn_sprites._engine.spec import (
    COLORS,
    MORPHOLOGICAL_KERNEL,
    SPLINE_GRID,
    WARPS,
)

INVERSION_STEPS = 12  # fixed-point steps that undo a spline


@dataclass(frozen=True)
class Sequence:
    """Spatial transformations in the order in which they are applied to a sprite.

    Adjacent warps compose on coordinates and read the source once. Params are a dict
    ``name -> (m, p)``; a name that is missing from it is not applied. Colors are
    elsewhere: they commute with warps.
    """

    names: tuple[str, ...]
    grid: Grid
    spline_basis: Tensor  # (P, g^2) at the pixel centres
    padding: str

    @property
    def aspect(self) -> float:
        """Width over height."""
        return self.grid.width / self.grid.height

    def apply(self, canvas: Tensor, params: dict[str, Tensor]) -> Tensor:
        """Transform padded sprites (m, D, H', W') into images (m, D, H, W)."""
        run: list[str] = []
        for name in self.names:
            if name == "morphological" and name in params:
                flow = self._displacement(run, params)
                images = sample(canvas, flow, self.grid, self.padding)
                images = morphological(images, params[name], MORPHOLOGICAL_KERNEL)
                canvas, run = pad_to_canvas(images, self.padding), []
            elif name in params:
                run.append(name)
        return sample(canvas, self._displacement(run, params), self.grid, self.padding)

    def _displacement(self, run: list[str], params: dict[str, Tensor]) -> Tensor | None:
        """Where output pixels look in the source: the last transformation comes first."""
        moved: Tensor | None = None  # (m, P, 2)
        for name in reversed(run):
            step = self._step(name, moved, params[name])
            moved = step if moved is None else moved + step
        return moved

    def _step(self, name: str, moved: Tensor | None, params: Tensor) -> Tensor:
        if name == "thin_plate_spline" and moved is None:
            return warps.thin_plate_spline(self.spline_basis, params)
        points = self.grid.points.expand(len(params), -1, -1)
        points = points if moved is None else points + moved
        if name == "thin_plate_spline":
            basis = warps.spline_basis(points, SPLINE_GRID)
            return warps.thin_plate_spline(basis, params)
        return warps.RIGID_WARPS[name](points, params, self.aspect)

    def undo(self, images: Tensor, params: dict[str, Tensor]) -> Tensor:
        """Bring images (m, C, H, W) into the sprite's frame; outside: the border.

        Rigid warps are inverted in closed form, splines by fixed-point iteration;
        a morphological transformation has no inverse and is left as it is.
        """
        first = next(iter(params.values()), None)
        if first is None:
            return images
        points = self.grid.points.expand(len(first), -1, -1)
        start = points
        for name in self.names:
            if name == "thin_plate_spline" and name in params:
                points = self._undo_spline(points, params[name])
            elif name in WARPS and name in params:
                matrix = warps.homography(name, params[name], self.aspect)
                inverse = torch.linalg.inv_ex(matrix)[0]
                points = warps.apply_homography(points, inverse)
        flow = points - start
        return sample(pad_to_canvas(images, "border"), flow, self.grid, "border")

    def _undo_spline(self, points: Tensor, params: Tensor) -> Tensor:
        found = points
        for _ in range(INVERSION_STEPS):
            basis = warps.spline_basis(found, SPLINE_GRID)
            found = points - warps.thin_plate_spline(basis, params)
        return found


def make_sequence(
    names: tuple[str, ...], height: int, width: int, padding: str, device: torch.device
) -> Sequence:
    """The spatial part of `names` for images of one size."""
    grid = make_grid(height, width, device=device, dtype=torch.float32)
    spatial = tuple(name for name in names if name not in COLORS)
    basis = warps.spline_basis(grid.points.double(), SPLINE_GRID).float()
    return Sequence(spatial, grid, basis, padding)
