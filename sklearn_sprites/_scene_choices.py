"""What parameters that are "auto" stand for, as images show."""

from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from sklearn_sprites._engine.scene_settings import Distilled
from sklearn_sprites._engine.scene_spec import POSES, REDUCED_FROM, SceneSpec, expanded
from sklearn_sprites._engine.search_settings import Search
from sklearn_sprites._engine.settings import ConstantSprites
from sklearn_sprites._engine.spec import SMALLEST_SIDE
from sklearn_sprites._forms import as_numbers
from sklearn_sprites._scene_description import (
    against_own_colors,
    describe_scenes,
    whole_pixels,
)
from sklearn_sprites._validation import Shape

if TYPE_CHECKING:
    from sklearn_sprites._engine.training.first_look import FirstLook


def scene_background(params: dict[str, Any], batch: NDArray) -> str:
    """What backgrounds are: as the parameter says, or as images (n, C, H, W) show."""
    from sklearn_sprites._engine.training.ground import choose_background

    named, n_backgrounds = params["background"], params["n_backgrounds"]
    if named != "auto":
        return str(named)
    if n_backgrounds > 1:
        return "gain"
    is_picture = n_backgrounds and min(batch.shape[2:]) >= SMALLEST_SIDE
    return choose_background(batch) if is_picture else "flat"


def seen_choices(
    params: dict[str, Any], batch: NDArray, shape: Shape, owner: str, background: str
) -> dict[str, Any]:
    """Parameters that are "auto" as images (n, C, H, W) show, where they show it.

    Sprites that are given tell their size. Colors may be the sprites' own; layers over
    pictures and on black may be turned; sprites that are only moved are as large as
    what recurs, and those that are scaled are larger, over a plain ground, where all is
    large, and smaller where most is small. Uneven light on a plain ground is taken off.
    Things of one color over pictures are masks, turned unless these are all upright; on
    black they may be masks, and layers may be scaled.
    Over several backgrounds nothing else is judged, and nothing at all where images are
    no pictures.
    """
    from sklearn_sprites._engine.training.first_look import FirstLook
    from sklearn_sprites._engine.training.own_colors import recur_in_colors
    from sklearn_sprites._engine.training.plain_light import (
        are_of_one_color,
        is_plain_but_for_light,
    )
    from sklearn_sprites._engine.training.recurring import (
        coarsest_pixels,
        lie_in_several_directions,
    )

    seen = _given_size(params, shape, owner)
    spec = describe_scenes(shape, {**params, **seen}, owner, background)
    if min(spec.height, spec.width) < SMALLEST_SIDE:
        return seen
    look = FirstLook(batch, spec)
    is_picture = spec.has_picture and params["color"] == "auto" and is_sought(params)
    if spec.n_backgrounds > 1:
        is_masks = is_picture and are_of_one_color(look)
        return seen | (_seen_masks(params, look) if is_masks else {})
    if params["color"] == "auto" and not against_own_colors(params):
        seen |= {"color": "own"} if recur_in_colors(look) else {}
    is_open = isinstance(params["transformations"], str)
    if may_be_evened(params, spec) and "color" not in seen:
        is_flat = params["color"] == "flat"
        seen |= _evened(params) if is_plain_but_for_light(look, is_flat) else {}
    is_masks = is_picture and "color" not in seen and are_of_one_color(look)
    if "color" not in seen and not spec.has_own_colors:
        if spec.n_backgrounds == 0 and is_sought(params):
            seen |= _seen_on_black(params, look)
        elif is_open and spec.has_picture and lie_in_several_directions(look):
            seen |= {"transformations": POSES}
    seen |= _seen_masks(params, look) if is_masks else {}
    spec = describe_scenes(shape, {**params, **seen}, owner, background)
    if may_be_reduced(params, spec):
        has_parts = spec.sought().has_picture and not spec.has_own_colors
        seen["coarsest"] = coarsest_pixels(look, has_parts)
        spec = describe_scenes(shape, {**params, **seen}, owner, background)
    if isinstance(params["sprite_size"], str) and "sprite_size" not in seen:
        side = _seen_side(spec, look)
        if side:
            unit = max(spec.coarsest, 1)
            seen["sprite_size"] = whole_pixels((side, side), shape, unit)
    return seen


def may_be_evened(params: dict[str, Any], spec: SceneSpec) -> bool:
    """Whether layers may be sought before a level instead of a picture."""
    is_open = params["color"] in ("auto", "flat")
    return spec.has_picture and is_open and is_sought(params)


def is_sought(params: dict[str, Any]) -> bool:
    """Whether layers are searched, or guessed by what has learned from search.

    And sprites are solved.
    """
    localizer, is_closed = params["localizer"], params["sprite_update"] == "closed_form"
    is_name = isinstance(localizer, str) and localizer in ("search", "distilled")
    return is_closed and (is_name or isinstance(localizer, Search | Distilled))


