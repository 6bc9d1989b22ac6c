"""From the features of a layer to its pose under every sprite."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sklearn_sprites._engine.modules.heads import GroupedHead
from sklearn_sprites._engine.ops.constants import constant
from sklearn_sprites._engine.scene_spec import SIMILARITY, SceneSpec


class PoseTerms(NamedTuple):
    """A pose as it is regressed, under each of K sprites; None where it is fixed.

    ``offset`` (B, L, K, 2) from the place, in units of reach; ``log_scale`` (B, L, K);
    ``turn`` (B, L, K, R), angle beyond each of R even angles, in shares of their
    distance, or in radians if R is one; ``angle`` (B, L, K, R), logits of these;
    ``bend`` (B, L, K, 2 or 4), stretch and shear of affine poses, and tilts.
    """

    offset: Tensor
    log_scale: Tensor | None
    turn: Tensor | None
    angle: Tensor | None
    bend: Tensor | None


class PoseHead(nn.Module):
    """A head per sprite; zeros at the start, which is the identity at the place.

    With several `angles`, one of them is chosen and the rest is regressed: the mean of
    angles that a symmetric sprite cannot tell apart would be none of them. With one,
    the angle itself is regressed.
    """

    def __init__(
        self,
        spec: SceneSpec,
        n_features: int,
        reach: tuple[float, float],
        generator: torch.Generator,
        angles: int = 1,
    ) -> None:
        super().__init__()
        self.spec, self.angles, self.reach = spec, angles, reach
        self.sizes = [2, int(spec.has_scale)]
        if spec.has_rotation:
            self.sizes += [angles, angles if angles > 1 else 0]
        if spec.has_affine:
            self.sizes.append(spec.pose_size - SIMILARITY)
        self.head = GroupedHead(n_features, spec.n_sprites, sum(self.sizes), generator)

    def terms(self, features: Tensor) -> PoseTerms:
        """Features (B, L, D) to what is regressed."""
        flat = self.head(features.flatten(0, 1)).unflatten(0, features.shape[:2])
        parts = flat.split(self.sizes, -1)
        log_scale = parts[1][..., 0] if self.spec.has_scale else None
        bend = parts[-1] if self.spec.has_affine else None
        if not self.spec.has_rotation:
            return PoseTerms(parts[0], log_scale, None, None, bend)
        logits = parts[3] if self.angles > 1 else None
        return PoseTerms(parts[0], log_scale, parts[2], logits, bend)

    def forward(self, features: Tensor, place: Tensor) -> Tensor:
        """Features (B, L, D) at places (B, L, 2) to poses (B, L, K, Q)."""
        terms = self.terms(features)
        reach = constant(self.reach, features)
        xy = place[:, :, None] + reach * terms.offset
        none = torch.zeros_like(xy[..., 0])
        log_scale = none if terms.log_scale is None else terms.log_scale
        angle = none if terms.turn is None else chosen_angle(terms.turn, terms.angle)
        pose = torch.cat([xy, torch.stack([log_scale, angle], -1)], -1)
        return pose if terms.bend is None else torch.cat([pose, terms.bend], -1)


def chosen_angle(turn: Tensor, logits: Tensor | None) -> Tensor:
    """Angle (...) in radians from the terms (..., R) of :class:`PoseTerms`."""
    if logits is None:
        return turn[..., 0]
    best = logits.argmax(-1, keepdim=True)
    step = 2 * math.pi / turn.shape[-1]
    return step * (best + turn.gather(-1, best))[..., 0]
