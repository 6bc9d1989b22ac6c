"""From the features of all layers to how a background is moved and bent."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from sklearn_sprites._engine.modules.bounds import bounded_pose, bounded_spline
from sklearn_sprites._engine.modules.heads import GroupedHead
from sklearn_sprites._engine.modules.pose_head import PoseHead
from sklearn_sprites._engine.ops.constants import constant
from sklearn_sprites._engine.scene_spec import SceneSpec


class GroundPose(NamedTuple):
    """Backgrounds as if they were sprites of the size of the image.

    ``pose`` (B, Q) and ``spline`` (B, G, 2), as in ``search.poses`` and
    ``search.splines``; Q is 0 where backgrounds stay, G where they are not bent.
    """

    pose: Tensor
    spline: Tensor

    @classmethod
    def still(cls, like: Tensor) -> "GroundPose":
        """Of backgrounds that stay where they are, in images (B, ...)."""
        n = len(like)
        return cls(like.new_zeros((n, 0)), like.new_zeros((n, 0, 2)))


class GroundHead(nn.Module):
    """A head that starts at zero, where the background stays.

    Parameters
    ----------
    spec : SceneSpec
        What backgrounds may do, see :meth:`SceneSpec.of_ground`.
    n_features : int
        F.
    generator : torch.Generator
        A generator on the CPU; decides the first weights.
    """

    def __init__(
        self, spec: SceneSpec, n_features: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.sides = spec.height, spec.width
        self.reach = (spec.width / 2, spec.height / 2)
        self.pose = PoseHead(spec, n_features, self.reach, generator)
        self.spline: GroupedHead | None = None
        if spec.has_spline:
            self.spline = GroupedHead(n_features, 1, 2 * spec.n_control, generator)

    def forward(self, features: Tensor) -> GroundPose:
        """Features (B, F)."""
        middle = constant(self.reach, features).expand(len(features), 1, 2)
        pose = self.pose(features[:, None], middle)[:, 0, 0]
        spline = GroundPose.still(features).spline
        if self.spline is not None:
            spline = bounded_spline(self.spline(features)[:, 0])
        return GroundPose(bounded_pose(pose, self.sides), spline)
