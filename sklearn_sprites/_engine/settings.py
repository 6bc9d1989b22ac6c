"""How a model is learned: frozen settings, checked where the user gives them."""

from dataclasses import dataclass, field

from numpy.typing import NDArray

from sklearn_sprites._engine.ranges import (
    COUNT,
    COUNT_OR_ZERO,
    NOT_NEGATIVE,
    POSITIVE,
    SHARE,
    Numbers,
    OrNone,
    Several,
    refuse,
)

DEFAULT_MAX_EPOCHS = 60


@dataclass(frozen=True)
class Swap:
    """Try more sprites than wanted, and keep those that would be missed most.

    Training carries spare sprites. Every `every` epochs three quarters as many as there
    are spares, those that would be missed least (their images go to their second
    choice), are moved to the clusters that gain most by a split (2-means on a cluster's
    images, brought into the sprite's frame), where they have to prove themselves. In
    the last third of the time that the rule has, sprites are taken away one by one, the
    least missed first, down to the number wanted. So every move is judged after real
    training.

    How much a sprite is missed is what its images would lose in log-likelihood, on
    average, times their number to the power `size_power`. Of opaque sprites only the
    half of the images counts that loses least: of two sprites for one kind, each has
    many images that hardly need it. Over a background all images count.

    Parameters
    ----------
    every : int or None, default=None
        Epochs between two looks. ``None``: 2 for opaque sprites, 3 over a background.
    spares : int or None, default=None
        Number of spare sprites. ``None``: half the number wanted, rounded up.
    until : float, default=0.7
        Share of the epochs after which the number wanted is left.
    n_images : int, default=2000
        Images on which splits are tested, and that decide which sprites go for good;
        of a set, at most three quarters or 1,000, whichever is more. Over a background,
        where an image takes longer, at most 1,000 decide what goes.
    size_power : float or None, default=None
        How much a sprite is missed, and what a split gains, are means over the images
        of a cluster times their number to this power, between 0 and 1. With 1 a split
        of a frequent kind may beat a sprite for a rare one; with 0 every cluster counts
        alike, however small. Where some kinds are ten times as frequent as others, 0.25
        keeps more of these; where all are about as frequent, it would rather give
        sprites to odd forms, or bad light, than keep two kinds apart. ``None``: 0.5 for
        opaque sprites, 1 over a background, where pictures behind make more odd forms.

    Raises
    ------
    ValueError
        If a value is out of range: which one, and what is expected.

    Examples
    --------
    >>> from sklearn_sprites import Swap
    >>> Swap(every=4)
    Swap(every=4, spares=None, until=0.7, n_images=2000, size_power=None)
    """

    every: int | None = None
    spares: int | None = None
    until: float = 0.7
    n_images: int = 2000
    size_power: float | None = None

    def __post_init__(self) -> None:
        """Refuse values out of range, by name."""
        refuse(
            self,
            {
                "every": OrNone(COUNT),
                "spares": OrNone(COUNT_OR_ZERO),
                "until": SHARE,
                "n_images": COUNT,
                "size_power": OrNone(SHARE),
            },
        )


@dataclass(frozen=True)
class ClonePerturb:
    """Replace sprites that are hardly used by noisy copies of the most used one.

    The rule of DTI-Clustering (Monnier et al., 2020) and DTI-Sprites: every `check`
    steps, a sprite that drew less than `threshold` / n_clusters of the images is
    replaced by the most used sprite; both get Gaussian noise of standard deviation
    `noise`.

    Parameters
    ----------
    check : int, default=50
        Steps between two looks.
    threshold : float, default=0.2
        A sprite is replaced when its share is below `threshold` / n_clusters.
    noise : float, default=1e-4
        Standard deviation of the perturbation, in the scale of images in [0, 1].

    Raises
    ------
    ValueError
        If a value is out of range: which one, and what is expected.

    Examples
    --------
    >>> from sklearn_sprites import ClonePerturb
    >>> ClonePerturb(check=25)
    ClonePerturb(check=25, threshold=0.2, noise=0.0001)
    """

    check: int = 50
    threshold: float = 0.2
    noise: float = 1e-4

    def __post_init__(self) -> None:
        """Refuse values out of range, by name."""
        refuse(
            self,
            {
                "check": COUNT,
                "threshold": NOT_NEGATIVE,
                "noise": NOT_NEGATIVE,
            },
        )


