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
    around = F.max_pool2d(heat[:, None], WINDOW, 1, WINDOW // 2)[:, 0]
    heat = torch.where(heat >= around, heat, NEVER)
    spot = heat.flatten(1).topk(min(count, heat[0].numel()), 1).indices
    columns = heat.shape[2]
    offset = bank.tile // 2 - side * (bank.mean.sides[0] // 2)
    last = torch.tensor(size, device=maps.device)
    places = side * torch.stack([spot // columns, spot % columns], -1) + offset
    return torch.minimum(places, last)


def windows_around(maps: Tensor, peaks: Tensor, tile: int) -> Tensor:
    """Windows of tile + SHIFTS - 1 pixels squared, (B, D, N, ., .)."""
    margin = tile // 2 + SHIFTS // 2
    side = torch.arange(tile + SHIFTS - 1, device=maps.device)
    rows = peaks[..., 0, None, None] + side[:, None]  # (B, N, T, 1)
    columns = peaks[..., 1, None, None] + side
    each = torch.arange(len(maps), device=maps.device)[:, None, None, None, None]
    depth = torch.arange(maps.shape[1], device=maps.device)[:, None, None, None]
    padded = F.pad(maps, (margin,) * 4)
    return padded[each, depth, rows[:, None], columns[:, None]]


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
    change = patches[:, 0] @ bank.alpha.T  # (B, N * 9, K * P)
    seen = patches[:, 1:-1] @ bank.ink.T
    shown = patches[:, -1] @ bank.alpha.T
    power = shown if bank.power is bank.alpha else patches[:, -1] @ bank.power.T
    saved = saving(change, seen, power, shown, visible * bank.area)
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
