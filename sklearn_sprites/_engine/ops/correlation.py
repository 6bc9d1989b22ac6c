"""Correlation of images with filters at every position, by FFT.

Convention
----------
A filter (h, w) may hang over the border by half: with its upper left pixel at row
``i - h // 2`` and column ``j - w // 2`` of the image, its correlation is at ``(i, j)``
of an (H', W') map. Outside of images are zeros.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Filters(NamedTuple):
    """Filters (K, h, w) ready for images of one size."""

    spectra: Tensor  # (K, n, m // 2 + 1), conjugate
    energy: Tensor  # (K, H', W') squares of the filter inside the image
    sides: tuple[int, int]  # of a filter
    canvas: tuple[int, int]  # n, m


def fast_length(n: int) -> int:
    """The smallest power of two, or three times one, from 16, that is not below n."""
    power = 1 << max(n - 1, 15).bit_length()
    return 3 * power // 4 if power > 16 and 3 * power // 4 >= n else power


def positions(side: int, sprite: int) -> int:
    """How many positions a filter has along a side."""
    return side + 1 - sprite % 2


def make_filters(filters: Tensor, height: int, width: int) -> Filters:
    """Transform filters (K, h, w) for images of `height` x `width` pixels."""
    h, w = filters.shape[1:]
    canvas = (fast_length(height + 2 * (h // 2)), fast_length(width + 2 * (w // 2)))
    spectra = torch.fft.rfft2(filters, s=canvas).conj()
    inside = torch.ones(1, height, width, dtype=filters.dtype, device=filters.device)
    ready = Filters(spectra, spectra.real, (h, w), canvas)
    squares = ready._replace(spectra=torch.fft.rfft2(filters.square(), s=canvas).conj())
    energy = correlate(inside[:, None], squares)[0, 0]
    return ready._replace(energy=energy.clamp_min(0))


def correlate(maps: Tensor, filters: Filters) -> Tensor:
    """All filters at all positions of maps (B, D, H, W): (B, D, K, H', W')."""
    (h, w), (height, width) = filters.sides, maps.shape[2:]
    padded = F.pad(maps, (w // 2, 0, h // 2, 0))
    spectra = torch.fft.rfft2(padded, s=filters.canvas)[:, :, None] * filters.spectra
    found = torch.fft.irfft2(spectra, s=filters.canvas)
    return found[..., : positions(height, h), : positions(width, w)]
