"""Regression: the features of the whole image, and a linear map for every layer."""

import torch
from torch import Tensor, nn

from sklearn_sprites._engine.modules.encoders import build_module
from sklearn_sprites._engine.modules.latents import AbstractLocalizer, Latents
from sklearn_sprites._engine.ops.constants import constant

LATENT = 128


class LayerEncoder(AbstractLocalizer):
    """Layers regressed from an encoder's features, as DTI-Sprites does.

    Every layer is at the middle of the image until a head says otherwise; a head's one
    is half the image.

    Parameters
    ----------
    encoder : nn.Module
        Maps (B, C, H, W) to (B, F).
    n_encoded : int
        F.
    n_layers, height, width : int
        Of the scenes.
    generator : torch.Generator
        A generator on the CPU; decides the weights.
    """

    def __init__(
        self,
        encoder: nn.Module,
        n_encoded: int,
        n_layers: int,
        height: int,
        width: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.n_layers, self.n_features = n_layers, LATENT
        self.reach = (width / 2, height / 2)
        self.encoder = encoder
        self.layers = build_module(
            lambda: nn.Linear(n_encoded, n_layers * LATENT), generator
        )

    def forward(self, images: Tensor) -> Latents:
        """Latents of images (B, C, H, W)."""
        encoded = self.encoder(images)
        features = torch.relu(self.layers(encoded)).unflatten(1, (self.n_layers, -1))
        middle = constant(self.reach, features).expand(*features.shape[:2], 2)
        return Latents(features, middle)
