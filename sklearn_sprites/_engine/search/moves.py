"""Other ways to search images whose error stays high.

First every layer is searched anew on all pixels, from the layers as they are; restarts
search from nothing with other preferences; a replacement takes away the layers nearest
to what is explained worst, and searches them again. Whatever is found replaces what was
there only where the objective falls: the squared error and the penalties of the layers
shown.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from sklearn_sprites._engine.search.bank import coarse, make_bank
from sklearn_sprites._engine.search.posed import (
    PoseSearcher,
    draft,
    make_pose_searcher,
    sweep,
    tidied,
)
from sklearn_sprites._engine.search.scene import (
    Found,
    Searcher,
    choose,
    find_layers,
    finished,
    pruned,
    shifted,
)

CLOSER = 0.7  # share of its area that a layer shows in a cautious search
SMALL = 0.7  # share of the largest scale that small layers have
AROUND = 0.15  # of a side: how far a residual is spread to find the worst place
LEAVING = 2  # layers shown that are searched again

Move = Callable[[Tensor, Found], Found]


def objective(found: Found, penalty: float) -> Tensor:
    """Squared error and penalties (B,)."""
    return found.picture.error + penalty * found.layers.on.sum(1)


def is_poor(found: Found, searcher: Searcher) -> Tensor:
    """Whether the error is high for what the layers save, (B,)."""
    error, saved = found.picture.error, found.saves.sum(1)
    return (error > searcher.search.poor * saved) & (error > searcher.penalty)


def moves(searcher: Searcher) -> Iterator[Move]:
    """Restarts, then replacements."""
    posed = searcher.posed
    if not searcher.spec.n_layers:
        return
    if posed is None:
        for rank in range(1, searcher.search.restarts + searcher.search.replacements):
            yield _other_first(searcher, rank)
        return
    spec, search = searcher.spec, posed.search
    fine = make_pose_searcher(
        spec, search, posed.penalty, searcher.sprites, posed.last_scale, step=1
    )
    cautious = posed._replace(search=replace(search, visible=CLOSER))
    small = small_only(posed, searcher)
    restarts = [cautious, small, small_only(cautious, searcher)]
    for turn in range(searcher.search.restarts):
        if turn == 0:
            yield _again(searcher, fine)
        else:
            way = restarts[(turn - 1) % len(restarts)]
            yield _restart(searcher._replace(posed=way))
    for turn in range(searcher.search.replacements):
        way = (posed, cautious, small)[turn % 3]
        yield _replacement(searcher, way, turn // 2)


def small_only(posed: PoseSearcher, searcher: Searcher) -> PoseSearcher:
    """A search for small layers, if scales are free."""
    scales = posed.search.scales
    kept = tuple(s for s in scales if s <= SMALL * max(scales)) or scales
    search = replace(posed.search, scales=kept)
    bank = make_bank(searcher.sprites, searcher.spec, search, posed.step)
    return posed._replace(search=search, bank=bank)


def improved(images: Tensor, found: Found, searcher: Searcher, size: int) -> Found:
    """Try all moves on the images that are poor, in batches of one `size`."""
    for move in moves(searcher):
        poor = is_poor(found, searcher).nonzero()[:, 0]
        for part in poor.split(size) if len(poor) else ():
            rows = part[torch.arange(size, device=part.device) % len(part)]
            old = _take(found, rows)
            new = move(images[rows], old)
            better = objective(new, searcher.penalty) < objective(old, searcher.penalty)
            found = _put(found, part, choose(better, new, old))
    return found


def _again(searcher: Searcher, posed: PoseSearcher) -> Move:
    """Search every layer anew, from the layers as they are."""

    def move(images: Tensor, found: Found) -> Found:
        small = coarse(images, posed.step)
        start = draft(small, found.layers, posed)
        order = torch.arange(searcher.spec.n_layers, device=images.device)
        now = sweep(small, start, posed, order.expand(len(images), -1))
        return finished(images, tidied(small, now, posed).layers, searcher)

    return move


def _restart(searcher: Searcher) -> Move:
    return lambda images, _: find_layers(images, searcher)


def _other_first(searcher: Searcher, rank: int) -> Move:
    """Shifts searched from another first sprite."""

    def move(images: Tensor, found: Found) -> Found:
        if searcher.filters is None:
            return found
        layers = shifted(images, searcher, searcher.filters, rank)
        return pruned(images, layers, searcher)

    return move


def _replacement(searcher: Searcher, posed: PoseSearcher, rank: int) -> Move:
    """Search anew the layers nearest to the place that is explained `rank`-th worst."""

    def move(images: Tensor, found: Found) -> Found:
        place = worst_place(images - found.picture.image, rank)
        far = (found.layers.pose[..., :2] - place[:, None]).norm(dim=2)
        far = torch.where(found.layers.on > 0, far, torch.inf)
        leaving = far.argsort(dim=1)[:, :LEAVING]
        on = found.layers.on.scatter(1, leaving, 0.0)
        spare = on.argmin(1, keepdim=True)  # the first that is empty now
        order = torch.cat([leaving, spare], 1)
        small = coarse(images, posed.step)
        start = draft(small, found.layers._replace(on=on), posed)
        now = tidied(small, sweep(small, start, posed, order), posed)
        return finished(images, now.layers, searcher)

    return move


def worst_place(residual: Tensor, rank: int) -> Tensor:
    """Center (x, y) of the `rank`-th largest heap of squared residual, (B, 2)."""
    height, width = residual.shape[2:]
    reach = max(1, int(AROUND * min(height, width)) // 2)
    heap = residual.square().sum(1, keepdim=True)
    heap = F.avg_pool2d(heap, 2 * reach + 1, 1, reach)
    top = F.max_pool2d(heap, 2 * reach + 1, 1, reach)
    heap = torch.where(heap >= top, heap, 0).flatten(1)
    spot = heap.topk(min(rank + 1, heap.shape[1]), 1).indices[:, -1]
    return torch.stack([spot % width + 0.5, spot // width + 0.5], 1).to(residual)


def _take(found: Found, rows: Tensor) -> Found:
    return _each(found, lambda old: old[rows])


def _put(found: Found, rows: Tensor, new: Found) -> Found:
    for old, value in zip(_tensors(found), _tensors(new), strict=True):
        old[rows] = value[: len(rows)]
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
