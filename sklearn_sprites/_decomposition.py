"""Decomposition of scenes into layers that show learned sprites."""

from collections.abc import Iterator
from functools import partial
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import TransformerMixin
from sklearn.utils.validation import check_is_fitted

from sklearn_sprites._base import AbstractSpriteEstimator
from sklearn_sprites._callbacks import Progress, with_callbacks
from sklearn_sprites._engine.attention_settings import Attention
from sklearn_sprites._engine.regression_settings import Regression
from sklearn_sprites._engine.scene_records import FittedScenes, Rendered
from sklearn_sprites._engine.scene_settings import (
    SPRITE_UPDATES,
    Distilled,
    SceneSettings,
)
from sklearn_sprites._engine.scene_spec import (
    BACKGROUND_COLORS,
    COLORS,
    ORDERS,
    SceneSpec,
)
from sklearn_sprites._engine.search_settings import Search, SearchPlan
from sklearn_sprites._engine.settings import ConstantSprites
from sklearn_sprites._papers import SCENES, parameters_of
from sklearn_sprites._scene_checks import check_decomposition
from sklearn_sprites._scene_choices import (
    scene_background,
    seen_choices,
    taken_choices,
)
from sklearn_sprites._scene_description import (
    LOCALIZERS,
    check_color,
    check_ground,
    check_localizer,
    check_own_colors,
    check_poses,
    check_selection,
    describe_scenes,
    given_scene_sprites,
    plain_ground,
    warm_scenes,
)
from sklearn_sprites._scene_publishing import (
    DRAWINGS,
    Units,
    by_use,
    feature_names,
    features,
    image_attributes,
    inertia,
    model_attributes,
    palette_of,
)
from sklearn_sprites._scene_restarts import (
    SceneJob,
    Solution,
    build_predictor,
    solve_restarts,
)
from sklearn_sprites._scenes import Decomposition
from sklearn_sprites._validation import (
    Images,
    Interval,
    StrOptions,
    check_feature_names,
    check_parameters,
    seed_sequence,
)
from sklearn_sprites._warning import warn
from sklearn_sprites.exceptions import ClusterCollapseWarning

IMAGES_AT_ONCE = 128  # drawn at a time
KINDS = (Search, Distilled, Attention, Regression)


