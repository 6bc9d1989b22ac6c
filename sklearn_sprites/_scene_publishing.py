"""From what the engine finds in scenes to records, maps and features for users.

Inside, sprites keep the order in which they were learned; users see them by use,
largest first. ``order[k]`` is the place inside of the k-th sprite that users see.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_sprites._engine.attention_settings import Attention
from sklearn_sprites._engine.scene_records import FittedScenes, LayerRecord, Rendered
from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._publishing import LARGEST, channels_last
from sklearn_sprites._scene_choices import resolved_params
from sklearn_sprites._scene_restarts import SceneJob, Solution
from sklearn_sprites._scenes import POSE_NAMES, SCALES, Decomposition
from sklearn_sprites._validation import Scaling

SEEN = 0.5  # share of a pixel that layers must cover for it not to be background
BRIGHTEST = 1e30  # of colors in model units; their sums still fit into float32


@dataclass(frozen=True)
class Units:
    """How records of the engine and of users translate into each other."""

    scaling: Scaling
    order: NDArray  # (K,), see above
    palette: NDArray  # (K, C), mean colors of the sprites that users see, their units

    def to_user(self, record: LayerRecord) -> Decomposition:
        """What was found, in the units of the images and in pixels."""
        rank = np.empty(len(self.order) + 1, np.int64)
        rank[self.order], rank[-1] = np.arange(len(self.order)), -1
        behind = self._color(record.background_gain, record.background_bias)
        gain, bias = self._color(record.gain, record.bias)
        return Decomposition(
            sprite=rank[record.sprite],
            x=record.x.astype(np.float64),
            y=record.y.astype(np.float64),
            scale=np.exp(record.log_scale.astype(np.float64)),
            angle=record.angle.astype(np.float64),
            stretch=np.exp(record.log_stretch.astype(np.float64)),
            shear=record.shear.astype(np.float64),
            tilt_x=record.tilt_x.astype(np.float64),
            tilt_y=record.tilt_y.astype(np.float64),
            spline=record.spline.astype(np.float64),
            gain=gain,
            bias=bias,
            over=record.over.astype(bool),
            saves=self._squares(record.saves),
            background=record.background.astype(np.int64),
            background_gain=behind[0],
            background_bias=behind[1],
            background_light=record.background_light.astype(np.float64),
            background_pose=self._pose(record.background_pose, np.exp),
            background_spline=record.background_spline.astype(np.float64),
            error=self._squares(record.error),
            palette=self.palette,
            black=self.scaling.offset,
        )

    def to_model(self, found: Decomposition) -> LayerRecord:
        """What can be drawn; what was measured is left out, what overflows refused."""
        inside = np.append(self.order, -1)
        behind = self._bias(found.background_gain, found.background_bias)
        return LayerRecord(
            sprite=inside[found.sprite],
            x=found.x,
            y=found.y,
            log_scale=np.log(found.scale),
            angle=found.angle,
            log_stretch=np.log(found.stretch),
            shear=found.shear,
            tilt_x=found.tilt_x,
            tilt_y=found.tilt_y,
            spline=found.spline,
            gain=_narrow("gain", found.gain),
            bias=_narrow("bias", self._bias(found.gain, found.bias)),
            over=found.over,
            saves=np.zeros_like(found.saves),
            background=found.background,
            background_gain=_narrow("background_gain", found.background_gain),
            background_bias=_narrow("background_bias", behind),
            background_light=_narrow("background_light", found.background_light),
            background_pose=self._pose(found.background_pose, np.log),
            background_spline=found.background_spline,
            error=np.zeros_like(found.error),
        )

    def _squares(self, values: NDArray) -> NDArray:
        """Squared errors in squared units of the user, as large as can be told."""
        scale = self.scaling.scale
        with np.errstate(over="ignore"):
            squared = values.astype(np.float64) * scale * scale
        return squared.clip(-LARGEST, LARGEST)

    @staticmethod
    def _pose(pose: NDArray, scaled: Callable[[NDArray], NDArray]) -> NDArray:
        """Poses (n, Q) with scales instead of their logarithms, or back."""
        pose = pose.astype(np.float64)
        is_scale = np.isin(POSE_NAMES[: pose.shape[1]], SCALES)
        pose[:, is_scale] = scaled(pose[:, is_scale])
        return pose

    def _color(self, gain: NDArray, bias: NDArray) -> tuple[NDArray, NDArray]:
        """Gains and biases of colors in the user's units."""
        gain = gain.astype(np.float64)
        offset = self.scaling.offset * (1 - gain)
        return gain, bias.astype(np.float64) * self.scaling.scale + offset

    def _bias(self, gain: NDArray, bias: NDArray) -> NDArray:
        """Biases of colors in model units; infinite where they are too large."""
        with np.errstate(over="ignore"):
            offset = self.scaling.offset * (1 - gain)
            return (bias - offset) / self.scaling.scale


def _narrow(name: str, colors: NDArray) -> NDArray:
    """Colors as float32, refused by name where sums of them would overflow."""
    if not (np.abs(colors) <= BRIGHTEST).all():
        raise ValueError(
            f"The decomposition has {name} too large to be drawn: more than "
            f"{BRIGHTEST:g} times the range of values seen in fit."
        )
    return colors.astype(np.float32)


def sprites_to_user(fitted: FittedScenes, scaling: Scaling, order: NDArray) -> NDArray:
    """Sprites by use as (K, h, w, C + 1) float64; colors in the user's units."""
    sprites = channels_last(fitted.sprites[order]).astype(np.float64)
    sprites[..., :-1] = scaling.to_user(sprites[..., :-1])
    sprites[..., -1] = sprites[..., -1].clip(0, 1)
    return sprites


