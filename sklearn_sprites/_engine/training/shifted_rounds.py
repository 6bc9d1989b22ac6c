"""Rounds for shifted sprites on black."""

import torch
from numpy.typing import NDArray

from sklearn_sprites._engine.search.layers import Sprites
from sklearn_sprites._engine.search.sprites import published, with_alpha
from sklearn_sprites._engine.training.learner import AbstractLearner, Task
from sklearn_sprites._engine.training.shifted import (
    Seen,
    blob,
    first_sprites,
    halves,
    most_missed,
    observe,
    updated,
)

WINDOWED = 400  # images in which blobs look for first sprites


class ShiftedLearner(AbstractLearner):
    """Sprites as ink (K, h, w), and how many more than wanted are tried."""

    explores = True

    def __init__(self, task: Task, given: Sprites | None) -> None:
        super().__init__(task)
        self.spares = task.n_spares
        self.given = None if given is None else given.ink
        self.ink = torch.zeros(0)

    def begin(self, images: torch.Tensor) -> None:
        """k-means of the windows that blobs find."""
        if self.given is not None:
            self.ink = self.given
            return
        spot = blob((self.spec.sprite_height, self.spec.sprite_width), images)
        seen = self._observe(images[:WINDOWED], spot)
        self.ink = first_sprites(seen, self.spec.n_sprites + self.spares, self.draws)

    def round(self, images: torch.Tensor, exploring: bool) -> float:
        """Search, keep the sprites missed most, solve them, try splits."""
        seen = self._observe(images, self.ink)
        if len(self.ink) > self.spec.n_sprites:
            kept = most_missed(seen.table, self.spec.n_sprites)
            label = seen.table[:, kept].argmax(1)
            self.ink = self.ink[kept]
            seen = seen._replace(sprite=label, table=seen.table[:, kept])
        self.ink = updated(self.ink, seen)
        if self.spares and exploring:
            self.ink = torch.cat(
                [self.ink, halves(self.ink, seen, self.spares, self.draws)]
            )
        return seen.loss

    def published(self) -> NDArray:
        """Sprites (K, C + 1, h, w)."""
        ink = self.ink[: self.spec.n_sprites]
        return published(with_alpha(ink, self.spec), self.spec)

    def _observe(self, images: torch.Tensor, ink: torch.Tensor) -> Seen:
        return observe(
            images, ink, self.spec.n_layers, self.settings.search.sweeps, self.penalty
        )
