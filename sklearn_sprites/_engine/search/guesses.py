"""Layers that a network has guessed, made exact by a step or two of search."""

import math

import torch
from torch import Tensor

from sklearn_sprites._engine.models.scene_network import LayerGuess
from sklearn_sprites._engine.search.bank import coarse
from sklearn_sprites._engine.search.layers import (
    Layers,
    draw,
    no_layers,
    picture,
    worth,
)
from sklearn_sprites._engine.search.polish import polish
from sklearn_sprites._engine.search.posed import PoseSearcher, draft, tidied
from sklearn_sprites._engine.search.scene import Found, Searcher, pruned

LIKELY = 0.3  # chance of an object from which on a layer is tried
ROUNDS = 2  # of dropping layers that do not pay


def guessed(images: Tensor, guess: LayerGuess, searcher: Searcher) -> Layers:
    """The likeliest sprite of each layer in its pose; shifts in whole pixels."""
    assert guess.logits is not None, "a network that tells sprites"
    spec = searcher.spec
    chance = guess.logits.log_softmax(2)
    sprite = chance[..., :-1].argmax(2)
    index = sprite[..., None, None].expand(-1, -1, 1, 4)
    pose = guess.pose.gather(2, index)[:, :, 0]
    if spec.is_additive:
        h, w = searcher.sprites.sides
        half = pose.new_tensor([w / 2, h / 2])
        whole = (pose[..., :2] - half).round() + half
        pose = torch.cat([whole, pose[..., 2:]], 2)
    elif searcher.fine is not None:
        size = pose[..., 2:3].clamp(*searcher.fine.log_scales)
        pose = torch.cat([pose[..., :2], size, pose[..., 3:]], 2)
    on = (chance[..., -1] < math.log(1 - LIKELY)).to(pose)
    return no_layers(images, spec)._replace(sprite=sprite, pose=pose, on=on)


def exact(images: Tensor, layers: Layers, searcher: Searcher, steps: int) -> Found:
    """Colors and order solved, poses polished, layers dropped that do not pay.

    Where images are searched on coarse pixels, these are precise enough for all but
    the colors.
    """
    if searcher.posed is None:
        return pruned(images, layers, searcher)
    return _exact_pose(images, layers, searcher, searcher.posed, steps)


def _exact_pose(
    images: Tensor, layers: Layers, searcher: Searcher, posed: PoseSearcher, steps: int
) -> Found:
    spec, side = searcher.spec, posed.step
    small = coarse(images, side)
    layers = draft(small, layers, posed).layers
    layers = polish(small, layers, posed.sprites, posed.slopes, spec, steps, side)
    now = draft(small, layers, posed)
    for _ in range(ROUNDS):
        now = tidied(small, now, posed)
    values = worth(small, now.drawn, now.picture, spec)
    drawn = draw(searcher.sprites, now.layers, spec.height, spec.width)
    found = picture(images, drawn, now.layers.over, spec)
    return Found(now.layers, found, values.saves * side**2, values.share)
