"""How layers attend to what they show: frozen settings."""

from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from sklearn_sprites._engine.ranges import (
    COUNT,
    COUNT_OR_ZERO,
    NOT_NEGATIVE,
    POSITIVE,
    Kind,
    Names,
    Numbers,
    OrNone,
    Several,
    refuse,
)
from sklearn_sprites._engine.settings import ClonePerturb

FEATURES = ("small", "unet")


@dataclass(frozen=True)
class Attention:
    """A network attends to the layers of an image, and all is trained by gradient.

    The way of AST-Seg [1]_, with sprites in place of its glimpses: convolutions give a
    map of features and one map of attention per layer. A layer is at the mean of all
    positions under its attention (soft-argmax), which moves with the image, and knows
    the mean of the features there; a head tells how far from there, how large, turned
    and bent it is. Which sprite it shows is selected by the error, colors are solved.
    The network and the sprites take gradient steps on the squared error of the
    composite.

    The defaults are made for minutes on a CPU. The paper's are ``features="unet"`` in
    its ablation (a pretrained SegFormer else), ``n_features=34``, ``refines=True``,
    ``learning_rate=4e-5``, growing during 5,000 of 125,000 steps.

    Parameters
    ----------
    features : {"small", "unet"}, default="small"
        Network that makes the maps: a few convolutions, or the paper's U-Net.
    n_features : int, default=64
        Number of features.
    refines : bool, default=False
        Whether a transformer over the layers of an image refines their features: six
        blocks of width 256 with eight heads.
    freeze : int, default=1
        Number of epochs at the start in which sprites do not change, all layers are
        shown and penalties are off.
    mask_noise : float, default=0.4
        Amplitude of noise on masks while training; keeps them from being half
        transparent.
    sweeps : int, default=2
        How often the selection of sprites goes over the layers.
    empty : bool, default=True
        Whether layers may be empty.
    entropy : float, default=0.01
        Weight of the squared entropy of what a pixel shows, relative to the error;
        keeps masks from being half transparent, too. It grows in the square of the
        epoch, up to twice `warmup`.
    reassignment : ClonePerturb or None, default=ClonePerturb()
        What happens to sprites that are hardly used, as with :class:`Regression`.
    batch_size : int, default=64
        Images per step.
    learning_rate : float, default=1e-3
        Step size of the optimizer, Adam.
    warmup : int, default=1
        Number of epochs in which the step size of the network grows, in the square of
        the epoch.
    drops : tuple of int, default=()
        Numbers of epochs after which the step size of the network is divided by ten.
    joins : int or None, default=None
        Number of epochs after which layers are stretched, sheared, tilted and bent by
        splines, and backgrounds are moved, as far as they may be. ``None``: half of
        `max_rounds`, as sprites should be sharp first.
    stops : bool, default=True
        Whether training ends when the loss has settled within `tol`, before
        `max_rounds` epochs.

    Raises
    ------
    ValueError
        If a value is out of range: which one, and what is expected.

    References
    ----------
    .. [1] B. Sauvalle, A. de La Fortelle, "Unsupervised Multi-object Segmentation Using
       Attention and Soft-argmax", WACV 2023.

    Examples
    --------
    >>> from sklearn_sprites import Attention
    >>> Attention(refines=True).features
    'small'
    """

    features: str = "small"
    n_features: int = 64
    refines: bool = False
    freeze: int = 1
    mask_noise: float = 0.4
    sweeps: int = 2
    empty: bool = True
    entropy: float = 0.01
    reassignment: ClonePerturb | None = field(default_factory=ClonePerturb)
    batch_size: int = 64
    learning_rate: float = 1e-3
    warmup: int = 1
    drops: tuple[int, ...] = ()
    joins: int | None = None
    stops: bool = True

    # What Regression lets users choose, too.
    color: ClassVar[str] = "solve"
    background: ClassVar[str | float | None] = None
    per_sprite: ClassVar[bool] = False
    first_scale: ClassVar[float] = 1.0
    selection: ClassVar[str] = "greedy"

    def __post_init__(self) -> None:
        """Refuse values out of range, by name."""
        refuse(
            self,
            {
                "features": Names(FEATURES),
                "n_features": COUNT,
                "refines": Kind(bool),
                "freeze": COUNT_OR_ZERO,
                "mask_noise": NOT_NEGATIVE,
                "sweeps": COUNT,
                "empty": Kind(bool),
                "entropy": NOT_NEGATIVE,
                "reassignment": OrNone(Kind(ClonePerturb)),
                "batch_size": Numbers(2, whole=True),
                "learning_rate": POSITIVE,
                "warmup": COUNT_OR_ZERO,
                "drops": Several(COUNT_OR_ZERO),
                "joins": OrNone(COUNT_OR_ZERO),
                "stops": Kind(bool),
            },
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Attention":
        """The inverse of :meth:`to_dict`."""
        rule = values["reassignment"]
        rule = None if rule is None else ClonePerturb(**rule)
        return cls(**{**values, "drops": tuple(values["drops"]), "reassignment": rule})

    def rate(self, epoch: int) -> float:
        """Factor of the network's learning rate after a number of full epochs."""
        return grown(epoch, self.warmup) * 0.1 ** sum(d <= epoch for d in self.drops)

    def entropy_weight(self, epoch: int) -> float:
        """Weight of the entropy after a number of full epochs."""
        return self.entropy * grown(epoch, 2 * self.warmup)


def grown(epoch: int, warmup: int) -> float:
    """From nearly zero to one after `warmup` epochs, in the square of the epoch."""
    return min(1.0, (epoch + 1) / (warmup + 1)) ** 2
