"""The layers of whole images, in the way that their poses ask for."""

from typing import NamedTuple

import torch
from torch import Tensor

from sklearn_sprites._engine.ops.correlation import Filters, make_filters
from sklearn_sprites._engine.scene_settings import Search
from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.layers import (
    Layers,
    Picture,
    Sprites,
    draw,
    no_layers,
    pick,
    savings,
    settle,
)
from sklearn_sprites._engine.search.poses import corner_pose
from sklearn_sprites._engine.search.shifts import search_shifts


class Searcher(NamedTuple):
    """All that a search needs besides images."""

    spec: SceneSpec
    search: Search
    penalty: float
    sprites: Sprites
    filters: Filters


def make_searcher(
    spec: SceneSpec, search: Search, penalty: float, sprites: Sprites
) -> Searcher:
    """Prepare the sprites."""
    filters = make_filters(sprites.ink, spec.height, spec.width)
    return Searcher(spec, search, penalty, sprites, filters)


class Found(NamedTuple):
    """Layers, the picture that they make, and what each saves (B, L)."""

    layers: Layers
    picture: Picture
    saves: Tensor


def choose(better: Tensor, new: Found, old: Found) -> Found:
    """`new` in the images (B,) where it is better, else `old`."""
    return Found(
        Layers(*(pick(better, n, o) for n, o in zip(new[0], old[0], strict=True))),
        Picture(*(pick(better, n, o) for n, o in zip(new[1], old[1], strict=True))),
        pick(better, new.saves, old.saves),
    )


def find_layers(images: Tensor, searcher: Searcher) -> Found:
    """Search the layers of a batch of images, and drop those that do not pay."""
    spec, sprites = searcher.spec, searcher.sprites
    layers = no_layers(images, spec)
    if not spec.n_layers:
        picture = describe(images, layers, searcher)
        return Found(layers, picture, layers.on)
    shifted = search_shifts(
        images,
        sprites.ink,
        searcher.filters,
        spec.n_layers,
        searcher.search.sweeps,
        searcher.penalty,
    )
    pose = corner_pose(shifted.row.to(images), shifted.column.to(images), sprites.sides)
    layers = layers._replace(sprite=shifted.sprite, pose=pose, on=shifted.on)
    return pruned(images, layers, searcher)


def describe(images: Tensor, layers: Layers, searcher: Searcher) -> Picture:
    """Solve colors and order of layers as they are placed."""
    drawn = draw(searcher.sprites, layers, searcher.spec.height, searcher.spec.width)
    return settle(images, drawn, layers.over, searcher.spec)


def pruned(images: Tensor, layers: Layers, searcher: Searcher) -> Found:
    """Drop layers that save less than the penalty, in each image the worst first."""
    found = _judged(images, layers, searcher)
    for _ in range(searcher.spec.n_layers):
        paying = torch.where(found.layers.on > 0, found.saves, torch.inf)
        least, worst = paying.min(1)
        drop = least <= searcher.penalty
        if not drop.any():  # a sync, which saves the work of a round
            break
        fewer = found.layers.on.scatter(1, worst[:, None], 0.0)
        other = _judged(images, found.layers._replace(on=fewer), searcher)
        found = choose(drop, other, found)
    return found


def _judged(images: Tensor, layers: Layers, searcher: Searcher) -> Found:
    spec = searcher.spec
    drawn = draw(searcher.sprites, layers, spec.height, spec.width)
    picture = settle(images, drawn, layers.over, spec)
    saves = savings(images, drawn, picture, spec)
    return Found(layers._replace(over=picture.over), picture, saves * layers.on)
