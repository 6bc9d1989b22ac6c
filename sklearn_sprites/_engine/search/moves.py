"""Other ways to search images whose error stays high.

First every layer is searched anew on all pixels, from the layers as they are; restarts
search from nothing with other preferences; a replacement takes away the layers nearest
to what is explained worst, and searches them again. Whatever is found replaces what was
there only where the objective falls: the squared error and the penalties of the layers
shown.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sklearn_sprites._engine.ops.correlation import Filters
from sklearn_sprites._engine.search.bank import coarse, make_bank
from sklearn_sprites._engine.search.layers import Layers
from sklearn_sprites._engine.search.posed import (
    Draft,
    PoseSearcher,
    draft,
    make_pose_searcher,
    sketch,
    sweep,
    tidied,
)
from sklearn_sprites._engine.search.scene import (
    Found,
    Searcher,
    choose,
    finished,
    shifted,
)

CLOSER = 0.7  # share of its area that a layer shows in a cautious search
SMALL = 0.7  # share of the largest scale that small layers have
AROUND = 0.15  # of a side: how far a residual is spread to find the worst place
LEAVING = 2  # layers shown that are searched again

PROMISING = 1.05  # times the coarse objective that a draft may have to be finished


class Proposal(NamedTuple):
    """Layers that may be better, and whether (B,) they are worth finishing."""

    layers: Layers
    promising: Tensor


Move = Callable[[Tensor, Found], Proposal]


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
    if searcher.filters is not None:
        for rank in range(1, searcher.search.restarts + searcher.search.replacements):
            yield _other_first(searcher, searcher.filters, rank)
    if posed is None:
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
            yield _again(fine)
        else:
            way = restarts[(turn - 1) % len(restarts)]
            yield _restart(way)
    for turn in range(searcher.search.replacements):
        way = (posed, cautious, small)[turn % 3]
        yield _replacement(way, turn // 2)


def small_only(posed: PoseSearcher, searcher: Searcher) -> PoseSearcher:
    """A search for small layers, if scales are free."""
    scales = posed.search.scales
    kept = tuple(s for s in scales if s <= SMALL * max(scales)) or scales
    search = replace(posed.search, scales=kept)
    bank = make_bank(searcher.sprites.on_grid(), searcher.spec, search, posed.step)
    return posed._replace(search=search, bank=bank)


def improved(images: Tensor, found: Found, searcher: Searcher, size: int) -> Found:
    """Try all moves on the images that are poor, in batches of one `size`."""
    for move in moves(searcher):
        rows, layers = _proposals(images, found, move, searcher, size)
        every = torch.arange(len(rows), device=rows.device)
        for part in every.split(size) if len(rows) else ():
            kept, wrapped = rows[part], part[_wrapped(part, size)]
            old = _take(found, rows[wrapped])
            tried = Layers(*(values[wrapped] for values in layers))
            new = finished(images[rows[wrapped]], tried, searcher)
            better = objective(new, searcher.penalty) < objective(old, searcher.penalty)
            found = _put(found, kept, choose(better, new, old))
    return found


def _wrapped(part: Tensor, size: int) -> Tensor:
    """Positions in a part, as often as fill a batch."""
    return torch.arange(size, device=part.device) % len(part)


def _proposals(
    images: Tensor, found: Found, move: Move, searcher: Searcher, size: int
) -> tuple[Tensor, Layers]:
    """Rows of images for which a move proposes layers, and these layers."""
    poor = is_poor(found, searcher).nonzero()[:, 0]
    rows, layers = [poor[:0]], [[values[:0] for values in found.layers]]
    for part in poor.split(size) if len(poor) else ():
        batch = part[_wrapped(part, size)]
        proposal = move(images[batch], _take(found, batch))
        good = proposal.promising[: len(part)].nonzero()[:, 0]
        rows.append(part[good])
        layers.append([values[good] for values in proposal.layers])
    return torch.cat(rows), Layers(*map(torch.cat, zip(*layers, strict=True)))


def _again(posed: PoseSearcher) -> Move:
    """Search every layer anew, from the layers as they are."""

    def move(images: Tensor, found: Found) -> Proposal:
        small = coarse(images, posed.step)
        start = draft(small, found.layers, posed)
        order = torch.arange(found.layers.on.shape[1], device=images.device)
        now = sweep(small, start, posed, order.expand(len(images), -1))
        return _proposal(tidied(small, now, posed), start, posed)

    return move


def _restart(posed: PoseSearcher) -> Move:
    """Search all layers from nothing."""

    def move(images: Tensor, found: Found) -> Proposal:
        start = draft(coarse(images, posed.step), found.layers, posed)
        now = sketch(images, posed, posed.search.sweeps)
        return _proposal(now, start, posed)

    return move


def _other_first(searcher: Searcher, filters: Filters, rank: int) -> Move:
    """Shifts searched from another first sprite."""

    def move(images: Tensor, found: Found) -> Proposal:
        layers = shifted(images, searcher, filters, rank)
        return Proposal(layers, torch.ones_like(found.picture.error) > 0)

    return move


def _replacement(posed: PoseSearcher, rank: int) -> Move:
    """Search anew the layers nearest to the place that is explained `rank`-th worst."""

    def move(images: Tensor, found: Found) -> Proposal:
        place = worst_place(images - found.picture.image, rank)
        far = (found.layers.pose[..., :2] - place[:, None]).norm(dim=2)
        far = torch.where(found.layers.on > 0, far, torch.inf)
        leaving = far.argsort(dim=1)[:, :LEAVING]
        on = found.layers.on.scatter(1, leaving, 0.0)
        spare = on.argmin(1, keepdim=True)  # the first that is empty now
        order = torch.cat([leaving, spare], 1)
        small = coarse(images, posed.step)
        start = draft(small, found.layers, posed)
        fewer = draft(small, found.layers._replace(on=on), posed)
        now = tidied(small, sweep(small, fewer, posed, order), posed)
        return _proposal(now, start, posed)

    return move


def _proposal(now: Draft, start: Draft, posed: PoseSearcher) -> Proposal:
    before, after = (
        each.picture.error * posed.step**2 + posed.penalty * each.layers.on.sum(1)
        for each in (start, now)
    )
    return Proposal(now.layers, after < PROMISING * before)


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
