"""What the estimators share: validation, published state, pickling, prediction.

A fit computes everything before it touches the estimator and publishes it in one
assignment, so that a fit that fails or is interrupted changes nothing.
"""

import copy
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from sklearn_sprites._callbacks import CallbackSupportMixin
from sklearn_sprites._engine.records import FittedModel
from sklearn_sprites._engine.spec import ModelSpec
from sklearn_sprites._restarts import build_predictor
from sklearn_sprites._validation import Images, Scaling, check_images

if TYPE_CHECKING:
    from sklearn_sprites._engine.inference import Predictor

PRIVATE_STATE = ("_spec", "_arrays", "_scaling", "_predictor")


class AbstractSpriteEstimator(CallbackSupportMixin, BaseEstimator):
    """State, pickling and prediction of the estimators."""

    def __getstate__(self) -> dict[str, Any]:
        """Drop the built network: it is a cache, made again where it is needed."""
        state = super().__getstate__()
        return {name: value for name, value in state.items() if name != "_predictor"}

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
        return images.batch(self._scale()), images

    def _scale(self) -> Scaling:
        return Scaling(*self._scaling)

    def _model(self) -> "Predictor":
        """The built network, on the device that the parameters ask for now."""
        from sklearn_sprites._engine.runtime import resolve_device

        device = resolve_device(self.device)
        cached = vars(self).get("_predictor")
        if cached is None or cached[0] != device:
            encoder = None if isinstance(self.encoder, str) else self.encoder
            cached = (device, build_predictor(self._fitted_model(), device, encoder))
            self._predictor = cached
        return cached[1]

    def _fitted_model(self) -> FittedModel:
        """The record of the last fit, from the published state."""
        loss = float(self.loss_curve_[-1]) if len(self.loss_curve_) else 0.0
        return FittedModel(ModelSpec.from_dict(self._spec), self._arrays, loss)

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
