"""Shifted sprites on black: the best sprite and place of all, by correlation.

On black a layer is its ink times a gain per channel, and layers that do not overlap add
up. So the error that a further layer saves is known for every sprite at every place,
``sum_c max(r_c . s, 0)^2 / |s|^2`` with the residual r. Correlation is linear: that of
the image is computed once, that of each layer drawn is taken off.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sklearn_sprites._engine.ops.correlation import Filters, correlate
from sklearn_sprites._engine.ops.layers import compose, solve_planes
from sklearn_sprites._engine.search.layers import HIGHEST_GAIN, pick, with_layer

ROOM = 80  # sprites times images searched together: their maps stay in a cache
EMPTY = 0.5  # squared pixels added to a sprite's energy: slivers explain nothing


class Shifted(NamedTuple):
    """Layers found: ``sprite``, ``row``, ``column`` (upper left pixel), ``on`` (B, L).

    ``ink`` (B, L, H, W) as drawn, ``gain`` (B, L, C), ``table`` (B, L, K), what each
    sprite at its best place would save in the place of the layer; ``error`` (B,).
    """

    sprite: Tensor
    row: Tensor
    column: Tensor
    on: Tensor
    ink: Tensor
    gain: Tensor
    table: Tensor
    error: Tensor


def draw_at(
    planes: Tensor, sprite: Tensor, row: Tensor, column: Tensor, like: Tensor
) -> Tensor:
    """Planes (K, D, h, w) with upper left pixels at rows and columns (B,).

    (B, D, H, W), with H and W as in `like`.
    """
    (_, d, h, w), (height, width) = planes.shape, like.shape[-2:]
    canvas = planes.new_zeros((len(sprite), d, height + 2 * h, width + 2 * w))
    rows, columns = _grid(row, column, h, w)
    each = torch.arange(len(sprite), device=planes.device)[:, None, None, None]
    depth = torch.arange(d, device=planes.device)[:, None, None]
    canvas[each, depth, rows[:, None], columns[:, None]] = planes[sprite]
    return canvas[..., h : h + height, w : w + width]


def windows_at(maps: Tensor, row: Tensor, column: Tensor, h: int, w: int) -> Tensor:
    """Windows of maps (B, D, H, W) with upper left pixels (B,): (B, D, h, w)."""
    rows, columns = _grid(row, column, h, w)
    each = torch.arange(len(maps), device=maps.device)[:, None, None, None]
    depth = torch.arange(maps.shape[1], device=maps.device)[:, None, None]
    padded = F.pad(maps, (w, w, h, h))
    return padded[each, depth, rows[:, None], columns[:, None]]


def _grid(row: Tensor, column: Tensor, h: int, w: int) -> tuple[Tensor, Tensor]:
    down = torch.arange(h, device=row.device)[:, None]
    right = torch.arange(w, device=row.device)
    return (row + h)[:, None, None] + down, (column + w)[:, None, None] + right


def search_shifts(
    images: Tensor,
    ink: Tensor,
    filters: Filters,
    n_layers: int,
    sweeps: int,
    penalty: float,
    rank: int = 0,
) -> Shifted:
    """Find layers one by one, then each anew while the others stay.

    A layer found anew replaces the old one only where the error falls. The first layer
    is of the sprite that is best but for `rank` others: another start, another end.
    """
    size = 2 ** (max(ROOM // len(ink), 1).bit_length() - 1)  # a part of any batch
    parts = [
        _search(some, ink, filters, n_layers, sweeps, penalty, rank)
        for some in images.split(size)
    ]
    return Shifted(*(torch.cat(column) for column in zip(*parts, strict=True)))


def _search(
    images: Tensor,
    ink: Tensor,
    filters: Filters,
    n_layers: int,
    sweeps: int,
    penalty: float,
    rank: int,
) -> Shifted:
    b, k = len(images), len(ink)
    whole = correlate(images, filters)  # (B, C, K, H', W')
    found = _nothing(images, k, n_layers)
    responses = whole.new_zeros((b, n_layers, *whole.shape[2:]))  # of layers, unit gain
    for turn in range(sweeps):
        for i in range(n_layers):
            skipped = min(rank, k - 1) if turn == 0 and i == 0 else 0
            rest = whole.clone()
            for j in range(n_layers):
                if j != i:
                    gain = found.gain[:, j, :, None, None, None]
                    rest.addcmul_(gain, responses[:, j, None], value=-1)
            found, responses = _replace(
                images, ink, filters, found, responses, rest, i, penalty, skipped
            )
    return found


def _nothing(images: Tensor, k: int, n_layers: int) -> Shifted:
    b, c, height, width = images.shape
    index = torch.zeros((b, n_layers), dtype=torch.int64, device=images.device)
    return Shifted(
        index,
        index.clone(),
        index.clone(),
        images.new_zeros((b, n_layers)),
        images.new_zeros((b, n_layers, height, width)),
        images.new_zeros((b, n_layers, c)),
        images.new_zeros((b, n_layers, k)),
        images.square().sum((1, 2, 3)),
    )


def _replace(
    images: Tensor,
    ink: Tensor,
    filters: Filters,
    found: Shifted,
    responses: Tensor,
    rest: Tensor,
    i: int,
    penalty: float,
    skipped: int,
) -> tuple[Shifted, Tensor]:
    """Put the best sprite at its best place into layer i, where that is better."""
    (h, w), columns = filters.sides, rest.shape[-1]
    saved = rest.clamp_min(0).square().sum(1) / (filters.energy + EMPTY)
    table, spot = saved.flatten(2).max(2)  # (B, K)
    value, sprite = (t[:, -1] for t in table.topk(skipped + 1, 1))
    spot = spot.gather(1, sprite[:, None])[:, 0]
    row, column = spot // columns - h // 2, spot % columns - w // 2
    on = (value > penalty).to(images.dtype)
    drawn = draw_at(ink[:, None], sprite, row, column, images)[:, 0]
    drawn = drawn * on[:, None, None]
    planes = found.ink.clone()
    planes[:, i] = drawn
    gain = solve_planes(planes, images).clamp(0, HIGHEST_GAIN)
    error = (images - compose(planes, gain)).square().sum((1, 2, 3))
    old = found.error + penalty * found.on[:, i]
    better = error + penalty * on < old
    new = Shifted(
        with_layer(found.sprite, i, sprite),
        with_layer(found.row, i, row),
        with_layer(found.column, i, column),
        with_layer(found.on, i, on),
        planes,
        gain,
        found.table,
        error,
    )
    kept = Shifted(*(pick(better, n, o) for n, o in zip(new, found, strict=True)))
    kept = kept._replace(table=with_layer(found.table, i, table))
    fresh = correlate(drawn[:, None], filters)[:, 0]
    return kept, with_layer(responses, i, pick(better, fresh, responses[:, i]))
