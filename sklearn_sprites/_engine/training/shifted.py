"""Learning shifted sprites on black: search, then weighted means of windows.

More sprites than wanted are tried: each round adds halves of the sprites whose windows
differ most, searches with all, and keeps those that would be missed most, by what every
layer would lose without them. So a sprite moves only where the images gain by it.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from sklearn_sprites._engine.ops.correlation import make_filters
from sklearn_sprites._engine.search.shifts import search_shifts, windows_at
from sklearn_sprites._engine.training.lloyd import lloyd, plus_plus
from sklearn_sprites._engine.training.scene_windows import centered, shift_kmeans

BATCH = 16
TRUSTED = 0.8  # share of a sprite's windows, the nearest, that make its mean
BRIGHTEST = 1.2  # of a pixel of a sprite; gains do the rest
FEWEST = 12  # windows that a split needs
HEAVIEST = 2.0  # weight of a window: bright layers do not decide alone


class Seen(NamedTuple):
    """What layers of a round saw, n windows in all.

    ``window`` (n, h, w) in units of gain, ``inside`` (n, h, w) where the image is,
    ``weight`` (n,) squared gain, ``sprite`` (n,), ``table`` (n, K) what each sprite
    would have saved; ``loss``, mean squared error per pixel and channel.
    """

    window: Tensor
    inside: Tensor
    weight: Tensor
    sprite: Tensor
    table: Tensor
    loss: float


def observe(
    images: Tensor, ink: Tensor, n_layers: int, sweeps: int, penalty: float
) -> Seen:
    """Search all images, and cut out what each layer has to explain."""
    height, width = images.shape[2:]
    filters = make_filters(ink, height, width)
    parts, error = [], 0.0
    for x in images.split(BATCH):
        found = search_shifts(x, ink, filters, n_layers, sweeps, penalty)
        error += float(found.error.double().sum())
        whole = torch.einsum("blc,blhw->bchw", found.gain, found.ink)
        for i in range(n_layers):
            gain = found.gain[:, i]  # (B, C)
            own = gain[..., None, None] * found.ink[:, i, None]
            rest = (gain[..., None, None] * (x - whole + own)).sum(1, keepdim=True)
            maps = torch.cat([rest, torch.ones_like(rest)], 1)
            cut = windows_at(maps, found.row[:, i], found.column[:, i], *ink.shape[1:])
            weight = gain.square().sum(1)
            window = cut[:, 0] / (weight[:, None, None] + 1e-3)
            shown = found.on[:, i] > 0
            parts.append(
                (
                    window.clamp(-0.1, BRIGHTEST)[shown],
                    cut[:, 1][shown],
                    weight.clamp(max=HEAVIEST)[shown],
                    found.sprite[:, i][shown],
                    found.table[:, i][shown],
                )
            )
    window, inside, weight, sprite, table = (
        torch.cat(column) for column in zip(*parts, strict=True)
    )
    loss = error / images.numel()
    return Seen(window, inside, weight, sprite, table, loss)


def blob(sides: tuple[int, int], like: Tensor) -> Tensor:
    """A round Gaussian spot, (1, h, w)."""
    h, w = (torch.arange(n, dtype=like.dtype, device=like.device) for n in sides)
    down = torch.exp(-0.5 * ((h - (sides[0] - 1) / 2) * 6 / sides[0]) ** 2)
    right = torch.exp(-0.5 * ((w - (sides[1] - 1) / 2) * 6 / sides[1]) ** 2)
    return (down[:, None] * right)[None]


def first_sprites(seen: Seen, k: int, generator: torch.Generator) -> Tensor:
    """Sprites from what blobs saw; blobs themselves where they saw nothing."""
    if not len(seen.window):
        h, w = seen.window.shape[1:]
        return blob((h, w), seen.window).expand(k, -1, -1).clone()
    found = shift_kmeans(seen.window, seen.weight, k, generator)
    return centered(found.clamp(0, BRIGHTEST))


def updated(ink: Tensor, seen: Seen) -> Tensor:
    """Each sprite the weighted mean of its nearest windows; unused ones stay."""
    distance = (seen.inside * (seen.window - ink[seen.sprite]).square()).sum((1, 2))
    new = ink.clone()
    for j in range(len(ink)):
        mine = (seen.sprite == j).nonzero()[:, 0]
        if not len(mine):
            continue
        keep = mine[distance[mine] <= distance[mine].quantile(TRUSTED)]
        weight = seen.weight[keep, None, None] * seen.inside[keep]
        total = weight.sum(0)
        mean = (seen.window[keep] * weight).sum(0) / total.clamp_min(1e-9)
        new[j] = torch.where(total > 0, mean, ink[j])
    return centered(new.clamp(0, BRIGHTEST))


def most_missed(table: Tensor, k: int) -> Tensor:
    """The k of K sprites that the layers would miss most, ascending.

    Those whose removal costs least leave one by one; the layers turn to what is left.
    """
    left = list(range(table.shape[1]))
    while len(left) > k:
        first = table[:, left].topk(2, 1)
        lead = (first.values[:, 0] - first.values[:, 1]).double()
        cost = torch.zeros(len(left), dtype=torch.float64, device=table.device)
        cost.index_add_(0, first.indices[:, 0], lead)
        left.pop(int(cost.argmin()))
    return torch.tensor(left, device=table.device)


def halves(ink: Tensor, seen: Seen, count: int, generator: torch.Generator) -> Tensor:
    """Second halves (at most `count`) of the sprites that gain most by a split."""
    gains, parts = [], []
    for j in range(len(ink)):
        mine = seen.sprite == j
        if int(mine.sum()) < FEWEST:
            continue
        root = seen.weight[mine].sqrt()[:, None]
        points = seen.window[mine].flatten(1)
        scaled = points * root  # what the two halves differ in, weighted
        split = lloyd(scaled, plus_plus(scaled, 2, generator), 20)
        weight = torch.nn.functional.one_hot(split.labels, 2) * root.square()  # (n, 2)
        means = (weight.T @ points) / weight.sum(0)[:, None].clamp_min(1e-9)
        whole = (points * root.square()).sum(0) / root.square().sum()
        left = (root.square() * (points - means[split.labels]).square()).sum()
        gains.append(float((root.square() * (points - whole).square()).sum() - left))
        apart = (means - ink[j].flatten()).square().sum(1)
        parts.append(means[apart.argmax()].view_as(ink[j]))
    best = sorted(range(len(gains)), key=lambda i: -gains[i])[:count]
    if not best:
        return ink[:0]
    return centered(torch.stack([parts[i] for i in best]).clamp(0, BRIGHTEST))
