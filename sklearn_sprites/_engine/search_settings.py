"""How layers are searched: what a user asks for, and what the search reads."""

from dataclasses import asdict, dataclass, replace

from sklearn_sprites._engine.ranges import (
    COUNT,
    COUNT_OR_ZERO,
    NOT_NEGATIVE,
    POSITIVE,
    SHARE,
    OrNone,
    Several,
    refuse,
)


@dataclass(frozen=True)
class SearchPlan:
    """A :class:`Search` with nothing left open; as over plain grounds, if not told."""

    sweeps: int = 2
    peaks: int = 2
    hypotheses: int = 2
    rotations: int = 12
    scales: tuple[float, ...] = (0.46, 0.56, 0.68, 0.82, 1.0)
    refine_steps: int = 5
    visible: float = 0.4
    restarts: int = 3
    replacements: int = 0
    poor: float = 0.025
    parts: float = 0.9

    @property
    def brief(self) -> "SearchPlan":
        """The same without further attempts at images that stay poor."""
        return replace(self, restarts=0, replacements=0)


WIDE = (0.24, 0.29, 0.35, 0.42, 0.5, 0.6, 0.72, 0.86, 1.03, 1.24, 1.49)
OVER_PLAIN = SearchPlan()
IN_FULL_FRAMES = SearchPlan(scales=(*OVER_PLAIN.scales, 1.2))
OVER_PICTURES = SearchPlan(
    peaks=3, hypotheses=1, scales=WIDE, refine_steps=3, restarts=0
)


@dataclass(frozen=True)
class Search:
    """How the layers of an image are found, given the sprites.

    Layer by layer, the sprite and pose that save most of the squared error are sought
    while the other layers stay: candidates from correlation, a bank of poses around
    the best places, Gauss-Newton steps on the best of these. Colors and order are
    solved. Images whose objective stays high are searched again in other ways; what
    is found replaces what was there only if the objective falls. Where sprites have
    their own colors, every place is tried instead, and only `sweeps` and `poor` count:
    an image is swept again if its error is above a fifth of what `poor` says.

    ``None`` goes by what is behind the layers: over pictures of a place, where what is
    near is large and what is far is small, sizes differ more than over plain grounds.

    Parameters
    ----------
    sweeps : int, default=2
        How often every layer is searched. From the second time on, at one place, and
        one candidate per sprite is refined.
    peaks : int or None, default=None
        Places per image and layer at which the bank of poses is tried; ``None``: 2, and
        3 over pictures.
    hypotheses : int or None, default=None
        Candidates per sprite that are refined; ``None``: 2, and 1 over pictures.
    rotations : int, default=12
        Angles in the bank, where layers may be turned.
    scales : tuple of float or None, default=None
        Scales in the bank, where layers may be scaled, relative to the sprite. Sizes
        are then refined, to 0.82 times the smallest and 1.2 times the largest.
        ``None``: (0.46, 0.56, 0.68, 0.82, 1.0), with 1.2 where a sprite is as high or
        as wide as the images, and over pictures (0.24, 0.29, 0.35, 0.42, 0.5, 0.6,
        0.72, 0.86, 1.03, 1.24, 1.49).
    refine_steps : int or None, default=None
        Gauss-Newton steps on the pose of a candidate; ``None``: 5, and 3 over pictures.
    visible : float, default=0.4
        Share of its area that a candidate must show.
    restarts : int or None, default=None
        Further searches of images that stay poor: the layers that are explained worst
        anew on all pixels; then, where an image is three times as poor, small layers
        from nothing and the two layers nearest to what is explained worst; then all
        layers, largely hidden ones among them; then all from nothing with other
        preferences. Where sprites are only shifted on black, five times as many, each
        beginning with another sprite, most of them only for images that are twice as
        poor; of the other parameters only `sweeps` and `poor` count there. Over
        pictures there is one at most. ``None``: 3, and 0 over pictures.
    replacements : int, default=0
        Attempts to replace two layers at once in images that stay poor; none over
        pictures.
    poor : float, default=0.025
        Squared error, relative to what the layers save, above which an image is
        searched again.
    parts : float, default=0.9
        Over pictures: share of the pixels that a layer shows from which on it is taken
        for a part, such as a highlight, of a larger layer that they lie on, and
        dropped. 1 drops none.

    Raises
    ------
    ValueError
        If a value is out of range: which one, and what is expected.

    Examples
    --------
    >>> from sklearn_sprites import Search
    >>> Search(sweeps=3).sweeps
    3
    """

    sweeps: int = 2
    peaks: int | None = None
    hypotheses: int | None = None
    rotations: int = 12
    scales: tuple[float, ...] | None = None
    refine_steps: int | None = None
    visible: float = 0.4
    restarts: int | None = None
    replacements: int = 0
    poor: float = 0.025
    parts: float = 0.9

    def __post_init__(self) -> None:
        """Refuse values out of range, by name."""
        refuse(
            self,
            {
                "sweeps": COUNT,
                "peaks": OrNone(COUNT),
                "hypotheses": OrNone(COUNT),
                "rotations": COUNT,
                "scales": OrNone(Several(POSITIVE, fewest=1)),
                "refine_steps": OrNone(COUNT_OR_ZERO),
                "visible": SHARE,
                "restarts": OrNone(COUNT_OR_ZERO),
                "replacements": COUNT_OR_ZERO,
                "poor": NOT_NEGATIVE,
                "parts": SHARE,
            },
        )

    def plan(self, has_picture: bool, fills_image: bool = False) -> SearchPlan:
        """What is open goes by whether a picture is behind the layers.

        And by whether sprites fill the images: what is even larger needs scales.
        """
        given = {
            name: value for name, value in asdict(self).items() if value is not None
        }
        plain = IN_FULL_FRAMES if fills_image else OVER_PLAIN
        return replace(OVER_PICTURES if has_picture else plain, **given)
