"""The layers of whole images, in the way that their poses ask for."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from sklearn_sprites._engine.ops.correlation import Filters, make_filters
from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.batches import by_parts, parts, put, take
from sklearn_sprites._engine.search.layers import (
    Layers,
    Picture,
    Sprites,
    choose_picture,
    draw,
    is_false,
    no_layers,
    ordered,
    pick,
    settle,
    worth,
)
from sklearn_sprites._engine.search.moments import Window, around_masks
from sklearn_sprites._engine.search.patches import copies, patches, unseen
from sklearn_sprites._engine.search.polish import polished
from sklearn_sprites._engine.search.posed import (
    PoseSearcher,
    make_pose_searcher,
)
from sklearn_sprites._engine.search.poses import corner_pose
from sklearn_sprites._engine.search.refine import Slopes, make_slopes
from sklearn_sprites._engine.search.shifts import search_shifts
from sklearn_sprites._engine.search.sketches import sketch
from sklearn_sprites._engine.search_settings import SearchPlan

LAST_SCALE = 0.1
POLISH_STEPS = 3


class Searcher(NamedTuple):
    """All that a search needs besides images.

    ``filters`` for shifts on black, ``posed`` and ``fine`` for other poses.
    """

    spec: SceneSpec
    search: SearchPlan
    penalty: float
    sprites: Sprites
    filters: Filters | None
    posed: PoseSearcher | None
    fine: Slopes | None
    window: Window | None  # of masks, for `fine`


def make_searcher(
    spec: SceneSpec, search: SearchPlan, penalty: float, sprites: Sprites
) -> Searcher:
    """Prepare the sprites."""
    if spec.is_additive:
        filters = make_filters(sprites.ink, spec.height, spec.width)
        return Searcher(spec, search, penalty, sprites, filters, None, None, None)
    if spec.has_own_colors:
        return Searcher(spec, search, penalty, sprites, None, None, None, None)
    posed = make_pose_searcher(spec, search, penalty, sprites, LAST_SCALE)
    return make_finisher(spec, search, penalty, sprites)._replace(posed=posed)


def make_finisher(
    spec: SceneSpec, search: SearchPlan, penalty: float, sprites: Sprites
) -> Searcher:
    """What makes layers in other poses exact, but cannot search them."""
    fine = make_slopes(sprites, spec, search, 1)
    window = around_masks(fine, spec)
    return Searcher(spec, search, penalty, sprites, None, None, fine, window)


class Found(NamedTuple):
    """Layers, the picture that they make, and what each is worth (B, L).

    What layers are worth is zero until :func:`pruned` tells.
    """

    layers: Layers
    picture: Picture
    saves: Tensor
    share: Tensor


def choose(better: Tensor, new: Found, old: Found) -> Found:
    """`new` in the images (B,) where it is better, else `old`."""
    return Found(
        Layers(*(pick(better, n, o) for n, o in zip(new[0], old[0], strict=True))),
        choose_picture(better, new.picture, old.picture),
        pick(better, new.saves, old.saves),
        pick(better, new.share, old.share),
    )


def find_layers(images: Tensor, searcher: Searcher, size: int | None = None) -> Found:
    """Search the layers of images, `size` at a time, and drop those that do not pay."""
    return pruned(images, sought(images, searcher, size), searcher, size)


def layers_found(
    images: Tensor, searcher: Searcher, size: int
) -> Iterator[tuple[Tensor, Found]]:
    """Some images at a time, with their layers."""
    found = find_layers(images, searcher, size)
    for rows in torch.arange(len(images), device=images.device).split(size):
        yield images[rows], take(found, rows)


def sought(images: Tensor, searcher: Searcher, size: int | None = None) -> Found:
    """Search the layers of images, `size` at a time."""
    n, size = len(images), size or len(images)
    sketched = None
    if searcher.posed is not None and searcher.spec.n_layers:
        posed, sweeps = searcher.posed, searcher.search.sweeps
        many = size * posed.step  # coarse pixels are few
        sketched = sketch(images, posed, sweeps, many).layers

    def finish(part: Tensor) -> Found:
        if sketched is not None:
            return finished(images[part], take(sketched, part), searcher)
        layers = no_layers(images[part], searcher.spec)
        if searcher.filters is not None and searcher.spec.n_layers:
            layers = shifted(images[part], searcher, searcher.filters)
        return finished(images[part], layers, searcher)

    return by_parts(finish, n, size, images.device)


def finished(images: Tensor, layers: Layers, searcher: Searcher) -> Found:
    """Polish layers at full resolution, and solve their colors and order."""
    spec, fine = searcher.spec, searcher.fine
    if fine is not None and spec.n_layers:
        sprites, window = searcher.sprites, searcher.window
        layers, found = polished(
            images, layers, sprites, fine, spec, POLISH_STEPS, window=window
        )
        return _unjudged(layers, ordered(images, found, spec))
    return described(images, layers, searcher)


def in_whole_pixels(
    images: Tensor, found: Found, side: int, finisher: Searcher
) -> Found:
    """Layers found in pixels of `side`, made exact in whole ones."""
    pose = found.layers.pose.clone()
    pose[..., :2] *= side
    exact = finished(images, found.layers._replace(pose=pose), finisher)
    return exact._replace(saves=found.saves * side**2, share=found.share)


def _unjudged(layers: Layers, found: Picture) -> Found:
    nothing = torch.zeros_like(layers.on)
    return Found(layers._replace(over=found.over), found, nothing, nothing)


def shifted(
    images: Tensor, searcher: Searcher, filters: Filters, rank: int = 0
) -> Layers:
    """Shifted sprites on black, see :func:`search_shifts`."""
    spec, sprites = searcher.spec, searcher.sprites
    found = search_shifts(
        images,
        sprites.ink,
        filters,
        spec.n_layers,
        searcher.search.sweeps,
        searcher.penalty,
        rank,
    )
    pose = corner_pose(found.row.to(images), found.column.to(images), sprites.sides)
    layers = no_layers(images, spec)
    return layers._replace(sprite=found.sprite, pose=pose, on=found.on)


def described(images: Tensor, layers: Layers, searcher: Searcher) -> Found:
    """Solve colors and order of layers as they are placed."""
    drawn = draw(searcher.sprites, layers, searcher.spec.height, searcher.spec.width)
    return _unjudged(layers, settle(images, drawn, layers.over, searcher.spec))


def pruned(
    images: Tensor,
    found: Found,
    searcher: Searcher,
    size: int | None = None,
    is_last: bool = False,
) -> Found:
    """Drop layers that save less than the penalty, in each image the worst first.

    Over pictures, parts of other layers go before all others, and so do second copies
    of what is only shifted on black; in the end, so do layers that nobody can see.
    """
    n, size = len(images), size or len(images)
    spec = searcher.spec

    def judge(part: Tensor) -> Judged:
        some = take(found, part)
        seen = ordered(images[part], some.picture, spec)
        return _judged(images[part], some.layers, seen, searcher, is_last)

    best = by_parts(judge, n, size, images.device)
    rows = torch.arange(n, device=images.device)
    for _ in range(spec.n_layers):
        least, worst = best.useful.min(1)
        rows = rows[(least <= searcher.penalty)[rows]]  # the others are as before
        for part in parts(rows, size):
            old = take(best.found, part)
            on = old.layers.on.scatter(1, worst[part, None], 0.0)
            drawn = old.picture.drawn * on[..., None, None, None]
            seen = settle(images[part], drawn, old.layers.over, spec)
            fewer = old.layers._replace(on=on)
            judged = _judged(images[part], fewer, seen, searcher, is_last)
            best = put(best, part, judged)
        if not len(rows):
            break
    return best.found


class Judged(NamedTuple):
    """Layers, and what each saves (B, L); infinite where it is empty, -1 if false."""

    found: Found
    useful: Tensor


def _judged(
    images: Tensor,
    layers: Layers,
    picture: Picture,
    searcher: Searcher,
    is_last: bool,
) -> Judged:
    spec = searcher.spec
    values = worth(images, picture, spec)
    layers = layers._replace(over=picture.over)
    found = Found(layers, picture, values.saves * layers.on, values.share)
    useful = values.useful(spec)
    if spec.has_picture:
        false = is_false(picture, values.share, spec)
        false = false | patches(picture, searcher.search.parts)
        useful = torch.where(false, -1, useful)
    if spec.is_additive:
        useful = torch.where(copies(layers, found.saves), -1, useful)
    if is_last:
        hidden = unseen(picture, found.saves, searcher.penalty, spec)
        useful = torch.where(hidden, -1, useful)
    return Judged(found, torch.where(layers.on > 0, useful, torch.inf))
