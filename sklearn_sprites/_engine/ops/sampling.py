"""Reading images at warped points: one convention, one place.

Convention
----------
Points are ``(x, y)`` in [-1, 1] between the outer edges of an image, so pixel ``i`` of
``n`` has its centre at ``(2 i + 1) / n - 1`` (half-pixel centres). A warp says, for
every *output* pixel, where to look in the *source*; it is kept as a flow ``(m, 2, P)``,
the displacement from the output pixel's own centre, so that no flow reads the source
exactly. Both coordinates are planes: products and sums over pixels run on contiguous
memory.

Bilinear sampling is exact in floating point only on a canvas whose sides are powers of
two, where pixel centres are representable; sources are padded to such a canvas.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sklearn_sprites._engine.ops.constants import constant

FAR = 1e6  # where infinite displacements lead, in halves of an image


@dataclass(frozen=True)
class Grid:
    """Pixel centres of an image, in its own and in its padded canvas' coordinates."""

    height: int
    width: int
    points: Tensor  # (2, P) centres in [-1, 1]
    canvas_points: Tensor  # (2, P) the same centres on the padded canvas
    canvas_scale: Tensor  # (2, 1) a length in [-1, 1] on the padded canvas


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
        return torch.stack([x.flatten(), y.flatten()])  # (2, P)

    rows, columns = canvas_side(height), canvas_side(width)
    points = lattice(height, width)
    scale = constant([width / columns, height / rows], points)[:, None]
    return Grid(height, width, points, lattice(rows, columns), scale)


def pad_to_canvas(images: Tensor, padding: str) -> Tensor:
    """Extend (m, D, H, W) on the right and below, to sides that are powers of two.

    `padding` is ``"border"`` (repeat the last pixel) or ``"zeros"``.
    """
    height, width = images.shape[-2:]
    extra = (0, canvas_side(width) - width, 0, canvas_side(height) - height)
    if not any(extra):
        return images
    return F.pad(images, extra, mode="replicate" if padding == "border" else "constant")


def sample(
    canvas: Tensor,
    flow: Tensor | None,
    grid: Grid,
    padding: str,
    mode: str = "bilinear",
) -> Tensor:
    """Read padded images at displaced pixel centres.

    Parameters
    ----------
    canvas : (m, D, H', W'), from :func:`pad_to_canvas`.
    flow : (m, 2, P) or None for no displacement.
    grid : the output's pixel centres.
    padding : what lies outside, ``"border"`` or ``"zeros"``.
    mode : ``"bilinear"``, or ``"bicubic"``, which blurs less and may overshoot.

    Returns
    -------
    (m, D, H, W)
    """
    if flow is None:
        return canvas[..., : grid.height, : grid.width]
    where = torch.addcmul(grid.canvas_points, flow, grid.canvas_scale)
    with torch.no_grad():  # grid_sample's backward pass crashes where a point is NaN
        where.nan_to_num_(0.0, FAR, -FAR)
    where = where.view(-1, 2, grid.height, grid.width).permute(0, 2, 3, 1)
    return F.grid_sample(
        canvas, where, mode=mode, padding_mode=padding, align_corners=False
    )
