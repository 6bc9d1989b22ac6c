"""How the layers of scenes are regressed: frozen settings."""

from dataclasses import asdict, dataclass, field
from typing import Any

from sklearn_sprites._engine.ranges import (
    COUNT,
    COUNT_OR_ZERO,
    NOT_NEGATIVE,
    POSITIVE,
    Either,
    Kind,
    Names,
    Numbers,
    OrNone,
    Several,
    refuse,
)
from sklearn_sprites._engine.settings import ClonePerturb


@dataclass(frozen=True)
class Regression:
    """A network regresses the layers of an image, and all is trained by gradient.

    The way of DTI-Sprites (Monnier et al., 2021): an encoder looks at the image, one
    head per layer tells where it is, and sprites, masks and network take gradient steps
    on the squared error of the composite. Which sprite a layer shows is selected by
    the error, layer after layer. The defaults are made for minutes on a CPU; for the
    papers' values see :meth:`LayeredSpriteDecomposition.from_paper`.

    Parameters
    ----------
    encoder : {"small", "resnet20", "resnet32", "resnet18"}, default="small"
        Network that looks at an image.
    pool : int, default=1
        The features of a ResNet are averaged over `pool` x `pool` parts of the image.
    color : {"solve", "predict"}, default="solve"
        Whether the color of a layer and of the background is solved by least squares,
        a gain per channel, or predicted, a gain and a bias per channel. Where the
        estimator has ``color="flat"``, sprites are masks, and each layer has one color
        either way.
    background : float, "mean" or None, default=None
        Where the background is a picture, what it is at first: one color, the mean of
        100 images, or, ``None``, the median of up to 400. Then it is learned.
    per_sprite : bool, default=False
        Whether each sprite adds a pose of its own to that of the layer. Angles,
        stretch, shear and tilts are then the sprites' alone.
    joins : int or None, default=None
        Number of epochs after which sprites do so, layers are stretched, sheared,
        tilted and bent by splines, and backgrounds are moved, as far as they may be.
        ``None``: half of `max_rounds`, as sprites should be sharp first.
    first_scale : float, default=1.0
        Scale of all layers at first, where they may be scaled.
    freeze : int, default=1
        Number of epochs at the start in which sprites do not change, all layers are
        shown and penalties are off.
    mask_noise : float, default=0.4
        Amplitude of noise on masks while training; keeps them from being half
        transparent.
    selection : {"greedy", "exhaustive"}, default="greedy"
        How sprites are selected: layer after layer, or, with ``color="predict"``, among
        all combinations, whose number is `n_sprites` (one more where layers may be
        empty) to the power of `n_layers`; more than 20,000 are refused.
    sweeps : int, default=2
        How often greedy selection goes over the layers.
    empty : bool, default=True
        Whether layers may be empty.
    reassignment : ClonePerturb or None, default=ClonePerturb()
        What happens to sprites that are hardly used, in one random layer at a time.
        Where layers may be empty, uses are relative to those of the most used sprite.
    batch_size : int, default=32
        Images per step.
    learning_rate : float, default=1e-3
        Step size of the optimizer, Adam.
    drops : tuple of int, default=()
        Numbers of epochs after which the learning rate of the network, not of sprites
        and background, is multiplied by `factor`.
    factor : float, default=0.1
        See `drops`.
    stops : bool, default=True
        Whether training ends when the loss has settled within `tol`, before
        `max_rounds` epochs.

    Raises
    ------
    ValueError
        If a value is out of range: which one, and what is expected.

    Examples
    --------
    >>> from sklearn_sprites import Regression
    >>> Regression(drops=(100, 200)).factor
    0.1
    """

    encoder: str = "small"
    pool: int = 1
    color: str = "solve"
    background: str | float | None = None
    per_sprite: bool = False
    joins: int | None = None
    first_scale: float = 1.0
    freeze: int = 1
    mask_noise: float = 0.4
    selection: str = "greedy"
    sweeps: int = 2
    empty: bool = True
    reassignment: ClonePerturb | None = field(default_factory=ClonePerturb)
    batch_size: int = 32
    learning_rate: float = 1e-3
    drops: tuple[int, ...] = ()
    factor: float = 0.1
    stops: bool = True

    def __post_init__(self) -> None:
        """Refuse names that do not exist, and values out of range."""
        refuse(
            self,
            {
                "encoder": Names(("small", "resnet20", "resnet32", "resnet18")),
                "pool": COUNT,
                "color": Names(("solve", "predict")),
                "background": OrNone(Either(Numbers(), Names(("mean",)))),
                "per_sprite": Kind(bool),
                "joins": OrNone(COUNT_OR_ZERO),
                "first_scale": POSITIVE,
                "freeze": COUNT_OR_ZERO,
                "mask_noise": NOT_NEGATIVE,
                "selection": Names(("greedy", "exhaustive")),
                "sweeps": COUNT,
                "empty": Kind(bool),
                "reassignment": OrNone(Kind(ClonePerturb)),
                "batch_size": COUNT,
                "learning_rate": POSITIVE,
                "drops": Several(COUNT_OR_ZERO),
                "factor": POSITIVE,
                "stops": Kind(bool),
            },
        )
        if self.selection == "exhaustive" and self.color == "solve":
            raise ValueError(
                "selection='exhaustive' tries all combinations in predicted colors; "
                "use color='predict', or selection='greedy'."
            )

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Regression":
        """The inverse of :meth:`to_dict`."""
        rule = values["reassignment"]
        rule = None if rule is None else ClonePerturb(**rule)
        return cls(**{**values, "drops": tuple(values["drops"]), "reassignment": rule})

    def entropy_weight(self, epoch: int) -> float:
        """Weight of the entropy of what pixels show: the papers have none."""
        return 0.0

    def rate(self, epoch: int) -> float:
        """Factor of the network's learning rate after a number of full epochs."""
        return self.factor ** sum(drop <= epoch for drop in self.drops)
