"""Details of masks that were learned from reduced scenes: rounds at full size."""

from collections.abc import Iterator

import torch
from numpy.typing import NDArray
from torch import Tensor

from sklearn_sprites._engine.ops.resizing import in_pixels_of
from sklearn_sprites._engine.search.batches import BATCH, take
from sklearn_sprites._engine.search.scene import (
    Found,
    find_layers,
    in_whole_pixels,
    make_finisher,
    make_searcher,
)
from sklearn_sprites._engine.search.sprites import pooled, received
from sklearn_sprites._engine.training.learner import Task
from sklearn_sprites._engine.training.posed_rounds import PosedLearner

ROUNDS = 2


def with_details(sprites: NDArray, images: Tensor, task: Task) -> NDArray:
    """Masks (K, C + 1, h, w) solved under layers that are found in reduced images.

    `images` (n, C, H, W), `sprites` and `task` are of full size.
    """
    learner = PosedLearner(task, received(sprites, task.spec, str(images.device)))
    learner.begin(images)
    for _ in range(ROUNDS):
        learner.learn(_layers(images, learner), images)
    return learner.published()


def _layers(images: Tensor, learner: PosedLearner) -> Iterator[tuple[Tensor, Found]]:
    """Some images at a time, with their layers."""
    spec, penalty = learner.spec, learner.penalty
    inner, side = spec.reduced(), spec.reduction
    quick = learner.settings.search.brief
    small = received(pooled(learner.published(), side), inner, str(images.device))
    searcher = make_searcher(inner, quick, penalty / side**2, small)
    finisher = make_finisher(spec, quick, penalty, learner.sprites())
    found = find_layers(in_pixels_of(images, side), searcher, BATCH)
    for rows in torch.arange(len(images), device=images.device).split(BATCH):
        some = images[rows]
        yield some, in_whole_pixels(some, take(found, rows), side, finisher)
