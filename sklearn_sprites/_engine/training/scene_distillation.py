"""A network learns the layers that search has found, and those of drawn scenes."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sklearn_sprites._engine.models.scene_network import SceneNetwork
from sklearn_sprites._engine.modules.peaks import PeakMaps
from sklearn_sprites._engine.modules.pose_head import PoseTerms
from sklearn_sprites._engine.training.scene_sampling import Taught

SPREAD = 0.7  # of the heat that a middle is taught with, in cells
CERTAIN, NEAR = 2, 4  # powers of the heat's loss
JITTER = 0.5  # share of the layers that are described from a cell beside their own


class Losses(NamedTuple):
    """Means over layers."""

    heat: Tensor
    sprite: Tensor
    pose: Tensor


def losses(
    network: SceneNetwork, images: Tensor, taught: Taught, draws: torch.Generator
) -> Losses:
    """How far a network's guess is from what is taught."""
    localizer = network.localizer
    assert isinstance(localizer, PeakMaps), "layers with an order of their own"
    heat = localizer.heat(images)
    rows, columns = heat.cells.shape[1:]
    position = taught.pose[..., :2] / localizer.cell
    side = position.new_tensor([columns, rows])
    own = torch.minimum(position.floor().clamp_min(0), side - 1)  # (B, L, 2)
    count = taught.on.sum().clamp_min(1)
    far = (_grid(rows, columns, position) - own[:, :, None]).square().sum(3)
    target = (far / (-2 * SPREAD**2)).exp() * taught.on[..., None]
    heat_loss = focal(heat.cells.flatten(1), target.amax(1)) / count
    move = torch.randint(-1, 2, own.shape, generator=draws).to(own)
    moves = torch.rand(own.shape[:2], generator=draws).to(own) < JITTER
    cell = own + move * moves[..., None]
    cell = torch.minimum(cell.clamp_min(0), side - 1)
    spot = (cell[..., 1] * columns + cell[..., 0]).long()
    latents = localizer.at(heat, spot)
    on = taught.on.flatten()
    assert network.choice is not None, "a network that tells sprites"
    logits = network.choice(latents.features.flatten(0, 1))[:, 0, :-1]
    sprite = F.cross_entropy(logits, taught.sprite.flatten(), reduction="none")
    pose = pose_loss(network, latents.features, latents.place, taught)
    return Losses(
        heat_loss, (sprite * on).sum() / count, (pose.flatten() * on).sum() / count
    )


def _grid(rows: int, columns: int, like: Tensor) -> Tensor:
    """Cells (x, y), row by row, (rows * columns, 2)."""
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.stack([x, y], -1).flatten(0, 1).to(like)


def focal(logits: Tensor, target: Tensor) -> Tensor:
    """Sum of a cross-entropy that forgives what is certain, or near a middle.

    Target one asks for an object; below one, the nearer to it, the less for none.
    """
    chance = logits.sigmoid()
    here = -((1 - chance) ** CERTAIN) * F.logsigmoid(logits)
    absent = -((1 - target) ** NEAR) * chance**CERTAIN * F.logsigmoid(-logits)
    return torch.where(target == 1, here, absent).sum()


def pose_loss(
    network: SceneNetwork, features: Tensor, place: Tensor, taught: Taught
) -> Tensor:
    """Of the poses of layers (B, L) under their own sprites."""
    terms = network.pose.terms(features)
    index = taught.sprite[:, :, None, None]

    def own(values: Tensor) -> Tensor:
        wide = index.expand(-1, -1, 1, values.shape[3])
        return values.gather(2, wide)[:, :, 0]

    reach = place.new_tensor(network.pose.reach)
    xy = (taught.pose[..., :2] - place) / reach
    loss = F.smooth_l1_loss(own(terms.offset), xy, reduction="none", beta=0.2).sum(2)
    if terms.log_scale is not None:
        size = terms.log_scale.gather(2, index[..., 0])[..., 0]
        loss = loss + 4 * F.smooth_l1_loss(
            size, taught.pose[..., 2], reduction="none", beta=0.05
        )
    if terms.turn is not None:
        loss = loss + _turn_loss(terms, own, taught.pose[..., 3])
    return loss


def _turn_loss(
    terms: PoseTerms, own: Callable[[Tensor], Tensor], angle: Tensor
) -> Tensor:
    assert terms.turn is not None, "layers that are turned"
    turn = own(terms.turn)
    if terms.angle is None:
        return F.smooth_l1_loss(turn[..., 0], angle, reduction="none", beta=0.1)
    n = turn.shape[-1]
    share = angle * (n / (2 * math.pi))
    best = share.round()
    which = (best.long() % n)[..., None]
    rest = share - best
    logits = own(terms.angle)
    chosen = -logits.log_softmax(2).gather(2, which)[..., 0]
    near = F.smooth_l1_loss(
        turn.gather(2, which)[..., 0], rest, reduction="none", beta=0.1
    )
    return 0.5 * chosen + near
