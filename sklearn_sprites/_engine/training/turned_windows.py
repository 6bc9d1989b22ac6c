"""Whether things that stand alone are alike once they are turned."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from sklearn_sprites._engine.ops.resizing import resized
from sklearn_sprites._engine.training.lloyd import squared_distances

TURNS = 16  # of a full turn
MOST, LARGEST = 200, 32  # windows looked at, and pixels of a side
RESTARTS, STEPS = 3, 12  # of k-means


def few_and_small(windows: Tensor) -> Tensor:
    """Some of the windows (n, C, h, w), the larger ones reduced."""
    some = windows[:: -(-len(windows) // MOST)]
    height, width = some.shape[2:]
    shrink = max(max(height, width) / LARGEST, 1)
    return resized(some, (round(height / shrink), round(width / shrink)))


def left_in_turns(windows: Tensor, k: int, draws: torch.Generator) -> Tensor:
    """Squares (n,) of windows that the nearest of K pictures leaves in any turn."""
    turned = in_all_turns(windows).flatten(2)  # (n, T, d)
    least = windows.new_full((len(windows),), torch.inf)
    for _ in range(RESTARTS):
        pictures = _seeds(turned, k, draws)
        for _ in range(STEPS):
            left, turn, label = _nearest(turned, pictures)
            rows = torch.arange(len(turned), device=turned.device)
            sums = torch.zeros_like(pictures).index_add_(0, label, turned[rows, turn])
            counts = torch.bincount(label, minlength=len(pictures))[:, None]
            pictures = torch.where(counts > 0, sums / counts.clamp_min(1), pictures)
        left, _, _ = _nearest(turned, pictures)
        if left.sum() < least.sum():
            least = left
    return least


def in_all_turns(windows: Tensor) -> Tensor:
    """Windows (n, C, h, w) turned about their centers, as pixels, (n, T, C, h, w)."""
    height, width = windows.shape[2:]
    found = []
    for step in range(TURNS):
        angle = 2 * math.pi * step / TURNS
        cos, sin = math.cos(angle), math.sin(angle)
        rows = [[cos, -sin * height / width, 0], [sin * width / height, cos, 0]]
        matrix = windows.new_tensor(rows).expand(len(windows), 2, 3)
        grid = F.affine_grid(matrix, list(windows.shape), align_corners=False)
        found.append(F.grid_sample(windows, grid, align_corners=False))
    return torch.stack(found, 1)


def _nearest(turned: Tensor, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Squared distance (n,), turn (n,) and label (n,) of the nearest picture (K, d)."""
    every = squared_distances(turned.flatten(0, 1), pictures)
    left, best = every.view(len(turned), -1).min(1)
    return left, best // len(pictures), best % len(pictures)


def _seeds(turned: Tensor, k: int, draws: torch.Generator) -> Tensor:
    """Pictures (K, d), each drawn by how far windows are from those before."""
    chosen: list[int] = []
    left = torch.ones_like(turned[:, 0, 0])
    for _ in range(min(k, len(turned))):
        chance = left.double().cpu() + 1e-30
        chosen.append(int(torch.multinomial(chance, 1, generator=draws)))
        left, _, _ = _nearest(turned, turned[chosen, 0])
    return turned[chosen, 0]
