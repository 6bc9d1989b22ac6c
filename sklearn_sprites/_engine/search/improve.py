"""Images that are explained poorly are searched again, see :mod:`.moves`.

Whatever is found replaces what was there only where the objective falls: the squared
error and the penalties of the layers shown. In the end, layers that do not pay are
dropped.
"""

import torch
from torch import Tensor

from sklearn_sprites._engine.search.batches import joined, parts, put, take
from sklearn_sprites._engine.search.layers import Layers, blank_error
from sklearn_sprites._engine.search.moves import Move, moves
from sklearn_sprites._engine.search.poor import is_poor
from sklearn_sprites._engine.search.scene import (
    Found,
    Searcher,
    choose,
    finished,
    pruned,
)

FEW = 8  # images of a batch where sprites are only shifted: hardly any are poor


def objective(found: Found, penalty: float) -> Tensor:
    """Squared error and penalties (B,)."""
    return found.picture.error + penalty * found.layers.on.sum(1)


def improved(images: Tensor, found: Found, searcher: Searcher, size: int) -> Found:
    """Try all moves on the images that are poor, in batches of one `size`.

    It is :data:`FEW` at most where sprites are only shifted. The tensors of `found` are
    written to.
    """
    search = searcher.search
    blank = torch.cat([blank_error(x, searcher.spec) for x in images.split(size)])
    few = size if searcher.filters is None else min(FEW, size)
    for move, factor in moves(searcher):
        error = found.picture.error
        poor = is_poor(error, blank, search, searcher.penalty, factor)
        worst = poor.nonzero()[:, 0]
        rows, layers = _proposals(images, found, worst, move, few)
        for part in parts(torch.arange(len(rows), device=rows.device), few):
            chosen = rows[part]
            new = finished(images[chosen], take(layers, part), searcher)
            old = take(found, chosen)
            better = objective(new, searcher.penalty) < objective(old, searcher.penalty)
            found = put(found, chosen, choose(better, new, old))
    return pruned(images, found, searcher, size, is_last=True)


def _proposals(
    images: Tensor, found: Found, poor: Tensor, move: Move, size: int
) -> tuple[Tensor, Layers]:
    """Rows of images for which a move proposes layers, and these layers."""
    rows, layers = [poor[:0]], [take(found.layers, poor[:0])]
    done = 0
    for batch in parts(poor, size):
        fresh = min(len(poor) - done, size)
        proposal = move(images[batch], take(found, batch))
        good = proposal.promising[:fresh].nonzero()[:, 0]
        rows.append(batch[good])
        layers.append(take(proposal.layers, good))
        done += fresh
    return torch.cat(rows), joined(layers)
