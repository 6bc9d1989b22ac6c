"""Whether things that stand alone are alike once they are turned."""

import torch
from torch import Tensor

from sklearn_sprites._engine.modules.families import family_of
from sklearn_sprites._engine.modules.turns import with_turns
from sklearn_sprites._engine.ops.alignment import turned
from sklearn_sprites._engine.ops.color import Freedom
from sklearn_sprites._engine.ops.resizing import resized
from sklearn_sprites._engine.ops.sampling import make_grid
from sklearn_sprites._engine.training.components import Windows
from sklearn_sprites._engine.training.lloyd import means, squared_distances

MOST, LARGEST = 200, 32  # windows looked at, and pixels of a side
RESTARTS, STEPS = 3, 12  # of k-means


def few_and_small(windows: Windows) -> Windows:
    """Some of the windows, the larger ones reduced."""
    if not len(windows.mask):
        return windows
    height, width = windows.mask.shape[1:]
    shrink = max(max(height, width) / LARGEST, 1)
    size = round(height / shrink), round(width / shrink)
    image, ground, mask = (
        resized(part[:: -(-len(part) // MOST)], size)
        for part in (windows.image, windows.ground, windows.mask[:, None])
    )
    return Windows(image, ground, mask[:, 0])


def left_in_turns(windows: Tensor, k: int, draws: torch.Generator) -> Tensor:
    """Squares (n,) of windows that the nearest of K pictures leaves in any turn."""
    every = in_all_turns(windows).flatten(2)  # (n, T, d)
    rows = torch.arange(len(every), device=every.device)
    least = windows.new_full((len(windows),), torch.inf)
    for _ in range(RESTARTS):
        pictures = _seeds(every, k, draws)
        for _ in range(STEPS):
            _, turn, label = _nearest(every, pictures)
            sums = torch.zeros_like(pictures).index_add_(0, label, every[rows, turn])
            pictures = means(sums, label, pictures)
        left, _, _ = _nearest(every, pictures)
        if left.sum() < least.sum():
            least = left
    return least


def in_all_turns(windows: Tensor) -> Tensor:
    """Windows (n, C, h, w) in all turns about their centers, (n, T, C, h, w)."""
    grid = make_grid(*windows.shape[2:], device=windows.device, dtype=windows.dtype)
    family = with_turns(family_of("rotation", Freedom.NONE, 1.0, grid))
    return turned(windows, family, "zeros").unflatten(0, (len(windows), -1))


def _nearest(every: Tensor, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Squared distance (n,), turn (n,) and label (n,) of the nearest picture (K, d)."""
    distances = squared_distances(every.flatten(0, 1), pictures)
    left, best = distances.view(len(every), -1).min(1)
    return left, best // len(pictures), best % len(pictures)


def _seeds(every: Tensor, k: int, draws: torch.Generator) -> Tensor:
    """Pictures (K, d), each drawn by how far windows are from those before."""
    chosen: list[int] = []
    left = torch.ones_like(every[:, 0, 0])
    for _ in range(min(k, len(every))):
        chance = left.double().cpu() + 1e-30
        chosen.append(int(torch.multinomial(chance, 1, generator=draws)))
        left, _, _ = _nearest(every, every[chosen, 0])
    return every[chosen, 0]
