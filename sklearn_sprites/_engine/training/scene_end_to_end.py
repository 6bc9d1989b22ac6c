"""A network that guesses layers learns from the images that its guesses draw.

Convention: sprites are fixed, order and colors are solved, so the error of an image is
a function of where layers are and how likely they are shown; by both, drawing can be
differentiated. Which sprite, and which of several angles, is not: regression tells.
"""

import torch
from torch import Tensor

from sklearn_sprites._engine.models.scene_network import LayerGuess
from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.layers import (
    Layers,
    Sprites,
    blank_error,
    draw,
    no_layers,
    picture,
    settle,
)
from sklearn_sprites._engine.search.poses import widened

LEAST = 1.0  # squared error without layers below which an image counts less


def image_loss(
    views: Tensor, guess: LayerGuess, sprites: Sprites, spec: SceneSpec
) -> Tensor:
    """Squared error that a guess leaves, relative to that without layers; a mean."""
    layers = likeliest(views, guess, spec)
    drawn = draw(sprites, layers, spec.height, spec.width)
    with torch.no_grad():
        over = settle(views, drawn, layers.over, spec, 1).over
        blank = blank_error(views, spec).clamp_min(LEAST)
    return (picture(views, drawn, over, spec).error / blank).mean()


def likeliest(views: Tensor, guess: LayerGuess, spec: SceneSpec) -> Layers:
    """The likeliest sprite of each layer, as opaque as an object is likely there."""
    assert guess.logits is not None, "a network that tells sprites"
    chance = guess.logits.softmax(2)
    sprite = chance[..., :-1].argmax(2)
    index = sprite[..., None, None].expand(-1, -1, 1, guess.pose.shape[3])
    pose = widened(guess.pose.gather(2, index)[:, :, 0], spec.pose_size)
    layers = no_layers(views, spec)
    return layers._replace(sprite=sprite, pose=pose, on=1 - chance[..., -1])
