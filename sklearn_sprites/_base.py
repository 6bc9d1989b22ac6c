"""What the estimators share: validation, published state, pickling, prediction.

A fit computes everything before it touches the estimator and publishes it in one
assignment, so that a fit that fails or is interrupted changes nothing.
"""

import copy
import os
from abc import ABC, abstractmethod
from typing import Any

from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from sklearn_sprites._callbacks import CallbackSupportMixin
from sklearn_sprites._saving import save
from sklearn_sprites._validation import Images, Scaling, check_images
from sklearn_sprites._warning import warn
from sklearn_sprites.exceptions import UnitsWarning

PRIVATE_STATE = ("_spec", "_arrays", "_scaling", "_predictor")


class AbstractSpriteEstimator(CallbackSupportMixin, BaseEstimator, ABC):
    """State, pickling and prediction of the estimators."""

    @abstractmethod
    def _build_predictor(self, device: str) -> Any:
        """What applies the learned model to images, from the published state."""

    def __getstate__(self) -> dict[str, Any]:
        """Drop the built model: it is a cache, made again where it is needed."""
        state = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_predictor"}

    def save(self, path: str | os.PathLike) -> None:
        """Write the fitted estimator to a file that :func:`load` reads.

        The file can be opened without danger, which a pickle cannot: it has no code in
        it, but parameters, fitted attributes and a checksum. It is one of safetensors,
        in which other programs find the arrays by their names, such as ``sprites_``.
        Callbacks are left out. A file that was there is replaced at once, or stays as
        it was if this fails.

        Parameters
        ----------
        path : str or path-like
            The file, by custom with the ending ``.safetensors``.

        Raises
        ------
        NotFittedError
            If there is nothing to save.
        InvalidParameterError
            If a parameter has become something that no fit accepts.
        TypeError
            If a parameter is something that cannot be written without code, such as a
            module of torch.
        OSError
            If the file cannot be written.

        See Also
        --------
        load : Reads the file, with an example.
        """
        save(self, path)

    def _validated_for_fit(self, X: Any) -> tuple[Images, dict[str, Any]]:
        """Validate on a copy, so that a fit that fails leaves no trace."""
        probe = copy.copy(self)
        images = check_images(probe, X, image_shape=self.image_shape)
        names = ("n_features_in_", "feature_names_in_")
        return images, {n: v for n, v in vars(probe).items() if n in names}

    def _batch(self, X: Any) -> tuple[NDArray, Images]:
        """New images in model units, and as they were validated."""
        check_is_fitted(self)
        images = check_images(self, X, fitted=self.image_shape_)
        return self._scaled_again(images), images

    def _scaled_again(self, images: Images) -> NDArray:
        """Images in model units, by the scaling of the last fit."""
        scaling = self._scale()
        batch = images.batch(scaling)
        _tell(scaling.foreign(batch))
        return batch

    def _scaled_for_fit(
        self, images: Images, continues: bool
    ) -> tuple[Scaling, NDArray]:
        """From the user's units to those of the model, and images in these.

        A fit that goes on from the last one keeps its scaling.
        """
        if continues:
            return self._scale(), self._scaled_again(images)
        scaling = Scaling.of(images.flat, type(self).__name__)
        _tell(scaling.outliers(images.flat))
        return scaling, images.batch(scaling)

    def _scale(self) -> Scaling:
        return Scaling(*self._scaling)

    def _model(self) -> Any:
        """What `_build_predictor` built, on the device that is asked for now."""
        from sklearn_sprites._engine.runtime import resolve_device

        device = resolve_device(self.device)
        cached = vars(self).get("_predictor")
        if cached is None or cached[0] != device:
            cached = (device, self._build_predictor(device))
            self._predictor = cached
        return cached[1]

    def _final_loss(self) -> float:
        """Loss of the published model."""
        return float(self.loss_curve_[-1]) if len(self.loss_curve_) else 0.0

    def _publish(self, attributes: dict[str, Any]) -> None:
        """Replace all fitted attributes in one assignment."""
        kept = {
            name: value
            for name, value in vars(self).items()
            if name.startswith("_") or not name.endswith("_")
        }
        self.__dict__ = {
            **{n: v for n, v in kept.items() if n not in PRIVATE_STATE},
            **attributes,
        }


def _tell(doubt: str | None) -> None:
    """Warn of values in doubtful units, if they are."""
    if doubt is not None:
        warn(doubt, UnitsWarning)
