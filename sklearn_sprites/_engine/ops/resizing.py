"""Images made smaller or larger as a whole."""

import torch.nn.functional as F
from torch import Tensor


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Images (m, C, H, W) with `size` = (height, width); of that size as they are.

    Smaller ones are means over all pixels that a new one touches, larger ones are
    interpolated linearly, both around the same centers as in
    :mod:`sklearn_sprites._engine.ops.sampling`.
    """
    old = tuple(images.shape[-2:])
    if old == size:
        return images
    if not images.numel():  # which torch cannot interpolate
        return images.new_zeros((*images.shape[:2], *size))
    if size[0] <= old[0] and size[1] <= old[1]:
        return F.interpolate(images, size, mode="area")
    return F.interpolate(images, size, mode="bilinear", align_corners=False)


def in_pixels_of(images: Tensor, side: int) -> Tensor:
    """Images (m, C, H, W) in square pixels of `side`; the last ones may be narrower."""
    return images if side == 1 else F.avg_pool2d(images, side, ceil_mode=True)
