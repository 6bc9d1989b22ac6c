"""What learns the sprites of scenes, round after round."""

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor

from sklearn_sprites._engine.scene_settings import SceneSettings
from sklearn_sprites._engine.scene_spec import SceneSpec

SPARES = 0.5  # sprites tried beyond those wanted, in shares of these


class Task(NamedTuple):
    """What is to be learned, and how: all that learners have in common."""

    spec: SceneSpec
    settings: SceneSettings
    penalty: float
    draws: torch.Generator

    @property
    def n_spares(self) -> int:
        """How many sprites more than wanted are tried, by those who explore."""
        return math.ceil(SPARES * self.spec.n_sprites)


class AbstractLearner(ABC):
    """Sprites on their way; images are views, see `search.ground`.

    While one that `explores` does so, it tries other sprites.
    """

    explores = False

    def __init__(self, task: Task) -> None:
        self.spec, self.settings, self.penalty, self.draws = task

    @abstractmethod
    def begin(self, images: Tensor) -> None:
        """Find first sprites in some images."""

    @abstractmethod
    def round(self, images: Tensor, exploring: bool) -> float:
        """Search some images and solve the sprites; mean squared error before.

        While `exploring`, other sprites may be tried.
        """

    @abstractmethod
    def published(self) -> NDArray:
        """Sprites (K, C + 1, h, w) as they stand."""
