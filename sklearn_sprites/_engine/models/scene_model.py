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
from sklearn_sprites._engine.modules.heads import GroupedHead
from sklearn_sprites._engine.modules.pose_head import SIMILARITY, PoseHead
from sklearn_sprites._engine.modules.scene_sprites import SceneSprites
from sklearn_sprites._engine.scene_settings import Gradient
from sklearn_sprites._engine.scene_spec import BEND_BOUNDS, BENDS, SceneSpec

RANGE = 4.0  # factor between the first scale and the largest, and the least
LEAK = 0.01  # slope outside of bounds: what is there can be pulled back
SPLINE_BOUND = 0.5  # how far control points are moved, from -1 to 1 over a sprite
FAR = 1e3  # pixels, or logarithms: farther away values are cut


class Regressed(NamedTuple):
    """What the network says of B images.

    ``pose`` (B, L, 1 or K, Q), as in ``search.layers.Layers``, and ``spline`` (B, L, 1
    or K, G, 2), as in ``search.splines``, the same for all sprites or for each;
    ``over`` (B, L, L) in [0, 1], how much layer i hides layer j; ``color`` (B, L, C, 2)
    and ``behind`` (B, C, 2), gain and bias of layers and background, or None where they
    are solved.
    """

    pose: Tensor
    spline: Tensor
    over: Tensor
    color: Tensor | None
    behind: Tensor | None


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
        self.to(sprites.device)

    def forward(self, images: Tensor, with_own: bool = True) -> Regressed:
        """Regress the layers of (B, C, H, W), with or without what joins later.

        That are splines, and sprites' own poses.
        """
        latents = self.network.localizer(images)
        guess = self.network.guess(latents)
        pose, features = guess.pose, latents.features
        pose = F.pad(pose, (0, self.spec.pose_size - pose.shape[-1]))
        if self.own is not None and with_own:
            pose = pose + self.own(features, torch.zeros_like(latents.place))
        color = behind = None
        if self.color is not None:
            color = _gain_and_bias(self.color(features.flatten(0, 1)))
            color = color.unflatten(0, features.shape[:2])
        if self.behind is not None:
            behind = _gain_and_bias(self.behind(features.flatten(1)))
        over, spline = self._over(guess.order, pose), self._spline(features, with_own)
        return Regressed(self._bounded(pose), spline, over, color, behind)

    def _spline(self, features: Tensor, with_own: bool) -> Tensor:
        """Splines of layers (B, L, D); without control points until they join."""
        if self.spline is None or not with_own:
            return features.new_zeros((*features.shape[:2], 1, 0, 2))
        told = self.spline(features.flatten(0, 1)).nan_to_num().clamp(-FAR, FAR)
        bound = told.new_tensor(SPLINE_BOUND)
        spline = _bounded_on_both_sides(told, bound).unflatten(-1, (-1, 2))
        return spline.unflatten(0, features.shape[:2])

    def _bounded(self, pose: Tensor) -> Tensor:
        """Centers in the image, scales and bends within a range, softly.

        Otherwise layers that do harm at first shrink to nothing, or leave, for good.
        Poses are finite, as NaN would crash the sampler.
        """
        spec, pose = self.spec, pose.nan_to_num().clamp(-FAR, FAR)
        first = math.log(self.settings.first_scale) if spec.has_scale else 0.0
        x = _leaky(pose[..., 0], 0, spec.width)
        y = _leaky(pose[..., 1], 0, spec.height)
        log_scale = first + _leaky(pose[..., 2], -math.log(RANGE), math.log(RANGE))
        rigid = torch.stack([x, y, log_scale, pose[..., 3]], -1)
        bend = pose[..., SIMILARITY:]
        bound = pose.new_tensor(BEND_BOUNDS[: bend.shape[-1]])
        return torch.cat([rigid, _bounded_on_both_sides(bend, bound)], -1)

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


def _leaky(x: Tensor, low: float, high: float) -> Tensor:
    """Clip to [low, high] but for a small slope outside."""
    inside = x.clamp(low, high)
    return inside + LEAK * (x - inside)


def _bounded_on_both_sides(x: Tensor, bound: Tensor) -> Tensor:
    """`x`, but outside of [-bound, bound] ever less; at most half as far again."""
    inside = torch.minimum(torch.maximum(x, -bound), bound)
    beyond = LEAK * (x - inside)
    return inside + beyond / (1 + 2 * beyond.abs() / bound)


def _gain_and_bias(predicted: Tensor) -> Tensor:
    """(m, 1, 2 C) to (m, C, 2); zeros change nothing."""
    pairs = predicted[:, 0].unflatten(1, (-1, 2)).nan_to_num()
    return pairs + pairs.new_tensor([1.0, 0.0])