def palette_of(sprites: NDArray) -> NDArray:
    """Mean colors, (K, C), of sprites (K, h, w, C + 1), weighted by their opacity."""
    colors, alpha = sprites[..., :-1], sprites[..., -1:]
    weight = alpha + 1e-9 * (alpha.sum((1, 2), keepdims=True) == 0)
    return (weight * colors).sum((1, 2)) / weight.sum((1, 2))


def instance_maps(rendered: Rendered) -> NDArray:
    """The layer that is seen most in each pixel, from 1; 0 where little is seen."""
    is_seen = rendered.visible.sum(axis=1) >= SEEN
    return np.where(is_seen, rendered.visible.argmax(axis=1) + 1, 0)


def class_maps(instances: NDArray, sprite: NDArray) -> NDArray:
    """The sprite of each instance, from 1; 0 stays background."""
    labels = np.concatenate([np.zeros((len(sprite), 1), np.int64), sprite + 1], axis=1)
    return labels[np.arange(len(labels))[:, None, None], instances]


DRAWINGS: dict[str, Callable[[Scaling, Decomposition, Rendered], NDArray]] = {
    "images": lambda scaling, _, drawn: scaling.to_user(channels_last(drawn.images)),
    "instances": lambda _, __, drawn: instance_maps(drawn),
    "classes": lambda _, found, drawn: class_maps(instance_maps(drawn), found.sprite),
    "masks": lambda _, __, drawn: drawn.masks,
    "visible": lambda _, __, drawn: drawn.visible,
}


def layer_feature_names(spec: SceneSpec) -> list[str]:
    """Names of what is told about one layer."""
    return [
        "sprite",
        "visible",
        "x",
        "y",
        *(["scale"] if spec.has_scale else []),
        *(["angle"] if spec.has_rotation else []),
        *(["stretch", "shear"] if spec.has_affine else []),
        *(["tilt_x", "tilt_y"] if spec.has_projective else []),
        *(f"color{c}" for c in range(spec.channels)),
    ]


def feature_names(spec: SceneSpec) -> list[str]:
    """Names of the columns of :func:`features`."""
    names = layer_feature_names(spec)
    return [f"layer{i}_{name}" for i in range(spec.n_layers) for name in names]


def features(
    found: Decomposition,
    rendered: Iterable[tuple[Decomposition, Rendered]],
    spec: SceneSpec,
) -> NDArray:
    """Layers as numbers, (n, L * F) float64."""
    told = {
        "sprite": found.sprite,
        "visible": np.concatenate([visible_shares(drawn) for _, drawn in rendered]),
        **{name: getattr(found, name) for name in POSE_NAMES},
        **{f"color{c}": found.color[..., c] for c in range(spec.channels)},
    }
    names = layer_feature_names(spec)
    table = np.stack([np.where(found.shown, told[name], 0.0) for name in names], axis=2)
    table[..., 0] = found.sprite
    return table.reshape(found.n_images, -1)


def visible_shares(drawn: Rendered) -> NDArray:
    """Share of what each layer covers in the image that is seen of it, (n, L)."""
    covered = drawn.masks.sum((2, 3), dtype=np.float64)
    seen = drawn.visible.sum((2, 3), dtype=np.float64)
    return np.where(covered > 0, seen / np.where(covered > 0, covered, 1), 0.0)


def by_use(solution: Solution) -> NDArray:
    """The order of users: sprites by the layers that show them, most first."""
    return np.argsort(-solution.counts, kind="stable")


def model_attributes(
    job: SceneJob,
    fitted: FittedScenes,
    order: NDArray | None = None,
    penalty: float | None = None,
) -> dict[str, Any]:
    """What an estimator needs to predict, and what describes its sprites.

    Layers must save `penalty`, or as much as while sprites are learned.
    """
    penalty = job.penalty if penalty is None else penalty
    order = np.arange(fitted.spec.n_sprites) if order is None else order
    settings, regression = job.settings, job.settings.regression
    taught = job.settings.distilled if fitted.network else None
    search = {
        "search": asdict(settings.search),
        "gradient": None if regression is None else regression.to_dict(),
        "attends": isinstance(regression, Attention),
        "distilled": None if taught is None else taught.to_dict(),
        "penalty": penalty,
    }
    return {
        **job.features,
        "_spec": fitted.spec.to_dict(),
        "_arrays": fitted.arrays,
        "_order": order,
        "_search": search,
        "_scaling": (job.scaling.offset, job.scaling.scale),
        "image_shape_": job.images.shape,
        "resolved_params_": {**resolved_params(fitted.spec), "penalty": penalty},
        "sprites_": sprites_to_user(fitted, job.scaling, order),
        "backgrounds_": job.scaling.to_user(channels_last(fitted.backgrounds)),
        "n_iter_": max(1, fitted.n_rounds),
        "loss_curve_": np.asarray(fitted.loss_curve, dtype=np.float64),
    }


def image_attributes(model: dict[str, Any], solution: Solution) -> dict[str, Any]:
    """What was found in the training images."""
    order = model["_order"]
    units = Units(Scaling(*model["_scaling"]), order, palette_of(model["sprites_"]))
    found = units.to_user(solution.record)
    return {
        "counts_": solution.counts[order],
        "layer_counts_": found.shown.sum(axis=0),
        "decomposition_": found,
        "inertia_": inertia(found),
    }


def inertia(found: Decomposition) -> float:
    """Sum of squared errors of images and reconstructions."""
    with np.errstate(over="ignore"):
        return min(float(found.error.sum()), LARGEST)
