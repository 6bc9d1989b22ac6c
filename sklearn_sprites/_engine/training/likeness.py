"""Sprites of the same thing in other poses: one of them may be larger, say.

Of two sprites that show the same thing, one can go. That is seen only if what draws one
of them draws the other as well.
"""

import torch
from torch import Tensor

from sklearn_sprites._engine.ops import alignment
from sklearn_sprites._engine.ops.alignment import Family, warp
from sklearn_sprites._engine.ops.sampling import pad_to_canvas

MOST = 60  # sprites that are compared with each other,
PAIRS = 256  # so many pairs together
PASSES = 3  # of alignment, as sprites may lie far apart
ALIKE = 0.025  # share of a sprite's variance that another one of the same thing leaves


def in_one_pose(
    sprites: Tensor, counts: Tensor, family: Family
) -> tuple[Tensor, list[int]]:
    """Sprites (K, C, H, W), those of the same thing moved to where one of them is.

    It is the one that shows most images, `counts` (K,). And which have been moved: none
    of very many, whose pairs would take too long.
    """
    if len(sprites) > MOST:
        return sprites, []
    matrices, left = aligned(sprites, family)
    moved, is_free = sprites.clone(), torch.ones_like(counts) > 0
    gone: list[int] = []
    for a in counts.argsort(descending=True, stable=True).tolist():
        alike = is_free & (left[a] < ALIKE) & is_free[a]
        alike[a] = False
        canvas = pad_to_canvas(sprites[alike], "border")
        seen = warp(canvas, matrices[a, alike], family.grid)
        moved[alike] = seen.view(-1, *sprites.shape[1:])
        is_free = is_free & ~alike
        is_free[a] = False
        gone += alike.nonzero()[:, 0].tolist()
    return moved, gone


def in_every_pose(sprites: Tensor, family: Family) -> Tensor | None:
    """Sprites as they look in the pose of each other, (K, K, C, H, W), if any does so.

    At [a, b] is sprite b, where it looks like a if it shows the same, else as it is.
    """
    if len(sprites) > MOST:
        return None
    matrices, left = aligned(sprites, family)
    alike = (left < ALIKE) & ~torch.eye(len(left), dtype=torch.bool, device=left.device)
    if not alike.any():
        return None
    posed = sprites.expand(len(left), *sprites.shape).clone()
    canvas = pad_to_canvas(sprites, "border")[alike.nonzero()[:, 1]]
    posed[alike] = warp(canvas, matrices[alike], family.grid).view(
        -1, *sprites.shape[1:]
    )
    return posed


def aligned(sprites: Tensor, family: Family) -> tuple[Tensor, Tensor]:
    """Maps (K, K, 6) that bring sprites to each other, and what is left, (K, K).

    At [a, b] sprite b is where it looks most like a; what is left of a is a share of
    its variance.
    """
    k, flat = len(sprites), sprites.flatten(2)
    steep = pad_to_canvas(alignment.slopes(sprites).flatten(1, 2), "border")
    found = []
    for some in flat.split(max(PAIRS // k, 1)):
        wanted, other = some.repeat_interleave(k, 0), steep.repeat(len(some), 1, 1, 1)
        params = flat.new_zeros(len(wanted), len(family.basis))
        for _ in range(PASSES):
            params, _, squared = alignment.refine(wanted, other, params, family)
        found.append((params @ family.basis, squared))
    matrices, squared = (torch.cat(column) for column in zip(*found, strict=True))
    variance = flat.var(2, correction=0).sum(1) * flat.shape[2]
    left = squared.view(k, k) / variance.clamp_min(1e-9)[:, None]
    return matrices.view(k, k, 6), left
