"""Some images and what lies behind them, looked at before anything is learned."""

from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sklearn_sprites._engine.runtime import isolated
from sklearn_sprites._engine.scene_spec import POSES, SceneSpec
from sklearn_sprites._engine.training.components import (
    Blobs,
    Windows,
    blobs,
    object_windows,
    shown_apart,
)
from sklearn_sprites._engine.training.ground import make_scenery

FEW, MOST = 60, 200  # at least and at most so many images are looked at,
PIXELS = 2**20  # as many as have these together
OBJECTS = 400  # at most


class FirstLook:
    """Views of some images (n, C, H, W), and what stands apart in them.

    Nothing is known of the objects, so `spec` tells what is behind them, and how many
    kinds there are; all else is as for things that are moved by whole pixels.
    """

    def __init__(self, images: NDArray, spec: SceneSpec) -> None:
        self.spec = replace(
            spec, transformations=POSES[:1], color="own", background_transformations=()
        )
        self.images = images

    @cached_property
    def views(self) -> Tensor:
        """What learners see of images, spread evenly over all."""
        most = min(max(PIXELS // self.images[0, 0].size, FEW), MOST, len(self.images))
        chosen = np.linspace(0, len(self.images) - 1, most).astype(int)
        with isolated(grad=False):
            some = torch.from_numpy(np.ascontiguousarray(self.images[chosen]))
            scenery = make_scenery(some, self.spec, torch.Generator(), "cpu")
            return scenery.views(some)

    @cached_property
    def blobs(self) -> Blobs:
        """Everything that stands apart from the ground."""
        with isolated(grad=False):
            return blobs(shown_apart(self.views, self.spec))

    @cached_property
    def windows(self) -> Windows:
        """The first objects that stand alone."""
        with isolated(grad=False):
            found = object_windows(self.views, self.spec)
            return found.take(torch.arange(min(len(found), OBJECTS)))
