"""From parameters and the shape of images to a description of the network."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_sprites._engine.records import FittedModel
from sklearn_sprites._engine.settings import (
    ConstantSprites,
    Milestones,
    TrainingSettings,
)
from sklearn_sprites._engine.spec import (
    COLOR_SIDE,
    COLORS,
    SLOPE,
    SMALLEST_SIDE,
    TRANSFORMATIONS,
    ModelSpec,
    auto_transformations,
    opaque,
    refuse_unknown,
)
from sklearn_sprites._forms import as_sprites
from sklearn_sprites._validation import Scaling, Shape

Names = str | Sequence[str]
IN_TURNS = ("color", "similarity")  # for things that lie in any turn,
COLOR_ALONE = ("color",)  # and for what lies behind these
FEWER_COLORS = ((), ("light",))  # that are solved where colors recur
SPEC_WORDS = {  # parameters where the engine says otherwise
    "n_sprites": "n_clusters",
    "is_leveled": "'slope' in transformations",
}


def resolve_layers(
    n_backgrounds: int,
    sprites: Names,
    backgrounds: Names,
    shape: Shape,
    *,
    is_solved: bool,
) -> tuple[int, tuple[str, ...], tuple[str, ...]]:
    """Number of backgrounds, and transformations of sprites and of backgrounds.

    `"auto"` goes by the size and channels of the images, and by whether what can be
    solved is, in stages of no given names (`is_solved`). Where a side is below
    `SMALLEST_SIDE` pixels there is no picture, only numbers: nothing is transformed
    and nothing lies behind; names that do not exist are refused all the same.
    """
    given = {"transformations": sprites, "background_transformations": backgrounds}
    for owner, names in given.items():
        if not isinstance(names, str):
            refuse_unknown(owner, tuple(names))
    height, width, channels = shape
    if min(height, width) < SMALLEST_SIDE:
        return 0, (), ()
    auto = auto_transformations(height, width, channels, n_backgrounds, is_solved)
    chosen = [
        default if isinstance(names, str) else tuple(names)
        for names, default in zip((sprites, backgrounds), auto, strict=True)
    ]
    return int(n_backgrounds), chosen[0], chosen[1] if n_backgrounds else ()


def as_seen(
    spec: ModelSpec, settings: TrainingSettings, batch: NDArray, is_open: bool
) -> ModelSpec:
    """What ``"auto"`` stands for: similarities, if images show things in all turns.

    And no colors, or a light, if they recur but for this: then they may be what tells
    kinds apart. And slopes of light are taken off, if sprites explain much less with
    them. Unless `is_open`, the transformations of sprites are given, and those of
    backgrounds alone are not.
    """
    from sklearn_sprites._engine.training.any_turn import lie_in_any_turn
    from sklearn_sprites._engine.training.recurring_colors import colors_that_change
    from sklearn_sprites._engine.training.searched import is_searchable
    from sklearn_sprites._engine.training.slopes import have_slopes, without_slopes

    if is_open and have_slopes(batch, spec):
        spec = replace(spec, is_leveled=True)
        batch = without_slopes(batch, settings.pixel_weights)
    turned = in_turns(spec, is_open)
    is_large = min(spec.height, spec.width) >= COLOR_SIDE
    if is_large and is_searchable(turned, settings) and lie_in_any_turn(batch, turned):
        spec = turned
    elif spec.is_layered:
        return spec
    can_keep = is_open and isinstance(settings.curriculum, str)
    if not (can_keep and spec.color == "solve"):
        return spec
    colors = colors_that_change(batch, opaque(spec))
    return spec if colors is None else in_colors(spec, colors)


def in_turns(spec: ModelSpec, is_open: bool) -> ModelSpec:
    """The description of a model of things in any turn; backgrounds lie still."""
    names = IN_TURNS if is_open else spec.transformations
    behind = COLOR_ALONE if spec.is_layered else ()
    return replace(spec, transformations=names, background_transformations=behind)


def as_taken(spec: ModelSpec, taken: ModelSpec, is_open: bool) -> ModelSpec:
    """What ``"auto"`` stands for where a fit goes on that took it so."""
    spec = replace(spec, is_leveled=taken.is_leveled) if is_open else spec
    wanted = taken.transformations, taken.background_transformations
    for seen in (spec, in_turns(spec, is_open)):
        other = [in_colors(seen, names) for names in FEWER_COLORS if is_open]
        for kept in (seen, *other):
            if (kept.transformations, kept.background_transformations) == wanted:
                return kept
    return spec


def in_colors(spec: ModelSpec, names: tuple[str, ...]) -> ModelSpec:
    """The description of a model whose sprites change their colors like this."""
    warps = tuple(name for name in spec.transformations if name not in COLORS)
    return replace(spec, transformations=(*names, *warps))


def stages_of(curriculum: Any, spec: ModelSpec) -> Any:
    """A named curriculum as it is; stages and dates checked against the model's."""
    if isinstance(curriculum, str):
        return curriculum
    if isinstance(curriculum, Milestones):
        return _dates_of(curriculum, spec)
    has = tuple(dict.fromkeys(spec.transformations + spec.background_transformations))
    _check_form(curriculum, has)
    _check_names(curriculum, spec, has)
    stages = tuple(tuple(n for n in stage if n in has) for stage in curriculum)
    missing = [name for name in has if name not in stages[-1]]
    if missing:
        raise ValueError(
            f"curriculum={curriculum!r} ends without {', '.join(map(repr, missing))}, "
            f"but new images are explained with all transformations; let {has!r} be "
            "the last stage, or take out of transformations what is not wanted."
        )
    return stages


