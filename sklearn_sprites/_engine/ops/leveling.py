"""Taking slopes of light off images: what changes evenly from side to side."""

import torch
from torch import Tensor

from sklearn_sprites._engine.ops.sampling import make_grid

TINY = 1e-9  # keeps planes apart where few pixels count
CHUNK = 2048  # images leveled together


def slope_filter(
    height: int, width: int, weights: Tensor | None, *, like: Tensor
) -> Tensor:
    """What an image's pixels are multiplied by to give its slopes, (H * W, 2).

    Convention
    ----------
    Slopes are those, per unit of x and of y in [-1, 1], of the plane that is nearest
    to an image by least squares; `weights` (H, W) say what squares count, if not all
    the same. The filter has the type of `like`, and lies where it does.
    """
    points = make_grid(height, width, device=like.device, dtype=torch.float64).points
    rows = torch.cat([torch.ones_like(points[:1]), points])  # (3, P)
    weighed = rows if weights is None else rows * weights.flatten()
    gram = weighed @ rows.mT + TINY * torch.eye(3).to(rows)
    return torch.linalg.solve(gram, weighed)[1:].mT.to(like).contiguous()  # (P, 2)


def leveled(images: Tensor, read: Tensor) -> tuple[Tensor, Tensor]:
    """Images (m, C, H, W) less their slopes, which a filter reads, and these.

    Slopes are (m, C, 2), of x and of y. An image keeps its mean.
    """
    slopes = images.flatten(2) @ read
    return images - planes(slopes, *images.shape[-2:]), slopes


def leveled_in_parts(images: Tensor, weights: Tensor | None) -> Tensor:
    """:func:`leveled` for any number of images, without their slopes."""
    height, width = images.shape[-2:]
    read = slope_filter(height, width, weights, like=images)
    return torch.cat([leveled(part, read)[0] for part in images.split(CHUNK)])


def planes(slopes: Tensor, height: int, width: int) -> Tensor:
    """What slopes (m, C, 2) add to the pixels of images, (m, C, H, W)."""
    grid = make_grid(height, width, device=slopes.device, dtype=slopes.dtype)
    return (slopes @ grid.points).unflatten(2, (height, width))
