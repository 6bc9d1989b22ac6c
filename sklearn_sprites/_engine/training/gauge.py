"""What poses and colors could absorb of a mask is fixed: opaque, centered, one size.

And where layers are stretched, sheared or tilted, they are not so on average: otherwise
sprites could drift away from the similarities with which a search begins.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from sklearn_sprites._engine.scene_spec import SIMILARITY, SceneSpec
from sklearn_sprites._engine.search.layers import Layers
from sklearn_sprites._engine.search.poses import tilted, to_frame
from sklearn_sprites._engine.training.scene_evidence import frame_points

OPAQUE = 0.93  # quantile of a mask that is one
SPREAD = 0.46  # root mean square distance from the center, in halves of a sprite
HALF = 0.5  # opacity inside a mask
BRIGHT = 0.95  # quantile of an appearance that is one
NARROW = 0.02  # range of an appearance that is not widened
ZOOM = (0.9, 1.1)  # in one round


def sharpened(masks: Tensor, contrast: float) -> Tensor:
    """Masks with steeper edges, which leave [0, 1].

    Poses that are a little off blur their mean.
    """
    return (masks - 0.5) * contrast + 0.5


def gauged(masks: Tensor, spec: SceneSpec, bend: Tensor | None = None) -> Tensor:
    """Masks (K, h, w), opaque inside, centered, and of standard spread if scaled.

    `bend` (K, Q) is what :meth:`Bends.mean` tells.
    """
    masks = opaque(masks)
    where = gauge_grid(masks, spec, bend)
    return F.grid_sample(masks[:, None], where, align_corners=False)[:, 0]


def opaque(masks: Tensor) -> Tensor:
    """Masks (K, h, w) that are one inside."""
    top = masks.flatten(1).quantile(OPAQUE, 1).clamp_min(0.3)[:, None, None]
    return (masks / top).clamp(0, 1)


def full_range(shade: Tensor, alpha: Tensor) -> Tensor:
    """Appearances (K, h, w) from 0 to 1 inside masks: gains and biases do the rest."""
    ends = []
    for one, mask in zip(shade, alpha, strict=True):
        inside = one[mask > HALF] if bool((mask > HALF).any()) else one.flatten()
        ends.append(torch.stack([inside.quantile(1 - BRIGHT), inside.quantile(BRIGHT)]))
    low, high = torch.stack(ends)[..., None, None].unbind(1)
    return ((shade - low) / (high - low).clamp_min(NARROW)).clamp(0, 1)


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


class Bends:
    """How layers of each sprite are stretched, sheared and tilted, summed up."""

    def __init__(self, spec: SceneSpec, like: Tensor) -> None:
        self.size = spec.pose_size
        self.sums = like.new_zeros((spec.n_sprites, self.size - SIMILARITY))
        self.total = like.new_full((spec.n_sprites, 1), 1e-6)

    def add(self, layers: Layers, weight: Tensor) -> None:
        """Layers of images; `weight` (B, L) is how much each of them counts."""
        sprite, weight = layers.sprite.flatten(), weight.flatten()[:, None]
        bend = layers.pose[..., SIMILARITY:].flatten(0, 1)
        self.sums = self.sums.index_add(0, sprite, bend * weight)
        self.total = self.total.index_add(0, sprite, weight)

    def mean(self) -> Tensor | None:
        """The mean of each sprite as a pose (K, Q) at zero; None if none is bent."""
        if self.size == SIMILARITY:
            return None
        return F.pad(self.sums / self.total, (SIMILARITY, 0))


def straightened(points: Tensor, bend: Tensor) -> Tensor:
    """Where points (K, h, w, 2) of sprites that are bent less were before."""
    h, w = points.shape[1:3]
    half = points.new_tensor([w / 2, h / 2])
    linear = (points * half) @ to_frame(bend, (h, w))[:, None].transpose(2, 3)
    return tilted(linear, bend)


def gauge_grid(masks: Tensor, spec: SceneSpec, bend: Tensor | None = None) -> Tensor:
    """Where to look to see masks centered and of standard spread, (K, h, w, 2)."""
    if bend is None:
        return centered_grid(masks, spec)
    k, h, w = masks.shape
    points = frame_points((h, w), masks).view(1, h, w, 2).expand(k, -1, -1, -1)
    where = straightened(points, bend)
    seen = F.grid_sample(masks[:, None], where, align_corners=False)[:, 0]
    return straightened(centered_grid(seen, spec), bend)


def centered_grid(masks: Tensor, spec: SceneSpec) -> Tensor:
    """The same for masks that are not bent on average."""
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
