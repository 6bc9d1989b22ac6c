"""Sequences of transformations: parameters in, transformed images out."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sklearn_sprites._engine.ops import warps
from sklearn_sprites._engine.ops.morphology import morphological
from sklearn_sprites._engine.ops.sampling import Grid, make_grid, pad_to_canvas, sample
from sklearn_sprites._engine.ops.thickness import grown, step_of
from sklearn_sprites._engine.spec import (
    COLORS,
    MORPHOLOGICAL_KERNEL,
    SPLINE_GRID,
    WARPS,
)

INVERSION_STEPS = 12  # fixed-point steps that undo a spline,
FIRST_RATE = 0.5  # the first by this share of what is missed


@dataclass(frozen=True)
class Sequence:
    """Spatial transformations in the order in which they are applied to a sprite.

    Adjacent warps compose on coordinates and read the source once. Params are a dict
    ``name -> (m, p)``; a name that is missing from it is not applied. Growth comes
    last, wherever its name stands. Colors are elsewhere: they commute with warps.
    """

    names: tuple[str, ...]
    grid: Grid
    basis: Tensor  # (g^2 + 3, P), see ops/warps.py
    padding: str

    @property
    def aspect(self) -> float:
        """Width over height."""
        return self.grid.width / self.grid.height

    @property
    def step(self) -> int:
        """Pixels between which slopes are measured."""
        return step_of(self.grid.height, self.grid.width)

    def apply(self, canvas: Tensor, params: dict[str, Tensor]) -> Tensor:
        """Transform padded sprites (m, D, H', W') into images (m, D, H, W)."""
        run: list[str] = []
        for name in self.names:
            if name == "morphological" and name in params:
                images = sample(
                    canvas, self._flow(run, params), self.grid, self.padding
                )
                images = morphological(images, params[name], MORPHOLOGICAL_KERNEL)
                canvas, run = pad_to_canvas(images, self.padding), []
            elif name in WARPS and name in params:
                run.append(name)
        images = sample(canvas, self._flow(run, params), self.grid, self.padding)
        if "thickness" in params:
            images = grown(images, params["thickness"], self.step)
        return images

    def _flow(self, run: list[str], params: dict[str, Tensor]) -> Tensor | None:
        """Where output pixels look in the source: the last transformation comes first.

        A spline at the end and affine maps before it compose on coefficients; whatever
        else there is moves the points themselves.
        """
        todo = list(run)
        coefficients = self._compose(todo, params)
        moved = None if coefficients is None else warps.flow(coefficients, self.basis)
        while todo:
            name = todo.pop()
            points = self.grid.points.expand(len(params[name]), -1, -1)
            points = points if moved is None else points + moved
            step = self._step(name, points, params[name])
            moved = step if moved is None else moved + step
        return moved

    def _compose(self, todo: list[str], params: dict[str, Tensor]) -> Tensor | None:
        """Take from the end of `todo` what stays in the span of the basis."""
        found: Tensor | None = None  # (m, 2, q)
        while todo:
            name, n_radial = todo[-1], len(self.basis) - 3
            if name in warps.AFFINE_FAMILY:
                matrix = warps.affine_part(name, params[name], self.aspect)
                found = (
                    warps.affine_coefficients(matrix, n_radial)
                    if found is None
                    else warps.then_affine(found, matrix)
                )
            elif name == "thin_plate_spline" and found is None:
                found = warps.spline_coefficients(params[name])
            else:
                break
            todo.pop()
        return found

    def _step(self, name: str, points: Tensor, params: Tensor) -> Tensor:
        """Displacement of points (m, 2, P) by one transformation."""
        if name == "thin_plate_spline":
            basis = warps.spline_basis(points, SPLINE_GRID)  # (m, g^2, P)
            return params.view(len(params), -1, 2).transpose(1, 2) @ basis
        if name == "projective":
            return warps.projective_flow(points, params)
        return warps.affine_flow(points, warps.affine_part(name, params, self.aspect))

    def undo(self, images: Tensor, params: dict[str, Tensor]) -> Tensor:
        """Bring images (m, C, H, W) into the sprite's frame; outside: the border.

        Warps are inverted, thickness to first order; a morphological transformation has
        no inverse and is left as it is. A sprite is drawn by one interpolation and is
        sharper than its images for that; a second one makes these even softer, so they
        are read by cubic interpolation, which keeps more of their contrast.
        """
        first = next(iter(params.values()), None)
        if first is None:
            return images
        if "thickness" in params:
            images = grown(images, -params["thickness"], self.step)
        canvas = pad_to_canvas(images, "border")
        flow = self.inverse_flow(params, len(first))
        return sample(canvas, flow, self.grid, "border", mode="bicubic")

    def inverse_flow(self, params: dict[str, Tensor], m: int) -> Tensor:
        """Where pixels of `m` sprites are shown in their images, (m, 2, P).

        Rigid warps are inverted in closed form, splines by fixed-point iteration.
        """
        start = self.grid.points.expand(m, -1, -1)
        points = start
        for name in self.names:
            if name == "thin_plate_spline" and name in params:
                points = self._undo_spline(points, params[name])
            elif name in WARPS and name in params:
                matrix = warps.homography(name, params[name], self.aspect)
                inverse = torch.linalg.inv_ex(matrix)[0]
                points = warps.apply_homography(points, inverse)
        return points - start

    def _undo_spline(self, points: Tensor, params: Tensor) -> Tensor:
        """Where a spline looks at points; each goes on as far as that brings it nearer.

        Full steps alone would leave points that are squeezed to less than half.
        """
        found = points
        missed = self._step("thin_plate_spline", found, params)
        rate = torch.full_like(missed[:, :1], FIRST_RATE)
        for _ in range(INVERSION_STEPS):
            ahead = found - rate * missed
            left = ahead + self._step("thin_plate_spline", ahead, params) - points
            nearer = _squared_length(left) < _squared_length(missed)
            found = torch.where(nearer, ahead, found)
            missed = torch.where(nearer, left, missed)
            rate = torch.where(nearer, (1.5 * rate).clamp_max(1), 0.5 * rate)
        return found


def _squared_length(vectors: Tensor) -> Tensor:
    return vectors.square().sum(1, keepdim=True)


def make_sequence(
    names: tuple[str, ...], height: int, width: int, padding: str, device: torch.device
) -> Sequence:
    """The spatial part of `names` for images of one size."""
    grid = make_grid(height, width, device=device, dtype=torch.float32)
    spatial = tuple(name for name in names if name not in COLORS)
    return Sequence(spatial, grid, warps.flow_basis(grid.points, SPLINE_GRID), padding)
