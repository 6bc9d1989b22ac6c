"""Scenes whose layers are regressed: sprites, backgrounds, and a network.

Letters: B images, L layers, K sprites, C channels, P pixels (in whole cache lines, see
``ops.layers.flat``), H W image, h w sprite.
"""

import math
from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sklearn_sprites._engine.models.scene_build import build_localizer
from sklearn_sprites._engine.models.scene_network import SceneNetwork
from sklearn_sprites._engine.modules.bounds import bounded_pose, bounded_spline
from sklearn_sprites._engine.modules.ground_head import GroundHead, GroundPose
from sklearn_sprites._engine.modules.heads import GroupedHead
from sklearn_sprites._engine.modules.pose_head import PoseHead
from sklearn_sprites._engine.modules.scene_sprites import SceneSprites
from sklearn_sprites._engine.ops.constants import constant
from sklearn_sprites._engine.scene_settings import Gradient
from sklearn_sprites._engine.scene_spec import BENDS, SIMILARITY, SceneSpec


class Regressed(NamedTuple):
    """What the network says of B images.

    ``pose`` (B, L, 1 or K, Q), as in ``search.layers.Layers``, and ``spline`` (B, L, 1
    or K, G, 2), as in ``search.splines``, the same for all sprites or for each;
    ``over`` (B, L, L) in [0, 1], how much layer i hides layer j; ``color`` (B, L, C, 2)
    and ``behind`` (B, C, 2), gain and bias of layers and background, or None where they
    are solved; ``ground``, where the background is.
    """

    pose: Tensor
    spline: Tensor
    over: Tensor
    color: Tensor | None
    behind: Tensor | None
    ground: GroundPose


class SceneModel(nn.Module):
    """Sprites (K, C + 1, h, w), backgrounds (M, C, H, W), and who says where they are.

    Heads that layers have, for pose, spline, color and order, are shared by all
    sprites; where settings say so, sprites add a pose and have a spline of their own.
    `generator`, on the CPU, decides the first weights.
    """

    def __init__(
        self,
        spec: SceneSpec,
        settings: Gradient,
        sprites: Tensor,
        backgrounds: Tensor,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.spec, self.settings = spec, settings
        self.sprites = SceneSprites(sprites, spec.color != "flat")
        self.backgrounds = nn.Parameter(backgrounds, requires_grad=spec.has_picture)
        localizer = build_localizer(spec, settings, generator)
        orders = spec.order == "predict" and spec.n_layers > 1
        self.network = SceneNetwork(
            layer_spec(spec, settings), localizer, generator, 1, False, orders
        )
        d, c = localizer.n_features, spec.channels
        self.own: PoseHead | None = None
        if settings.per_sprite:
            self.own = PoseHead(spec, d, localizer.reach, generator)
        self.color: GroupedHead | None = None
        self.behind: GroupedHead | None = None
        if predicts_color(settings):
            self.color = GroupedHead(d, 1, 2 * c, generator)
            if spec.n_backgrounds:
                self.behind = GroupedHead(spec.n_layers * d, 1, 2 * c, generator)
        self.spline: GroupedHead | None = None
        if spec.has_spline:
            groups = spec.n_sprites if settings.per_sprite else 1
            self.spline = GroupedHead(d, groups, 2 * spec.n_control, generator)
        self.ground: GroundHead | None = None
        if spec.moves_ground:
            wide = spec.n_layers * d
            self.ground = GroundHead(spec.of_ground(), wide, generator)
        self.to(sprites.device)

    def forward(self, images: Tensor, with_own: bool = True) -> Regressed:
        """Regress the layers of (B, C, H, W), with or without what joins later.

        That are bends and splines of layers, sprites' own poses, and what backgrounds
        do.
        """
        latents = self.network.localizer(images)
        guess = self.network.guess(latents)
        pose, features = guess.pose, latents.features
        if not with_own:
            pose = pose[..., :SIMILARITY]
        pose = F.pad(pose, (0, self.spec.pose_size - pose.shape[-1]))
        if self.own is not None and with_own:
            pose = pose + self.own(features, torch.zeros_like(latents.place))
        color = behind = None
        if self.color is not None:
            color = _gain_and_bias(self.color(features.flatten(0, 1)))
            color = color.unflatten(0, features.shape[:2])
        if self.behind is not None:
            behind = _gain_and_bias(self.behind(features.flatten(1)))
        ground = GroundPose.still(features)
        if self.ground is not None and with_own:
            ground = self.ground(features.flatten(1))
        over, spline = self._over(guess.order, pose), self._spline(features, with_own)
        first = math.log(self.settings.first_scale) if self.spec.has_scale else 0.0
        pose = bounded_pose(pose, (self.spec.height, self.spec.width), first)
        return Regressed(pose, spline, over, color, behind, ground)

    def _spline(self, features: Tensor, with_own: bool) -> Tensor:
        """Splines (B, L, 1 or K, G, 2) from features (B, L, D).

        G is 0 until they join.
        """
        if self.spline is None or not with_own:
            return features.new_zeros((*features.shape[:2], 1, 0, 2))
        spline = bounded_spline(self.spline(features.flatten(0, 1)))
        return spline.unflatten(0, features.shape[:2])

    def _over(self, order: Tensor | None, pose: Tensor) -> Tensor:
        """Predicted order, or that of depth: later layers in front."""
        b, n = pose.shape[:2]
        if order is None:
            return pose.new_ones((n, n)).tril(-1).expand(b, n, n)
        apart = 1 - torch.eye(n, dtype=pose.dtype, device=pose.device)
        return order.sigmoid() * apart

    def per_sprite(self) -> list[nn.Parameter]:
        """Parameters whose first axis runs over the sprites."""
        own = [] if self.own is None else [self.own.head]
        if self.spline is not None and self.settings.per_sprite:
            own.append(self.spline)
        heads = [p for head in own for p in (head.group_weight, head.group_bias)]
        return [self.sprites.colors, self.sprites.masks, *heads]

    def drawn(self) -> list[nn.Parameter]:
        """What is drawn, as opposed to the network's weights."""
        return [self.sprites.colors, self.sprites.masks, self.backgrounds]


def predicts_color(settings: Gradient) -> bool:
    """Whether colors come from the network."""
    return settings.color == "predict"


def layer_spec(spec: SceneSpec, settings: Gradient) -> SceneSpec:
    """What layers regress for all sprites together."""
    if settings.per_sprite:
        spec = spec.without("rotation", *BENDS)
    return replace(spec, n_sprites=1)


def _gain_and_bias(predicted: Tensor) -> Tensor:
    """(m, 1, 2 C) to (m, C, 2); zeros change nothing."""
    pairs = predicted[:, 0].unflatten(1, (-1, 2)).nan_to_num()
    return pairs + constant([1.0, 0.0], pairs)