@dataclass(frozen=True)
class Milestones:
    """Train as the papers do: a fixed number of epochs, and a date for everything.

    Every transformation joins after a number of epochs, the learning rate falls after
    others, and training ends with `max_epochs`, converged or not. An epoch is one pass
    over the images in batches of `batch_size`, the last one smaller, and every image
    looks at every sprite in every step.

    Parameters
    ----------
    joins : tuple of int
        For each of `transformations` without ``"identity"``, in their order, the number
        of epochs after which it joins; 0 is from the start. For those of backgrounds
        likewise.
    drops : tuple of int, default=()
        Numbers of epochs after which the learning rate is multiplied by `factor`.
    factor : float, default=0.1
        See `drops`.

    Raises
    ------
    ValueError
        If a value is out of range: which one, and what is expected.

    Examples
    --------
    >>> from sklearn_sprites import Milestones
    >>> Milestones((5, 15, 20), drops=(35,))
    Milestones(joins=(5, 15, 20), drops=(35,), factor=0.1)
    """

    joins: tuple[int, ...]
    drops: tuple[int, ...] = ()
    factor: float = 0.1

    def __post_init__(self) -> None:
        """Refuse values out of range, by name."""
        refuse(
            self,
            {
                "joins": Several(COUNT_OR_ZERO),
                "drops": Several(COUNT_OR_ZERO),
                "factor": POSITIVE,
            },
        )


@dataclass(frozen=True)
class ConstantSprites:
    """First sprites of one color; over a background, under a Gaussian mask.

    Parameters
    ----------
    color : float, default=0.9
        The value of all pixels, in the scale of images in [0, 1].
    mask_width : float or None, default=None
        Standard deviation of the mask in pixels. ``None``: a quarter of its side.

    Raises
    ------
    ValueError
        If a value is out of range: which one, and what is expected.

    Examples
    --------
    >>> from sklearn_sprites import ConstantSprites
    >>> ConstantSprites(mask_width=5.0)
    ConstantSprites(color=0.9, mask_width=5.0)
    """

    color: float = 0.9
    mask_width: float | None = None

    def __post_init__(self) -> None:
        """Refuse values out of range, by name."""
        refuse(
            self,
            {
                "color": Numbers(),
                "mask_width": OrNone(POSITIVE),
            },
        )


@dataclass(frozen=True)
class GaussianWindow:
    """Pixels in the middle of an image count most.

    The weight of a pixel falls with its distance from the middle as a Gaussian does,
    from one. So DTI-Clustering weighs squared errors where neighbors show at the sides
    (supplementary material: house numbers of 32 x 32, 7 pixels).

    Parameters
    ----------
    width : float or None, default=None
        Standard deviation in pixels. ``None``: 7/32 of the image's height and width.

    Raises
    ------
    ValueError
        If a value is out of range: which one, and what is expected.

    Examples
    --------
    >>> from sklearn_sprites import GaussianWindow
    >>> GaussianWindow(7.0)
    GaussianWindow(width=7.0)
    """

    width: float | None = None

    def __post_init__(self) -> None:
        """Refuse values out of range, by name."""
        refuse(self, {"width": OrNone(POSITIVE)})


CURRICULA = ("one_by_one", "grouped", "identity_first", "all_at_once")
STARTS = ("align", "k-means++", "sample", "random", "kmeans", "constant")


@dataclass(frozen=True)
class TrainingSettings:
    """Everything that training needs besides images, model and seed.

    ``init`` is one of :data:`STARTS`, :class:`ConstantSprites`, or ``"array"`` (sprites
    are given); ``curriculum`` one of :data:`CURRICULA`, :class:`Milestones`, or the
    stages themselves, each a tuple of the transformations that are active in it.
    ``pixel_weights`` (H, W), one on average, are what squared errors there count.
    """

    init: str | ConstantSprites = "align"
    curriculum: str | tuple[tuple[str, ...], ...] | Milestones = "one_by_one"
    reassignment: Swap | ClonePerturb | None = Swap()
    mask_noise: float = 0.4
    mask_penalty: float = 0.0
    max_epochs: int = DEFAULT_MAX_EPOCHS
    tol: float = 1e-3
    batch_size: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 1e-6
    pixel_weights: NDArray | None = field(default=None, compare=False)
