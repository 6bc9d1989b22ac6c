"""Clustering of images into transformed sprites."""

from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import (
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
)
from sklearn.utils.validation import check_is_fitted

from sklearn_sprites._base import AbstractSpriteEstimator
from sklearn_sprites._callbacks import Progress, with_callbacks
from sklearn_sprites._description import (
    as_seen,
    as_taken,
    given_sprites,
    is_rule,
    never_joining,
    resolve_layers,
    stages_of,
    warm_model,
)
from sklearn_sprites._engine.records import Assignment, FittedModel
from sklearn_sprites._engine.settings import (
    CURRICULA,
    DEFAULT_MAX_EPOCHS,
    STARTS,
    ClonePerturb,
    ConstantSprites,
    GaussianWindow,
    Milestones,
    Swap,
    TrainingSettings,
)
from sklearn_sprites._engine.spec import ENCODERS, SMALLEST_SIDE, ModelSpec
from sklearn_sprites._papers import CLUSTERING, parameters_of
from sklearn_sprites._pixel_weights import weights_of
from sklearn_sprites._publishing import (
    channels_last,
    image_attributes,
    inertia,
    model_attributes,
)
from sklearn_sprites._restarts import (
    Job,
    build_predictor,
    compare_restarts,
    sort_by_size,
    train_restarts,
    with_clear_masks,
)
from sklearn_sprites._validation import (
    HasMethods,
    Images,
    Interval,
    InvalidParameterError,
    Shape,
    StrOptions,
    check_parameters,
    seed_sequence,
)
from sklearn_sprites._warning import warn
from sklearn_sprites.exceptions import ClusterCollapseWarning

REASSIGNMENTS = {"swap": Swap(), "clone": ClonePerturb()}
MASK_PENALTY = 0.03  # where it is "auto", and there is one cluster


