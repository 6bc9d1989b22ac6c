"""Reading images at warped points: one convention, one place.

Convention
----------
Points are ``(x, y)`` in [-1, 1] between the outer edges of an image, so pixel ``i`` of
``n`` has its centre at ``(2 i + 1) / n - 1`` (half-pixel centres). A warp says, for
every *output* pixel, where to look in the *source*; it is kept as a displacement
``(m, P, 2)`` from the output pixel's own centre, so that no displacement reads the
source exactly.

Bilinear sampling is exact in floating point only on a canvas whose sides are powers of
two, where pixel centres are representable; sources are padded to such a canvas.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Grid:
    """Pixel centres of an image, in its own and in its padded canvas' coordinates."""

    height: int
    width: int
    points: Tensor  # (P, 2) centres in [-1, 1]
    canvas_points: Tensor  # (P, 2) the same centres on the padded canvas
    canvas_scale: Tensor  # (2,) a length in [-1, 1] on the padded canvas


def canvas_side(side: int) -> int:
    """The smallest power of two that is not below `side`."""
    return 1 << (side - 1).bit_length()


def _centres(side: int, whole: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    return (2 * torch.arange(side, device=device, dtype=dtype) + 1) / whole - 1


def make_grid(
    height: int, width: int, *, device: torch.device, dtype: torch.dtype
) -> Grid:
    """Pixel centres of a `height` x `width` image, row by row."""

    def lattice(rows: int, columns: int) -> Tensor:
        y, x = torch.meshgrid(
            _centres(height, rows, device, dtype),
            _centres(width, columns, device, dtype),
            indexing="ij",
        )
        return torch.stack([x.flatten(), y.flatten()], 1)  # (P, 2)

    rows, columns = canvas_side(height), canvas_side(width)
    scale = torch.tensor([width / columns, height / rows], device=device, dtype=dtype)
    return Grid(height, width, lattice(height, width), lattice(rows, columns), scale)


def pad_to_canvas(images: Tensor, padding: str) -> Tensor:
    """Extend (m, D, H, W) on the right and below, to sides that are powers of two.

    `padding` is ``"border"`` (repeat the last pixel) or ``"zeros"``.
    """
    height, width = images.shape[-2:]
    extra = (0, canvas_side(width) - width, 0, canvas_side(height) - height)
    if not any(extra):
        return images
    return F.pad(images, extra, mode="replicate" if padding == "border" else "constant")


def sample(canvas: Tensor, displacement: Tensor | None, grid: Grid, padding: str):
    """Read padded images at displaced pixel centres.

    Parameters
    ----------
    canvas : (m, D, H', W'), from :func:`pad_to_canvas`.
    displacement : (m, P, 2) or None for no displacement.
    grid : the output's pixel centres.
    padding : what lies outside, ``"border"`` or ``"zeros"``.

    Returns
    -------
    (m, D, H, W)
    """
    if displacement is None:
        return canvas[..., : grid.height, : grid.width]
    where = torch.addcmul(grid.canvas_points, displacement, grid.canvas_scale)
    where = where.view(-1, grid.height, grid.width, 2)  # (m, H, W, 2)
    return F.grid_sample(
        canvas, where, mode="bilinear", padding_mode=padding, align_corners=False
    )
