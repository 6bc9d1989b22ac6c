"""Bringing what stands out of an image to its middle, by whole pixels.

Where objects lie anywhere on a plain ground, their place is known without learning: it
is the centroid of what differs from the border. Whole shifts move pixels unchanged.
"""

import torch
from torch import Tensor

FAINT = 0.15  # of the largest difference from the border: taken for noise
TIE = 1e-3  # pixels: rounding errors do not decide between two halves


def offsets(images: Tensor) -> Tensor:
    """Pixels (m, 2), ``(x, y)``, by which an image's content is off its middle.

    images (m, C, H, W); the level of the ground is the median of the border, per
    channel. Rounded to whole pixels; zero where nothing stands out.
    """
    height, width = images.shape[-2:]
    sides = [images[..., 0, :], images[..., -1, :], images[..., 0], images[..., -1]]
    level = torch.cat(sides, -1).median(-1).values[..., None, None]
    evidence = (images - level).abs().sum(1)  # (m, H, W)
    faint = FAINT * evidence.flatten(1).amax(1)[:, None, None]
    evidence = (evidence - faint).clamp_min(0)
    columns, rows = evidence.sum(1), evidence.sum(2)  # (m, W), (m, H)
    mass = rows.sum(1).clamp_min(1e-6)
    along = torch.arange(max(height, width), device=images.device, dtype=images.dtype)
    x = (columns * (along[:width] - (width - 1) / 2)).sum(1) / mass
    y = (rows * (along[:height] - (height - 1) / 2)).sum(1) / mass
    # halves go up, so that an object's offset grows by one when it moves by one
    return torch.floor(torch.stack([x, y], 1) + 0.5 + TIE).to(torch.int64)


def shifted(images: Tensor, offset: Tensor) -> Tensor:
    """Images (m, C, H, W) whose pixel p is pixel p + offset (m, 2) of the original.

    Beyond the border, the border's pixels are repeated.
    """
    height, width = images.shape[-2:]
    device = images.device
    x = torch.arange(width, device=device) + offset[:, :1]  # (m, W)
    y = torch.arange(height, device=device) + offset[:, 1:]  # (m, H)
    x, y = x.clamp(0, width - 1), y.clamp(0, height - 1)
    shape = images.shape
    rows = images.gather(2, y[:, None, :, None].expand(shape))
    return rows.gather(3, x[:, None, None, :].expand(shape))


def centered(images: Tensor) -> tuple[Tensor, Tensor]:
    """Images with their content in the middle, and the offsets taken away."""
    offset = offsets(images)
    return shifted(images, offset), offset


def centered_in_parts(images: Tensor, chunk: int = 2048) -> Tensor:
    """:func:`centered` for any number of images, without their offsets."""
    return torch.cat([centered(part)[0] for part in images.split(chunk)])
