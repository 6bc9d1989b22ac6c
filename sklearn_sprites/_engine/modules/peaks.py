"""Peaks: one heat map for all layers; its highest peaks are the layers.

Attention without a map of its own for each layer: layers have no natural order, so maps
of their own would first have to agree which layer takes which object.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sklearn_sprites._engine.modules.latents import AbstractLocalizer, Latents
from sklearn_sprites._engine.modules.maps import AbstractMaps

FINER = 2  # cells of the heat map per position of the maps, along a side
AROUND = 3  # cells squared of which a peak is the highest
ABSENT = -20.0  # logit of what is no peak
FIRST_HEAT = -4.0  # logit of an object in a cell before anything is learned


class Heat(NamedTuple):
    """Logits of an object's middle in each cell, and features.

    ``cells`` (B, h * FINER, w * FINER); ``features`` (B, D, h, w).
    """

    cells: Tensor
    features: Tensor


class PeakMaps(AbstractLocalizer):
    """Layers at the peaks of a heat map.

    Parameters
    ----------
    maps : AbstractMaps
        From images (B, C, H, W) to (B, FINER ** 2 + D, h, w): the heat of the cells of
        a position, then D features.
    n_layers, n_features : int
        L, and D + FINER ** 2: the features tell the cell, too.
    """

    def __init__(self, maps: AbstractMaps, n_layers: int, n_features: int) -> None:
        super().__init__()
        self.maps, self.n_layers, self.n_features = maps, n_layers, n_features
        self.cell = maps.stride / FINER  # pixels
        self.reach = (self.cell, self.cell)

    def forward(self, images: Tensor) -> Latents:
        """Latents of images (B, C, H, W)."""
        return self.latents(self.heat(images))

    def latents(self, heat: Heat) -> Latents:
        """Latents of the highest peaks."""
        spot, is_peak = peaks(heat.cells, self.n_layers)
        latents = self.at(heat, spot)
        heights = heat.cells.flatten(1).gather(1, spot)
        return latents._replace(presence=torch.where(is_peak, heights, ABSENT))

    def heat(self, images: Tensor) -> Heat:
        """Maps of images (B, C, H, W)."""
        maps = self.maps(images)
        cells = F.pixel_shuffle(maps[:, : FINER**2], FINER)[:, 0]
        return Heat(cells + FIRST_HEAT, maps[:, FINER**2 :])

    def at(self, heat: Heat, spot: Tensor) -> Latents:
        """Latents of layers in cells (B, L), counted row by row."""
        columns = heat.cells.shape[2]
        row, column = spot // columns, spot % columns
        position = row // FINER * heat.features.shape[3] + column // FINER
        seen = heat.features.flatten(2).transpose(1, 2)  # (B, P, D)
        seen = seen.gather(1, position[..., None].expand(-1, -1, seen.shape[2]))
        part = row % FINER * FINER + column % FINER
        features = torch.cat([seen, F.one_hot(part, FINER**2).to(seen)], 2)
        place = (torch.stack([column, row], -1).to(seen) + 0.5) * self.cell
        return Latents(features, place)


def peaks(cells: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The highest peaks of heat (B, h, w), highest first.

    Returns indices (B, count), and whether there are that many peaks (B, count).
    """
    top = F.max_pool2d(cells[:, None], AROUND, 1, AROUND // 2)[:, 0]
    height = torch.where(cells >= top, cells, -torch.inf).flatten(1)
    found = height.topk(min(count, height.shape[1]), 1)
    missing = (0, count - found.indices.shape[1])
    is_peak = F.pad(found.values > -torch.inf, missing)
    return F.pad(found.indices, missing) * is_peak, is_peak
