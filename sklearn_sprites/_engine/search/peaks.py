"""Where a further layer would save most, before its pose is known.

Drawing a sprite with mask m and appearance a on top of what is there, b, in its best
color, where the image is free, f, saves about ``sum f m (|x - b|^2 - |x|^2) +
sum_c (sum f m a x_c)^2 / sum f m a^2``: every sum is a correlation of a map of the
image with a filter of the sprite.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sklearn_sprites._engine.ops.correlation import correlate
from sklearn_sprites._engine.search.bank import Bank
from sklearn_sprites._engine.search.biases import contrast_saving

NEVER = -1e3  # savings of what may not be
WINDOW = 5  # a peak is the largest in this many pixels squared
SHIFTS = 3  # places per side tried around a peak


class Scene(NamedTuple):
    """An image and what is drawn already, on coarse pixels.

    ``image`` and ``below`` (B, C, H, W); ``free`` (B, H, W), how much a pixel may
    still be won by a further layer; ``price`` (B, H, W), if any, what a layer pays for
    a pixel.
    """

    image: Tensor
    below: Tensor
    free: Tensor
    price: Tensor | None = None

    def maps(self) -> Tensor:
        """What filters are compared with, (B, C + 2, H, W)."""
        power = self.image.square().sum(1)
        residual = (self.image - self.below).square().sum(1)
        change = (self.free * (residual - power))[:, None]
        if self.price is not None:
            change = change - self.price[:, None]
        free = self.free[:, None]
        return torch.cat([change, free * self.image, free], 1)


class Candidates(NamedTuple):
    """Sprites (B, N) at poses (B, N, 4), and about what each saves (B, N)."""

    sprite: Tensor
    pose: Tensor
    saves: Tensor


def saving(
    change: Tensor, seen: Tensor, power: Tensor, shown: Tensor, area: Tensor
) -> Tensor:
    """Saved errors from correlations: seen (B, C, ...), the others (B, ...).

    `area` is the least that must be shown.
    """
    saved = change + seen.square().sum(1) / power.clamp_min(1e-3)
    return torch.where(shown >= area, saved, NEVER)


def find_peaks(maps: Tensor, bank: Bank, visible: float, count: int) -> Tensor:
    """Rows and columns (B, count, 2) of the best places of the mean sprite."""
    side, size = bank.pool, tuple(maps.shape[2:])
    if side > 1:
        maps = F.avg_pool2d(maps, side, ceil_mode=True)
    change = correlate(maps[:, :1], bank.mean)[:, 0]  # (B, S, H', W')
    seen = correlate(maps[:, 1:-1], bank.mean_ink)
    shown = correlate(maps[:, -1:], bank.mean)[:, 0]
    power = shown
    if bank.power is not bank.alpha:
        power = correlate(maps[:, -1:], bank.mean_power)[:, 0]
    least = visible * bank.mean_area[:, None, None]
    heat = saving(change, seen, power, shown, least).amax(1)  # (B, H', W')
    around = largest_around(largest_around(heat, WINDOW, 1), WINDOW, 2)
    heat = torch.where(heat >= around, heat, NEVER)
    spot = heat.flatten(1).topk(min(count, heat[0].numel()), 1).indices
    columns = heat.shape[2]
    offset = bank.tile // 2 - side * (bank.mean.sides[0] // 2)
    last = torch.tensor(size, device=maps.device)
    places = side * torch.stack([spot // columns, spot % columns], -1) + offset
    return torch.minimum(places, last)


def largest_around(heat: Tensor, width: int, dim: int) -> Tensor:
    """The largest value within `width` places along one of the last two dimensions.

    Many times as fast as max pooling, which looks at one place at a time.
    """
    n, reach = heat.shape[dim], width // 2
    last = dim == heat.dim() - 1
    sides = (reach, reach) if last else (0, 0, reach, reach)
    padded = F.pad(heat, sides, value=-torch.inf)
    most = padded.narrow(dim, 0, n)
    for shift in range(1, width):
        most = torch.maximum(most, padded.narrow(dim, shift, n))
    return most


def windows_around(maps: Tensor, peaks: Tensor, tile: int) -> Tensor:
    """Windows of tile + SHIFTS - 1 pixels squared, (B, D, N, ., .)."""
    margin = tile // 2 + SHIFTS // 2
    padded = F.pad(maps, (margin,) * 4)
    side, row = torch.arange(tile + SHIFTS - 1, device=maps.device), padded.shape[3]
    places = side[:, None] * row + side  # (T, T)
    places = peaks[..., 0, None, None] * row + peaks[..., 1, None, None] + places
    index = places.flatten(1)[:, None].expand(-1, maps.shape[1], -1)
    return padded.flatten(2).gather(2, index).unflatten(2, places.shape[1:])


def _compared(patches: Tensor, bank: Bank) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What :func:`saving` needs of patches (B, D, N, P), for all filters: (B, N, F)."""
    if bank.ink is bank.alpha:
        flat = patches.flatten(0, 2) @ bank.alpha.T
        every = flat.unflatten(0, patches.shape[:3])
        return every[:, 0], every[:, 1:-1], every[:, -1], every[:, -1]
    change, shown = patches[:, 0] @ bank.alpha.T, patches[:, -1] @ bank.alpha.T
    seen, power = patches[:, 1:-1] @ bank.ink.T, patches[:, -1] @ bank.power.T
    return change, seen, power, shown


def try_poses(
    maps: Tensor, peaks: Tensor, bank: Bank, visible: float, count: int, step: int
) -> Candidates:
    """The best `count` (place, pose) of each sprite: (B, count * K) candidates."""
    b, n = peaks.shape[:2]
    per, places = len(bank.pose), SHIFTS * SHIFTS
    k = len(bank.area) // per
    windows = windows_around(maps, peaks, bank.tile)
    patches = windows.unfold(3, bank.tile, 1).unfold(4, bank.tile, 1)
    patches = patches.reshape(b, maps.shape[1], n * places, -1)
    saved = saving(*_compared(patches, bank), visible * bank.area)
    if bank.contrast is not None:
        saved = saved + contrast_saving(patches, *bank.contrast)
    saved = saved.view(b, n, places, k, per).permute(0, 1, 3, 2, 4)
    best, place = saved.reshape(b, n * k, places * per).max(2)
    best, kept = best.view(b, n, k).topk(min(count, n), 1)  # (B, count, K)
    place = place.view(b, n, k).gather(1, kept)
    shift, pose = place // per, bank.pose[place % per]
    row = peaks[..., 0, None].expand(-1, -1, k).gather(1, kept) + shift // SHIFTS
    column = peaks[..., 1, None].expand(-1, -1, k).gather(1, kept) + shift % SHIFTS
    middle = SHIFTS // 2
    xy = torch.stack([column - middle, row - middle], -1).to(maps) * step
    sprite = torch.arange(k, device=maps.device).expand(b, best.shape[1], k)
    return Candidates(
        sprite.flatten(1), torch.cat([xy, pose], -1).flatten(1, 2), best.flatten(1)
    )
