"""Frozen records of scenes, passed between floors; NumPy at the boundary."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace

import numpy as np
from numpy.typing import NDArray

from sklearn_sprites._engine.scene_spec import SceneSpec

GUESSER = "guesser."
POSE_FIELDS = (
    *("x", "y", "log_scale", "angle"),
    *("log_stretch", "shear", "tilt_x", "tilt_y"),
)


@dataclass(frozen=True)
class FittedScenes:
    """Learned sprites and backgrounds as arrays, and how they came about.

    ``arrays["sprites"]`` (K, C + 1, h, w) float32, appearance and alpha, which may
    leave [0, 1] and is cut once drawn, so that edges are as steep as those of the
    images, and ``arrays["backgrounds"]`` (M, C, H, W), in model units. ``loss`` is the
    mean squared error per pixel and channel of the images of the last round.
    """

    spec: SceneSpec
    arrays: dict[str, NDArray]
    loss: float
    loss_curve: list[float] = field(default_factory=list)
    n_rounds: int = 0
    converged: bool = True

    @property
    def sprites(self) -> NDArray:
        """Sprites, (K, C + 1, h, w), in model units."""
        return self.arrays["sprites"]

    @property
    def backgrounds(self) -> NDArray:
        """Backgrounds, (M, C, H, W), in model units."""
        return self.arrays["backgrounds"]

    @property
    def network(self) -> dict[str, NDArray]:
        """Parameters of a network that guesses layers; empty where there is none."""
        return {
            name.removeprefix(GUESSER): values
            for name, values in self.arrays.items()
            if name.startswith(GUESSER)
        }

    def with_network(self, arrays: dict[str, NDArray]) -> "FittedScenes":
        """The same with a network."""
        named = {GUESSER + name: values for name, values in arrays.items()}
        return replace(self, arrays={**self.arrays, **named})


@dataclass(frozen=True)
class LayerRecord:
    """The layers of n images, L each; those that save most first, empty ones last.

    ``sprite`` (n, L), -1 for an empty layer; ``x``, ``y`` (n, L) its center in pixels
    of the image, (0, 0) being the image's upper left corner; ``log_scale`` and
    ``angle`` (n, L), zero where there is none, the angle in radians, from x to y;
    ``log_stretch``, ``shear``, ``tilt_x``, ``tilt_y`` (n, L), see `search.poses`;
    ``spline`` (n, L, G, 2), see `search.splines`, G being 0 where there are none;
    ``gain``, ``bias`` (n, L, C); ``over`` (n, L, L), over[i, j]: i hides j; ``saves``
    (n, L), squared error saved by the layer, summed over the image; ``background``
    (n,) and its ``background_gain`` and ``background_bias`` (n, C), and how the gain
    changes over the image, ``background_light`` (n, C, 5), times x, y, x^2, x y and y^2
    from -1 to 1; ``background_pose`` (n, Q) and ``background_spline`` (n, G, 2), see
    `modules.ground_head`; ``error`` (n,), squared error summed over the image.
    """

    sprite: NDArray
    x: NDArray
    y: NDArray
    log_scale: NDArray
    angle: NDArray
    log_stretch: NDArray
    shear: NDArray
    tilt_x: NDArray
    tilt_y: NDArray
    spline: NDArray
    gain: NDArray
    bias: NDArray
    over: NDArray
    saves: NDArray
    background: NDArray
    background_gain: NDArray
    background_bias: NDArray
    background_light: NDArray
    background_pose: NDArray
    background_spline: NDArray
    error: NDArray

    def __len__(self) -> int:
        return len(self.sprite)

    def pose(self) -> NDArray:
        """Poses (n, L, 4, 6 or 8), with as many numbers as say something."""
        parts = [getattr(self, name) for name in POSE_FIELDS]
        size = 8 if parts[6].any() or parts[7].any() else 6
        if size == 6 and not (parts[4].any() or parts[5].any()):
            size = 4
        return np.stack(parts[:size], -1)

    def take(self, index: NDArray | slice) -> "LayerRecord":
        """The record of some of the images."""
        return LayerRecord(
            **{f.name: getattr(self, f.name)[index] for f in fields(self)}
        )

    @classmethod
    def concatenate(cls, parts: list["LayerRecord"]) -> "LayerRecord":
        """One record of all images of several."""
        return cls(
            **{
                f.name: np.concatenate([getattr(p, f.name) for p in parts])
                for f in fields(cls)
            }
        )


def pose_fields(pose: NDArray, spline: NDArray | None = None) -> dict[str, NDArray]:
    """Fields of a record from poses (n, L, 4, 6 or 8); what is missing is zero.

    Without splines (n, L, G, 2), there are no control points.
    """
    missing = len(POSE_FIELDS) - pose.shape[-1]
    wide = np.pad(pose, ((0, 0), (0, 0), (0, missing)))
    parts = {name: wide[..., i].copy() for i, name in enumerate(POSE_FIELDS)}
    if spline is None:
        spline = np.zeros((*pose.shape[:2], 0, 2), pose.dtype)
    return {**parts, "spline": spline}


@dataclass(frozen=True)
class Rendered:
    """Images of n records.

    ``images`` (n, C, H, W); ``masks`` (n, L, H, W), alpha of every layer as placed;
    ``visible`` (n, L, H, W), the share of each pixel that shows the layer.
    """

    images: NDArray
    masks: NDArray
    visible: NDArray

    @classmethod
    def of_none(cls, spec: SceneSpec) -> "Rendered":
        """What no record looks like: arrays of no images."""
        size = (spec.height, spec.width)
        masks = np.zeros((0, spec.n_layers, *size), np.float32)
        return cls(np.zeros((0, spec.channels, *size), np.float32), masks, masks)


@dataclass(frozen=True)
class RoundInfo:
    """What is known after a round; ``fitted()`` makes the sprites as they stand."""

    epoch: int
    max_epochs: int
    loss: float
    stage: str
    fitted: Callable[[], FittedScenes]
