"""What a decomposition of scenes is made of, as plain values that fit into JSON."""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from sklearn_sprites._engine.spec import SPLINE_GRID

POSES = ("translation", "scale", "rotation")
BENDS = ("affine", "projective")
BEND_BOUNDS = (0.6, 1.0, 0.3, 0.3)  # log-stretch, shear and tilts, from zero
SPLINE = "thin_plate_spline"
SIMILARITY, AFFINE = 4, 6  # numbers of such poses
COLORS = ("flat", "gain", "gain_bias", "own")
ORDERS = ("solve", "depth", "predict")
BACKGROUND_COLORS = ("flat", "image", "gain")
STANDS_FOR = {
    "position": POSES[:2],
    "similarity": POSES,
    "affine": (*POSES, "affine"),
    "projective": POSES + BENDS,
}
REDUCED_FROM = 96  # pixels of a side from which scenes may be halved,
OWN_REDUCED_FROM = 192  # and those of sprites in their own colors


@dataclass(frozen=True)
class SceneSpec:
    """Sprites, layers and backgrounds of scenes, described completely.

    ``transformations`` says which poses a layer may have: "translation", and any of
    "scale" and "rotation"; "similarity" stands for all three, "position" for the first
    two. "affine" adds a stretch and a shear to all three, and "projective" a tilt to
    "affine"; "thin_plate_spline" bends the sprite before all that. ``color`` is what is
    solved for each layer and channel: "flat" a color (the sprite is only a mask),
    "gain" a factor on a gray appearance, "gain_bias" a factor and what is added to it,
    "own" nothing: sprites show in their own colors.
    ``order``: who hides whom is "solve"d from
    the overlaps, follows the layers' "depth", or is "predict"ed by a network.
    ``background_color``: "flat", a level per channel; "image", a picture; "gain", a
    picture times a smooth gain per image and channel. Without backgrounds, what lies
    behind is black. ``background_transformations`` says what else may be done to a
    picture, in the same names; nothing by default. ``coarsest`` is the largest side of
    pixels in which things can still be told apart, 0 if that is not known. ``evens``:
    the one background is a level in uneven light, which is taken off before layers are
    sought.
    """

    n_sprites: int
    n_layers: int
    n_backgrounds: int
    channels: int
    height: int
    width: int
    sprite_height: int
    sprite_width: int
    transformations: tuple[str, ...] = ("translation",)
    color: str = "gain"
    order: str = "solve"
    background_color: str = "flat"
    background_transformations: tuple[str, ...] = ()
    coarsest: int = 0
    evens: bool = False

    def __post_init__(self) -> None:
        """Expand names that stand for several; refuse names that do not exist."""
        for owner in ("transformations", "background_transformations"):
            kept = expanded(owner, getattr(self, owner))
            object.__setattr__(self, owner, kept)
        if not self.transformations:
            object.__setattr__(self, "transformations", POSES[:1])
        for field, valid in (
            ("color", COLORS),
            ("order", ORDERS),
            ("background_color", BACKGROUND_COLORS),
        ):
            if getattr(self, field) not in valid:
                raise ValueError(
                    f"{field}={getattr(self, field)!r} is unknown; valid names are "
                    f"{', '.join(valid)}."
                )

    @property
    def has_scale(self) -> bool:
        """Whether layers may be larger or smaller than their sprite."""
        return "scale" in self.transformations

    @property
    def has_rotation(self) -> bool:
        """Whether layers may be turned."""
        return "rotation" in self.transformations

    @property
    def has_affine(self) -> bool:
        """Whether layers may be stretched and sheared."""
        return "affine" in self.transformations

    @property
    def has_projective(self) -> bool:
        """Whether layers may be tilted."""
        return "projective" in self.transformations

    @property
    def fills_image(self) -> bool:
        """Whether a sprite is as high or as wide as the images."""
        sides = zip(
            (self.sprite_height, self.sprite_width),
            (self.height, self.width),
            strict=True,
        )
        return any(sprite >= image for sprite, image in sides)

    @property
    def pose_size(self) -> int:
        """Numbers of a pose: of a similarity, an affine or a projective one."""
        return SIMILARITY + 2 * self.has_affine + 2 * self.has_projective

    @property
    def has_spline(self) -> bool:
        """Whether sprites are bent by thin-plate splines."""
        return SPLINE in self.transformations

    @property
    def n_control(self) -> int:
        """Control points of a spline; none where sprites are not bent."""
        return SPLINE_GRID**2 if self.has_spline else 0

    @property
    def moves_ground(self) -> bool:
        """Whether backgrounds are moved, and perhaps bent, in each image."""
        return bool(self.background_transformations)

    def of_ground(self) -> "SceneSpec":
        """A background, described as a sprite of the size of the image."""
        return replace(
            self,
            n_sprites=1,
            n_layers=1,
            sprite_height=self.height,
            sprite_width=self.width,
            transformations=self.background_transformations,
            background_transformations=(),
        )

    def sizes(self) -> dict[str, int]:
        """Numbers of what a record holds."""
        ground = self.of_ground()
        return {
            "sprites": self.n_sprites,
            "layers": self.n_layers,
            "channels": self.channels,
            "control": self.n_control,
            "backgrounds": self.n_backgrounds,
            "ground_pose": ground.pose_size if self.moves_ground else 0,
            "ground_control": ground.n_control if self.moves_ground else 0,
        }

    def without(self, *names: str) -> "SceneSpec":
        """The same with fewer transformations; layers are always moved."""
        kept = tuple(name for name in self.transformations if name not in names)
        return replace(self, transformations=kept)

    @property
    def has_shades(self) -> bool:
        """Whether sprites have an appearance beside their mask."""
        return self.color != "flat"

    @property
    def has_bias(self) -> bool:
        """Whether a color is added to what the appearance is multiplied by."""
        return self.color == "gain_bias"

    @property
    def has_own_colors(self) -> bool:
        """Whether sprites show in colors of their own, which no layer changes."""
        return self.color == "own"

    @property
    def is_shaded(self) -> bool:
        """Whether masks and appearances are learned apart from each other."""
        return self.has_bias or (bool(self.n_backgrounds) and self.color == "gain")

    @property
    def is_masked(self) -> bool:
        """Whether all that search learns of sprites is their masks."""
        is_toned = self.has_own_colors or self.is_shaded or self.is_additive
        return not self.has_shades or not is_toned

    @property
    def has_level(self) -> bool:
        """Whether a level of the background is solved with the colors of layers."""
        return bool(self.n_backgrounds) and self.background_color == "flat"

    @property
    def has_picture(self) -> bool:
        """Whether backgrounds are pictures, known before layers are sought."""
        return bool(self.n_backgrounds) and self.background_color != "flat"

    @property
    def reduction(self) -> int:
        """Side of the pixels in which scenes are searched and sprites learned."""
        is_own, first = self.has_own_colors, REDUCED_FROM
        most = self.coarsest or (math.inf if self.has_picture and not is_own else 1)
        if is_own:  # which are placed in whole pixels only
            first = OWN_REDUCED_FROM
        sides = [self.sprite_height, self.sprite_width]
        if self.has_picture:
            sides += [self.height, self.width]
        least, side = min(self.height, self.width), 1
        while (
            2 * side <= most
            and least >= first * side
            and not any(n % (2 * side) for n in sides)
        ):
            side *= 2
        return side

    def sought(self) -> "SceneSpec":
        """The description of scenes in which layers are sought, once light is even."""
        if not self.evens:
            return self
        return replace(self, background_color="flat", evens=False)

    @property
    def has_details(self) -> bool:
        """Whether masks are sought in larger pixels, then made exact in whole ones."""
        is_masks = self.sought().has_level and not self.has_shades
        return is_masks and self.reduction > 1

    def reduced(self) -> "SceneSpec":
        """The same in pixels of side `reduction`."""
        side = self.reduction
        return replace(
            self.sought(),
            height=-(-self.height // side),
            width=-(-self.width // side),
            sprite_height=self.sprite_height // side,
            sprite_width=self.sprite_width // side,
            coarsest=1,
        )

    @property
    def is_additive(self) -> bool:
        """Whether shifted sprites on black are found by exact correlation."""
        is_shifted = self.transformations == ("translation",)
        is_gray = not self.has_bias and not self.has_own_colors
        return is_shifted and not self.n_backgrounds and is_gray

    def to_dict(self) -> dict[str, Any]:
        """As a dictionary that survives a round trip through JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "SceneSpec":
        """The inverse of :meth:`to_dict`; lists become tuples again."""
        frozen: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
        }
        return cls(**frozen)


def expanded(owner: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Transformations in their order, translation among them if there are any."""
    valid = (*POSES, *BENDS, SPLINE)
    found: set[str] = set(POSES[:1] if names else ())
    for name in names:
        found |= set(STANDS_FOR.get(name, (name,)))
    for name in found - set(valid):
        raise ValueError(
            f"{owner}={names!r} contains {name!r}; valid names are "
            f"{', '.join((*POSES, *STANDS_FOR, SPLINE))}."
        )
    return tuple(name for name in valid if name in found)


def auto_scene(
    height: int,
    width: int,
    n_backgrounds: int,
    background_color: str = "flat",
) -> dict[str, Any]:
    """The default poses, colors and sprite size for images of this kind.

    On black, shifted gray pictures in tints; over a level, flat shapes in any
    similarity; over pictures, shifted and scaled gray pictures in tints.
    """
    side = min(height, width)
    if n_backgrounds and background_color != "flat":
        size = max(min(side // 4 * 4, 4), side // 8 * 4)
        return {
            "transformations": ("translation", "scale"),
            "color": "gain",
            "sprite_height": size,
            "sprite_width": size,
        }
    if n_backgrounds:
        size = max(min(side // 2 * 2, 4), side // 2)
        return {
            "transformations": POSES,
            "color": "flat",
            "sprite_height": size,
            "sprite_width": size,
        }
    size = max(1, int(0.7 * side))
    return {
        "transformations": ("translation",),
        "color": "gain",
        "sprite_height": size,
        "sprite_width": size,
    }
