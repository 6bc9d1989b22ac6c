"""First sprites: windows of images, clustered up to shifts."""

import torch
from torch import Tensor

from sklearn_sprites._engine.training.lloyd import squared_distances

REACH = 3  # pixels by which a window may be shifted
RESTARTS = 4
ROUNDS = 8


def rolled(windows: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Windows (n, h, w), each shifted by its own whole pixels; zeros come in."""
    n, h, w = windows.shape
    rows = torch.arange(h, device=windows.device)[None] - down[:, None]  # (n, h)
    columns = torch.arange(w, device=windows.device)[None] - right[:, None]
    inside = ((rows >= 0) & (rows < h))[:, :, None]
    inside = inside & ((columns >= 0) & (columns < w))[:, None]
    each = torch.arange(n, device=windows.device)[:, None, None]
    found = windows[
        each, rows.clamp(0, h - 1)[:, :, None], columns.clamp(0, w - 1)[:, None]
    ]
    return found * inside


def all_shifts(reach: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Every shift (down, right) of at most `reach` pixels, none first."""
    steps = sorted(range(-reach, reach + 1), key=abs)
    pairs = sorted(((i, j) for i in steps for j in steps), key=lambda p: p != (0, 0))
    down, right = zip(*pairs, strict=True)
    return torch.tensor(down, device=device), torch.tensor(right, device=device)


def match(windows: Tensor, sprites: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distance (n, K) to each sprite at its best shift, and which that is."""
    down, right = all_shifts(REACH, windows.device)
    k, s = len(sprites), len(down)
    bank = rolled(sprites.repeat_interleave(s, 0), down.repeat(k), right.repeat(k))
    distance = squared_distances(windows.flatten(1), bank.flatten(1))
    return distance.view(len(windows), k, s).min(2)


def shift_kmeans(
    windows: Tensor, weight: Tensor, k: int, generator: torch.Generator
) -> Tensor:
    """k-means of windows (n, h, w) up to small shifts: k sprites (k, h, w).

    The best of some starts; each from k-means++ seeds.
    """
    best, loss = windows[:1].expand(k, -1, -1).clone(), float("inf")
    for _ in range(RESTARTS if len(windows) > k else 1):
        sprites = _seeds(windows, weight, k, generator)
        for _ in range(ROUNDS):
            distance, shift = match(windows, sprites)
            nearest, label = distance.min(1)
            sprites = _means(windows, weight, sprites, label, shift)
        value = float((nearest * weight).sum())
        if value < loss:
            best, loss = sprites, value
    return best


def _seeds(
    windows: Tensor, weight: Tensor, k: int, generator: torch.Generator
) -> Tensor:
    nearest = windows.square().sum((1, 2))
    chosen: list[int] = []
    for _ in range(k):
        chance = (nearest * weight).clamp_min(0).double().cpu() + 1e-30
        chosen.append(int(torch.multinomial(chance, 1, generator=generator)))
        distance, _ = match(windows, windows[chosen[-1:]])
        nearest = torch.minimum(nearest, distance[:, 0])
    return windows[chosen]


def _means(
    windows: Tensor, weight: Tensor, sprites: Tensor, label: Tensor, shift: Tensor
) -> Tensor:
    down, right = all_shifts(REACH, windows.device)
    best = shift.gather(1, label[:, None])[:, 0]
    aligned = rolled(windows, -down[best], -right[best]).flatten(1)
    sums = (
        torch.zeros_like(sprites)
        .flatten(1)
        .index_add_(0, label, aligned * weight[:, None])
    )
    total = torch.zeros_like(sums[:, 0]).index_add_(0, label, weight)[:, None]
    means = torch.where(total > 0, sums / total.clamp_min(1e-9), sprites.flatten(1))
    return means.view_as(sprites)


def centered(sprites: Tensor, ink: float = 0.3) -> Tensor:
    """Sprites (K, h, w) with the box of their brighter pixels in the middle."""
    shifts = []
    for sprite in sprites:
        bright = sprite > ink * sprite.max().clamp_min(1e-6)
        shift = []
        for axis in (1, 0):
            where = bright.any(axis).nonzero().flatten()
            side = len(bright.any(axis))
            ends = int(where[0]) + int(where[-1]) if len(where) else side - 1
            shift.append((side - 1 - ends) // 2)
        shifts.append(shift)
    moves = torch.tensor(shifts, device=sprites.device)
    return rolled(sprites, moves[:, 0], moves[:, 1])