def _check_form(curriculum: Any, has: tuple[str, ...]) -> None:
    """Refuse what is no list of stages, each a list of names."""
    if len(curriculum) and all(_is_stage(stage) for stage in curriculum):
        return
    raise ValueError(
        f"curriculum={curriculum!r} should list one stage or more, each of them a "
        f"tuple of names of transformations; use curriculum={(has,)!r} for a single "
        "stage."
    )


def _is_stage(stage: Any) -> bool:
    is_list = isinstance(stage, tuple | list)
    return is_list and all(isinstance(name, str) for name in stage)


def _check_names(curriculum: Any, spec: ModelSpec, has: tuple[str, ...]) -> None:
    """Refuse stages with what the model lacks.

    Of images too small to be transformed, they may name what larger ones would have.
    """
    is_small = min(spec.height, spec.width) < SMALLEST_SIDE
    mine = ("identity", *has, *([SLOPE] if spec.is_leveled else []))
    valid = (*TRANSFORMATIONS, SLOPE) if is_small else mine
    for name in (name for stage in curriculum for name in stage):
        if name not in valid:
            raise ValueError(
                f"curriculum={curriculum!r} contains {name!r}, which is not among "
                f"transformations={spec.names!r} or background_"
                f"transformations={spec.background_transformations!r}; valid names "
                f"are {', '.join(valid)}."
            )


def _dates_of(milestones: Milestones, spec: ModelSpec) -> Milestones:
    """Dates, one for each transformation."""
    names, behind = spec.transformations, spec.background_transformations
    n_dates = len(milestones.joins)
    if (names and n_dates != len(names)) or n_dates < len(behind):
        raise ValueError(
            f"curriculum={milestones!r} has {n_dates} dates in joins, but there are "
            f"transformations={names!r} and background_transformations={behind!r}; "
            "give one for each of the longer list."
        )
    return milestones


def never_joining(curriculum: Any, spec: ModelSpec, max_epochs: int) -> list[str]:
    """Transformations whose date is not reached."""
    if not isinstance(curriculum, Milestones):
        return []
    late = [
        name
        for names in (spec.transformations, spec.background_transformations)
        for name, date in zip(names, curriculum.joins, strict=False)
        if date >= max_epochs
    ]
    return list(dict.fromkeys(late))


def is_rule(init: Any) -> bool:
    """Whether first sprites are made by a rule, not given."""
    return isinstance(init, str | ConstantSprites)


def given_sprites(
    init: Any, spec: ModelSpec, scaling: Scaling, owner: str
) -> NDArray | None:
    """Sprites given by the user, (K, C or C+1, H, W) in model units; None if a rule."""
    if is_rule(init):
        return None
    size = (spec.n_sprites, spec.height, spec.width)
    accepted = [
        *([size] if spec.channels == 1 else []),
        (*size, spec.channels),
        (spec.n_sprites, spec.height * spec.width * spec.channels),
        *([(*size, spec.channels + 1)] if spec.is_layered else []),
    ]
    sprites = as_sprites(init, accepted, spec.channels, owner)
    return _to_model(sprites.reshape(*size, -1), spec, scaling)


def _to_model(sprites: NDArray, spec: ModelSpec, scaling: Scaling) -> NDArray:
    """(K, H, W, C or C+1) in the user's units, opaque where alpha is missing."""
    colors = scaling.to_model(sprites[..., : spec.channels], "init")
    alpha = sprites[..., spec.channels :].astype(np.float32)
    if spec.is_layered and alpha.shape[-1] == 0:
        alpha = np.ones_like(colors[..., :1])
    both = np.concatenate([colors, alpha], axis=-1)
    return np.ascontiguousarray(both.transpose(0, 3, 1, 2))


def warm_model(fitted: FittedModel, spec: ModelSpec) -> FittedModel:
    """The last fit's model, if parameters and images still describe its network."""
    before, now = fitted.spec.to_dict(), spec.to_dict()
    now["is_searched"] = before["is_searched"]  # which images decide
    for name in now:
        if before[name] != now[name]:
            raise ValueError(
                f"warm_start=True continues the last fit, but "
                f"{SPEC_WORDS.get(name, name)} was {before[name]!r} and is "
                f"{now[name]!r} now; use warm_start=False to start again."
            )
    return fitted
