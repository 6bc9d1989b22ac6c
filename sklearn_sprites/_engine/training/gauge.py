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
    k, h, w = masks.shape
    top = masks.flatten(1).quantile(OPAQUE, 1).clamp_min(0.3)[:, None, None]
    masks = (masks / top).clamp(0, 1)
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
    where = where.view(k, h, w, 2)
    return F.grid_sample(masks[:, None], where, align_corners=False)[:, 0]
