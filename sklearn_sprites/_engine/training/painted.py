"""Learning sprites in their own colors: search, then least squares per pixel.

A pixel of a sprite shows ``ink + t D`` with t one minus its opacity, in front of D. So
ink and opacity are a line through what its layers show over what is behind them. Where
that is the same in all images, nothing tells opacity: it goes by how far the sprite
looks different from it. A copy of the sprite behind itself is no such evidence, as each
of two faint copies says that the other one is seen through: so there are none.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sklearn_sprites._engine.ops.correlation import make_filters
from sklearn_sprites._engine.ops.layers import free_share
from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.batches import BATCH, take
from sklearn_sprites._engine.search.ground import image_of
from sklearn_sprites._engine.search.painted import (
    Painted,
    composed,
    first_ground,
    make_kernels,
    redrawn,
    search_painted,
)
from sklearn_sprites._engine.search.shifts import search_shifts, windows_at
from sklearn_sprites._engine.search_settings import SearchPlan
from sklearn_sprites._engine.training.lloyd import lloyd, plus_plus
from sklearn_sprites._engine.training.scene_windows import shift_kmeans
from sklearn_sprites._engine.training.shifted import FEWEST, TRUSTED, blob

MOST = 1200  # windows from which first sprites are made
ROOM = 3  # pixels between channels side by side, as far as windows are shifted
CLEARLY = 3.5e-3  # squared error per channel of a pixel that is not ground
OPAQUE = 0.15  # share of a sprite's largest difference from the ground that is opaque
DOUBT = 10.0  # one over the variance of an opacity that is guessed
NOISE = 1e-3  # variance per channel of what a pixel shows, beside what is seen of it
OPEN = 0.05  # share of a pixel that must be free to say something
HALF = 0.5  # opacity of what is centered


class Seen(NamedTuple):
    """What layers of a round saw, n windows in all.

    ``shown`` and ``behind`` (n, C, h, w): what layers show where nothing hides them,
    and what they stand before; ``weight`` (n, h, w), how free they are, zero outside of
    the image; ``sprite`` (n,), ``table`` (n, K) what each sprite would have saved.
    """

    shown: Tensor
    behind: Tensor
    weight: Tensor
    sprite: Tensor
    table: Tensor


def observe(
    views: Tensor, planes: Tensor, spec: SceneSpec, search: SearchPlan, penalty: float
) -> tuple[Seen, float]:
    """Search all images, and cut out what each layer shows.

    With the mean squared error per pixel and channel.
    """
    kernels = make_kernels(planes, spec.height, spec.width)
    every = search_painted(views, kernels, spec, search, penalty, apart=True)
    cuts = []
    for rows in torch.arange(len(views), device=views.device).split(BATCH):
        images = image_of(views[rows], spec)
        found = redrawn(take(every, rows), planes, images)
        for i in range(spec.n_layers):
            on = found.on[:, i] > 0
            maps = _around(images, found, i)
            row, column = found.row[:, i], found.column[:, i]
            cut = windows_at(maps, row, column, *planes.shape[2:])
            told = cut, found.sprite[:, i], found.table[:, i]
            cuts.append([each[on] for each in told])
    cut, sprite, table = (torch.cat(column) for column in zip(*cuts, strict=True))
    shown, behind, weight = cut.split([spec.channels, spec.channels, 1], 1)
    free = weight.clamp_min(OPEN)
    n_values = len(views) * spec.channels * spec.height * spec.width
    loss = float(every.error.double().sum()) / n_values
    return Seen(shown / free, behind / free, weight[:, 0], sprite, table), loss


def _around(images: Tensor, found: Painted, i: int) -> Tensor:
    """What layer i shows and stands before, times how free it is, and that.

    Maps (B, 2 C + 1, H, W).
    """
    mask, inks = found.drawn[:, :, -1], found.drawn[:, :, :-1]
    free = free_share(mask, found.over)
    others = found.drawn.clone()
    others[:, i] = 0
    hides = found.over[:, :, i, None, None, None]  # layers in front of this one
    front = (hides * free[:, :, None] * inks).sum(1)
    rest = composed(others, found.over, found.ground)
    own = free[:, i, None]
    own = own * (own > OPEN)
    return torch.cat([images - front, rest - front, torch.ones_like(own)], 1) * own


def solved(planes: Tensor, seen: Seen) -> Tensor:
    """Each sprite from its nearest windows; unused ones stay."""
    new = planes.clone()
    for j in range(len(planes)):
        mine = take(seen, (seen.sprite == j).nonzero()[:, 0])
        if len(mine.sprite):
            new[j] = fitted(mine, planes[j])
    return centered(new)


def fitted(mine: Seen, before: Tensor) -> Tensor:
    """Ink and opacity (C + 1, h, w) from the windows of a sprite."""
    ink, mask = before[:-1], before[-1:]
    far = (mine.shown - ink - (1 - mask) * mine.behind).square().sum(1)
    wrong = (mine.weight * far).sum((1, 2)) / mine.weight.sum((1, 2)).clamp_min(1)
    near = (wrong <= wrong.quantile(TRUSTED)).nonzero()[:, 0]
    mine = take(mine, near)
    weight = mine.weight[:, None]
    total = weight.sum(0)
    mean, back = (
        (weight * maps).sum(0) / total.clamp_min(1e-6)
        for maps in (mine.shown, mine.behind)
    )
    apart = mine.behind - back
    both = (weight * apart * (mine.shown - mean)).sum((0, 1))
    own = (weight * apart.square()).sum((0, 1))
    contrast = (mean - back).square().sum(0).sqrt()
    guess = 1 - (contrast / (OPAQUE * contrast.max().clamp_min(1e-6))).clamp(0, 1)
    spread = (weight * (mine.shown - mean).square()).sum((0, 1))
    left = (spread - both.square() / own.clamp_min(1e-9)).clamp_min(0)
    left = left / total[0].clamp_min(1e-6)
    prior = DOUBT * (left + NOISE * len(ink))
    clear = ((both + prior * guess) / (own + prior)).clamp(0, 1)
    inks = (mean - clear * back).clamp_min(0).minimum(1 - clear)
    return torch.where(total > 0, torch.cat([inks, 1 - clear[None]]), before)


def halved(planes: Tensor, seen: Seen, count: int, draws: torch.Generator) -> Tensor:
    """Second halves (at most `count`) of the sprites that gain most by a split."""
    gains, parts = [], []
    for j, sprite in enumerate(planes):
        mine = take(seen, (seen.sprite == j).nonzero()[:, 0])
        if len(mine.sprite) < FEWEST:
            continue
        drawn = sprite[:-1] + (1 - sprite[-1:]) * mine.behind
        points = (mine.weight[:, None] * (mine.shown - drawn)).flatten(1)
        split = lloyd(points, plus_plus(points, 2, draws), 20)
        whole = (points - points.mean(0)).square().sum()
        gains.append(float(whole - split.errors.sum()))
        apart = split.centers.square().sum(1)
        rows = (split.labels == apart.argmax()).nonzero()[:, 0]
        half = take(mine, rows) if len(rows) else mine
        parts.append(fitted(half, fitted(half, sprite)))
    best = sorted(range(len(gains)), key=lambda i: -gains[i])[:count]
    if not best:
        return planes[:0]
    return centered(torch.stack([parts[i] for i in best]))


def centered(planes: Tensor) -> Tensor:
    """Sprites with the box of what is opaque in the middle, moved by whole pixels."""
    moved = []
    for one in planes:
        shift = []
        for axis in (1, 0):
            where = (one[-1] > HALF).any(axis).nonzero().flatten()
            side = one.shape[2 - axis]
            ends = int(where[0]) + int(where[-1]) if len(where) else side - 1
            shift.append((side - 1 - ends) // 2)
        moved.append(_shifted(one, *shift))
    return torch.stack(moved)


def _shifted(maps: Tensor, down: int, right: int) -> Tensor:
    """Maps (D, h, w) moved by whole pixels; zeros come in."""
    h, w = maps.shape[1:]
    wide = F.pad(maps, (max(right, 0), max(-right, 0), max(down, 0), max(-down, 0)))
    top, left = max(-down, 0), max(-right, 0)
    return wide[:, top : top + h, left : left + w]


def first_painted(
    views: Tensor, spec: SceneSpec, k: int, draws: torch.Generator
) -> Tensor:
    """Sprites from what blobs saw that differs from the ground; blobs else."""
    images, ground = image_of(views, spec), first_ground(views, spec)
    sides = (spec.sprite_height, spec.sprite_width)
    spot = blob(sides, images)
    differs = (images - ground).square().sum(1, keepdim=True)
    clearly = (differs > CLEARLY * spec.channels).to(images)
    energy = (clearly * differs).sqrt()
    filters = make_filters(spot, spec.height, spec.width)
    cuts = []
    for part in torch.arange(len(views), device=views.device).split(BATCH):
        found = search_shifts(energy[part], spot, filters, spec.n_layers, 1, 0.0)
        maps = torch.cat([images[part], ground[part]], 1)
        for i in range(spec.n_layers):
            cut = windows_at(maps, found.row[:, i], found.column[:, i], *sides)
            cuts.append(cut[found.on[:, i] > 0])
    cut = torch.cat(cuts)
    if not len(cut):
        return spot.expand(k, spec.channels + 1, -1, -1).clone()
    some = torch.randperm(len(cut), generator=draws)[:MOST]
    cut = cut[some.to(cut.device)]
    shown, behind = cut.chunk(2, 1)
    beside = F.pad(shown - behind, (0, ROOM)).transpose(1, 2).flatten(2)
    even = beside.new_ones(len(beside))
    means = shift_kmeans(beside, even, k, draws)
    apart = means.unflatten(2, (spec.channels, -1))[..., : sides[1]].transpose(1, 2)
    contrast = apart.square().sum(1, keepdim=True).sqrt()
    top = contrast.amax((1, 2, 3), keepdim=True).clamp_min(1e-6)
    mask = (contrast / (OPAQUE * top)).clamp(0, 1)
    middle = behind.mean((0, 2, 3))[:, None, None]
    inks = ((apart + middle) * mask).clamp_min(0).minimum(mask)
    return centered(torch.cat([inks, mask], 1))
