"""How scenes are searched and their sprites learned: frozen settings."""

from dataclasses import asdict, dataclass, field
from typing import Any

from sklearn_sprites._engine.attention_settings import Attention
from sklearn_sprites._engine.ranges import (
    COUNT,
    COUNT_OR_ZERO,
    NOT_NEGATIVE,
    POSITIVE,
    SHARE,
    Kind,
    Numbers,
    OrNone,
    Several,
    refuse,
)
from sklearn_sprites._engine.regression_settings import Regression
from sklearn_sprites._engine.scene_spec import SceneSpec

Gradient = Regression | Attention


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

    The defaults are those for plain grounds. Over pictures, where sizes differ more,
    ``localizer="search"`` has others: ``Search(peaks=3, hypotheses=1, scales=(0.24,
    0.29, 0.35, 0.42, 0.5, 0.6, 0.72, 0.86, 1.03, 1.24, 1.49), refine_steps=3,
    restarts=0)``.

    Parameters
    ----------
    sweeps : int, default=2
        How often every layer is searched. From the second time on, at one place, and
        one candidate per sprite is refined.
    peaks : int, default=2
        Places per image and layer at which the bank of poses is tried.
    hypotheses : int, default=2
        Candidates per sprite that are refined.
    rotations : int, default=12
        Angles in the bank, where layers may be turned.
    scales : tuple of float, default=(0.46, 0.56, 0.68, 0.82, 1.0)
        Scales in the bank, where layers may be scaled, relative to the sprite. Sizes
        are then refined, to 0.82 times the smallest and 1.2 times the largest.
    refine_steps : int, default=5
        Gauss-Newton steps on the pose of a candidate.
    visible : float, default=0.4
        Share of its area that a candidate must show.
    restarts : int, default=3
        Further searches of images that stay poor: the layers that are explained worst
        anew on all pixels, then all layers, largely hidden ones among them, then the
        worst again, then all from nothing with other preferences. Where sprites are
        only shifted on black, five times as many, each beginning with another sprite,
        most of them only for images that are twice as poor; of the other parameters
        only `sweeps` and `poor` count there. Over pictures there is one at most.
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
    >>> Search(sweeps=3).peaks
    2
    """

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

    def __post_init__(self) -> None:
        """Refuse values out of range, by name."""
        refuse(
            self,
            {
                "sweeps": COUNT,
                "peaks": COUNT,
                "hypotheses": COUNT,
                "rotations": COUNT,
                "scales": Several(POSITIVE, fewest=1),
                "refine_steps": COUNT_OR_ZERO,
                "visible": SHARE,
                "restarts": COUNT_OR_ZERO,
                "replacements": COUNT_OR_ZERO,
                "poor": NOT_NEGATIVE,
                "parts": SHARE,
            },
        )


@dataclass(frozen=True)
class Distilled:
    """How a network learns to guess what search finds, for quick predictions.

    Sprites are learned by search. Then a small convolutional network learns the layers
    that search found in the images, and those of further scenes, drawn from the same
    sprites, places and colors. To predict, it looks at an image once: the peaks of a
    heat map are the layers, features at a peak tell sprite and pose. Colors and order
    are solved, poses are polished, and layers that do not pay are dropped, as by
    search. In the few images that stay far from explained, two layers are searched,
    unless `search` has no restarts.

    Parameters
    ----------
    search : Search or None, default=None
        The search that teaches; ``None``: the one that ``localizer="search"`` would be.
    steps : int, default=1500
        Steps of the optimizer, Adam.
    batch_size : int, default=64
        Images per step.
    drawn : float, default=0.5
        Share of a batch that is drawn instead of taken from the images.
    learning_rate : float, default=3e-3
        Largest step size; it grows for some steps and shrinks in a cosine.
    angles : int, default=12
        Angles between which the network chooses before it tells the rest, where layers
        may be turned.
    polish : int, default=2
        Gauss-Newton steps on the poses that the network guesses; none where layers are
        only moved on black, by whole pixels.
    end_to_end : int, default=0
        Further steps of the optimizer in which the network learns from the images, too:
        layers are drawn as guessed, in solved colors, and the squared error is
        differentiated by where and how likely they are.

    Raises
    ------
    ValueError
        If a value is out of range: which one, and what is expected.

    Examples
    --------
    >>> from sklearn_sprites import Distilled
    >>> Distilled(steps=3000).batch_size
    64
    """

    search: Search | None = None
    steps: int = 1500
    batch_size: int = 64
    drawn: float = 0.5
    learning_rate: float = 3e-3
    angles: int = 12
    polish: int = 2
    end_to_end: int = 0

    def __post_init__(self) -> None:
        """Refuse values out of range, by name."""
        refuse(
            self,
            {
                "search": OrNone(Kind(Search)),
                "steps": COUNT,
                "batch_size": Numbers(2, whole=True),
                "drawn": SHARE,
                "learning_rate": POSITIVE,
                "angles": COUNT,
                "polish": COUNT_OR_ZERO,
                "end_to_end": COUNT_OR_ZERO,
            },
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Distilled":
        """The inverse of :meth:`to_dict`."""
        search = values["search"]
        return cls(**{**values, "search": search and Search(**search)})

    @property
    def n_drawn(self) -> int:
        """Scenes of a batch that are drawn."""
        return round(self.drawn * self.batch_size)


WIDE = (0.24, 0.29, 0.35, 0.42, 0.5, 0.6, 0.72, 0.86, 1.03, 1.24, 1.49)


def default_search(spec: SceneSpec) -> Search:
    """How layers are found if nothing else is asked for.

    Over pictures of a place, what is near is large and what is far is small.
    """
    if not spec.has_picture:
        return Search()
    return Search(
        peaks=3,
        hypotheses=1,
        scales=WIDE,
        refine_steps=3,
        restarts=0,
        replacements=0,
    )


@dataclass(frozen=True)
class SceneSettings:
    """Everything that learning sprites from scenes needs besides images and seed.

    ``regression``: layers are regressed, not searched, or attend; a round is then an
    epoch. ``distilled``: in the end a network learns to guess what search finds.
    ``penalty`` is what a layer must save, in squared error summed over the image, to
    be shown; "auto" grows with the image, see :func:`resolve_penalty`.
    ``images_per_round`` is by default :data:`SHIFTED` where sprites are only shifted,
    :data:`POSED` in other poses, which take longer to find, and :data:`SHADED` over
    pictures. ``sprite_update`` is
    one of :data:`SPRITE_UPDATES`.
    """

    search: Search = field(default_factory=Search)
    regression: Gradient | None = None
    distilled: Distilled | None = None
    penalty: float | str = "auto"
    max_rounds: int = 40
    images_per_round: int | None = None
    tol: float = 1e-3
    sprite_update: str = "closed_form"


SHIFTED, POSED, SHADED = 400, 160, 96
SPRITE_UPDATES = ("closed_form", "gradient")
PENALTY_PER_VALUE = 2.5e-5  # squared error per pixel and channel of the image
DEARER = 3.0  # times this over pictures, where shading is never drawn exactly


def resolve_penalty(penalty: float | str, spec: SceneSpec) -> float:
    """What a layer must save, in squared error summed over an image."""
    if penalty == "auto":
        price = PENALTY_PER_VALUE * (DEARER if spec.has_picture else 1)
        return price * spec.height * spec.width * spec.channels
    return float(penalty)
