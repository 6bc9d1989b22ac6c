"""From parameters and the shape of images to a description of scenes."""

from dataclasses import asdict
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_sprites._engine.attention_settings import Attention
from sklearn_sprites._engine.regression_settings import Regression
from sklearn_sprites._engine.scene_records import FittedScenes
from sklearn_sprites._engine.scene_settings import Distilled, Gradient
from sklearn_sprites._engine.scene_spec import (
    POSES,
    SPLINE,
    SceneSpec,
    auto_scene,
    expanded,
)
from sklearn_sprites._engine.search_settings import Search
from sklearn_sprites._engine.settings import ConstantSprites
from sklearn_sprites._engine.spec import SMALLEST_SIDE
from sklearn_sprites._forms import as_sprites
from sklearn_sprites._validation import InvalidParameterError, Scaling, Shape

MOST_COMBINATIONS = 20_000
PLAIN = 0.03  # difference from its level, in model units, that a plain ground may have
JUDGED = 200  # images, about, that tell what the ground is
NOT_BLACK = 0.1  # level of a ground that layers would have to explain

LOCALIZERS: dict[str, Search | Distilled | Regression | Attention] = {
    "attention": Attention(),
    "search": Search(),
    "distilled": Distilled(),
    "regression": Regression(),
}


def describe_scenes(
    shape: Shape, params: dict[str, Any], owner: str, background: str = "flat"
) -> SceneSpec:
    """The description for images of this shape; what is `"auto"` goes by the shape.

    `background` is what :func:`scene_background` says; ``params["coarsest"]`` and
    ``params["evens"]``, if they are there, see :class:`SceneSpec`.

    Where a side is below `SMALLEST_SIDE` pixels there is no picture, only numbers:
    layers are shifted and nothing lies behind; names are looked at all the same.
    """
    height, width, channels = shape
    n_backgrounds, poses = int(params["n_backgrounds"]), params["transformations"]
    ground_poses = tuple(params["background_transformations"])
    if min(height, width) < SMALLEST_SIDE:
        expanded("transformations", () if isinstance(poses, str) else tuple(poses))
        expanded("background_transformations", ground_poses)
        n_backgrounds, poses, ground_poses = 0, "auto", ()
    if n_backgrounds > 1 and background == "flat":
        raise ValueError(
            f"n_backgrounds={n_backgrounds} needs backgrounds that are pictures, but "
            "they are plain; use background='image' or 'gain', or n_backgrounds=1."
        )
    auto = auto_scene(height, width, n_backgrounds, background)
    if params["color"] == "own":
        auto["transformations"] = POSES[:1]
    size = sprite_shape(params["sprite_size"], auto, shape, owner)
    coarsest = int(params.get("coarsest", 0))
    if isinstance(params["sprite_size"], str):
        size = whole_pixels(size, shape, max(coarsest, 1))
    return SceneSpec(
        n_sprites=int(params["n_sprites"]),
        n_layers=int(params["n_layers"]),
        n_backgrounds=n_backgrounds,
        channels=channels,
        height=height,
        width=width,
        sprite_height=size[0],
        sprite_width=size[1],
        transformations=tuple(
            auto["transformations"] if isinstance(poses, str) else poses
        ),
        color=auto["color"] if params["color"] == "auto" else params["color"],
        order=params["order"],
        background_color=background if n_backgrounds else "flat",
        background_transformations=ground_poses,
        coarsest=coarsest,
        evens=bool(params.get("evens", False)),
    )


