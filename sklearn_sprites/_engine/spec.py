"""What a network is made of, as plain values that fit into JSON."""

from dataclasses import asdict, dataclass, replace
from typing import Any

COLORS = ("color", "linear_color", "light")
RIGID = ("translation", "position", "rotation", "similarity", "affine", "projective")
WARPS = (*RIGID, "thin_plate_spline")
TRANSFORMATIONS = ("identity", *COLORS, *WARPS, "thickness", "morphological")
SLOPE = "slope"  # is taken off images before anything looks at them
ENCODERS = ("small", "resnet20", "resnet32", "resnet18")

SMALLEST_SIDE = 4  # below this many pixels nothing can be warped
COLOR_SIDE = 12  # below this many pixels gray images keep their colors by default
SPLINE_GRID = 4  # control points per side of a thin-plate spline
MORPHOLOGICAL_KERNEL = 7
COARSE_SIDE = 32  # pixels of the shorter side that are enough to tell a pose


@dataclass(frozen=True)
class ModelSpec:
    """A clustering network, described completely.

    ``transformations`` are in the order in which they are applied to a sprite, from
    the sprite's frame to the image; ``color`` says whether gains and biases are
    solved by least squares or predicted by the network; ``padding`` what lies outside
    of an opaque sprite, ``"border"`` or ``"zeros"``. ``is_searched`` says that no
    network tells where sprites are: their poses are searched in every image;
    ``is_leveled`` that images come without slopes of light, which ``"slope"`` among
    the transformations asks for.
    """

    n_sprites: int
    n_backgrounds: int
    channels: int
    height: int
    width: int
    transformations: tuple[str, ...]
    background_transformations: tuple[str, ...] = ()
    color: str = "solve"
    encoder: str = "small"
    padding: str = "border"
    is_searched: bool = False
    is_leveled: bool = False

    def __post_init__(self) -> None:
        """Drop identities and the slope; refuse names that do not exist."""
        for field in ("transformations", "background_transformations"):
            names = getattr(self, field)
            refuse_unknown(field, names)
            kept = tuple(name for name in names if name != "identity")
            _refuse_repeated(field, kept)
            if SLOPE in kept:
                object.__setattr__(self, "is_leveled", True)
            kept = tuple(name for name in kept if name != SLOPE)
            object.__setattr__(self, field, kept)
        if self.is_leveled and self.is_layered:
            raise ValueError(
                f"transformations contains {SLOPE!r}, which is taken off images of "
                f"opaque sprites only, but n_backgrounds={self.n_backgrounds}; leave "
                "it out, or use n_backgrounds=0."
            )

    @property
    def is_layered(self) -> bool:
        """Whether sprites carry alpha and lie over backgrounds."""
        return self.n_backgrounds > 0

    @property
    def sprite_channels(self) -> int:
        """Channels of a sprite: the image's, and alpha where there is a background."""
        return self.channels + (1 if self.is_layered else 0)

    @property
    def names(self) -> tuple[str, ...]:
        """All that may happen to a sprite, as users call it."""
        return (*self.transformations, *([SLOPE] if self.is_leveled else []))

    @property
    def solved(self) -> tuple[str, ...]:
        """Names of what is solved by least squares, for whoever has it."""
        if self.color != "solve":
            return ()
        return COLORS if self.is_layered else (*COLORS, "thickness")

    @property
    def is_kmeans(self) -> bool:
        """Whether nothing is transformed and nothing lies behind: plain k-means."""
        return not self.transformations and not self.is_layered

    @property
    def coarse_size(self) -> tuple[int, int]:
        """Height and width at which the small encoder looks at images.

        Their own below twice :data:`COARSE_SIDE`, which other encoders always see.
        """
        side = min(self.height, self.width)
        times = max(side // COARSE_SIDE, 1) if self.encoder == "small" else 1
        return round(self.height / times), round(self.width / times)

    def to_dict(self) -> dict[str, Any]:
        """As a dictionary that survives a round trip through JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ModelSpec":
        """The inverse of :meth:`to_dict`; lists become tuples again."""
        frozen: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
        }
        return cls(**frozen)


def opaque(spec: ModelSpec) -> ModelSpec:
    """The same sprites without what lies behind them."""
    return replace(spec, n_backgrounds=0, background_transformations=())


def _refuse_repeated(field: str, names: tuple[str, ...]) -> None:
    """Every name has one set of parameters, and there is one set of colors."""
    twice = [name for name in names if names.count(name) > 1]
    colors = [name for name in names if name in COLORS]
    if twice or len(colors) > 1:
        both = twice[:1] * 2 or colors
        raise ValueError(
            f"{field}={names!r} contains {both[0]!r} and {both[1]!r}; give one of "
            "them, once."
        )


def refuse_unknown(owner: str, names: tuple[str, ...]) -> None:
    """Raise ValueError for the first of the names that does not exist."""
    further = () if owner.startswith("background") else (SLOPE,)
    valid = (*TRANSFORMATIONS, *further)
    unknown = [name for name in names if name not in valid]
    if unknown:
        raise ValueError(
            f"{owner}={names!r} contains {unknown[0]!r}; valid names are "
            f"{', '.join(valid)}."
        )


def parameter_count(name: str, channels: int) -> int:
    """Number of parameters of one transformation of an image with `channels`."""
    counts = {
        "identity": 0,
        "color": 2 * channels,
        "linear_color": channels,
        "light": 2,
        "translation": 2,
        "position": 3,
        "rotation": 1,
        "similarity": 4,
        "affine": 6,
        "projective": 8,
        "thin_plate_spline": 2 * SPLINE_GRID**2,
        "thickness": 1,
        "morphological": 1 + MORPHOLOGICAL_KERNEL**2,
    }
    return counts[name]


def auto_transformations(
    height: int, width: int, channels: int, n_backgrounds: int, is_solved: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The default sequences (sprites, backgrounds) for images of this kind.

    `is_solved`: what can be solved is, and no stage of training is named for it.
    """
    if min(height, width) < SMALLEST_SIDE:
        return (), ()
    # on very small gray images a color absorbs what tells sprites apart
    has_color = channels > 1 or n_backgrounds or min(height, width) >= COLOR_SIDE
    color = ("color",) if has_color else ()
    warps = ("affine", "thin_plate_spline")
    if n_backgrounds:
        return (*color, *warps), (*color, *warps)
    grown = ("thickness",) if is_solved else ()
    return (*color, *warps, *grown), ()
