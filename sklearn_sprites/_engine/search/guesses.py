"""Layers that a network has guessed, made exact by a step or two of search."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from sklearn_sprites._engine.models.scene_network import LayerGuess
from sklearn_sprites._engine.ops.layers import flat
from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.bank import coarse
from sklearn_sprites._engine.search.batches import by_parts, parts, put, take
from sklearn_sprites._engine.search.ground import image_of
from sklearn_sprites._engine.search.improve import objective
from sklearn_sprites._engine.search.layers import (
    Layers,
    Picture,
    blank_error,
    draw,
    no_layers,
    ordered,
    picture,
    settle,
)
from sklearn_sprites._engine.search.moves import worst_layers
from sklearn_sprites._engine.search.paying import paying
from sklearn_sprites._engine.search.polish import stepped_on
from sklearn_sprites._engine.search.poor import is_poor
from sklearn_sprites._engine.search.posed import (
    Draft,
    PoseSearcher,
    draft,
    replace_layer,
)
from sklearn_sprites._engine.search.poses import widened
from sklearn_sprites._engine.search.scene import (
    Found,
    Searcher,
    choose,
    described,
    pruned,
)

DOUBT = 0.45  # chance of a second sprite, relative to the first, to try it
LIKELY = 0.25  # chance of an object from which on a layer is tried
POORER = 3.0  # times the error with which images are poor: guesses are mended
BATCH = 32  # images at a time, as many as a network looks at, or half of them
PRUNED = 64  # images at a time, where layers are only shifted


def guessed(
    views: Tensor, guess: LayerGuess, searcher: Searcher, second: bool = False
) -> Layers:
    """The likeliest sprite of each layer in its pose; shifts in whole pixels.

    With `second`, the second likeliest, where that is not much less likely.
    """
    assert guess.logits is not None, "a network that tells sprites"
    chance = guess.logits.log_softmax(2)
    sprite = chance[..., :-1].argmax(2)
    if second and searcher.spec.n_sprites > 1:
        best = chance[..., :-1].topk(2, 2)
        doubted = best.values[..., 1] > best.values[..., 0] + math.log(DOUBT)
        sprite = torch.where(doubted, best.indices[..., 1], sprite)
    index = sprite[..., None, None].expand(-1, -1, 1, 4)
    pose = guess.pose.gather(2, index)[:, :, 0]
    if searcher.posed is None:
        h, w = searcher.sprites.sides
        half = pose.new_tensor([w / 2, h / 2])
        whole = (pose[..., :2] - half).round() + half
        pose = torch.cat([whole, pose[..., 2:]], 2)
    else:
        size = pose[..., 2:3].clamp(*searcher.posed.slopes.log_scales)
        pose = torch.cat([pose[..., :2], size, pose[..., 3:]], 2)
    pose = widened(pose, searcher.spec.pose_size)
    on = (chance[..., -1] < math.log(1 - LIKELY)).to(pose)
    layers = no_layers(views, searcher.spec)
    return layers._replace(sprite=sprite, pose=pose, on=on)


def exact(views: Tensor, guess: LayerGuess, searcher: Searcher, steps: int) -> Found:
    """Colors and order solved, poses polished, layers dropped that do not pay.

    Where the network is in doubt between two sprites, both are polished, and the one
    that explains better what its layer shows is taken. In images that stay far from
    explained, a layer or two are searched.
    """
    layers, posed = guessed(views, guess, searcher), searcher.posed
    if posed is None or not searcher.spec.n_layers:

        def describe(part: Tensor) -> Found:
            return described(views[part], take(layers, part), searcher)

        found = by_parts(describe, len(views), PRUNED, views.device)
        return pruned(views, found, searcher, PRUNED)
    small = coarse(views, posed.step)
    other = guessed(views, guess, searcher, second=True)
    doubted = ((layers.sprite != other.sprite) & (layers.on > 0)).any(1)
    for part in parts(doubted.nonzero()[:, 0], BATCH):
        two = take(layers, part), take(other, part)
        layers = put(layers, part, decided(small[part], *two, posed, min(steps, 1)))

    def finish(part: Tensor) -> Finished:
        return finished(views[part], small[part], take(layers, part), searcher, steps)

    done = by_parts(finish, len(views), BATCH, views.device)
    if searcher.search.restarts:
        done = mended(views, done, searcher, steps)
    return done.found


class Finished(NamedTuple):
    """What was found, but for the pixels of its picture, and which images are poor."""

    found: Found
    is_poor: Tensor  # (B,)


def polished(small: Tensor, layers: Layers, posed: PoseSearcher, steps: int) -> Draft:
    """Layers in their order, after some steps."""
    spec, sprites = posed.spec, posed.sprites
    rows, columns = small.shape[2:]
    drawn = draw(sprites, layers, rows, columns, posed.step)
    found = settle(small, drawn, layers.over, spec, 1)
    layers = layers._replace(over=found.over)
    if not steps:
        return Draft(layers, found)
    slopes, side, window = posed.slopes, posed.step, posed.window
    layers, found = stepped_on(
        small, layers, found, sprites, slopes, spec, steps, side, window
    )
    return Draft(layers, found)


def decided(
    small: Tensor, one: Layers, two: Layers, posed: PoseSearcher, steps: int
) -> Layers:
    """Each layer as in `one` or `two`, whichever explains what it shows better."""
    first, second = (polished(small, each, posed, steps) for each in (one, two))
    return _better(small, first, second, posed.spec)


def _better(small: Tensor, one: Draft, two: Draft, spec: SceneSpec) -> Layers:
    seen, errors = [], []
    for _, found in (one, two):
        seen.append(found.shown)
        errors.append((image_of(small, spec) - found.image).square().sum(1))
    where = flat(torch.maximum(*seen))  # (B, L, P)
    before, after = (flat(each[:, None]) for each in errors)
    better = (where * (after - before)).sum(2) < 0
    better = better & (two.layers.sprite != one.layers.sprite)
    return one.layers._replace(
        sprite=torch.where(better, two.layers.sprite, one.layers.sprite),
        pose=torch.where(better[..., None], two.layers.pose, one.layers.pose),
    )


def finished(
    views: Tensor, small: Tensor, layers: Layers, searcher: Searcher, steps: int
) -> Finished:
    """Layers that pay, after some steps, in their order and the colors of all.

    `small` are views as the layers of them are polished and judged.
    """
    posed, spec = searcher.posed, searcher.spec
    assert posed is not None, "layers in any pose"
    side = posed.step
    now = polished(small, layers, posed, steps)
    seen = ordered(small, now.picture, spec, 1) if steps else now.picture
    penalty = searcher.penalty / side**2
    on, worth = paying(small, seen, now.layers.on, penalty, spec)
    layers = now.layers._replace(over=seen.over, on=on)
    blank = blank_error(small, spec)
    poor = is_poor(seen.error, blank, searcher.search, penalty, POORER)
    drawn = draw(searcher.sprites, layers, spec.height, spec.width)
    found = _without_pixels(picture(views, drawn, layers.over, spec))
    return Finished(Found(layers, found, worth.saves * side**2 * on, worth.share), poor)


def _without_pixels(found: Picture) -> Picture:
    """Colors and error, which is all that records tell."""
    return found._replace(
        drawn=found.drawn[..., :0, :0], image=found.image[..., :0, :0]
    )


def mended(views: Tensor, done: Finished, searcher: Searcher, steps: int) -> Finished:
    """With a layer or two searched where images are poor, if the objective falls."""
    posed = searcher.posed
    assert posed is not None, "layers in any pose"
    price = searcher.penalty
    for part in parts(done.is_poor.nonzero()[:, 0], BATCH):
        old, some = take(done, part), views[part]
        small = coarse(some, posed.step)
        now = draft(small, old.found.layers, posed)
        now = replace_layer(small, now, now.layers.on.argmin(1), posed)
        seen = old.found._replace(layers=now.layers, picture=now.picture)
        worst = worst_layers(small, seen, posed.spec)[:, 0]
        now = replace_layer(small, now, worst, posed)
        new = finished(some, small, now.layers, searcher, steps)
        better = objective(new.found, price) < objective(old.found, price)
        found = choose(better, new.found, old.found)
        done = put(done, part, Finished(found, old.is_poor))
    return done