class LayeredSpriteDecomposition(TransformerMixin, AbstractSpriteEstimator):
    """Find the recurring objects of scenes, and where they are in each image.

    Every image is explained by layers over a background; a layer shows one of
    `n_sprites` pictures with a mask, called sprites, which all images share: moved,
    scaled, turned and recolored, in front of other layers or behind them. No labels
    are needed. Layers are searched, colors, order and sprites are solved by least
    squares; all of it lowers the squared error of the images plus a penalty for each
    layer shown.

    Parameters
    ----------
    n_sprites : int, default=8
        Number of sprites.
    n_layers : int, default=3
        Largest number of objects in an image.
    n_backgrounds : int, default=0
        What lies behind the layers. 0: black; 1: one ground in all images; more: each
        image shows one of several pictures, not with ``background="flat"``,
        :class:`Regression` or :class:`Attention`.
    background : {"auto", "flat", "image", "gain"}, default="auto"
        What a background is. ``"flat"``: a plain ground, whose color is solved in every
        image; ``"image"``: a picture, the same wherever it shows; ``"gain"``: a picture
        times a smooth gain per image and channel, as under a lamp that moves; with
        :class:`Regression` or :class:`Attention` both are a picture times one gain per
        channel. Shadows count as background where it is a picture in colors, unless
        sprites have their own. ``"auto"``: flat if that explains most of the ground as
        well as a picture does, and images share no pattern, such as lines, that goes to
        their border; else gain. It has no effect without `n_backgrounds`.
    sprite_size : "auto", int or tuple of int, default="auto"
        Height and width of a sprite in pixels, at most those of the images. It should
        hold the largest object. ``"auto"``: that of `init` if it is an array; where
        layers are only moved, over a background or in colors of their own, a little
        more than the largest object that stands alone and recurs; else, or if images do
        not tell, half the shorter side of the images over a background, or more over a
        plain ground where all objects are larger, less where they are scaled and most
        are much smaller; and on black 0.7 of it, or as where they are only moved if
        that is little more than half as much.
    transformations : "auto" or tuple of str, default="auto"
        How a layer may place its sprite: ``"translation"``, always, and any of
        ``"scale"`` and ``"rotation"``; ``"position"`` stands for the first two,
        ``"similarity"`` for all three, ``"affine"`` for these with a stretch and a
        shear, ``"projective"`` for all of it with a tilt. ``"thin_plate_spline"`` also
        bends the sprite itself, with :class:`Regression` or :class:`Attention` only.
        ``"auto"``: translation on black and where sprites have their own colors,
        similarity over a plain ground, also in slightly uneven light, where objects
        over pictures are of one color each and not all upright, and on black if long
        objects that are alike lie in all directions; else translation and scale over
        pictures, and rotation as well if such objects lie in several directions, and on
        black if objects come in several sizes or are masks (see `color`). Images with a
        side below 4 pixels have only translations and no background.
    background_transformations : tuple of str, default=()
        What else is done to a background that is a picture in each image, in the same
        names, with :class:`Regression` or :class:`Attention` only. Beyond its border,
        its outermost pixels go on.
    color : {"auto", "gain", "gain_bias", "flat", "own"}, default="auto"
        What is solved for each layer: ``"gain"``, a factor per channel on the
        sprite's shades of gray; ``"gain_bias"``, a factor and what is added to it, so
        that a sprite of two tones shows in any two colors, by search only; ``"flat"``,
        one color, the sprite being a mask; ``"own"``, nothing: sprites show in all the
        colors that they have, and are shifted by whole pixels, by search only.
        ``"auto"``: own colors if objects that stand alone have parts, and `n_sprites`
        pictures, as they are, explain most of them, and would not do so much better if
        they were turned; else flat colors over a plain ground, and over pictures and in
        slightly uneven light if objects that stand alone are of one color each, and on
        black if such objects recur and have soft edges; else gains.
    order : {"solve", "depth", "predict"}, default="solve"
        Who hides whom: solved from where layers overlap, by the layers' own order, or,
        with :class:`Regression` or :class:`Attention` only, predicted for each pair.
    localizer : {"search", "distilled", "attention", "regression"} or an object, \
            default="search"
        How layers are found in an image: by search, see :class:`Search`; guessed by a
        network that has learned from search, see :class:`Distilled`; or by a network
        that is trained by gradient together with the sprites: layers attend, see
        :class:`Attention`, or are regressed, see :class:`Regression`.
    sprite_update : {"closed_form", "gradient"}, default="closed_form"
        How sprites follow from layers that were searched: solved by least squares, some
        being tried elsewhere, or by gradient steps on the error of the images. Where a
        network is trained together with the sprites, it is always the latter.
    penalty : "auto" or float, default="auto"
        What a layer must save to be shown: squared error, summed over the image, of
        values scaled to [0, 1]. ``"auto"`` grows with the size of the images, is three
        times as large over pictures, and larger still after learning, where search
        finds sprites in the texture of most grounds: what it finds there does not pay.
    init : "windows", ConstantSprites or array-like, default="windows"
        First sprites: clusters of the windows in which blobs find objects, all of one
        color, see :class:`ConstantSprites`, or an array of shape (n_sprites, h, w, C or
        C + 1), in the units of X, the last channel of C + 1 being the opacity, from 0
        to 1. Where sprites are masks, with ``color="flat"``, and on black with gains
        where layers are not only moved, nothing else counts, and an array without
        opacities is as opaque as it is bright.
    n_init : int, default=1
        Number of fits from different seeds; the one with the lowest objective is kept.
    max_rounds : int, default=40
        Largest number of rounds of searching layers and solving sprites; with
        :class:`Regression` or :class:`Attention`, of epochs, passes over all images.
    images_per_round : "auto" or int, default="auto"
        Number of random images in a round. ``"auto"``: 400 if layers are only moved, in
        tints on black, 320 otherwise, 96 over pictures. Epochs of :class:`Regression`
        and :class:`Attention` pass over all images.
    tol : float, default=1e-3
        Learning ends when rounds lower the loss by less than this share of it.
    warm_start : bool, default=False
        Whether `fit` goes on from the last fit, with its scaling of values, instead of
        starting again. Sprites, layers and image size must be the same; `init` and
        `n_init` are then ignored. Where `localizer` asks for another network, or for
        search, sprites and backgrounds go on, and the network starts anew.
    image_shape : tuple of int, default=None
        (H, W) or (H, W, C) of the images when X is flat. ``None``: a width that is a
        square stands for gray square images, three times a square for RGB, and
        anything else for strips of one row.
    device : str, default="auto"
        ``"cpu"``, ``"cuda"``, ``"cuda:<index>"``, or ``"auto"`` for CUDA where there
        is some. Not part of the state: a model can be fitted on one device and predict
        on another.
    random_state : int, RandomState instance or None, default=None
        Seed of everything random. With an int, fits are equal to the last bit on the
        same machine and CPU. The generators of NumPy, torch and Python are never used.
    verbose : int or bool, default=0
        Whether to write a line per round to stdout. For progress bars, scores and
        early stopping use `set_callbacks` (scikit-learn >= 1.9).

    Attributes
    ----------
    sprites_ : ndarray of shape (n_sprites, h, w, C + 1), float64
        Sprites, colors in the units of X, then the opacity from 0 to 1, as far as the
        pixels of a sprite can show it: masks are drawn with edges as steep as those of
        the images, at places known more exactly than to a pixel. Sorted by the number
        of layers that show them, largest first.
    backgrounds_ : ndarray of shape (n_backgrounds, H, W, C), float64
        Backgrounds, in the units of X; white if plain, as each image has its own color
        for it, or gray where a network predicts colors.
    counts_ : ndarray of shape (n_sprites,), int64
        Number of layers that show each sprite in the training images.
    layer_counts_ : ndarray of shape (n_layers,), int64
        Number of training images that show more than 0, 1, 2, ... objects.
    decomposition_ : Decomposition
        The layers of the training images, equal to ``decompose(X)``.
    inertia_ : float
        Sum of squared differences between the training images and their
        reconstructions, in squared units of X.
    n_iter_ : int
        Number of rounds.
    loss_curve_ : ndarray of float64
        Mean squared error per value of the scaled images in every round.
    restarts_ : dict of str to ndarray of shape (n_init,)
        A column each for ``"loss"``, of the last round or, if its sprites were undone,
        of the round before which they were better; ``"objective"``, squared error and
        penalties of all images, per value; ``"n_iter"``; ``"diverged"``;
        ``"n_used"``, sprites that are shown; ``"n_objects"``, the mean per image.
    resolved_params_ : dict of str to object
        `transformations`, `color`, `background`, `sprite_size` and `penalty` as they
        were taken, where they are ``"auto"``, too.
    image_shape_ : tuple of int
        (H, W, C) of the images.
    n_features_in_ : int
        H * W * C.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the pixels. Only if X is a data frame with such names.

    See Also
    --------
    SpriteClustering : One object per image.
    DecompositionDisplay : A picture of images and their layers.

    Notes
    -----
    **Units.** 8-bit and 16-bit unsigned integers are divided by the largest value of
    their type, and floats in [0, 1] are taken as they are, if they span at least
    half of that; anything else is brought to [0, 1] by the smallest and the largest
    value of the images in `fit`. Black is the value that becomes 0.

    **Maps.** `predict` gives maps, not labels of images, so to scikit-learn this is a
    transformer and no clusterer. In `predict`, 0 is the background and l + 1 the l-th
    layer of the image, in the order of what layers save; in `predict_semantic`, k + 1
    stands for sprite k. A pixel is background where layers cover less than half of it.

    References
    ----------
    .. [1] T. Monnier, E. Vincent, J. Ponce, M. Aubry, "Unsupervised Layered Image
       Decomposition into Object Prototypes", ICCV 2021.

    Examples
    --------
    >>> from sklearn_sprites import LayeredSpriteDecomposition
    >>> from sklearn_sprites.datasets import make_tetrominoes
    >>> X = make_tetrominoes(40, n_objects=2, size=20, cell=3, random_state=0).images
    >>> model = LayeredSpriteDecomposition(
    ...     19,
    ...     n_layers=2,
    ...     max_rounds=2,  # too few: the example is short
    ...     random_state=0,
    ... ).fit(X)
    >>> model.predict(X).shape
    (40, 20, 20)
    >>> model.get_feature_names_out()[:4].tolist()
    ['layer0_sprite', 'layer0_visible', 'layer0_x', 'layer0_y']

    Without the first object of each image:

    >>> found = model.decompose(X)
    >>> model.render(found.drop(0)).shape
    (40, 20, 20, 3)
    """

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "n_sprites": [Interval(Integral, 1, None, closed="left")],
        "n_layers": [Interval(Integral, 1, None, closed="left")],
        "n_backgrounds": [Interval(Integral, 0, None, closed="left")],
        "background": [StrOptions({"auto", *BACKGROUND_COLORS})],
        "sprite_size": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
            tuple,
        ],
        "transformations": [StrOptions({"auto"}), tuple, list],
        "background_transformations": [tuple, list],
        "color": [StrOptions({"auto", *COLORS})],
        "order": [StrOptions(set(ORDERS))],
        "localizer": [StrOptions(set(LOCALIZERS)), *KINDS],
        "sprite_update": [StrOptions(set(SPRITE_UPDATES))],
        "penalty": [StrOptions({"auto"}), Interval(Real, 0, None, closed="left")],
        "init": [StrOptions({"windows"}), ConstantSprites, "array-like"],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "max_rounds": [Interval(Integral, 1, None, closed="left")],
        "images_per_round": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "tol": [Interval(Real, 0, None, closed="left")],
        "warm_start": ["boolean"],
        "image_shape": [tuple, None],
        "device": [str],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        n_sprites: int = 8,
        *,
        n_layers: int = 3,
        n_backgrounds: int = 0,
        background: str = "auto",
        sprite_size: str | int | tuple[int, int] = "auto",
        transformations: str | tuple[str, ...] = "auto",
        background_transformations: tuple[str, ...] = (),
        color: str = "auto",
        order: str = "solve",
        localizer: str | Search | Distilled | Regression | Attention = "search",
        sprite_update: str = "closed_form",
        penalty: str | float = "auto",
        init: str | NDArray = "windows",
        n_init: int = 1,
        max_rounds: int = 40,
        images_per_round: str | int = "auto",
        tol: float = 1e-3,
        warm_start: bool = False,
        image_shape: tuple[int, ...] | None = None,
        device: str = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int | bool = 0,
    ) -> None:
        self.n_sprites = n_sprites
        self.n_layers = n_layers
        self.n_backgrounds = n_backgrounds
        self.background = background
        self.sprite_size = sprite_size
        self.transformations = transformations
        self.background_transformations = background_transformations
        self.color = color
        self.order = order
        self.localizer = localizer
        self.sprite_update = sprite_update
        self.penalty = penalty
        self.init = init
        self.n_init = n_init
        self.max_rounds = max_rounds
        self.images_per_round = images_per_round
        self.tol = tol
        self.warm_start = warm_start
        self.image_shape = image_shape
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @classmethod
    def from_paper(cls, name: str, **overrides: Any) -> Self:
        """Make an estimator with the parameters of a published experiment.

        The way of [1]_ in all that there is a parameter for: a network tells where
        layers are, which color and order they have, and all is learned by gradient, in
        days where the defaults take a minute; it is there to compare with.

        Parameters
        ----------
        name : {"tetrominoes", "multi_dsprites", "clevr6"}
            The set of images: of 35 x 35, 64 x 64 and 128 x 128 pixels, in colors.
        **overrides : Any
            Parameters to be set otherwise, or beside those of the experiment.

        Returns
        -------
        estimator : LayeredSpriteDecomposition
            Not fitted.

        Raises
        ------
        ValueError
            If there is no experiment of that name.
        TypeError
            If there is no parameter of the name of an override.

        Notes
        -----
        Not as in the papers' code: a layer's scale stays within a factor of four of
        the first one, and its center in the image; the pose that a sprite adds to its
        layer's is added to its numbers, see :class:`Decomposition`, and its stretch,
        shear and tilts are bounded; colors are not clipped after gain and bias; sprites
        are sampled once, not twice; the encoder takes one step per batch, not seven or
        eight. See :class:`Regression` for the rest.

        References
        ----------
        .. [1] T. Monnier, E. Vincent, J. Ponce, M. Aubry, "Unsupervised Layered Image
           Decomposition into Object Prototypes", ICCV 2021, supplementary material C
           and official configuration.

        Examples
        --------
        >>> from sklearn_sprites import LayeredSpriteDecomposition
        >>> model = LayeredSpriteDecomposition.from_paper("tetrominoes", random_state=0)
        >>> model.n_sprites, model.n_layers, model.max_rounds
        (19, 3, 210)
        >>> model.localizer.drops
        (100, 200)
        """
        return cls(**parameters_of(SCENES, name, cls, overrides))

    @with_callbacks
    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn sprites and backgrounds from images of scenes.

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
            self, (X, y), len(job.seeds), lambda model: model_attributes(job, model)
        )
        solution, table = solve_restarts(job, progress)
        order, penalty = by_use(solution), solution.penalty
        model = model_attributes(job, solution.fitted, order, penalty)
        found = image_attributes(model, solution)
        attributes = {**model, **found, "restarts_": table}
        self._warn_about(job, solution, table, progress)
        self._publish({**attributes, "_predictor": (job.device, solution.predictor)})
        progress.end(attributes)
        return self

    def fit_predict(self, X: Any, y: Any = None) -> NDArray:
        """Learn sprites and return the instances of the images.

        Parameters
        ----------
        X : array-like of shape (n_samples, H, W), (n_samples, H, W, C) or \
                (n_samples, n_features)
            Images.
        y : Ignored
            Not used, present here for API consistency by convention.

        Returns
        -------
        instances : ndarray of shape (n_samples, H, W), int64
            What ``fit(X).predict(X)`` returns.
        """
        return self.fit(X).render(self.decomposition_, "instances")

    def predict(self, X: Any) -> NDArray:
        """Find the objects of each image and tell which pixels they show.

        Parameters
        ----------
        X : array-like of shape (n_samples, H, W), (n_samples, H, W, C) or \
                (n_samples, n_features)
            Images of the size seen in fit, and in the units of those: 8-bit integers
            up to 255 do not stand for floats up to 1.

        Returns
        -------
        instances : ndarray of shape (n_samples, H, W), int64
            Instance of each pixel: 0 is background, l + 1 the l-th layer of the image.
            The prediction for an image does not depend on the other images in X; on a
            CPU that holds to the last bit.
        """
        return self.render(self.decompose(X), "instances")

    def predict_semantic(self, X: Any) -> NDArray:
        """Find the objects of each image and tell which sprite each pixel shows.

        Parameters
        ----------
        X : array-like of shape (n_samples, H, W), (n_samples, H, W, C) or \
                (n_samples, n_features)
            Images of the size seen in fit.

        Returns
        -------
        classes : ndarray of shape (n_samples, H, W), int64
            0 is background, k + 1 sprite k.
        """
        return self.render(self.decompose(X), "classes")

    def transform(self, X: Any) -> NDArray:
        """Describe the layers of each image by numbers.

        Parameters
        ----------
        X : array-like of shape (n_samples, H, W), (n_samples, H, W, C) or \
                (n_samples, n_features)
            Images of the size seen in fit.

        Returns
        -------
        table : ndarray of shape (n_samples, n_layers * n_features_of_a_layer)
            For each layer, in the order of what layers save: its sprite (-1 if empty),
            the share of it that is seen, x and y of its center in pixels, its scale,
            angle, stretch, shear and tilts if it has them, see :class:`Decomposition`,
            and its mean color in the units of X; splines are not told. All but the
            sprite are 0 for an empty layer. float32 if X is, else float64.
        """
        found, images = self._found(X)
        table = features(found, self._rendered(found), self._scene_spec())
        return table.astype(np.float32) if images.flat.dtype == np.float32 else table

    def get_feature_names_out(self, input_features: Any = None) -> NDArray:
        """Names of the columns of `transform`.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Not used but compared with the names of the pixels seen in fit.

        Returns
        -------
        names : ndarray of str, dtype object
            ``"layer0_sprite"``, ``"layer0_visible"``, ``"layer0_x"``, ...
        """
        check_is_fitted(self)
        check_feature_names(self, input_features)
        return np.array(feature_names(self._scene_spec()), dtype=object)

    def decompose(self, X: Any) -> Decomposition:
        """Find the layers of each image.

        Parameters
        ----------
        X : array-like of shape (n_samples, H, W), (n_samples, H, W, C) or \
                (n_samples, n_features)
            Images of the size seen in fit.

        Returns
        -------
        found : Decomposition
            Sprites, places, colors and order of the layers, to read, to edit, and to
            draw with :meth:`render`.
        """
        return self._found(X)[0]

    def render(self, decomposition: Decomposition, what: str = "images") -> NDArray:
        """Draw layers, as they were found or after edits.

        Parameters
        ----------
        decomposition : Decomposition
            From :meth:`decompose` of this estimator.
        what : {"images", "instances", "classes", "masks", "visible", "layers"}, \
                default="images"
            What to draw: the images; the maps of `predict` or of `predict_semantic`;
            the opacity of each layer as placed; the share of each pixel that shows
            the layer; or each layer's sprite as placed, also where it is hidden, and
            beyond its mask in the colors of what is nearest.

        Returns
        -------
        drawn : ndarray of shape (n, H, W, C), (n, H, W), (n, n_layers, H, W) or \
                (n, n_layers, H, W, C)
            Images and layers, float64, in the units of X of `fit`, layers being black
            beyond the frame of their sprites; maps, int64; or opacities from 0 to 1,
            float32.

        Raises
        ------
        TypeError
            If `decomposition` is none.
        ValueError
            If `what` is none of the above, or if the decomposition does not fit the
            estimator: another number of layers, sprites, channels or backgrounds,
            values that are not finite or too large, or scales that are not positive.
        """
        check_is_fitted(self)
        if what not in (*DRAWINGS, "layers"):
            names = ", ".join((*DRAWINGS, "layers"))
            raise ValueError(f"what={what!r} is none of {names}.")
        spec = self._scene_spec()
        check_decomposition(decomposition, spec.sizes())
        if what == "layers":
            from sklearn_sprites._engine.scene_layers import draw_alone

            record = self._units().to_model(decomposition)
            drawn = draw_alone(self._fitted_scenes(), record)
            return self._scale().to_user(np.moveaxis(drawn, 2, -1))
        draw = partial(DRAWINGS[what], self._scale())
        parts = self._rendered(decomposition)
        return np.concatenate([draw(some, drawn) for some, drawn in parts])

    def reconstruct(self, X: Any) -> NDArray:
        """Draw each image again from its layers and its background.

        Parameters
        ----------
        X : array-like of shape (n_samples, H, W), (n_samples, H, W, C) or \
                (n_samples, n_features)
            Images of the size seen in fit.

        Returns
        -------
        drawn : ndarray of shape (n_samples, H, W, C), float64
            Reconstructions, in the units of X: ``render(decompose(X))``.
        """
        return self.render(self.decompose(X))

    def score(self, X: Any, y: Any = None) -> float:
        """Opposite of the sum of squared errors of the reconstructions.

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
        return -inertia(self.decompose(X))

    def __sklearn_is_fitted__(self) -> bool:
        """Whether there are sprites."""
        return "sprites_" in vars(self)

    def __sklearn_tags__(self) -> Any:
        """Three-dimensional input is fine too; the dtype of floats is kept."""
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _found(self, X: Any) -> tuple[Decomposition, Images]:
        batch, images = self._batch(X)
        return self._units().to_user(self._model().decompose(batch)), images

    def _rendered(
        self, found: Decomposition
    ) -> Iterator[tuple[Decomposition, Rendered]]:
        """Some images at a time, because the masks of all take much memory."""
        if not found.n_images:
            yield found, Rendered.of_none(self._scene_spec())
        model, units = self._model(), self._units()
        for first in range(0, found.n_images, IMAGES_AT_ONCE):
            some = found[first : first + IMAGES_AT_ONCE]
            yield some, model.render(units.to_model(some))

    def _units(self) -> Units:
        return Units(self._scale(), self._order, palette_of(self.sprites_))

    def _scene_spec(self) -> SceneSpec:
        return SceneSpec.from_dict(self._spec)

    def _fitted_scenes(self) -> FittedScenes:
        """The record of the last fit, from the published state."""
        return FittedScenes(self._scene_spec(), self._arrays, self._final_loss())

    def _build_predictor(self, device: str) -> Any:
        kept = self._search
        regression, taught = kept["gradient"], kept["distilled"]
        kind = Attention if kept["attends"] else Regression
        return build_predictor(
            self._fitted_scenes(),
            SearchPlan(**kept["search"]),
            None if regression is None else kind.from_dict(regression),
            None if taught is None else Distilled.from_dict(taught),
            kept["penalty"],
            device,
        )

    def _describe(self, X: Any) -> SceneJob:
        """Turn parameters and images into what learning needs, or refuse them."""
        from sklearn_sprites._engine.runtime import resolve_device

        owner, device = type(self).__name__, resolve_device(self.device)
        images, names = self._validated_for_fit(X)
        continues = self.warm_start and self.__sklearn_is_fitted__()
        scaling, batch = self._scaled_for_fit(images, continues)
        params = self.get_params(deep=False)
        if continues:
            params |= taken_choices(params, self._scene_spec(), images.shape)
        background = scene_background(params, batch)
        if not continues:
            params |= seen_choices(params, batch, images.shape, owner, background)
        spec = describe_scenes(images.shape, params, owner, background)
        return SceneJob(
            images=images,
            features=names,
            scaling=scaling,
            batch=batch,
            spec=spec,
            settings=self._settings(spec),
            seeds=seed_sequence(self.random_state).spawn(
                1 if continues else self.n_init
            ),
            device=device,
            init_sprites=given_scene_sprites(self.init, spec, scaling, owner),
            warm=warm_scenes(self._fitted_scenes(), spec) if continues else None,
        )

    def _settings(self, spec: SceneSpec) -> SceneSettings:
        """Parameters of learning as the engine wants them."""
        search, regression, taught = check_localizer(
            self.localizer, self.order, self.n_backgrounds
        )
        check_color(regression, taught, spec)
        check_poses(regression, taught, spec)
        check_own_colors(self.get_params(deep=False), spec)
        check_ground(regression, spec)
        check_selection(regression, spec)
        count = self.images_per_round
        return SceneSettings(
            search=search.plan(spec.sought().has_picture, spec.fills_image),
            regression=regression,
            distilled=taught,
            penalty=self.penalty,
            max_rounds=int(self.max_rounds),
            images_per_round=None if isinstance(count, str) else int(count),
            tol=float(self.tol),
            sprite_update=self.sprite_update,
        )

    def _warn_about(
        self, job: SceneJob, best: Solution, table: dict, progress: Progress
    ) -> None:
        """Say what did not go well although there is a result."""
        n_diverged = int(table["diverged"].sum())
        if n_diverged:
            warn(f"{n_diverged} of {len(job.seeds)} restarts diverged.")
        if not best.fitted.converged and not progress.was_stopped:
            warn(
                f"{type(self).__name__} stopped after {best.fitted.n_rounds} round(s), "
                f"before its loss settled within tol={self.tol}; increase max_rounds "
                "or tol."
            )
        level = None if self.n_backgrounds else plain_ground(job.batch)
        if level is not None:
            seen = job.scaling.to_user(np.array(level))
            warn(
                f"The ground of the images is plain, about {seen:.4g}, but it is taken "
                "for black, with n_backgrounds=0; use n_backgrounds=1.",
                UserWarning,
            )
        n_unused = int((best.counts == 0).sum())
        if n_unused:
            warn(
                f"{n_unused} of {self.n_sprites} sprites are shown in no image; fewer "
                "sprites, or another random_state, may help.",
                ClusterCollapseWarning,
            )
