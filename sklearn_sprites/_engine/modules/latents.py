"""What a localizer tells about the layers of images."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn


class Latents(NamedTuple):
    """One vector per layer, and where the layer is.

    ``features`` (B, L, D); ``place`` (B, L, 2), x and y in pixels of the image;
    ``presence`` (B, L), logits of there being an object, or None where that is not
    known.
    """

    features: Tensor
    place: Tensor
    presence: Tensor | None = None


class AbstractLocalizer(nn.Module, ABC):
    """From images (B, C, H, W) to the latents of their layers.

    ``n_features`` is D; ``reach`` how far, in pixels of x and y, a layer lies from its
    place where a head says one.
    """

    n_features: int
    reach: tuple[float, float]

    @abstractmethod
    def forward(self, images: Tensor) -> Latents:
        """Latents of images."""
