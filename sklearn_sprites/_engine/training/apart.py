"""What stands apart from backgrounds that are the same in all images.

Whatever recurs at the same place is found upright, however things before it lie. So
things in any turn are looked for in images less their backgrounds.
"""

import torch
from torch import Tensor

from sklearn_sprites._engine.models.clustering import color_of
from sklearn_sprites._engine.ops.color import FREEDOMS, apply_color, solve_color
from sklearn_sprites._engine.spec import ModelSpec
from sklearn_sprites._engine.training.start import BACKGROUND_IMAGES, first_backgrounds

PASSES = 8  # in which pixels of things lose their say in the light of a background
FAR = 3.0  # times what backgrounds usually leave, from where a pixel hardly counts
FLOOR = 1e-3  # of that, in model units


def usual(images: Tensor, spec: ModelSpec, draws: torch.Generator) -> Tensor:
    """First backgrounds (M, C, H, W): medians, or means of clusters."""
    if spec.n_backgrounds > 1:
        return first_backgrounds(images, spec, draws)
    order = torch.randperm(len(images), generator=draws)[:BACKGROUND_IMAGES]
    return images[order.to(images.device)].median(0, keepdim=True).values


def without_backgrounds(images: Tensor, backgrounds: Tensor, spec: ModelSpec) -> Tensor:
    """Images (n, C, H, W) less the background that suits each best, in its light.

    Pixels that a background does not explain count little for its colors (Geman and
    McClure's weights).
    """
    freedom = FREEDOMS[color_of(spec.background_transformations)]
    flat = images.flatten(2)
    found = [_less(flat, back.flatten(1), freedom) for back in backgrounds]
    missed = torch.stack([usually for _, usually in found])  # (M, n)
    every = torch.stack([left for left, _ in found])  # (M, n, C, P)
    rows = torch.arange(len(images), device=images.device)
    return every[missed.argmin(0), rows].view(images.shape)


def _less(flat: Tensor, back: Tensor, freedom: int) -> tuple[Tensor, Tensor]:
    """Images (n, C, P) less a background, and what that usually leaves, (n,)."""
    drawn = back.expand_as(flat)
    left = flat - drawn
    for _ in range(PASSES if freedom else 0):
        squared = left.square().sum(1, keepdim=True)  # (n, 1, P)
        near = FAR**2 * squared.median(2, keepdim=True).values + FLOOR**2
        weight = (1 + squared / near) ** -2
        weight = weight / weight.sum(2, keepdim=True)
        color = solve_color(drawn, flat, weight, freedom=freedom)
        left = flat - apply_color(drawn, color)
    return left, left.square().sum(1).median(1).values
