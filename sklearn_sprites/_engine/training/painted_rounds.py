"""Rounds for sprites in their own colors, only shifted."""

import torch
from numpy.typing import NDArray
from torch import Tensor

from sklearn_sprites._engine.search.layers import Sprites
from sklearn_sprites._engine.search.sprites import published
from sklearn_sprites._engine.training.learner import AbstractLearner, Task
from sklearn_sprites._engine.training.painted import (
    first_painted,
    halved,
    observe,
    solved,
)
from sklearn_sprites._engine.training.shifted import most_missed

WINDOWED = 300  # images in which blobs look for first sprites


class PaintedLearner(AbstractLearner):
    """Sprites (K, C + 1, h, w), inks and mask; more than wanted are tried."""

    explores = True

    def __init__(self, task: Task, given: Sprites | None) -> None:
        super().__init__(task)
        self.spares = task.n_spares
        self.given = None if given is None else given.planes
        self.planes = torch.zeros(0)

    def begin(self, images: Tensor) -> None:
        """k-means of the windows that blobs find."""
        if self.given is not None:
            self.planes = self.given
            return
        k = self.spec.n_sprites + self.spares
        self.planes = first_painted(images[:WINDOWED], self.spec, k, self.draws)

    def round(self, images: Tensor, exploring: bool) -> float:
        """Search, keep the sprites missed most, solve them, try splits."""
        search = self.settings.search
        seen, loss = observe(images, self.planes, self.spec, search, self.penalty)
        if len(self.planes) > self.spec.n_sprites:
            kept = most_missed(seen.table, self.spec.n_sprites)
            self.planes, table = self.planes[kept], seen.table[:, kept]
            seen = seen._replace(sprite=table.argmax(1), table=table)
        self.planes = solved(self.planes, seen)
        if self.spares and exploring:
            more = halved(self.planes, seen, self.spares, self.draws)
            self.planes = torch.cat([self.planes, more])
        return loss

    def published(self) -> NDArray:
        """Sprites (K, C + 1, h, w)."""
        return published(Sprites(self.planes[: self.spec.n_sprites]), self.spec)
