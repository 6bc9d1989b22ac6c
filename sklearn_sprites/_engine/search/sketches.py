"""All layers of images on coarse pixels: sweeps over layers."""

from dataclasses import replace

import torch
from torch import Tensor

from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.bank import coarse
from sklearn_sprites._engine.search.batches import by_parts, parts, put, take
from sklearn_sprites._engine.search.layers import (
    is_false,
    no_layers,
    settle,
    worth,
)
from sklearn_sprites._engine.search.posed import (
    Draft,
    PoseSearcher,
    choose_draft,
    draft,
    draft_objective,
    replace_layer,
)


def sketch(
    images: Tensor, searcher: PoseSearcher, sweeps: int, size: int | None = None
) -> Draft:
    """All layers of images (B, C, H, W), sought on coarse pixels, `size` at a time.

    Empty layers are left out once nothing was found for one.
    """
    small = coarse(images, searcher.step)
    n, size, device = len(small), size or len(small), small.device

    def begin(part: Tensor) -> Draft:
        some = small[part]
        return draft(some, no_layers(some, searcher.spec), searcher)

    now = by_parts(begin, n, size, device)
    for turn in range(sweeps):
        now = _swept(small, now, again(searcher) if turn else searcher, size)
    return now


def again(searcher: PoseSearcher) -> PoseSearcher:
    """A search for what was found before: one place, one candidate per sprite."""
    search = replace(searcher.search, peaks=1, hypotheses=1)
    return searcher._replace(search=search)


def _swept(images: Tensor, now: Draft, searcher: PoseSearcher, size: int) -> Draft:
    """After a sweep; written to `now`."""
    rows = torch.arange(len(images), device=images.device)
    in_vain = torch.zeros_like(now.layers.on[:, 0]) > 0  # nothing for an empty layer
    for i in range(searcher.spec.n_layers):
        empty = now.layers.on[:, i] == 0
        for part in parts(rows[~(empty & in_vain)], size):
            old = take(now, part)
            new = replace_layer(images[part], old, torch.full_like(part, i), searcher)
            changed = draft_objective(new, searcher) < draft_objective(old, searcher)
            in_vain[part] = ~changed & (in_vain | empty)[part]
            now = put(now, part, new)
    for part in parts(rows, size):
        now = put(now, part, tidied(images[part], take(now, part), searcher))
    return now


def tidied(images: Tensor, now: Draft, searcher: PoseSearcher) -> Draft:
    """Without layers that do not pay, or only mend the edges of others."""
    spec = searcher.spec
    values = worth(images, now.picture, spec)
    if spec.has_picture:
        now = dropping(images, now, is_false(now.picture, values.share, spec), spec)
        values = worth(images, now.picture, spec)
    pays = values.useful(spec) * searcher.step**2 > searcher.penalty
    return dropping(images, now, ~pays, spec)


def dropping(images: Tensor, now: Draft, dropped: Tensor, spec: SceneSpec) -> Draft:
    """Without some layers (B, L)."""
    on = now.layers.on * (~dropped).to(now.layers.on)
    changed = (on != now.layers.on).any(1)
    drawn = now.picture.drawn * on[..., None, None, None]
    found = settle(images, drawn, now.layers.over, spec)
    layers = now.layers._replace(on=on, over=found.over)
    return choose_draft(changed, Draft(layers, found), now)
