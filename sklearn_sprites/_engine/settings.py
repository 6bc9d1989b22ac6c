"""How a model is learned: frozen settings, checked where the user gives them."""

from dataclasses import dataclass

DEFAULT_MAX_EPOCHS = 60


@dataclass(frozen=True)
class Swap:
    """Move the sprite that is missed least to where a split gains most.

    Every `every` epochs the cost of removing each sprite (its images go to their
    second choice) is compared with the gain of splitting each cluster (2-means on
    its images, brought into the sprite's frame). While the gain exceeds `worth`
    times the cost, a sprite is moved, at most `most` at a time.

    Parameters
    ----------
    every : int or None, default=None
        Epochs between two looks. ``None``: 2 for opaque sprites, 3 over a background.
    most : int or None, default=None
        Moves per look. ``None``: 3 for opaque sprites, 1 over a background.
    worth : float or None, default=None
        Gain needed per unit of cost. ``None``: 1 for opaque sprites, 1.3 over a
        background.
    n_images : int, default=4000
        Images looked at.

    Examples
    --------
    >>> from sklearn_sprites import Swap
    >>> Swap(every=4)
    Swap(every=4, most=None, worth=None, n_images=4000)
    """

    every: int | None = None
    most: int | None = None
    worth: float | None = None
    n_images: int = 4000


@dataclass(frozen=True)
class ClonePerturb:
    """Replace sprites that are hardly used by noisy copies of the most used one.

    The rule of DTI-Clustering (Monnier et al., 2020) and DTI-Sprites: every `check`
    steps, a sprite that drew less than `threshold` / n_clusters of the images is
    replaced by the most used sprite plus Gaussian noise of standard deviation
    `noise`.

    Parameters
    ----------
    check : int, default=50
        Steps between two looks.
    threshold : float, default=0.2
        A sprite is replaced when its share is below `threshold` / n_clusters.
    noise : float, default=1e-4
        Standard deviation of the perturbation, in the scale of images in [0, 1].

    Examples
    --------
    >>> from sklearn_sprites import ClonePerturb
    >>> ClonePerturb(check=25)
    ClonePerturb(check=25, threshold=0.2, noise=0.0001)
    """

    check: int = 50
    threshold: float = 0.2
    noise: float = 1e-4


CURRICULA = ("one_by_one", "grouped", "identity_first", "all_at_once")
STARTS = ("align", "k-means++", "sample", "random", "kmeans", "constant")


@dataclass(frozen=True)
class TrainingSettings:
    """Everything that training needs besides images, model and seed.

    ``init`` is one of :data:`STARTS` or ``"array"`` (sprites are given);
    ``curriculum`` one of :data:`CURRICULA` or the stages themselves, each a tuple of
    the transformations that are active in it.
    """

    init: str = "align"
    curriculum: str | tuple[tuple[str, ...], ...] = "one_by_one"
    reassignment: Swap | ClonePerturb | None = Swap()
    mask_noise: float = 0.4
    max_epochs: int = DEFAULT_MAX_EPOCHS
    tol: float = 1e-3
    batch_size: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 1e-6
