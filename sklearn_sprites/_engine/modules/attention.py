"""Attention: one map per layer says where it is, and which features are its own.

Source: Sauvalle and de La Fortelle, "Unsupervised multi-object segmentation using
attention and soft-argmax" (2022), section 4. The place of a layer is the mean of all
positions under its map (soft-argmax), which moves with the image.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sklearn_sprites._engine.modules.encoders import build_module
from sklearn_sprites._engine.modules.latents import AbstractLocalizer, Latents
from sklearn_sprites._engine.modules.maps import AbstractMaps
from sklearn_sprites._engine.ops.constants import constant

WIDTH, LAYERS, HEADS, WIDE = 256, 6, 8, 512  # of the paper's transformer


class AttentionMaps(AbstractLocalizer):
    """Layers that attend to maps of features.

    Parameters
    ----------
    maps : AbstractMaps
        From images (B, C, H, W) to (B, L + D, h, w): the logits of the attention of
        each layer, then D features.
    n_layers, n_features : int
        L and D.
    reach : tuple of float
        See :class:`AbstractLocalizer`.
    generator : torch.Generator
        A generator on the CPU; decides the weights of the refinement.
    refines : bool, default=False
        Whether a transformer lets the layers of an image know of each other.
    """

    def __init__(
        self,
        maps: AbstractMaps,
        n_layers: int,
        n_features: int,
        reach: tuple[float, float],
        generator: torch.Generator,
        refines: bool = False,
    ) -> None:
        super().__init__()
        self.maps, self.n_layers, self.n_features = maps, n_layers, n_features
        self.reach = reach
        self.refinement = Refinement(n_features, generator) if refines else None

    def forward(self, images: Tensor) -> Latents:
        """Latents of images (B, C, H, W)."""
        maps = self.maps(images)
        weights = attention(maps[:, : self.n_layers])
        where = positions(maps, self.maps.stride)  # (P, 2)
        seen = maps[:, self.n_layers :].flatten(2).transpose(1, 2)  # (B, P, D)
        features, place = weights @ seen, weights @ where
        if self.refinement is not None:
            side = constant(images.shape[:1:-1], place)
            features = self.refinement(features, 2 * place / side - 1)
        return Latents(features, place)


def attention(logits: Tensor) -> Tensor:
    """Maps (B, L, h, w) to weights (B, L, h * w) that sum to one."""
    return logits.flatten(2).softmax(2)


def positions(maps: Tensor, stride: int) -> Tensor:
    """Centers (x, y), in pixels, of the positions of maps, row by row: (h * w, 2)."""
    rows, columns = maps.shape[2:]
    y, x = torch.meshgrid(
        (torch.arange(rows, device=maps.device) + 0.5) * stride,
        (torch.arange(columns, device=maps.device) + 0.5) * stride,
        indexing="ij",
    )
    return torch.stack([x, y], -1).flatten(0, 1).to(maps)


class Refinement(nn.Module):
    """A transformer over the layers of an image, without a code of their order.

    It adds to the features; the paper's replaces features and places. Heads move a
    layer from where it attends.
    """

    def __init__(self, n_features: int, generator: torch.Generator) -> None:
        super().__init__()

        def build(make: type, *sizes: int) -> nn.Module:
            return build_module(lambda: make(*sizes), generator)

        self.into = build(nn.Linear, n_features + 2, WIDTH)
        self.blocks = nn.ModuleList(build(Block) for _ in range(LAYERS))
        self.out = build(nn.Linear, WIDTH, n_features)

    def forward(self, features: Tensor, place: Tensor) -> Tensor:
        """Features (B, L, D) at places (B, L, 2) in [-1, 1]."""
        tokens = self.into(torch.cat([features, place], 2))
        for block in self.blocks:
            tokens = block(tokens)
        return features + self.out(tokens)


class Block(nn.Module):
    """Self-attention and two linear maps, each added and then normalized."""

    def __init__(self) -> None:
        super().__init__()
        self.query_key_value = nn.Linear(WIDTH, 3 * WIDTH)
        self.mix = nn.Linear(WIDTH, WIDTH)
        self.first_norm = nn.LayerNorm(WIDTH)
        self.feed = nn.Sequential(
            nn.Linear(WIDTH, WIDE), nn.ReLU(), nn.Linear(WIDE, WIDTH)
        )
        self.second_norm = nn.LayerNorm(WIDTH)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, L, WIDTH)."""
        parts = self.query_key_value(tokens).unflatten(2, (3, HEADS, -1))
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # (B, HEADS, L, .)
        mixed = F.scaled_dot_product_attention(query, key, value)
        mixed = self.mix(mixed.transpose(1, 2).flatten(2))
        tokens = self.first_norm(tokens + mixed)
        return self.second_norm(tokens + self.feed(tokens))
