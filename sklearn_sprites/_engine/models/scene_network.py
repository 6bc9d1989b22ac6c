"""A network that guesses the layers of scenes in one pass."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sklearn_sprites._engine.modules.heads import GroupedHead
from sklearn_sprites._engine.modules.latents import AbstractLocalizer, Latents
from sklearn_sprites._engine.modules.pose_head import PoseHead
from sklearn_sprites._engine.scene_spec import SceneSpec


class LayerGuess(NamedTuple):
    """What a network says about the layers of B images.

    ``pose`` (B, L, K, Q), the pose of each layer under each sprite, as in
    ``search.layers.Layers``; ``logits`` (B, L, K + 1) of the sprite shown, the last of
    an empty layer; ``order`` (B, L, L), logits of layer i hiding layer j. None: not
    guessed; the order is then solved, as colors always are.
    """

    pose: Tensor
    logits: Tensor | None = None
    order: Tensor | None = None


class SceneNetwork(nn.Module):
    """Latents of layers by a localizer, then heads that start at zero.

    Parameters
    ----------
    spec : SceneSpec
        Sprites and layers.
    localizer : AbstractLocalizer
        From images to latents.
    generator : torch.Generator
        A generator on the CPU; decides the heads' first weights.
    angles : int, default=1
        See :class:`PoseHead`.
    chooses : bool, default=True
        Whether sprites are told, too.
    orders : bool, default=False
        Whether it is told who hides whom.
    """

    def __init__(
        self,
        spec: SceneSpec,
        localizer: AbstractLocalizer,
        generator: torch.Generator,
        angles: int = 1,
        chooses: bool = True,
        orders: bool = False,
    ) -> None:
        super().__init__()
        self.spec, self.localizer = spec, localizer
        d, n, k = localizer.n_features, spec.n_layers, spec.n_sprites
        self.pose = PoseHead(spec, d, localizer.reach, generator, angles)
        self.choice = GroupedHead(d, 1, k + 1, generator) if chooses else None
        pairs = n * (n - 1) // 2
        self.order = GroupedHead(n * d, 1, pairs, generator) if orders else None

    def forward(self, images: Tensor) -> LayerGuess:
        """Images (B, C, H, W) to a guess."""
        return self.guess(self.localizer(images))

    def guess(self, latents: Latents) -> LayerGuess:
        """What the heads say of latents."""
        features = latents.features
        pose = self.pose(features, latents.place)
        logits = None if self.choice is None else self._logits(latents)
        order = None if self.order is None else self._order(features)
        return LayerGuess(pose, logits, order)

    def _logits(self, latents: Latents) -> Tensor:
        """Of sprites and of an empty layer; the localizer may know of presence."""
        assert self.choice is not None, "a network that chooses"
        logits = self.choice(latents.features.flatten(0, 1))[:, 0]
        logits = logits.unflatten(0, latents.features.shape[:2])
        if latents.presence is None:
            return logits
        which = logits[..., :-1].log_softmax(-1)
        shown = F.logsigmoid(latents.presence)[..., None]
        return torch.cat([which + shown, F.logsigmoid(-latents.presence)[..., None]], 2)

    def _order(self, features: Tensor) -> Tensor:
        """Logits (B, L, L); that of j over i is the opposite of that of i over j."""
        assert self.order is not None, "a network that orders"
        pairs = self.order(features.flatten(1))[:, 0]
        n = self.spec.n_layers
        row, column = torch.tril_indices(n, n, -1, device=pairs.device)
        below = pairs.new_zeros((len(pairs), n, n))
        below[:, row, column] = pairs
        return below - below.transpose(1, 2)
