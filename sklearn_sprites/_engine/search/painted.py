"""Sprites in their own colors, shifted: the best sprite, place and depth of all.

A layer of ink s and mask m shows ``s + (1 - m) D`` where D is behind it. Where layers
in front leave a share w of it free and the picture without it misses the image by r, it
changes the squared error by ``sum w^2 (s - m D)^2 - 2 w r (s - m D)``. Written out,
that is a sum of correlations of kernels, made of s and m, with maps, made of w, D and
r: so it is known for every sprite at every place, over any ground, in front of all
other layers and behind them.
"""

from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sklearn_sprites._engine.ops.correlation import fast_length, positions
from sklearn_sprites._engine.ops.layers import (
    FAINT,
    clear_share,
    flat,
    free_share,
    order_by_errors,
)
from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.batches import BATCH, by_parts, parts, put, take
from sklearn_sprites._engine.search.ground import ground_of, image_of
from sklearn_sprites._engine.search.layers import pick, with_layer
from sklearn_sprites._engine.search.patches import without_copies
from sklearn_sprites._engine.search.poor import is_poor
from sklearn_sprites._engine.search.shifts import draw_at
from sklearn_sprites._engine.search_settings import SearchPlan

CLOSER = 0.2  # of the error, in shares of what layers save, that is poor elsewhere
CLEAR = 1e-3  # squared pixels of ground that its level as it was is worth
EDGE = 1e-6  # relative difference of objectives that is rounding


class Kernels(NamedTuple):
    """Sprites (K, C + 1, h, w), inks and mask, ready for images of one size."""

    planes: Tensor
    spectra: Tensor  # (2 C + 3, K, n, m // 2 + 1), conjugate
    canvas: tuple[int, int]  # n, m
    sides: tuple[int, int]  # of images


class Painted(NamedTuple):
    """Layers found, on a ground of their own.

    ``sprite``, ``row``, ``column`` (upper left pixel) and ``on`` (B, L); ``over``
    (B, L, L); ``drawn`` (B, L, C + 1, H, W), zero for empty layers; ``ground``
    (B, C, H, W); ``error`` (B,); ``table`` (B, L, K), what each sprite at its best
    place would save in the place of the layer.
    """

    sprite: Tensor
    row: Tensor
    column: Tensor
    on: Tensor
    over: Tensor
    drawn: Tensor
    ground: Tensor
    error: Tensor
    table: Tensor