def whole_pixels(size: tuple[int, int], shape: Shape, side: int) -> tuple[int, int]:
    """Height and width in whole pixels of a side, larger if images have room."""
    most = (shape[0] // side * side, shape[1] // side * side)
    return min(-(-size[0] // side) * side, most[0]), min(
        -(-size[1] // side) * side, most[1]
    )


def check_localizer(
    localizer: str | Search | Distilled | Regression | Attention,
    order: str,
    n_backgrounds: int,
) -> tuple[Search, Gradient | None, Distilled | None]:
    """How layers are found; refuses what the localizer cannot do."""
    if isinstance(localizer, str):
        localizer = LOCALIZERS[localizer]
    if isinstance(localizer, Search | Distilled):
        if order == "predict":
            raise ValueError(
                "order='predict' needs a network that is trained by gradient; use "
                "localizer='regression' or 'attention', or order='solve'."
            )
        if isinstance(localizer, Distilled):
            return localizer.search, None, localizer
        return localizer, None, None
    if n_backgrounds > 1:
        raise ValueError(
            f"localizer={localizer!r} knows one background, but n_backgrounds="
            f"{n_backgrounds}; use localizer='search', or n_backgrounds=1."
        )
    return Search(), localizer, None


def check_color(
    localizer: Gradient | None, taught: Distilled | None, spec: SceneSpec
) -> None:
    """Refuse gains and biases where only a search can tell them."""
    if spec.has_bias and (localizer is not None or taught is not None):
        kind = type(localizer or taught).__name__.lower()
        raise ValueError(
            f"color='gain_bias' needs layers that are searched, but localizer={kind!r} "
            "is a network; use localizer='search', or color='gain'."
        )


def against_own_colors(params: dict[str, Any]) -> dict[str, Any]:
    """Parameters that do not go with sprites in their own colors, and what would."""
    poses, localizer = params["transformations"], params["localizer"]
    names = () if isinstance(poses, str) else tuple(poses)
    is_search = isinstance(localizer, Search) or localizer == "search"
    wanted = {
        "transformations": (expanded("transformations", names) or POSES[:1], POSES[:1]),
        "localizer": ("search" if is_search else localizer, "search"),
        "sprite_update": (params["sprite_update"], "closed_form"),
        "order": (params["order"], "solve"),
    }
    return {name: only for name, (value, only) in wanted.items() if value != only}


def check_own_colors(params: dict[str, Any], spec: SceneSpec) -> None:
    """Refuse what is not sought where sprites have their own colors."""
    if not spec.has_own_colors:
        return
    for name, only in against_own_colors(params).items():
        raise ValueError(
            f"color='own' places sprites as they are, by exact search, which does not "
            f"go with {name}={params[name]!r}; use {name}={only!r}, or color='gain'."
        )


def check_poses(
    localizer: Gradient | None, taught: Distilled | None, spec: SceneSpec
) -> None:
    """Refuse splines where layers are searched."""
    if spec.has_spline and localizer is None:
        kind = "search" if taught is None else "distilled"
        raise ValueError(
            f"transformations={spec.transformations!r} holds {SPLINE!r}, which is not "
            f"sought by localizer={kind!r}; use localizer='regression' or 'attention', "
            "or transformations=('projective',)."
        )


def check_ground(localizer: Gradient | None, spec: SceneSpec) -> None:
    """Refuse backgrounds that move where they are searched, or no pictures."""
    if not spec.moves_ground:
        return
    named = f"background_transformations={spec.background_transformations!r}"
    if localizer is None:
        raise ValueError(
            f"{named} needs a network that is trained by gradient; use localizer="
            "'regression' or 'attention', or background_transformations=()."
        )
    if not spec.has_picture:
        raise ValueError(
            f"{named} needs a background that is a picture; use n_backgrounds=1 and "
            "background='image', or background_transformations=()."
        )


def check_selection(localizer: Gradient | None, spec: SceneSpec) -> None:
    """Refuse to try more combinations of sprites than can be tried."""
    if not isinstance(localizer, Regression) or localizer.selection == "greedy":
        return
    count = (spec.n_sprites + localizer.empty) ** spec.n_layers
    if count > MOST_COMBINATIONS:
        raise ValueError(
            f"selection='exhaustive' would try {count} combinations of n_sprites="
            f"{spec.n_sprites} in n_layers={spec.n_layers} layers, but at most "
            f"{MOST_COMBINATIONS} are tried; use selection='greedy'."
        )


def plain_ground(batch: NDArray) -> float | None:
    """Level of the ground of images (n, C, H, W), if it is plain and is not black.

    In model units, of the channel where it is brightest; judged by the border of what
    is a picture of something.
    """
    if min(batch.shape[2:]) < SMALLEST_SIDE:
        return None
    batch = batch[:: -(-len(batch) // JUDGED)]
    sides = batch[..., 0, :], batch[..., -1, :], batch[..., 0], batch[..., -1]
    border = np.concatenate(sides, axis=-1)  # (n, C, P)
    level = np.median(border, axis=-1, keepdims=True)
    is_plain = np.abs(border - level).max(axis=1) < PLAIN
    is_bright = level.max(axis=1) > NOT_BLACK
    shows = np.abs(batch - level[..., None]).max(axis=(1, 2, 3)) > PLAIN
    if np.median(is_plain.mean(axis=1) * is_bright[:, 0] * shows) <= 0.5:
        return None
    return float(np.median(level.max(axis=1)))


def sprite_shape(
    size: Any, auto: dict[str, Any], shape: Shape, owner: str
) -> tuple[int, int]:
    """Height and width of sprites, checked; automatic ones always fit the images."""
    height, width, _ = shape
    if isinstance(size, str):
        auto_size = (auto["sprite_height"], auto["sprite_width"])
        return max(1, min(auto_size[0], height)), max(1, min(auto_size[1], width))
    pair = (size, size) if isinstance(size, Integral) else size
    if not (len(pair) == 2 and all(isinstance(s, Integral) and s > 0 for s in pair)):
        raise InvalidParameterError(
            f"The 'sprite_size' parameter of {owner} must be 'auto', a positive int or "
            f"a tuple (h, w) of two. Got {size!r} instead."
        )
    if pair[0] > height or pair[1] > width:
        raise ValueError(
            f"sprite_size={size!r} is larger than the images, {height} x {width} "
            "pixels; use sprite_size='auto' or a smaller one."
        )
    return int(pair[0]), int(pair[1])


def given_scene_sprites(
    init: Any, spec: SceneSpec, scaling: Scaling, owner: str
) -> NDArray | None:
    """Sprites given by the user, (K, C + 1, h, w) in model units; None if a rule."""
    if isinstance(init, str):
        return None
    if isinstance(init, ConstantSprites):
        return constant_sprites(init, spec)
    size = (spec.n_sprites, spec.sprite_height, spec.sprite_width)
    accepted = [
        *([size] if spec.channels == 1 else []),
        (*size, spec.channels),
        (*size, spec.channels + 1),
    ]
    sprites = as_sprites(init, accepted, spec.channels, owner)
    sprites = sprites.reshape(*size, -1)
    colors = scaling.to_model(sprites[..., : spec.channels], "init")
    alpha = sprites[..., spec.channels :].astype(np.float32)
    if alpha.shape[-1] == 0 and spec.is_masked:
        colors, alpha = brightness_as_opacity(colors)
    elif alpha.shape[-1] == 0:
        alpha = np.ones_like(colors[..., :1])
    if not spec.has_shades:  # sprites are masks
        colors = np.ones_like(colors)
    both = np.concatenate([colors, alpha], axis=-1)
    return np.ascontiguousarray(both.transpose(0, 3, 1, 2))


def brightness_as_opacity(pictures: NDArray) -> tuple[NDArray, NDArray]:
    """Colors (K, h, w, C) and opacities (K, h, w, 1) that look on black as pictures do.

    Where a picture is brightest, in any channel, it is opaque. A black one is all over.
    """
    bright = pictures.clip(0).max(-1, keepdims=True)
    most = bright.max((1, 2), keepdims=True)
    alpha = np.divide(bright, most, out=np.ones_like(bright), where=most > 0)
    hidden = np.broadcast_to(most, pictures.shape).copy()
    return np.divide(pictures, alpha, out=hidden, where=alpha > 0), alpha


def constant_sprites(init: ConstantSprites, spec: SceneSpec) -> NDArray:
    """Sprites of one color under a Gaussian mask, (K, C + 1, h, w) in model units."""
    sides = (spec.sprite_height, spec.sprite_width)
    lines = []
    for side in sides:
        offset = np.arange(side) - (side - 1) / 2
        lines.append(np.exp(-0.5 * (offset / (init.mask_width or side / 4)) ** 2))
    colors = np.full((spec.channels, *sides), init.color)
    sprite = np.concatenate([colors, np.outer(*lines)[None]]).astype(np.float32)
    return np.repeat(sprite[None], spec.n_sprites, axis=0)


def warm_scenes(fitted: FittedScenes, spec: SceneSpec) -> FittedScenes:
    """The last fit's sprites, if parameters and images still describe them."""
    before, now = asdict(fitted.spec), asdict(spec)
    for name in now:
        if before[name] != now[name]:
            raise ValueError(
                f"warm_start=True continues the last fit, but {name} was "
                f"{before[name]!r} and is {now[name]!r} now; use warm_start=False to "
                "start again."
            )
    return fitted
