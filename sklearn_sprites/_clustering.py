"""Clustering of images into transformed sprites."""

import warnings
from functools import partial
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import (
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from sklearn_sprites._base import AbstractSpriteEstimator
from sklearn_sprites._callbacks import Progress, with_callbacks
from sklearn_sprites._description import (
    given_sprites,
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
    Swap,
    TrainingSettings,
)
from sklearn_sprites._engine.spec import ENCODERS, ModelSpec
from sklearn_sprites._publishing import (
    channels_last,
    image_attributes,
    inertia,
    model_attributes,
)
from sklearn_sprites._restarts import (
    Job,
    compare_restarts,
    sort_by_size,
    train_restarts,
)
from sklearn_sprites._validation import (
    HasMethods,
    Images,
    Interval,
    Scaling,
    Shape,
    StrOptions,
    check_parameters,
    seed_sequence,
)
from sklearn_sprites.exceptions import ClusterCollapseWarning

REASSIGNMENTS = {"swap": Swap(), "clone": ClonePerturb()}


class SpriteClustering(
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    ClusterMixin,
    AbstractSpriteEstimator,
):
    """Docstring."""

    _parameter_constraints: ClassVar[dict[str, list]] = {
        "n_clusters": [Interval(Integral, 1, None, closed="left")],
        "n_backgrounds": [Interval(Integral, 0, None, closed="left")],
        "transformations": [StrOptions({"auto"}), tuple, list],
        "background_transformations": [StrOptions({"auto"}), tuple, list],
        "image_shape": [tuple, None],
        "init": [StrOptions(set(STARTS)), "array-like"],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "color": [StrOptions({"solve", "predict"})],
        "encoder": [StrOptions(set(ENCODERS)), HasMethods(["forward", "state_dict"])],
        "curriculum": [StrOptions(set(CURRICULA)), tuple, list],
        "reassignment": [StrOptions(set(REASSIGNMENTS)), Swap, ClonePerturb, None],
        "mask_noise": [Interval(Real, 0, None, closed="left")],
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
        image_shape: tuple[int, ...] | None = None,
        init: str | NDArray = "align",
        n_init: int = 1,
        color: str = "solve",
        encoder: Any = "small",
        curriculum: str | tuple[tuple[str, ...], ...] = "one_by_one",
        reassignment: str | Swap | ClonePerturb | None = "swap",
        mask_noise: float = 0.4,
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
        self.image_shape = image_shape
        self.init = init
        self.n_init = n_init
        self.color = color
        self.encoder = encoder
        self.curriculum = curriculum
        self.reassignment = reassignment
        self.mask_noise = mask_noise
        self.max_epochs = max_epochs
        self.tol = tol
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.warm_start = warm_start
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

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
        """
        check_parameters(self)
        job = self._describe(X)
        describe = partial(model_attributes, job)
        progress = Progress(self, (X, y), len(job.seeds), describe)
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
            Images of the size seen in fit.

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

        Warps are undone, colors too; a morphological transformation has no inverse
        and is left as it is.

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
            raise ValueError(
                "segment needs a background to separate sprites from; fit "
                f"{type(self).__name__} with n_backgrounds=1 or more."
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

    def _describe(self, X: Any) -> Job:
        """Turn parameters and images into what training needs, or refuse them."""
        from sklearn_sprites._engine.runtime import resolve_device

        owner, device = type(self).__name__, resolve_device(self.device)
        images, features = self._validated_for_fit(X)
        n_samples = len(images.flat)
        if n_samples < self.n_clusters:
            raise ValueError(
                f"n_samples={n_samples} should be >= n_clusters={self.n_clusters}."
            )
        continues = self.warm_start and self.__sklearn_is_fitted__()
        spec = self._model_spec(images.shape)
        scaling = self._scale() if continues else Scaling.of(images.flat, owner)
        n_runs = 1 if continues else self.n_init
        return Job(
            images=images,
            features=features,
            scaling=scaling,
            batch=images.batch(scaling),
            spec=spec,
            settings=self._settings(spec),
            seeds=seed_sequence(self.random_state).spawn(n_runs),
            device=device,
            encoder=None if isinstance(self.encoder, str) else self.encoder,
            init_sprites=given_sprites(self.init, spec, scaling, owner),
            warm=warm_model(self._fitted_model(), spec) if continues else None,
        )

    def _model_spec(self, shape: Shape) -> ModelSpec:
        """The network for images of this shape."""
        height, width, channels = shape
        n_backgrounds, sprites, backgrounds = resolve_layers(
            self.n_backgrounds,
            self.transformations,
            self.background_transformations,
            shape,
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
            encoder=self.encoder if isinstance(self.encoder, str) else "custom",
        )

    def _settings(self, spec: ModelSpec) -> TrainingSettings:
        """Training parameters as the engine wants them."""
        reassignment = self.reassignment
        if isinstance(reassignment, str):
            reassignment = REASSIGNMENTS[reassignment]
        return TrainingSettings(
            init=self.init if isinstance(self.init, str) else "array",
            curriculum=stages_of(self.curriculum, spec),
            reassignment=reassignment,
            mask_noise=float(self.mask_noise),
            max_epochs=int(self.max_epochs),
            tol=float(self.tol),
            batch_size=int(self.batch_size),
            learning_rate=float(self.learning_rate),
        )

    def _warn_about(
        self, job: Job, fitted: FittedModel, found: dict, progress: Progress
    ) -> None:
        """Say what did not go well although there is a result."""
        n_diverged = int(found["restarts_"]["diverged"].sum())
        if n_diverged:
            _warn(f"{n_diverged} of {len(job.seeds)} restarts diverged.")
        if not fitted.converged and not progress.was_stopped:
            _warn(
                f"{type(self).__name__} stopped after {fitted.n_epochs} epochs, before "
                f"its loss settled within tol={self.tol}; increase max_epochs or tol."
            )
        n_used = int((found["counts_"] > 0).sum())
        if n_used == fitted.spec.n_sprites:
            return
        if len({image.tobytes() for image in job.batch}) <= n_used:
            _warn(
                f"Number of distinct clusters ({n_used}) found smaller than n_clusters "
                f"({self.n_clusters}). Possibly due to duplicate images in X."
            )
        else:
            _warn(
                f"{fitted.spec.n_sprites - n_used} of {self.n_clusters} sprites draw "
                "no image; another random_state, or fewer clusters, may help.",
                ClusterCollapseWarning,
            )


def _warn(message: str, category: type[Warning] = ConvergenceWarning) -> None:
    warnings.warn(message, category, stacklevel=4)
