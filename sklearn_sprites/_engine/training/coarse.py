"""Large images: nearly everything is learned from reduced ones.

Warps act on coordinates from -1 to 1, so what a network tells of a reduced image holds
for the image itself, and only sprites have to be drawn again at full size.
"""

from collections.abc import Callable
from dataclasses import replace

import torch

from sklearn_sprites._engine.ops.resizing import resized
from sklearn_sprites._engine.records import EpochInfo, FittedModel
from sklearn_sprites._engine.settings import (
    ConstantSprites,
    Milestones,
    TrainingSettings,
)
from sklearn_sprites._engine.spec import ModelSpec

DETAIL_SHARE = 0.1  # of the epochs, at full size


def is_coarse_first(spec: ModelSpec, settings: TrainingSettings) -> bool:
    """Whether images are large, and nothing is measured in their pixels."""
    names = (*spec.transformations, *spec.background_transformations)
    in_pixels = (
        "morphological" in names
        or ("thickness" in names and "thickness" not in spec.solved)
        or isinstance(settings.init, ConstantSprites)
        or isinstance(settings.curriculum, Milestones)
    )
    return spec.coarse_size != (spec.height, spec.width) and not in_pixels


def parts(max_epochs: int) -> tuple[int, int]:
    """Epochs with reduced images, at least one, and those at full size."""
    late = min(max(round(DETAIL_SHARE * max_epochs), 1), max_epochs - 1)
    return max_epochs - late, late


def redrawn(fitted: FittedModel, size: tuple[int, int]) -> FittedModel:
    """The model for the same images in another size (height, width)."""
    drawn = {
        name: resized(torch.from_numpy(fitted.arrays[name]), size).numpy()
        for name in ("sprites", "backgrounds")
    }
    spec = replace(fitted.spec, height=size[0], width=size[1])
    return replace(fitted, spec=spec, arrays={**fitted.arrays, **drawn})


class Listener:
    """Passes epochs on as parts of one training, and models as they are as a whole."""

    def __init__(
        self,
        on_epoch: Callable[[EpochInfo], bool] | None,
        whole: Callable[[FittedModel], FittedModel],
        max_epochs: int,
    ) -> None:
        self.on_epoch, self.whole, self.max_epochs = on_epoch, whole, max_epochs
        self.was_stopped = False

    def __call__(self, info: EpochInfo) -> bool:
        """Tell about an epoch; the listener behind may ask to stop."""
        if self.on_epoch is None:
            return False
        told = replace(
            info,
            max_epochs=self.max_epochs,
            fitted=lambda: self.whole(info.fitted()),
        )
        self.was_stopped |= bool(self.on_epoch(told))
        return self.was_stopped
