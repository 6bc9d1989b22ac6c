"""Scenes drawn from the layers found in others: labels without limit."""

from typing import NamedTuple

import torch
from torch import Tensor

from sklearn_sprites._engine.ops.layers import clear_share, compose, free_share
from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.layers import Layers, Sprites, draw


class Taught(NamedTuple):
    """Layers of n images to learn from.

    ``sprite`` (n, L), ``pose`` (n, L, 4), ``on`` (n, L) as in :class:`Layers`;
    ``color`` (n, L, C).
    """

    sprite: Tensor
    pose: Tensor
    on: Tensor
    color: Tensor

    def take(self, rows: Tensor) -> "Taught":
        """Those of some images."""
        return Taught(*(each[rows] for each in self))

    def to(self, device: torch.device) -> "Taught":
        """The same on a device."""
        return Taught(*(each.to(device) for each in self))

    def joined(self, others: "Taught") -> "Taught":
        """These, then others."""
        pairs = zip(self, others, strict=True)
        return Taught(*(torch.cat(pair) for pair in pairs))


def sampled(
    taught: Taught, count: int, spec: SceneSpec, draws: torch.Generator
) -> Taught:
    """Layers of further scenes.

    Sprites with their sizes, places and colors are each those of some layer that was
    seen; angles are even where layers may be turned.
    """

    def some(n: int, shape: tuple[int, ...]) -> Tensor:
        return torch.randint(n, shape, generator=draws)

    n, layers = taught.on.shape
    shape, flat = (count, layers), Taught(*(each.flatten(0, 1) for each in taught))
    shown = flat.on.nonzero()[:, 0]
    if not len(shown):
        return taught.take(some(n, (count,)))
    what, where, hue = (shown[some(len(shown), shape)] for _ in range(3))
    pose = flat.pose[what].clone()
    pose[..., :2] = flat.pose[where][..., :2]
    if spec.has_rotation:
        pose[..., 3] = 2 * torch.pi * torch.rand(shape, generator=draws)
    on = taught.on[some(n, (count,))]
    return Taught(flat.sprite[what], pose, on, flat.color[hue])


def drawn_scenes(
    taught: Taught,
    behind: Tensor,
    sprites: Sprites,
    spec: SceneSpec,
    draws: torch.Generator,
) -> Tensor:
    """Views of layers that hide each other in a random order.

    `behind` (n, C, H, W) or (n, C, 1, 1) is what they stand before.
    """
    n, count = taught.on.shape
    rank = torch.rand((n, count), generator=draws).to(taught.pose)
    over = (rank[:, :, None] > rank[:, None]).to(taught.pose)
    layers = Layers(taught.sprite, taught.pose, taught.on, over)
    drawn = draw(sprites, layers, spec.height, spec.width)
    ink, alpha = drawn[:, :, 0], drawn[:, :, -1]
    image = compose(free_share(alpha, over) * ink, taught.color)
    image = image + clear_share(alpha) * behind
    return torch.cat([image, behind], 1) if spec.has_picture else image
