"""Gradient steps on scenes: select, compose, step; and new starts for idle sprites."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from sklearn_sprites._engine.models.scene_model import SceneModel
from sklearn_sprites._engine.ops.layers import flat
from sklearn_sprites._engine.scene_settings import Gradient
from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.settings import ClonePerturb
from sklearn_sprites._engine.training.adam import Adam, Group
from sklearn_sprites._engine.training.regressed import Look, Rule, show
from sklearn_sprites._engine.training.surgery import copy_parameter_rows

FAINT = 1e-6  # share of a pixel below which entropy has no slope
WEIGHT_DECAY = 1e-6  # of the network
SMALLEST_BATCH = 2  # statistics of a batch need two; a single image comes twice


@dataclass
class SceneLearner:
    """Running state of one training: everything that a step changes."""

    model: SceneModel
    optimizer: Adam
    images: Tensor  # (n, C, H, W) on the device
    draws: torch.Generator  # on the CPU: orders, layers looked at
    noise: torch.Generator  # on the device: of masks
    penalty: float
    usage: Tensor  # (L, K + 1) images since the last look, the last empty
    joins: int = 0  # epochs until all that layers may do is told
    epoch: int = 0  # full epochs so far
    steps: int = 0

    @property
    def settings(self) -> Gradient:
        """How to train."""
        return self.model.settings

    @property
    def is_frozen(self) -> bool:
        """Whether sprites do not change yet."""
        return self.epoch < self.settings.freeze


def make_scene_optimizer(model: SceneModel, settings: Gradient) -> Adam:
    """Adam; what is drawn in the first group, the network with decay in the second."""
    drawn = model.drawn()
    ids = {id(p) for p in drawn}
    network = [p for p in model.parameters() if id(p) not in ids]
    learned, rate = [p for p in drawn if p.requires_grad], settings.learning_rate
    return Adam([Group(learned, rate), Group(network, rate, WEIGHT_DECAY)])


def passes(learner: SceneLearner) -> Iterator[Tensor]:
    """Indices of all images in random batches, the last smaller, but never single."""
    order = torch.randperm(len(learner.images), generator=learner.draws)
    parts = order.to(learner.images.device).split(learner.settings.batch_size)
    kept = [part for part in parts if len(part) >= SMALLEST_BATCH]
    return iter(kept or [parts[0].repeat(SMALLEST_BATCH)])


def noise_of_masks(spec: SceneSpec, strength: float, draws: torch.Generator) -> Tensor:
    """Uniform noise (K, P), the same for all images and layers (DTI-Sprites, 2.2)."""
    shape = (1, spec.n_sprites, spec.height, spec.width)
    unit = torch.rand(shape, generator=draws, device=draws.device)
    return flat(strength * (2 * unit - 1))[0]


def scene_step(learner: SceneLearner, index: Tensor) -> Tensor:
    """One gradient step on the images at `index`; the loss, still on the device."""
    model, settings = learner.model, learner.settings
    images, frozen = learner.images[index], learner.is_frozen
    regressed = model(images, learner.epoch >= learner.joins)
    noise = noise_of_masks(model.spec, settings.mask_noise, learner.noise)
    look = Look(model.sprites.raw(frozen), noise)
    rule = Rule(
        0.0 if frozen or not settings.empty else learner.penalty,
        settings.empty and not frozen,
    )
    shown, image, seen = show(images, model, regressed, look, rule)
    values = images.shape[1] * images.shape[2] * images.shape[3]
    loss = (image - flat(images)).square().sum() / (len(images) * values)
    error, weight = loss.detach(), settings.entropy_weight(learner.epoch)
    if weight:
        loss = loss + weight * pixel_entropy(seen)
    learner.optimizer.zero_grad()
    loss.backward()
    learner.optimizer.step()
    count_uses(learner, shown.choice)
    learner.steps += 1
    return error


def pixel_entropy(seen: Tensor) -> Tensor:
    """Mean squared entropy of the shares (B, L, P) that pixels show of layers.

    The rest of a pixel shows the background (Sauvalle and de La Fortelle, Eq. 21).
    """
    behind = 1 - seen.sum(1, keepdim=True)
    share = torch.cat([seen, behind], 1).clamp(min=FAINT, max=1)
    return (share * share.log()).sum(1).square().mean()


def count_uses(learner: SceneLearner, choice: Tensor) -> None:
    """Add to the uses of every sprite in every layer."""
    n, k = learner.usage.shape
    slot = choice + k * torch.arange(n, device=choice.device)
    ones = torch.ones_like(slot).flatten()
    learner.usage.view(-1).index_add_(0, slot.flatten(), ones)


def scene_epoch(learner: SceneLearner) -> float:
    """One pass over the images; the mean loss (the device is waited for once)."""
    settings = learner.settings
    drawn, network = learner.optimizer.groups
    drawn.rate = settings.learning_rate
    network.rate = settings.learning_rate * settings.rate(learner.epoch)
    learner.model.train()
    losses = []
    for index in passes(learner):
        losses.append(scene_step(learner, index))
        rule = settings.reassignment
        if rule is not None and learner.steps % rule.check == 0:
            reassign(learner, rule)
    learner.epoch += 1
    return float(torch.stack(losses).mean())


@torch.no_grad()
def reassign(learner: SceneLearner, rule: ClonePerturb) -> int:
    """Sprites that one random layer hardly uses become copies of the most used one.

    The papers' rule: shares of uses are compared with `threshold` / K; where layers may
    be empty, shares are relative to the largest. Waits for the device.
    """
    n, k = learner.usage.shape[0], learner.usage.shape[1] - 1
    layer = int(torch.randint(n, (1,), generator=learner.draws))
    uses = learner.usage[layer, :k].double()
    learner.usage.zero_()
    if learner.is_frozen or k < 2:
        return 0
    whole = uses.max() if learner.settings.empty else uses.sum()
    rare = (uses / whole.clamp_min(1) < rule.threshold / k).nonzero()[:, 0].tolist()
    most = int(uses.argmax())
    rare = [row for row in rare if row != most]
    for row in rare:
        copy_parameter_rows(learner.model.per_sprite(), learner.optimizer, most, row)
    sprites = learner.model.sprites
    drawn = sprites.colors if sprites.colors.requires_grad else sprites.masks
    for row in [*rare, most] if rare else []:
        noise = torch.randn(drawn.shape[1:], generator=learner.draws) * rule.noise
        drawn[row] += noise.to(drawn.device)
    return len(rare)