def _evened(params: dict[str, Any]) -> dict[str, Any]:
    """What is "auto" before a level in uneven light: as before a level."""
    return {**_masks(params), "evens": True}


def _masks(params: dict[str, Any]) -> dict[str, Any]:
    """What is "auto" for things of one color: masks in any similarity."""
    is_open = isinstance(params["transformations"], str)
    return {"color": "flat"} | ({"transformations": POSES} if is_open else {})


def _seen_masks(params: dict[str, Any], look: "FirstLook") -> dict[str, Any]:
    """The same, but upright where masks show that things are."""
    from sklearn_sprites._engine.training.mask_turns import may_be_turned

    is_open = isinstance(params["transformations"], str)
    return _masks(params) if is_open and may_be_turned(look) else {"color": "flat"}


def _seen_on_black(params: dict[str, Any], look: "FirstLook") -> dict[str, Any]:
    """How layers on black are posed, and whether they are masks.

    Turned if things lie in all directions, scaled if they come in several sizes. Things
    of one color each that are seen again and again, with soft edges, are masks that are
    scaled at least: a picture in gray levels would show the edges as dark parts. Given
    sprites may be such pictures.
    """
    from sklearn_sprites._engine.training.mask_sizes import (
        have_soft_edges,
        recur,
        sizes_vary,
    )
    from sklearn_sprites._engine.training.plain_light import are_of_one_color
    from sklearn_sprites._engine.training.recurring import lie_in_several_directions

    named, seen = params["transformations"], {}
    if isinstance(named, str):
        are_turned = lie_in_several_directions(look, in_all=True)
        if are_turned or sizes_vary(look):
            seen["transformations"] = POSES if are_turned else POSES[:2]
        poses = seen.get("transformations", POSES[:2])
    else:
        poses = expanded("transformations", tuple(named))
    is_open = isinstance(params["init"], str | ConstantSprites)
    colors = ("auto", "flat") if is_open else ("flat",)
    if (
        params["color"] in colors
        and "scale" in poses
        and are_of_one_color(look)
        and have_soft_edges(look)
        and recur(look, "rotation" in poses)
    ):
        seen["color"] = "flat"
        if isinstance(named, str):
            seen["transformations"] = poses
    return seen


def may_be_reduced(params: dict[str, Any], spec: SceneSpec) -> bool:
    """Whether sprites may be learned from reduced scenes."""
    is_large = min(spec.height, spec.width) >= REDUCED_FROM
    if spec.sought().has_picture or spec.has_own_colors or not is_large:
        return is_large
    is_masks = spec.sought().has_level and not spec.has_shades
    return is_masks and is_sought(params)


def _given_size(params: dict[str, Any], shape: Shape, owner: str) -> dict[str, Any]:
    """The size of sprites that are given, if it is "auto" and they fit the images."""
    is_rule = isinstance(params["init"], str | ConstantSprites)
    if is_rule or not isinstance(params["sprite_size"], str):
        return {}
    size = as_numbers(params["init"], owner).shape[1:3]
    fits = all(0 < side <= most for side, most in zip(size, shape, strict=False))
    return {"sprite_size": size} if len(size) == 2 and fits else {}


def _seen_side(spec: SceneSpec, look: "FirstLook") -> int | None:
    """The side of sprites that images ask for."""
    from sklearn_sprites._engine.training.recurring import (
        TOO_SMALL,
        larger_side,
        smaller_side,
        sprite_side,
    )

    side = min(spec.sprite_height, spec.sprite_width)
    if spec.transformations == POSES[:1]:
        seen = sprite_side(look)
        is_far_off = seen is not None and seen < TOO_SMALL * side
        return seen if is_far_off or not spec.is_additive else None
    if spec.is_additive or not spec.has_scale:
        return None
    larger = None if spec.sought().has_picture else larger_side(look, side)
    return larger or smaller_side(look, side)


def taken_choices(
    params: dict[str, Any], spec: SceneSpec, shape: Shape
) -> dict[str, Any]:
    """What is "auto" as the last fit took it, if it was to images of this shape."""
    if shape != (spec.height, spec.width, spec.channels):
        return {}
    taken = resolved_params(spec)
    chosen = {name: taken[name] for name in taken if str(params[name]) == "auto"}
    return {**chosen, "coarsest": spec.coarsest, "evens": spec.evens}


def resolved_params(spec: SceneSpec) -> dict[str, Any]:
    """Parameters that may be `"auto"`, as they were taken."""
    return {
        "transformations": spec.transformations,
        "color": spec.color,
        "background": spec.background_color,
        "sprite_size": (spec.sprite_height, spec.sprite_width),
    }
