"""Images that are explained poorly are searched again, see :mod:`.moves`.

Whatever is found replaces what was there only where the objective falls: the squared
error and the penalties of the layers shown. In the end, layers that do not pay are
dropped.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from sklearn_sprites._engine.search.layers import Layers, blank_error
from sklearn_sprites._engine.search.moves import Move, moves
from sklearn_sprites._engine.search.scene import (
    Found,
    Searcher,
    choose,
    finished,
    pruned,
)


def objective(found: Found, penalty: float) -> Tensor:
    """Squared error and penalties (B,)."""
    return found.picture.error + penalty * found.layers.on.sum(1)


def is_poor(
    found: Found, blank: Tensor, searcher: Searcher, factor: float = 1.0
) -> Tensor:
    """Whether the error is high for what all layers save, (B,), by some factor.

    `blank` (B,) is the error without any layer.
    """
    error = found.picture.error
    limit = factor * searcher.search.poor * (blank - error)
    return (error > limit) & (error > searcher.penalty)


def improved(images: Tensor, found: Found, searcher: Searcher, size: int) -> Found:
    """Try all moves on the images that are poor, in batches of one `size`.

    The tensors of `found` are written to.
    """
    blank = torch.cat([blank_error(x, searcher.spec) for x in images.split(size)])
    for move, factor in moves(searcher):
        poor = is_poor(found, blank, searcher, factor).nonzero()[:, 0]
        rows, layers = _proposals(images, found, poor, move, size)
        for part in _parts(rows, size):
            chosen = rows[part]
            tried = Layers(*(values[part] for values in layers))
            new = finished(images[chosen], tried, searcher)
            old = _take(found, chosen)
            better = objective(new, searcher.penalty) < objective(old, searcher.penalty)
            found = _put(found, chosen, choose(better, new, old))
    for part in torch.arange(len(images), device=images.device).split(size):
        layers = Layers(*(values[part] for values in found.layers))
        found = _put(found, part, pruned(images[part], layers, searcher))
    return found


def _parts(rows: Tensor, size: int) -> list[Tensor]:
    """Positions of rows in batches of one `size`; the last is filled by repetition."""
    every = torch.arange(-(-len(rows) // size) * size, device=rows.device)
    return list((every % max(len(rows), 1)).view(-1, size))


def _proposals(
    images: Tensor, found: Found, poor: Tensor, move: Move, size: int
) -> tuple[Tensor, Layers]:
    """Rows of images for which a move proposes layers, and these layers."""
    rows, layers = [poor[:0]], [[values[:0] for values in found.layers]]
    done = 0
    for part in _parts(poor, size):
        batch, fresh = poor[part], min(len(poor) - done, size)
        proposal = move(images[batch], _take(found, batch))
        good = proposal.promising[:fresh].nonzero()[:, 0]
        rows.append(batch[good])
        layers.append([values[good] for values in proposal.layers])
        done += fresh
    return torch.cat(rows), Layers(*map(torch.cat, zip(*layers, strict=True)))


def _take(found: Found, rows: Tensor) -> Found:
    return _each(found, lambda old: old[rows])


def _put(found: Found, rows: Tensor, new: Found) -> Found:
    for old, value in zip(_tensors(found), _tensors(new), strict=True):
        old[rows] = value
    return found


def _tensors(found: Found) -> list[Tensor]:
    return [*found.layers, *found.picture, found.saves, found.share]


def _each(found: Found, change: Callable[[Tensor], Tensor]) -> Found:
    return Found(
        type(found.layers)(*map(change, found.layers)),
        type(found.picture)(*map(change, found.picture)),
        change(found.saves),
        change(found.share),
    )


def joined(parts: list[Found]) -> Found:
    """One record of all images of several."""
    columns = [torch.cat(c) for c in zip(*map(_tensors, parts), strict=True)]
    rest = iter(columns)
    return _each(parts[0], lambda _: next(rest))
