"""What poses and colors could absorb of a mask is fixed: opaque, centered, one size."""

import torch
import torch.nn.functional as F
from torch import Tensor

from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.training.scene_evidence import frame_points

OPAQUE = 0.93  # quantile of a mask that is one
SPREAD = 0.46  # root mean square distance from the center, in halves of a sprite
ZOOM = (0.9, 1.1)  # in one round


def sharpened(masks: Tensor, contrast: float) -> Tensor:
    """Masks with steeper edges, which leave [0, 1].

    Poses that are a little off blur their mean.
    """
    return (masks - 0.5) * contrast + 0.5


def gauged(masks: Tensor, spec: SceneSpec) -> Tensor:
    """Masks (K, h, w), opaque inside, centered, and of standard spread if scaled."""
    masks = opaque(masks)
    where = gauge_grid(masks, spec)
    return F.grid_sample(masks[:, None], where, align_corners=False)[:, 0]


def opaque(masks: Tensor) -> Tensor:
    """Masks (K, h, w) that are one inside."""
    top = masks.flatten(1).quantile(OPAQUE, 1).clamp_min(0.3)[:, None, None]
    return (masks / top).clamp(0, 1)


def without_holes(masks: Tensor) -> Tensor:
    """Masks (K, h, w) at least as high as their lowest wall towards the border.

    A highlight may look like the ground behind a solid; it is no hole in it.
    """
    clear = F.pad(1 - masks, (1,) * 4, value=1.0)
    reached = F.pad(torch.zeros_like(masks), (1,) * 4, value=1.0)
    while True:  # what is clear spreads inwards; a sync per step
        spread = F.max_pool2d(reached[:, None], 3, 1, 1)[:, 0].minimum(clear)
        spread = spread.maximum(reached)
        if torch.equal(spread, reached):
            return 1 - reached[:, 1:-1, 1:-1]
        reached = spread


def gauge_grid(masks: Tensor, spec: SceneSpec) -> Tensor:
    """Where to look to see masks centered and of standard spread, (K, h, w, 2)."""
    k, h, w = masks.shape
    points = frame_points((h, w), masks)
    mass = masks.flatten(1)
    total = mass.sum(1, keepdim=True).clamp_min(1)
    center = (mass @ points) / total  # (K, 2)
    apart = (points - center[:, None]).square().sum(2)  # (K, P)
    spread = ((apart * mass).sum(1) / total[:, 0]).sqrt()
    zoom = (spread / SPREAD).clamp(*ZOOM)
    if not spec.has_scale:
        zoom = torch.ones_like(zoom)
    where = points * zoom[:, None, None] + center[:, None]
    return where.view(k, h, w, 2)
