"""Direct alignment of sprites with masks, over backgrounds that stay where they are.

As in :mod:`~sklearn_sprites._engine.ops.alignment`, but what is drawn is a sprite over
a background, and the colors of both are solved together. Masks are in [0, 1].
"""

from typing import NamedTuple

import torch
from torch import Tensor

from sklearn_sprites._engine.ops.alignment import (
    Family,
    Poses,
    descend,
    plausible,
    slopes,
    turned,
    warp,
)
from sklearn_sprites._engine.ops.color import (
    NO_CHANGE,
    apply_color,
    free_terms,
    pulls_of,
    solve_channels,
    solve_layers,
)
from sklearn_sprites._engine.ops.compositing import over
from sklearn_sprites._engine.ops.constants import constant, places
from sklearn_sprites._engine.ops.sampling import pad_to_canvas


class Behind(NamedTuple):
    """Backgrounds (M, C, P), and the freedom of the colors of sprites and of these."""

    images: Tensor
    freedoms: tuple[int, int]


def poses(
    images: Tensor, sprites: Tensor, behind: Behind, family: Family, count: int
) -> Poses:
    """Align images (m, C, P) to their most plausible sprites (K, C + 1, H, W).

    Every sprite lies over the background that suits it best at first.
    """
    posed = turned(sprites, family, "zeros")
    parts = [
        torch.stack([composite_errors(images, p, b, behind) for b in behind.images])
        for p in posed.flatten(2).chunk(len(sprites))  # one sprite after the other
    ]
    errors, choice = torch.cat(parts, 2).min(0)  # (m, R)

    def exact(rows: Tensor, which: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        steep = pad_to_canvas(slopes(posed[which]).flatten(1, 2), "zeros")
        back = behind.images[choice[rows, which]]
        return refine(images[rows], steep, back, behind, family)

    return plausible(errors.view(len(images), len(sprites), -1), exact, family, count)


def composite_errors(
    images: Tensor, posed: Tensor, back: Tensor, behind: Behind
) -> Tensor:
    """Squared errors (m, R) of images (m, C, P) as posed sprites (R, C + 1, P).

    They lie over `back` (C, P). In their best colors, whose pull towards no change is
    counted; by products of images with what each color multiplies alone.
    """
    front, alpha = posed[:, :-1], posed[:, -1:]
    rest = (1 - alpha).expand_as(front)
    planes = [alpha * front, alpha.expand_as(front), rest * back, rest]
    parts = torch.stack(planes, 2).transpose(0, 1)  # (C, R, 4, P)
    pixels, n_posed = images.shape[-1], len(posed)
    gram = parts @ parts.mT / pixels
    seen = images.transpose(0, 1) @ parts.flatten(1, 2).mT / pixels  # (C, m, 4 R)
    seen = seen.view(len(back), len(images), n_posed, 4)
    whole = constant(NO_CHANGE * 2, images)
    usual = gram @ whole  # (C, R, 4)
    left = images.square().mean(2).T[..., None]  # of nothing but usual colors
    left = left - 2 * seen @ whole + (usual @ whole)[:, None]
    free = free_terms(behind.freedoms)
    if free:
        kept = places(free, images)
        right = (seen - usual[:, None]).index_select(3, kept)
        system = gram.index_select(2, kept).index_select(3, kept)
        pulls = pulls_of(behind.freedoms, images)
        system = system + pulls.index_select(0, kept).diag()
        system, right = system[:, None].movedim(0, -3), right.movedim(0, -2)
        found = solve_channels(system, right, behind.freedoms)
        left = left - (found * right).sum(3).movedim(-1, 0)
    return left.sum(0) * pixels


def refine(
    images: Tensor, canvas: Tensor, back: Tensor, behind: Behind, family: Family
) -> tuple[Tensor, Tensor, Tensor]:
    """The best parameters met from none on, their energy, and the squared error in it.

    images and back (m, C, P); canvas (m, 3 (C + 1), H', W') padded slopes of one sprite
    each.
    """
    m, channels, pixels = images.shape
    freedoms = list(behind.freedoms)

    def look(now: Tensor) -> tuple[Tensor, Tensor]:
        read = warp(canvas, now @ family.basis, family.grid, "zeros")
        every = read.view(m, 3, channels + 1, pixels)
        front, alpha = every[:, 0, :-1], every[:, 0, -1:]
        color, back_color = solve_layers(
            [front, back], [alpha, 1 - alpha], freedoms, images
        )
        shown, hidden = apply_color(front, color), apply_color(back, back_color)
        gain = (1 + color[..., 0])[:, None, :, None]
        slope = alpha[:, None] * gain * every[:, 1:, :-1]
        slope = slope + (shown - hidden)[:, None] * every[:, 1:, -1:]
        return over(shown, alpha, hidden), slope

    start = images.new_zeros(m, len(family.basis))
    return descend(images, look, start, family)
