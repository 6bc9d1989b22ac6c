"""Frozen records that are passed between floors; NumPy at the boundary."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from numpy.typing import NDArray

from sklearn_sprites._engine.spec import ModelSpec


def is_per_sprite(name: str) -> bool:
    """Whether the first axis of the array called `name` runs over the sprites."""
    parts = name.split(".")
    grouped = parts[-1] in ("group_weight", "group_bias")
    return name == "sprites" or (parts[0] == "heads" and grouped)


@dataclass(frozen=True)
class FittedModel:
    """A learned model as arrays, and how it came about.

    ``loss`` is the mean squared error per pixel and channel, in model units, of the
    images under their best sprite after the last epoch. ``exploded``: training stopped
    early, because the loss exploded twice.
    """

    spec: ModelSpec
    arrays: dict[str, NDArray]
    loss: float
    loss_curve: list[float] = field(default_factory=list)
    n_epochs: int = 1
    converged: bool = True
    exploded: bool = False

    @property
    def sprites(self) -> NDArray:
        """Sprites, (K, C or C+1, H, W), in model units."""
        return self.arrays["sprites"]

    @property
    def backgrounds(self) -> NDArray:
        """Backgrounds, (M, C, H, W), in model units."""
        return self.arrays["backgrounds"]

    def reordered(self, order: NDArray) -> "FittedModel":
        """The same model with its sprites in another order."""
        arrays = {
            name: value[order] if is_per_sprite(name) else value
            for name, value in self.arrays.items()
        }
        return replace(self, arrays=arrays)


@dataclass(frozen=True)
class Assignment:
    """Which sprite draws each image, and how.

    ``labels`` (n,); ``errors`` (n, K), squared errors summed over an image, in model
    units; ``params`` transformation name -> (n, P) for the chosen sprite;
    ``background`` (n,); ``background_params`` name -> (n, P) for that background.
    """

    labels: NDArray
    errors: NDArray
    params: dict[str, NDArray]
    background: NDArray
    background_params: dict[str, NDArray]


@dataclass(frozen=True)
class EpochInfo:
    """What is known after an epoch; ``fitted()`` makes the model as it stands."""

    epoch: int
    max_epochs: int
    loss: float
    stage: str
    fitted: Callable[[], FittedModel]
