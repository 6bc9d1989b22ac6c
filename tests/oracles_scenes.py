"""Slow, obviously right twins of what scenes are made and found with."""

from itertools import permutations

import torch


def correlation(image, sprite):
    """Of one map (H, W) with one filter (h, w) at every place, by sums."""
    (height, width), (h, w) = image.shape, sprite.shape
    rows, columns = height + 1 - h % 2, width + 1 - w % 2
    found = torch.zeros(rows, columns, dtype=image.dtype)
    for i in range(rows):
        for j in range(columns):
            for u in range(h):
                for v in range(w):
                    y, x = i - h // 2 + u, j - w // 2 + v
                    if 0 <= y < height and 0 <= x < width:
                        found[i, j] += image[y, x] * sprite[u, v]
    return found


def painted(alpha, ink, colors, level, order):
    """A scene painted from back to front: alpha, ink (L, H, W), colors (L, C).

    `level` (C,) is the background's color; `order` lists layers, the last in front.
    """
    image = level[:, None, None].expand(-1, *alpha.shape[1:]).clone()
    for i in order:
        image = image * (1 - alpha[i]) + ink[i] * colors[i, :, None, None]
    return image


def hides(order):
    """(L, L) with one where layer i is painted after layer j."""
    over = torch.zeros(len(order), len(order), dtype=torch.float64)
    for rank, i in enumerate(order):
        for j in order[:rank]:
            over[i, j] = 1
    return over


def all_orders(n):
    """Every order of n layers."""
    return list(permutations(range(n)))


def best_shift(image, sprites):
    """Sprite, row, column and gain of the layer that saves most, by trying all.

    image (C, H, W), sprites (K, h, w), as `search_shifts` counts on black.
    """
    best = (-1.0, 0, 0, 0)
    (_, height, width), (_, h, w) = image.shape, sprites.shape
    inside = torch.ones(height, width, dtype=image.dtype)
    for k, sprite in enumerate(sprites):
        seen = torch.stack([correlation(channel, sprite) for channel in image])
        energy = correlation(inside, sprite.square())
        saved = seen.clamp_min(0).square().sum(0) / (energy + 0.5)
        value, spot = saved.flatten().max(0)
        if value > best[0]:
            row, column = divmod(int(spot), saved.shape[1])
            best = (float(value), k, row - h // 2, column - w // 2)
    return best
