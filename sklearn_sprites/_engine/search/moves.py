"""Other ways to search images whose error stays high.

The layers that are explained worst are sought anew on all pixels, where they are;
restarts search from nothing with other preferences; a replacement takes away the layers
nearest to what is explained worst, and searches them again; all layers are searched
again, now that it is known what hides them.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sklearn_sprites._engine.ops.correlation import Filters
from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.bank import coarse, make_bank
from sklearn_sprites._engine.search.ground import image_of
from sklearn_sprites._engine.search.layers import Layers
from sklearn_sprites._engine.search.peaks import largest_around
from sklearn_sprites._engine.search.posed import (
    Draft,
    PoseSearcher,
    draft,
    draft_objective,
    make_pose_searcher,
    replace_layer,
    sweep,
)
from sklearn_sprites._engine.search.scene import Found, Searcher, shifted
from sklearn_sprites._engine.search.sketches import sketch, tidied

FIRSTS = 5  # sprites tried first, for each restart, where sprites are only shifted
CLOSER = 0.7  # share of its area that a layer shows in a cautious search
SMALL = 0.7  # share of the largest scale that small layers have
AROUND = 0.15  # of a side: how far a residual is spread to find the worst place
LEAVING = 2  # layers shown that are searched again
WORST = 3  # layers that are sought anew where they are
NEAR = 5  # pixels squared in which an error is blamed on a layer
HIDDEN = 0.15  # share of its area that a layer shows when it is known what hides it
PROMISING = 1.05  # times the coarse objective that a draft may have to be finished
MUCH = 3.0  # times as poor as poor images are those for which costly moves are made
TWICE = 2.0  # the same for most first sprites, where sprites are only shifted


class Proposal(NamedTuple):
    """Layers that may be better, and whether (B,) they are worth finishing."""

    layers: Layers
    promising: Tensor


Move = Callable[[Tensor, Found], Proposal]


class Attempt(NamedTuple):
    """A move, and how much poorer than poor images must be to be worth it."""

    move: Move
    factor: float = 1.0


def moves(searcher: Searcher) -> Iterator[Attempt]:
    """Restarts, then replacements."""
    posed = searcher.posed
    if not searcher.spec.n_layers:
        return
    if searcher.filters is not None:
        for rank in range(1, 1 + FIRSTS * searcher.search.restarts):
            factor = 1.0 if rank <= searcher.search.restarts else TWICE
            yield Attempt(_other_first(searcher, searcher.filters, rank), factor)
    if posed is None:
        return
    if searcher.spec.has_picture:  # shading looks like layers that are poor
        yield from [Attempt(_again(posed))][: searcher.search.restarts]
        return
    cautious, small = preferring(posed, visible=CLOSER), small_only(posed, searcher)
    yield from _restarts(posed, cautious, small, searcher)
    for turn in range(searcher.search.replacements):
        way = (posed, cautious, small)[turn % 3]
        yield Attempt(_replacement(way, turn // 2))


def _restarts(
    posed: PoseSearcher,
    cautious: PoseSearcher,
    small: PoseSearcher,
    searcher: Searcher,
) -> Iterator[Attempt]:
    spec, search, sprites = searcher.spec, posed.search, searcher.sprites
    hidden = preferring(posed, visible=min(HIDDEN, search.visible))
    fine = make_pose_searcher(
        spec, hidden.search, posed.penalty, sprites, posed.last_scale, step=1
    )
    first = (
        [Attempt(_refit(fine))],
        [
            Attempt(_restart(small if spec.has_scale else cautious), MUCH),
            Attempt(_replacement(posed, 0), MUCH),
        ],
        [Attempt(_again(hidden))],
    )
    for attempts in first[: search.restarts]:
        yield from attempts
    if search.restarts > len(first):
        others = cautious, small, small_only(cautious, searcher)
        for turn in range(search.restarts - len(first)):
            yield Attempt(_restart(others[turn % 3]))


def preferring(posed: PoseSearcher, visible: float) -> PoseSearcher:
    """A search for layers that show at least a share of their area."""
    return posed._replace(search=replace(posed.search, visible=visible))


def small_only(posed: PoseSearcher, searcher: Searcher) -> PoseSearcher:
    """A search for small layers, if scales are free."""
    scales = posed.search.scales
    kept = tuple(s for s in scales if s <= SMALL * max(scales)) or scales
    search = replace(posed.search, scales=kept)
    bank = make_bank(searcher.sprites.on_grid(), searcher.spec, search, posed.step)
    return posed._replace(search=search, bank=bank)


def _refit(posed: PoseSearcher) -> Move:
    """Seek the layers that are explained worst anew, where they are."""

    def move(images: Tensor, found: Found) -> Proposal:
        small = coarse(images, posed.step)
        start = now = draft(small, found.layers, posed)
        for i in worst_layers(images, found, posed.spec).unbind(1):
            center = now.layers.pose[torch.arange(len(i)), i, :2] / posed.step
            rows, columns = small.shape[2:]
            x, y = center.round().long().unbind(1)
            around = torch.stack([y.clamp(0, rows - 1), x.clamp(0, columns - 1)], 1)
            now = replace_layer(small, now, i, posed, around)
        before, after = (draft_objective(each, posed) for each in (start, now))
        return Proposal(now.layers, after < before)

    return move


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
    before, after = (draft_objective(each, posed) for each in (start, now))
    return Proposal(now.layers, after < PROMISING * before)


def worst_layers(images: Tensor, found: Found, spec: SceneSpec) -> Tensor:
    """The layers near which most is left of an image, worst first: (B, WORST)."""
    left = image_of(images, spec) - found.picture.image
    wrong = left.square().sum(1, keepdim=True)
    near = largest_around(largest_around(found.picture.alpha, NEAR, 2), NEAR, 3)
    blame = (near * wrong).sum((2, 3)) * found.layers.on
    return blame.sort(dim=1, descending=True, stable=True).indices[:, :WORST]


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
