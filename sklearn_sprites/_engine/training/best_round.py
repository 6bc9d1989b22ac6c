"""Rounds that make sprites worse are undone.

Where images are hard to explain, what a round learns from layers that are found wrongly
may spoil sprites. What rounds tell of their sprites is the error of images of their
own, so that the few with the least of it are compared on the same images.
"""

from dataclasses import replace

from numpy.typing import NDArray
from torch import Tensor

from sklearn_sprites._engine.search.improve import objective
from sklearn_sprites._engine.search.scene import layers_found, make_searcher
from sklearn_sprites._engine.search.sprites import received
from sklearn_sprites._engine.training.learner import AbstractLearner

RIVALS = 2  # rounds with whose sprites the last ones are compared, at most
WORSE = 1.05  # times what a rival leaves: less may be luck
BATCH = 16


def rivals(losses: list[float]) -> list[int]:
    """Rounds before which sprites were clearly better than before the last."""
    least = sorted(range(len(losses)), key=losses.__getitem__)[:RIVALS]
    return [i for i in least if WORSE * losses[i] < losses[-1]]


def best(sprites: list[NDArray], images: Tensor, learner: AbstractLearner) -> int:
    """Which sprites, as `learner` publishes them, explain images best.

    The first ones, unless others are clearly better.
    """
    values = [_objective(each, images, learner) for each in sprites]
    least = min(range(len(values)), key=values.__getitem__)
    return least if WORSE * values[least] < values[0] else 0


def _objective(sprites: NDArray, images: Tensor, learner: AbstractLearner) -> float:
    """Squared error and penalties, by the search of a round."""
    spec, penalty = learner.spec, learner.penalty
    quick = replace(learner.settings.search, restarts=0, replacements=0)
    first = received(sprites, spec, str(images.device))
    searcher = make_searcher(spec, quick, penalty, first)
    layers = layers_found(images, searcher, BATCH)
    return sum(float(objective(found, penalty).double().sum()) for _, found in layers)
