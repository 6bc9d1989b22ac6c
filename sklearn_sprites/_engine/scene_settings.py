"""How the sprites of scenes are learned: frozen settings."""

from dataclasses import asdict, dataclass, field
from typing import Any

from sklearn_sprites._engine.attention_settings import Attention
from sklearn_sprites._engine.ranges import (
    COUNT,
    COUNT_OR_ZERO,
    POSITIVE,
    SHARE,
    Kind,
    Numbers,
    refuse,
)
from sklearn_sprites._engine.regression_settings import Regression
from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search_settings import Search, SearchPlan

Gradient = Regression | Attention


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
    search : Search, default=Search()
        The search that teaches.
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

    search: Search = field(default_factory=Search)
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
                "search": Kind(Search),
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
        return cls(**{**values, "search": Search(**values["search"])})

    @property
    def n_drawn(self) -> int:
        """Scenes of a batch that are drawn."""
        return round(self.drawn * self.batch_size)


@dataclass(frozen=True)
class SceneSettings:
    """Everything that learning sprites from scenes needs besides images and seed.

    ``regression``: layers are regressed, not searched, or attend; a round is then an
    epoch. ``distilled``: in the end a network learns to guess what search finds.
    ``penalty`` is what a layer must save, in squared error summed over the image, to
    be shown; "auto" grows with the image, see :func:`resolve_penalty`.
    ``images_per_round`` is by default :data:`SHIFTED` where sprites are only shifted,
    :data:`POSED` in other poses, which take longer to find, and :data:`SHADED` over
    pictures. ``sprite_update`` is one of :data:`SPRITE_UPDATES`.
    """

    search: SearchPlan = field(default_factory=SearchPlan)
    regression: Gradient | None = None
    distilled: Distilled | None = None
    penalty: float | str = "auto"
    max_rounds: int = 40
    images_per_round: int | None = None
    tol: float = 1e-3
    sprite_update: str = "closed_form"


SHIFTED, POSED, SHADED = 400, 320, 96
SPRITE_UPDATES = ("closed_form", "gradient")
PENALTY_PER_VALUE = 2.5e-5  # squared error per pixel and channel of the image
DEARER = 3.0  # times this over pictures, where shading is never drawn exactly


def resolve_penalty(penalty: float | str, spec: SceneSpec) -> float:
    """What a layer must save, in squared error summed over an image."""
    if penalty == "auto":
        price = PENALTY_PER_VALUE * (DEARER if spec.sought().has_picture else 1)
        return price * spec.height * spec.width * spec.channels
    return float(penalty)
