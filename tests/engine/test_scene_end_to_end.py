"""Learning from the images that guesses draw."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sklearn_sprites._engine.models.scene_network import LayerGuess
from sklearn_sprites._engine.training.scene_end_to_end import image_loss, likeliest
from sklearn_sprites._engine.training.scene_teaching import Lesson, distilled
from tests.engine.test_scene_distillation import (
    POSED,
    QUICK,
    SHIFTED,
    SPECS,
    apart,
    as_guess,
    some_layers,
    some_scenes,
    some_sprites,
)


def leaf(guess):
    """A guess by whose pose and logits losses can be differentiated."""
    pose, logits = (each.detach().clone() for each in (guess.pose, guess.logits))
    return LayerGuess(pose.requires_grad_(), logits.requires_grad_())


def test_what_is_true_leaves_little_and_what_is_shown_counts():
    taught = apart()
    images = some_scenes(POSED, taught)

    def loss(chance):
        guess = as_guess(taught, chance=chance)
        return float(image_loss(images, guess, some_sprites(POSED), POSED))

    assert loss(0.999) < 0.02
    assert loss(0.999) < loss(0.5) < loss(0.05)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("side", [-1, 1])
def test_gradients_lead_back_to_where_things_are(axis, side):
    taught = apart()
    images = some_scenes(POSED, taught)
    pose = taught.pose.clone()
    pose[..., axis] += side * (0.15 if axis == 2 else 0.6)
    guess = leaf(as_guess(taught._replace(pose=pose), chance=0.95))
    image_loss(images, guess, some_sprites(POSED), POSED).backward()
    slope = guess.pose.grad.sum(2)[..., axis] * side
    assert (slope > 0).float().mean() > 0.8


def test_layers_that_explain_something_become_likelier():
    taught = apart()
    guess = leaf(as_guess(taught, chance=0.6))
    images = some_scenes(POSED, taught)
    image_loss(images, guess, some_sprites(POSED), POSED).backward()
    assert (guess.logits.grad[..., -1] > 0).all()  # less likely to be empty


@SPECS
def test_layers_show_their_likeliest_sprites(spec):
    taught = some_layers(spec)
    images = some_scenes(spec, taught)
    layers = likeliest(images, as_guess(taught, chance=0.8), spec)
    assert torch.equal(layers.sprite, taught.sprite)
    assert torch.equal(layers.pose, taught.pose)
    torch.testing.assert_close(layers.on, torch.full_like(layers.on, 0.8))


@pytest.mark.parametrize("spec", [SHIFTED, POSED], ids=["shifted", "posed"])
def test_images_teach_after_search(spec):
    taught = some_layers(spec, 8)
    images = some_scenes(spec, taught)
    lesson = Lesson(images, taught, torch.zeros(len(images), 3))

    def learn(steps):
        settings = replace(QUICK, end_to_end=steps)
        seed = np.random.SeedSequence(0)
        network = distilled(lesson, some_sprites(spec), spec, settings, seed)
        return torch.cat([value.flatten() for value in network.parameters()])

    none, some, again = learn(0), learn(2), learn(2)
    assert torch.equal(some, again)
    assert not torch.equal(none, some)