def make_kernels(planes: Tensor, height: int, width: int) -> Kernels:
    """Transform sprites for images of `height` x `width` pixels."""
    h, w = planes.shape[2:]
    canvas = (fast_length(height + 2 * (h // 2)), fast_length(width + 2 * (w // 2)))
    ink, mask = planes[:, :-1], planes[:, -1:]
    squares = ink.square().sum(1, keepdim=True)
    every = torch.cat([squares, ink * mask, mask.square(), ink, mask], 1)
    spectra = torch.fft.rfft2(every.transpose(0, 1), s=canvas).conj()
    return Kernels(planes, spectra.resolve_conj(), canvas, (height, width))


def changes(free: Tensor, behind: Tensor, left: Tensor, kernels: Kernels) -> Tensor:
    """How a further layer changes the squared error, (B, K, H', W').

    `free` (B, 1, H, W); `behind` and `left`, which is what the picture misses,
    (B, C, H, W). Places are those of :mod:`~sklearn_sprites._engine.ops.correlation`.
    """
    h, w = kernels.planes.shape[2:]
    square = free.square()
    maps = [
        square,
        -2 * square * behind,
        square * behind.square().sum(1, keepdim=True),
        -2 * free * left,
        2 * free * (left * behind).sum(1, keepdim=True),
    ]
    padded = F.pad(torch.cat(maps, 1), (w // 2, 0, h // 2, 0))
    seen = torch.fft.rfft2(padded, s=kernels.canvas)
    total = seen[:, :1] * kernels.spectra[0]
    for index in range(1, len(kernels.spectra)):
        total.addcmul_(seen[:, index : index + 1], kernels.spectra[index])
    found = torch.fft.irfft2(total, s=kernels.canvas)
    height, width = kernels.sides
    return found[..., : positions(height, h), : positions(width, w)]


def composed(drawn: Tensor, over: Tensor, ground: Tensor) -> Tensor:
    """Images (B, C, H, W) of layers (B, L, C + 1, H, W) before their ground."""
    ink, mask = drawn[:, :, :-1], drawn[:, :, -1]
    front = (free_share(mask, over)[:, :, None] * ink).sum(1)
    return front + clear_share(mask) * ground


def first_ground(views: Tensor, spec: SceneSpec) -> Tensor:
    """What lies behind layers that are not known yet, (B, C, H, W)."""
    images = image_of(views, spec)
    if spec.has_picture:
        return ground_of(views, spec)
    if spec.has_level:
        level = images.flatten(2).median(2).values
        return level[..., None, None].expand_as(images).clone()
    return torch.zeros_like(images)


class Looked(NamedTuple):
    """What a first sweep found, and which images are poor, (B,)."""

    found: Painted
    again: Tensor


def search_painted(
    views: Tensor,
    kernels: Kernels,
    spec: SceneSpec,
    search: SearchPlan,
    penalty: float,
    apart: bool = False,
) -> Painted:
    """Find layers one by one; in images that stay poor, each anew while others stay.

    At first a layer comes in front of all others, later in front of them or behind
    them. A layer found anew replaces the old one only where the objective falls. What
    is drawn is left out, see :func:`redrawn`. Layers of one sprite may be kept `apart`.
    """
    closer = replace(search, poor=search.poor * CLOSER)

    def look(rows: Tensor) -> Looked:
        images = image_of(views[rows], spec)
        found = _nothing(images, first_ground(views[rows], spec), spec, kernels)
        blank = found.error
        found = _swept(images, found, kernels, spec, penalty, False, apart)
        again = is_poor(found.error, blank, closer, penalty)
        return Looked(_undrawn(found), again)

    found, again = by_parts(look, len(views), BATCH, views.device)
    for rows in parts(again.nonzero()[:, 0], BATCH):
        images, some = image_of(views[rows], spec), take(found, rows)
        some = redrawn(some, kernels.planes, images)
        for _ in range(search.sweeps - 1):
            some = _swept(images, some, kernels, spec, penalty, True, apart)
        found = put(found, rows, _undrawn(some))
    return found


def _swept(
    images: Tensor,
    found: Painted,
    kernels: Kernels,
    spec: SceneSpec,
    penalty: float,
    behind: bool,
    apart: bool,
) -> Painted:
    """Every layer sought once, and the level of the ground solved."""
    for i in range(spec.n_layers):
        found = _replaced(images, found, kernels, i, penalty, behind, apart)
    return _leveled(images, found) if spec.has_level else found


def _undrawn(found: Painted) -> Painted:
    return found._replace(drawn=found.drawn[..., :0, :0])


def redrawn(found: Painted, planes: Tensor, like: Tensor) -> Painted:
    """With its layers drawn by sprites (K, C + 1, h, w) into images such as `like`."""
    drawn = [
        draw_at(planes, sprite, row, column, like)
        for sprite, row, column in zip(
            found.sprite.T, found.row.T, found.column.T, strict=True
        )
    ]
    shown = torch.stack(drawn, 1) * found.on[..., None, None, None]
    return found._replace(drawn=shown)


def _nothing(
    images: Tensor, ground: Tensor, spec: SceneSpec, kernels: Kernels
) -> Painted:
    (b, c, height, width), n = images.shape, spec.n_layers
    index = torch.zeros((b, n), dtype=torch.int64, device=images.device)
    return Painted(
        index,
        index.clone(),
        index.clone(),
        images.new_zeros((b, n)),
        images.new_ones((n, n)).tril(-1).expand(b, n, n).clone(),
        images.new_zeros((b, n, c + 1, height, width)),
        ground,
        (images - ground).square().sum((1, 2, 3)),
        images.new_zeros((b, n, len(kernels.planes))),
    )


def _replaced(
    images: Tensor,
    found: Painted,
    kernels: Kernels,
    i: int,
    penalty: float,
    behind: bool,
    apart: bool,
) -> Painted:
    """Put the best sprite at its best place into layer i, where that is better.

    In front of all other layers or, if `behind` is asked for, behind them. If
    it is to be `apart`, not where another layer shows the same.
    """
    h, w = kernels.planes.shape[2:]
    drawn = found.drawn.clone()
    drawn[:, i] = 0
    change = _changes_at_depths(images, drawn, found, kernels, behind)
    if apart:
        others = with_layer(found.on, i, torch.zeros_like(found.error))
        places = found.sprite, found.row, found.column, others
        change = without_copies(change, *places, (h, w))
    columns = change.shape[-1]
    least, spot = change.flatten(3).min(3)  # (1 or 2, B, K)
    least, depth = least.min(0)
    spot = spot.gather(0, depth[None])[0]
    value, sprite = least.min(1)
    spot, depth = (each.gather(1, sprite[:, None])[:, 0] for each in (spot, depth))
    row, column = spot // columns - h // 2, spot % columns - w // 2
    on = (-value > penalty).to(images)
    one = draw_at(kernels.planes, sprite, row, column, images)
    drawn[:, i] = one * on[:, None, None, None]
    over, front = found.over.clone(), (depth == 0).to(images)[:, None]
    over[:, i], over[:, :, i] = front, 1 - front
    over[:, i, i] = 0
    over, error = ordered(images, drawn, over, found.ground)
    old = found.error + penalty * found.on[:, i]
    better = error + penalty * on < old * (1 - EDGE)
    new = found._replace(
        sprite=with_layer(found.sprite, i, sprite),
        row=with_layer(found.row, i, row),
        column=with_layer(found.column, i, column),
        on=with_layer(found.on, i, on),
        over=over,
        drawn=drawn,
        error=error,
    )
    kept = Painted(*(pick(better, n, o) for n, o in zip(new, found, strict=True)))
    return kept._replace(table=with_layer(found.table, i, -least))


def _changes_at_depths(
    images: Tensor, others: Tensor, found: Painted, kernels: Kernels, behind: bool
) -> Tensor:
    """:func:`changes` in front of the others and, if asked for, behind them.

    (1 or 2, B, K, H', W').
    """
    rest = composed(others, found.over, found.ground)
    left, free, back = images - rest, torch.ones_like(rest[:, :1]), rest
    if behind:
        free = torch.cat([free, clear_share(others[:, :, -1])])
        back, left = torch.cat([rest, found.ground]), torch.cat([left, left])
    return changes(free, back, left, kernels).unflatten(0, (-1, len(images)))


def ordered(
    images: Tensor, drawn: Tensor, over: Tensor, ground: Tensor
) -> tuple[Tensor, Tensor]:
    """Who hides whom, solved from the overlaps where that is better; the errors."""
    mask = flat(drawn[:, :, -1])
    colors = drawn[:, :, :-1] / drawn[:, :, -1:].clamp_min(FAINT)
    wrong = flat((images[:, None] - colors).square().sum(2))
    solved = order_by_errors(mask, wrong)
    pair = (over, solved)
    errors = [
        (images - composed(drawn, each, ground)).square().sum((1, 2, 3))
        for each in pair
    ]
    better = errors[1] < errors[0]
    return pick(better, solved, over), torch.where(better, errors[1], errors[0])


def _leveled(images: Tensor, found: Painted) -> Painted:
    """With the level of the ground solved anew."""
    clear = clear_share(found.drawn[:, :, -1])
    front = composed(found.drawn, found.over, torch.zeros_like(found.ground))
    before = found.ground[..., 0, 0]
    above = (clear * (images - front)).sum((2, 3)) + CLEAR * before
    level = above / (clear.square().sum((2, 3)) + CLEAR)
    ground = level[..., None, None].expand_as(found.ground).clone()
    error = (images - front - clear * ground).square().sum((1, 2, 3))
    better = error < found.error
    return found._replace(
        ground=pick(better, ground, found.ground),
        error=torch.where(better, error, found.error),
    )
