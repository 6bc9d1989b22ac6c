"""Rounds that make sprites worse are undone.

Where images are hard to explain, what a round learns from layers that are found wrongly
may spoil sprites. What rounds tell of their sprites is the error of images of their
own, so that the few with the least of it are compared on the same images.
"""

import math

import torch
from numpy.typing import NDArray
from torch import Tensor

from sklearn_sprites._engine.search.batches import BATCH
from sklearn_sprites._engine.search.improve import objective
from sklearn_sprites._engine.search.scene import layers_found, make_searcher
from sklearn_sprites._engine.search.sprites import received
from sklearn_sprites._engine.training.learner import AbstractLearner

RIVALS = 2  # rounds with whose sprites the last ones are compared, at most
WORSE = 1.05  # times the loss of a rival that the last round must have for that
SURE = 3.0  # standard errors by which a rival leaves less, on average over images


def rivals(losses: list[float]) -> list[int]:
    """Rounds before which sprites were clearly better than before the last."""
    least = sorted(range(len(losses)), key=losses.__getitem__)[:RIVALS]
    return [i for i in least if WORSE * losses[i] < losses[-1]]


def best(sprites: list[NDArray], images: Tensor, learner: AbstractLearner) -> int:
    """Which sprites, as `learner` publishes them, explain images best.

    The first ones, unless others do so beyond the doubt that a few images leave.
    """
    left = torch.stack([_objectives(each, images, learner) for each in sprites])
    gain = left[0] - left  # (sprites, n)
    least = int(gain.mean(1).argmax())
    doubt = gain[least].std(correction=0) / math.sqrt(len(images))
    return least if gain[least].mean() > SURE * doubt else 0


def _objectives(sprites: NDArray, images: Tensor, learner: AbstractLearner) -> Tensor:
    """Squared errors and penalties of images (n,), by the search of a round."""
    spec, penalty = learner.spec, learner.penalty
    quick = learner.settings.search.brief
    first = received(sprites, spec, str(images.device))
    searcher = make_searcher(spec, quick, penalty, first)
    layers = layers_found(images, searcher, BATCH)
    return torch.cat([objective(found, penalty).double() for _, found in layers])
