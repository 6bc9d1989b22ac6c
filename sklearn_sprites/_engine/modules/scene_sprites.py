"""Sprites of scenes as parameters: colors and masks of their own."""

import torch
from torch import Tensor, nn

from sklearn_sprites._engine.ops.compositing import softclip


class SceneSprites(nn.Module):
    """K sprites as free tensors, clipped softly to [0, 1] where they are used.

    Parameters
    ----------
    planes : Tensor
        (K, C + 1, h, w), colors and alpha.
    learns_color : bool
        Whether colors are learned too; else sprites are masks.
    """

    def __init__(self, planes: Tensor, learns_color: bool) -> None:
        super().__init__()
        colors, masks = planes[:, :-1].clone(), planes[:, -1:].clone()
        self.colors = nn.Parameter(colors, requires_grad=learns_color)
        self.masks = nn.Parameter(masks)

    def planes(self) -> Tensor:
        """Colors and alpha as they are published and drawn, (K, C + 1, h, w)."""
        masks = softclip(self.masks).clamp(0, 1)
        return torch.cat([softclip(self.colors), masks], 1)

    def raw(self, frozen: bool) -> Tensor:
        """Colors, masks before they are clipped, and ones, (K, C + 2, h, w).

        What is drawn in training: noise is added to masks before they are clipped,
        where the ones are. Frozen sprites take no gradient.
        """
        canvas = torch.ones_like(self.masks)
        planes = torch.cat([softclip(self.colors), self.masks, canvas], 1)
        return planes.detach() if frozen else planes