class SpriteClustering(
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    ClusterMixin,
    AbstractSpriteEstimator,
):
    """Cluster images by sprites that are transformed to explain them.

    Every image is explained by one of `n_clusters` prototypes, called sprites, after a
    transformation of its own: moved, turned, stretched, recolored. Sprites,
    transformations and labels are learned together by minimizing the squared error,
    so that the clustering does not depend on how an object was placed. Without
    transformations this is k-means.

    Sprites cover the whole image, or, with `n_backgrounds`, have an opacity of their
    own and lie over a background that is learned too.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of sprites.
    n_backgrounds : int, default=0
        Number of backgrounds to choose from behind the sprites. 0: sprites are opaque,
        as they always are in images with a side below 4 pixels.
    transformations : "auto" or tuple of str, default="auto"
        How a sprite may be transformed, in the order of application; thickness, colors
        and the slope act last, wherever their names stand. The names are in the table
        below.
        ``"auto"`` goes by the size and the channels of the images, and is
        ``("color", "similarity")`` where at least 100 images show things in all turns;
        color is left out, or replaced by ``"light"``, where at least 50 images of
        several channels are explained nearly as well so, by opaque sprites or by such
        in all turns. ``"slope"`` is added for opaque sprites in any colors, where at
        least 50 images are explained much better so. ``()`` is none. Images with a side
        below 4 pixels are never transformed.
    background_transformations : "auto" or tuple of str, default="auto"
        The same for backgrounds. ``"auto"`` is ``("color",)`` behind things in all
        turns, and else what it is for sprites. It has no effect without
        `n_backgrounds`.
    padding : {"border", "zeros"}, default="border"
        What lies outside of an opaque sprite that is moved: its border, repeated, or
        zeros of the scaled images, such as black. Over backgrounds there is nothing.
    image_shape : tuple of int, default=None
        (H, W) or (H, W, C) of the images when X is flat. ``None``: a width that is a
        square stands for gray square images, three times a square for RGB, and
        anything else for strips of one row.
    init : {"align", "k-means++", "sample", "random", "kmeans", "constant"}, \
            ConstantSprites or array-like, default="align"
        Where training starts. ``"align"``: sprites found by aligning images with each
        other, and a network that has learned these alignments; ``"k-means++"``:
        images far from each other; ``"sample"``: random images; ``"random"``: noise;
        ``"kmeans"``: centers of k-means; ``"constant"``: one color, see also
        :class:`ConstantSprites`. An array of shape
        (n_clusters, H, W), (n_clusters, H, W, C or C + 1) or (n_clusters, n_features)
        holds the sprites themselves, in the units of X, the last channel of C + 1
        being the opacity, from 0 to 1. With ``"align"`` and arrays, rotations and
        similarities are looked for in all turns.
    n_init : int, default=1
        Number of trainings from different seeds; the one with the lowest loss is kept.
    color : {"solve", "predict"}, default="solve"
        Whether gains and biases of colors, and the thickness of opaque sprites, are
        computed by least squares or predicted by the network. Computed, those that
        ``"color"`` gives a sprite of several channels over backgrounds are drawn to
        their means, and biases to zero: hues and contrast vary, but tell sprites apart.
    encoder : {"small", "resnet20", "resnet32", "resnet18"} or torch.nn.Module, \
            default="small"
        Network that looks at an image. A module maps (n, C, H, W) to (n, n_outputs);
        it is copied. With ``"small"`` there is none where things lie in any turn and
        the only warp is a rotation or a similarity, of sprites, not of backgrounds:
        poses are searched in every image.
    curriculum : {"one_by_one", "grouped", "identity_first", "all_at_once"}, \
            Milestones or tuple of tuples of str, default="one_by_one"
        In which stages transformations are switched on. The named ones, but for
        ``"all_at_once"``, begin without any, or with colors alone, and skip that where
        sprites come aligned, as from ``init="align"``; some are then the same;
        ``"slope"`` is always on. A tuple
        lists for every stage the transformations, of sprites and backgrounds, that are
        active in it; stages are trained as they are listed, the first ones giving way
        where `max_epochs` is small, and the last one must name all transformations, as
        all are used to predict. :class:`Milestones` says when each joins.
    reassignment : {"swap", "clone"}, Swap, ClonePerturb or None, default="swap"
        What happens to sprites that explain little: see :class:`Swap` and
        :class:`ClonePerturb`.
    mask_noise : float, default=0.4
        Amplitude of noise on the opacity of sprites while training; keeps masks from
        being half transparent. Only with `n_backgrounds`.
    mask_penalty : "auto" or float, default="auto"
        What it costs to cover an image with an opaque sprite, as a share of the
        variance within images: what sprite and background explain equally well is left
        to the background. More makes masks smaller; 0 is the papers' way. ``"auto"`` is
        0.03 for one cluster, where masks are all there is to find, and 0 for several,
        whose labels may change with it, for better or worse. Only with `n_backgrounds`.
    pixel_weights : "center", GaussianWindow or array-like of shape (H, W), default=None
        What the squared error of a pixel counts, in training, assignment and distances,
        as a share of the mean weight; ``None``: all the same. ``"center"`` is
        ``GaussianWindow()``: pixels in the middle count most, for images in which parts
        of neighbors show at the sides; zeros hide what shall not count. Images are not
        centered then, and poses are told by the network, never searched. Source: [1]_,
        supplementary material.
    max_epochs : int, default=60
        Largest number of passes over the images. A pass takes a part of them, drawn
        anew, if there are more than 12,800, or 500 for each sprite in training, spare
        ones included, if that is more; but not with :class:`Milestones`.
    tol : float, default=1e-3
        A stage of training ends when an epoch lowers the loss by less than this share
        of the variance of the images. Not with :class:`Milestones`, nor for opaque
        sprites without transformations: k-means goes on until its centers settle or,
        unless sprites were given, a pass lowers the inertia by less than 3e-6 of it.
    batch_size : int, default=128
        Images per step of training; fewer, down to 32, from sets of less than twenty
        batches, or than a hundred with `n_backgrounds`, but not with
        :class:`Milestones`.
    learning_rate : float, default=1e-3
        Step size of the optimizer, Adam.
    warm_start : bool, default=False
        Whether `fit` goes on from the last fit, with its scaling of values and the last
        stage of `curriculum`, instead of starting again. Network and image size must be
        the same; `init` and `n_init` are then ignored.
    device : str, default="auto"
        ``"cpu"``, ``"cuda"``, ``"cuda:<index>"``, or ``"auto"`` for CUDA where there
        is some. Not part of the state: a model can be fitted on one device and predict
        on another.
    random_state : int, RandomState instance or None, default=None
        Seed of everything random. With an int, fits are equal to the last bit on the
        same machine and CPU. The generators of NumPy, torch and Python are never used.
    verbose : int or bool, default=0
        Whether to write a line per epoch to stdout. For progress bars, scores and
        early stopping use `set_callbacks` (scikit-learn >= 1.9).

    Attributes
    ----------
    sprites_ : ndarray of shape (n_clusters, H, W, C) or (n_clusters, H, W, C + 1), \
            float64
        Sprites, in the units of X; with backgrounds the last channel is the opacity,
        from 0 to 1. Sorted by the number of images that they explain, largest first.
        Where colors are solved, any contrast of a sprite explains the same, so values
        may lie far outside those of X.
    cluster_centers_ : ndarray of shape (n_clusters, H * W * C), float64
        Sprites, flattened; with backgrounds, as they look on the first one.
    backgrounds_ : ndarray of shape (n_backgrounds, H, W, C), float64
        Backgrounds, in the units of X.
    labels_ : ndarray of shape (n_samples,), int64
        Index of the sprite of each image, equal to ``predict(X)``.
    counts_ : ndarray of shape (n_clusters,), int64
        Number of images of each sprite.
    inertia_ : float
        Sum of squared distances of the images to their transformed sprites, in squared
        units of X.
    transformation_params_ : dict of str to ndarray of shape (n_samples, P)
        Parameters of the transformations of each image's sprite, by name, as in the
        table below, in the order of application. With backgrounds also
        ``"background"``, the index of the background, (n_samples, 1), and
        ``"background_<name>"``, its parameters.
    n_iter_ : int
        Number of epochs.
    loss_curve_ : ndarray of float64
        Mean squared error per value of the scaled images in every epoch; where colors
        are solved, images of low contrast count more. A single value for k-means. Of
        images with at least 64 pixels in height and width, all but the last epochs
        (a tenth, in which the error is larger) see reduced copies.
    restarts_ : dict of str to ndarray of shape (n_init,)
        A column each for ``"loss"`` (infinite where training diverged), ``"n_iter"``,
        ``"diverged"``, ``"agreement"`` (adjusted Rand index between the labels of this
        restart and those of the best one) and ``"n_used"`` (sprites with images).
    resolved_params_ : dict of str to tuple of str
        `transformations` and `background_transformations` as they were taken, where
        they are ``"auto"``, too; without ``"identity"``.
    image_shape_ : tuple of int
        (H, W, C) of the images.
    n_features_in_ : int
        H * W * C.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the pixels. Only if X is a data frame with such names.

    See Also
    --------
    sklearn.cluster.KMeans : The same without transformations.
    sklearn_sprites.SpriteDisplay : A picture of sprites and what they explain.

    Notes
    -----
    **Units.** 8-bit and 16-bit unsigned integers are divided by the largest value of
    their type, and floats in [0, 1] are taken as they are, if they span at least
    half of that; anything else is brought to [0, 1] by the smallest and the largest
    value of the images in `fit`. Sprites, distances and reconstructions are in
    the units of X again; `transformation_params_` act on scaled images.

    **Coordinates** are (x, y) from -1 to 1 between the outer edges of an image: pixel i
    of n is at (2 i + 1) / n - 1. A warp moves a pixel of the image to where it looks in
    the sprite, so a positive shift draws the sprite further to the left, or up. Between
    pixels values are interpolated linearly. Outside a sprite lies its border, or zeros,
    as `padding` says, or nothing where there is a background. Warps act in the order of
    the names, thickness, colors and the slope after them; all parameters are zero where
    nothing changes.

    ===================== ==== ====================================================
    name                  P    parameters
    ===================== ==== ====================================================
    "identity"            0    none
    "color"               2 C  per channel, gain - 1 and bias
    "linear_color"        C    gain - 1 per channel
    "light"               2    gain - 1 and bias, the same for all channels
    "translation"         2    shift (tx, ty)
    "position"            3    s, tx, ty: scale exp(s) and shift
    "rotation"            1    angle in radians, rigid in pixels
    "similarity"          4    a, b, tx, ty: [[1 + a, -b], [b, 1 + a]] in pixels
    "affine"              6    2 x 3 matrix minus identity, by rows
    "projective"          8    3 x 3 matrix minus identity, by rows, without the last
    "thin_plate_spline"   32   shifts (x, y) of 4 x 4 points on [-1, 1]^2, by rows
    "thickness"           1    pixels by which what is bright grows, after all warps
    "morphological"       50   bright (> 0) or dark pixels preferred, 7 x 7 window
    "slope"               2 C  per channel, what light adds per unit of x and of y
    ===================== ==== ====================================================

    **Centering.** With ``init="align"``, opaque sprites and objects that lie anywhere
    on a plain ground, images are first shifted by whole pixels, so that what stands out
    from the border is in the middle; it is done where it lowers the error clearly. Then
    `transformation_params_` has ``"centering"``, (n, 2): by how much (x, y) the drawn
    sprite is moved to the right and down in the end, its border repeated.

    **Slopes.** With ``"slope"``, for opaque sprites, the plane that is nearest to an
    image, less its mean, is taken off before anything looks at the image, and added to
    what is drawn, after all else. Sprites are those of images without slopes.

    The way from the image to the parameters is a network, so labels and parameters of
    new images are found without optimization.

    References
    ----------
    .. [1] T. Monnier, T. Groueix, M. Aubry, "Deep Transformation-Invariant
       Clustering", NeurIPS 2020.
    .. [2] T. Monnier, E. Vincent, J. Ponce, M. Aubry, "Unsupervised Layered Image
       Decomposition into Object Prototypes", ICCV 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_sprites import SpriteClustering
    >>> X = load_digits(n_class=3).images[:60]
    >>> model = SpriteClustering(
    ...     3,
    ...     n_backgrounds=1,
    ...     transformations=("affine",),
    ...     background_transformations=(),
    ...     max_epochs=2,  # too few: the example is short
    ...     batch_size=16,
    ...     random_state=0,
    ... ).fit(X)
    >>> model.sprites_.shape, model.backgrounds_.shape
    ((3, 8, 8, 2), (1, 8, 8, 1))

    The first image, drawn by hand from its sprite, its parameters and its background:

    >>> from scipy.ndimage import map_coordinates
    >>> affine = model.transformation_params_["affine"][0].reshape(2, 3)
    >>> y, x = (2 * np.indices((8, 8)) + 1) / 8 - 1  # centers of the pixels
    >>> looks = np.tensordot(affine + np.eye(2, 3), [x, y, np.ones_like(x)], axes=1)
    >>> column, row = ((looks + 1) * 8 - 1) / 2
    >>> front, alpha = (
    ...     map_coordinates(part, [row, column], order=1, mode="grid-constant")
    ...     for part in np.moveaxis(model.sprites_[model.labels_[0]], -1, 0)
    ... )
    >>> back = model.backgrounds_[model.transformation_params_["background"][0, 0]]
    >>> drawn = alpha * front + (1 - alpha) * back[:, :, 0]
    >>> np.allclose(drawn, model.reconstruct(X[:1])[0, :, :, 0], atol=1e-3)
    True
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "n_clusters": [Interval(Integral, 1, None, closed="left")],
        "n_backgrounds": [Interval(Integral, 0, None, closed="left")],
        "transformations": [StrOptions({"auto"}), tuple, list],
        "background_transformations": [StrOptions({"auto"}), tuple, list],
        "padding": [StrOptions({"border", "zeros"})],
        "image_shape": [tuple, None],
        "init": [StrOptions(set(STARTS)), ConstantSprites, "array-like"],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "color": [StrOptions({"solve", "predict"})],
        "encoder": [StrOptions(set(ENCODERS)), HasMethods(["forward", "state_dict"])],
        "curriculum": [StrOptions(set(CURRICULA)), Milestones, tuple, list],
        "reassignment": [StrOptions(set(REASSIGNMENTS)), Swap, ClonePerturb, None],
        "mask_noise": [Interval(Real, 0, None, closed="left")],
        "pixel_weights": [StrOptions({"center"}), GaussianWindow, "array-like", None],
        "mask_penalty": [
            StrOptions({"auto"}),
            Interval(Real, 0, None, closed="left"),
        ],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "warm_start": ["boolean"],
        "device": [str],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        n_backgrounds: int = 0,
        transformations: str | tuple[str, ...] = "auto",
        background_transformations: str | tuple[str, ...] = "auto",
        padding: str = "border",
        image_shape: tuple[int, ...] | None = None,
        init: str | NDArray = "align",
        n_init: int = 1,
        color: str = "solve",
        encoder: Any = "small",
        curriculum: str | tuple[tuple[str, ...], ...] = "one_by_one",
        reassignment: str | Swap | ClonePerturb | None = "swap",
        mask_noise: float = 0.4,
        mask_penalty: float | str = "auto",
        pixel_weights: Any = None,
        max_epochs: int = DEFAULT_MAX_EPOCHS,
        tol: float = 1e-3,
        batch_size: int = 128,
        learning_rate: float = 1e-3,
        warm_start: bool = False,
        device: str = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int | bool = 0,
    ) -> None:
        self.n_clusters = n_clusters
        self.n_backgrounds = n_backgrounds
        self.transformations = transformations
        self.background_transformations = background_transformations
        self.padding = padding
        self.image_shape = image_shape
        self.init = init
        self.n_init = n_init
        self.color = color
        self.encoder = encoder
        self.curriculum = curriculum
        self.reassignment = reassignment
        self.mask_noise = mask_noise
        self.mask_penalty = mask_penalty
        self.pixel_weights = pixel_weights
        self.max_epochs = max_epochs
        self.tol = tol
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.warm_start = warm_start
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @classmethod
    def from_paper(cls, name: str, **overrides: Any) -> Self:
        """Make an estimator with the parameters of a published experiment.

        The papers' own way in all that there is a parameter for: predicted colors,
        the schedule of their official configuration, noisy copies of the most used
        sprite in place of those hardly used. It takes hours where the defaults take a
        minute; it is there to compare with.

        Parameters
        ----------
        name : str
            Opaque sprites, [1]_: ``"mnist"``, ``"mnist_test"``, ``"mnist_1k"``,
            ``"mnist_color"``, ``"fashion_mnist"``, ``"affnist"``, ``"usps"``,
            ``"frgc"``, ``"svhn"``, ``"instagram"``, ``"megadepth"``. Sprites over a
            background, [2]_: ``"gtsrb8"``, ``"svhn_layered"``, ``"weizmann_horse"``,
            ``"instagram_layered"``.
        **overrides : Any
            Parameters to be set otherwise, or beside those of the experiment.

        Returns
        -------
        estimator : SpriteClustering
            Not fitted.

        Raises
        ------
        ValueError
            If there is no experiment of that name.
        TypeError
            If there is no parameter of the name of an override.

        Notes
        -----
        Not as in the papers' code: warps sample at the centers of pixels, so that zero
        parameters are the identity for all of them; a transformation's predictor has
        one hidden layer, of 128 units, which its sprites share; with a background the
        first one is the mean of up to 1000 images, not of 100, and the encoder takes
        one step per batch, not two.

        References
        ----------
        .. [1] T. Monnier, T. Groueix, M. Aubry, "Deep Transformation-Invariant
           Clustering", NeurIPS 2020, supplementary material and official configuration.
        .. [2] T. Monnier, E. Vincent, J. Ponce, M. Aubry, "Unsupervised Layered Image
           Decomposition into Object Prototypes", ICCV 2021, supplementary material C
           and official configuration.

        Examples
        --------
        >>> from sklearn_sprites import SpriteClustering
        >>> model = SpriteClustering.from_paper("mnist_test", random_state=0)
        >>> model.curriculum
        Milestones(joins=(50, 150, 200), drops=(280,), factor=0.1)
        >>> model.max_epochs, model.encoder
        (300, 'resnet20')
        """
        return cls(**parameters_of(CLUSTERING, name, cls, overrides))

    @with_callbacks
    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn sprites from images.

        Parameters
        ----------
        X : array-like of shape (n_samples, H, W), (n_samples, H, W, C) or \
                (n_samples, n_features)
            Images. Also accepted are lists of Pillow images of one size, tensors and
            data frames of pixels.
        y : Ignored
            Not used, present here for API consistency by convention.

        Returns
        -------
        self : object
            Fitted estimator. If an error or an interrupt ends a fit early, the
            estimator is as it was before.

        Raises
        ------
        ValueError
            If a parameter or X is not as described: which one, and what to do.
        sklearn_sprites.exceptions.TrainingDivergedError
            If no restart ended with a finite loss.
        RuntimeError
            If `device` is not available.
        """
        check_parameters(self)
        job = self._describe(X)
        progress = Progress(
            self,
            (X, y),
            len(job.seeds),
            lambda model: model_attributes(job, with_clear_masks(model)),
        )
        restarts = train_restarts(job, progress)
        best = int(np.argmin([restart.loss for restart in restarts]))
        fitted, predictor, assigned = sort_by_size(restarts[best].model, job)
        table = compare_restarts(restarts, job, best, assigned.labels)
        attributes = {
            **model_attributes(job, fitted),
            **image_attributes(job, fitted, assigned),
            "restarts_": table,
        }
        self._warn_about(job, fitted, attributes, progress)
        self._publish({**attributes, "_predictor": (job.device, predictor)})
        progress.end(attributes)
        return self

    def predict(self, X: Any) -> NDArray:
        """Find the sprite that each image is explained by best.

        Parameters
        ----------
        X : array-like of shape (n_samples, H, W), (n_samples, H, W, C) or \
                (n_samples, n_features)
            Images of the size seen in fit, and in the units of those: 8-bit integers
            up to 255 do not stand for floats up to 1.

        Returns
        -------
        labels : ndarray of shape (n_samples,), int64
            Index of the sprite of each image. The prediction for an image does not
            depend on the other images in X; on a CPU that holds to the last bit.
        """
        return self._assign(X)[0].labels

    def transform(self, X: Any) -> NDArray:
        """Compute the distance of each image to each transformed sprite.

        Parameters
        ----------
        X : array-like of shape (n_samples, H, W), (n_samples, H, W, C) or \
                (n_samples, n_features)
            Images of the size seen in fit.

        Returns
        -------
        distances : ndarray of shape (n_samples, n_clusters)
            Euclidean distance between an image and its best reconstruction with each
            sprite, in the units of X; float32 if X is, else float64.
        """
        assigned, images = self._assign(X)
        distances = np.sqrt(assigned.errors) * self._scale().scale
        if images.flat.dtype == np.float32:
            largest = np.finfo(np.float32).max
            return np.minimum(distances, largest).astype(np.float32)
        return distances

    def score(self, X: Any, y: Any = None) -> float:
        """Opposite of the sum of squared distances of images to their sprites.

        Parameters
        ----------
        X : array-like of shape (n_samples, H, W), (n_samples, H, W, C) or \
                (n_samples, n_features)
            Images of the size seen in fit.
        y : Ignored
            Not used, present here for API consistency by convention.

        Returns
        -------
        score : float
            Minus the inertia of X, in squared units of X.
        """
        return -inertia(self._assign(X)[0], self._scale())

    def reconstruct(self, X: Any) -> NDArray:
        """Draw each image again with its best transformed sprite and background.

        Parameters
        ----------
        X : array-like of shape (n_samples, H, W), (n_samples, H, W, C) or \
                (n_samples, n_features)
            Images of the size seen in fit.

        Returns
        -------
        drawn : ndarray of shape (n_samples, H, W, C), float64
            Reconstructions, in the units of X.
        """
        batch, _ = self._batch(X)
        return self._scale().to_user(channels_last(self._model().reconstruct(batch)))

    def align(self, X: Any) -> NDArray:
        """Bring each image into the frame of its sprite.

        Slopes are taken off, warps and colors are undone, and thickness to first order;
        ``"morphological"`` has no inverse and is left as it is. Images are read by
        cubic interpolation, so values may lie a little outside of their range.

        Parameters
        ----------
        X : array-like of shape (n_samples, H, W), (n_samples, H, W, C) or \
                (n_samples, n_features)
            Images of the size seen in fit.

        Returns
        -------
        aligned : ndarray of shape (n_samples, H, W, C), float64
            Images as they would look if they were not transformed, in the units of X.
        """
        batch, _ = self._batch(X)
        return self._scale().to_user(channels_last(self._model().align(batch)))

    def segment(self, X: Any) -> NDArray:
        """Separate the foreground of each image from the background.

        Parameters
        ----------
        X : array-like of shape (n_samples, H, W), (n_samples, H, W, C) or \
                (n_samples, n_features)
            Images of the size seen in fit.

        Returns
        -------
        alpha : ndarray of shape (n_samples, H, W), float32
            Opacity of the sprite where it is drawn, from 0, background, to 1,
            foreground.

        Raises
        ------
        ValueError
            If the model has no background.
        """
        batch, _ = self._batch(X)
        if self._spec["n_backgrounds"] == 0:
            height, width, _ = self.image_shape_
            remedy = f"fit {type(self).__name__} with n_backgrounds=1 or more"
            if min(height, width) < SMALLEST_SIDE:
                remedy = (
                    f"images of {height} x {width} pixels are always clustered without "
                    f"one, so {remedy} on images of {SMALLEST_SIDE} x {SMALLEST_SIDE} "
                    "pixels or more"
                )
            raise ValueError(
                f"segment needs a background to separate sprites from; {remedy}."
            )
        return self._model().segment(batch)

    @property
    def _n_features_out(self) -> int:
        """Number of columns of `transform`, for `get_feature_names_out`."""
        return len(self.sprites_)

    def __sklearn_is_fitted__(self) -> bool:
        """Whether there are sprites."""
        return "sprites_" in vars(self)

    def __sklearn_tags__(self) -> Any:
        """Three-dimensional input is fine too; the dtype of floats is kept."""
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _assign(self, X: Any) -> tuple[Assignment, Images]:
        check_is_fitted(self)
        batch, images = self._batch(X)
        return self._model().assign(batch), images

    def _build_predictor(self, device: str) -> Any:
        encoder = None if isinstance(self.encoder, str) else self.encoder
        return build_predictor(self._fitted_model(), device, encoder)

    def _fitted_model(self) -> FittedModel:
        """The record of the last fit, from the published state."""
        spec = ModelSpec.from_dict(self._spec)
        return FittedModel(spec, self._arrays, self._final_loss())

    def _describe(self, X: Any) -> Job:
        """Turn parameters and images into what training needs, or refuse them."""
        from sklearn_sprites._engine.runtime import resolve_device

        owner, device = type(self).__name__, resolve_device(self.device)
        _check_encoder(self.encoder, owner)
        images, features = self._validated_for_fit(X)
        n_samples = len(images.flat)
        if n_samples < self.n_clusters:
            raise ValueError(
                f"n_samples={n_samples} should be >= n_clusters={self.n_clusters}."
            )
        continues = self.warm_start and self.__sklearn_is_fitted__()
        scaling, batch = self._scaled_for_fit(images, continues)
        spec = self._model_spec(images.shape, batch, continues)
        n_runs = 1 if continues else self.n_init
        return Job(
            images=images,
            features=features,
            scaling=scaling,
            batch=batch,
            spec=spec,
            settings=self._settings(spec),
            seeds=seed_sequence(self.random_state).spawn(n_runs),
            device=device,
            encoder=None if isinstance(self.encoder, str) else self.encoder,
            init_sprites=given_sprites(self.init, spec, scaling, owner),
            warm=warm_model(self._fitted_model(), spec) if continues else None,
        )

    def _model_spec(self, shape: Shape, batch: NDArray, continues: bool) -> ModelSpec:
        """The network for these images, or that of the fit that goes on."""
        spec = self._spec_of(shape)
        is_open = isinstance(self.transformations, str)
        if spec.is_layered and not isinstance(self.background_transformations, str):
            return spec
        if not (is_open or spec.is_layered):
            return spec
        if continues:
            return as_taken(spec, ModelSpec.from_dict(self._spec), is_open)
        return as_seen(spec, self._settings(spec), batch, is_open)

    def _spec_of(self, shape: Shape) -> ModelSpec:
        """The network for images of this shape."""
        height, width, channels = shape
        n_backgrounds, sprites, backgrounds = resolve_layers(
            self.n_backgrounds,
            self.transformations,
            self.background_transformations,
            shape,
            is_solved=self.color == "solve" and isinstance(self.curriculum, str),
        )
        return ModelSpec(
            n_sprites=int(self.n_clusters),
            n_backgrounds=n_backgrounds,
            channels=channels,
            height=height,
            width=width,
            transformations=sprites,
            background_transformations=backgrounds,
            color=self.color,
            padding=self.padding,
            encoder=self.encoder if isinstance(self.encoder, str) else "custom",
        )

    def _settings(self, spec: ModelSpec) -> TrainingSettings:
        """Training parameters as the engine wants them."""
        reassignment, penalty = self.reassignment, self.mask_penalty
        size, owner = (spec.height, spec.width), type(self).__name__
        if isinstance(reassignment, str):
            reassignment = REASSIGNMENTS[reassignment]
        if isinstance(penalty, str):
            penalty = MASK_PENALTY if spec.n_sprites == 1 else 0.0
        return TrainingSettings(
            init=self.init if is_rule(self.init) else "array",
            curriculum=stages_of(self.curriculum, spec),
            reassignment=reassignment,
            mask_noise=float(self.mask_noise),
            mask_penalty=float(penalty),
            max_epochs=int(self.max_epochs),
            tol=float(self.tol),
            batch_size=int(self.batch_size),
            learning_rate=float(self.learning_rate),
            pixel_weights=weights_of(self.pixel_weights, size, owner),
        )

    def _warn_about(
        self, job: Job, fitted: FittedModel, found: dict, progress: Progress
    ) -> None:
        """Say what did not go well although there is a result."""
        n_diverged = int(found["restarts_"]["diverged"].sum())
        if n_diverged:
            warn(f"{n_diverged} of {len(job.seeds)} restarts diverged.")
        late = never_joining(self.curriculum, fitted.spec, self.max_epochs)
        if late:
            warn(
                f"max_epochs={self.max_epochs} ends before {', '.join(late)} joined; "
                f"increase it, or choose earlier dates than {self.curriculum!r}."
            )
        if not fitted.converged and not progress.was_stopped:
            name, what = type(self).__name__, self._why_unsettled(fitted)
            warn(f"{name} stopped after {fitted.n_epochs} epochs: {what}")
        n_used = int((found["counts_"] > 0).sum())
        if n_used == fitted.spec.n_sprites:
            return
        if len({image.tobytes() for image in job.batch}) <= n_used:
            warn(
                f"Number of distinct clusters ({n_used}) found smaller than n_clusters "
                f"({self.n_clusters}). Possibly due to duplicate images in X."
            )
        else:
            warn(
                f"{fitted.spec.n_sprites - n_used} of {self.n_clusters} sprites draw "
                "no image; another random_state, or fewer clusters, may help.",
                ClusterCollapseWarning,
            )

    def _why_unsettled(self, fitted: FittedModel) -> str:
        """Why training stopped before it had converged, and what to do."""
        if fitted.spec.is_kmeans:
            return "centers have not settled; increase max_epochs."
        if fitted.exploded:
            return (
                f"the loss exploded with learning_rate={self.learning_rate}, and again "
                "with half of it; lower learning_rate."
            )
        return (
            f"the last stage has had its share of max_epochs={self.max_epochs} "
            f"before its loss settled within tol={self.tol}; increase one of them."
        )


def _check_encoder(encoder: Any, owner: str) -> None:
    """Refuse a class of modules, which has the methods of a module, too."""
    if isinstance(encoder, type):
        name = encoder.__name__
        raise InvalidParameterError(
            f"The 'encoder' parameter of {owner} must be a module, not its class. Got "
            f"the class {name}; give an instance, {name}(...)."
        )
