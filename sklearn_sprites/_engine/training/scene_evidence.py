"""What images say about the masks of sprites, with everything else fixed.

With the other layers fixed a picture is affine in a layer's alpha (where its ink is its
alpha): ``C0 + alpha (C1 - C0)``. So the mask that explains the images best is
``sum <x - C0, C1 - C0> / sum |C1 - C0|^2`` over all its appearances, both sampled into
the sprite's frame.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.ground import image_of
from sklearn_sprites._engine.search.layers import Layers, Picture, layer_colors
from sklearn_sprites._engine.search.polish import hidden_by
from sklearn_sprites._engine.search.poses import image_points, pixel_centers


def frame_points(sides: tuple[int, int], like: Tensor) -> Tensor:
    """Centers of a sprite's pixels in [-1, 1], (h * w, 2)."""
    h, w = sides
    whole = torch.tensor([w / 2, h / 2]).to(like)
    return pixel_centers(h, w, 1, like) / whole - 1


def into_frame(maps: Tensor, pose: Tensor, sides: tuple[int, int]) -> Tensor:
    """Maps (B, D, H, W) seen from the frames of sprites at poses (B, Q)."""
    height, width = maps.shape[2:]
    points = image_points(frame_points(sides, pose), pose, sides)
    where = points / torch.tensor([width / 2, height / 2]).to(pose) - 1
    return F.grid_sample(maps, where.view(-1, *sides, 2), align_corners=False)


def mask_evidence(
    images: Tensor,
    layers: Layers,
    found: Picture,
    spec: SceneSpec,
    sides: tuple[int, int],
) -> Tensor:
    """Numerators and denominators of masks in their frames, (B, L, 2, h, w)."""
    colors = layer_colors(found, spec)
    parts = []
    for i in range(spec.n_layers):
        free, behind = hidden_by(images, found, spec, i)
        change = free[:, None] * colors[:, i, :, None, None] - behind
        now = free * found.ink[:, i]
        own = now[:, None] * colors[:, i, :, None, None]
        own = own - found.alpha[:, i, None] * behind
        rest = image_of(images, spec) - (found.image - own)
        maps = torch.stack([(rest * change).sum(1), change.square().sum(1)], 1)
        parts.append(into_frame(maps, layers.pose[:, i], sides))
    return torch.stack(parts, 1)
