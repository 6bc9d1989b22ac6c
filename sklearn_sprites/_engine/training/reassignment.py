"""Sprites that explain too little get a new start, in one of two ways."""

from collections.abc import Callable

import torch
from torch import Tensor

from sklearn_sprites._engine.models.clustering import color_of
from sklearn_sprites._engine.ops.color import apply_color, solve_color
from sklearn_sprites._engine.ops.compositing import softclip
from sklearn_sprites._engine.settings import ClonePerturb, Swap
from sklearn_sprites._engine.spec import COLORS
from sklearn_sprites._engine.training.loop import Learner
from sklearn_sprites._engine.training.splits import least_missed, split_gains
from sklearn_sprites._engine.training.surgery import copy_rows, set_sprite


def spare_count(rule: Swap | ClonePerturb | None, n_sprites: int, n_images: int) -> int:
    """How many sprites more than wanted are trained."""
    if not isinstance(rule, Swap) or n_sprites < 2:
        return 0
    spares = -(-n_sprites // 2) if rule.spares is None else rule.spares
    return max(0, min(spares, n_images - n_sprites))


def epochs_between(rule: Swap, is_layered: bool) -> int:
    """Epochs between two looks: two layers settle more slowly."""
    return rule.every or (3 if is_layered else 2)


@torch.no_grad()
def aligned_images(
    learner: Learner, index: Tensor, owners: Tensor, active: frozenset[str]
) -> Tensor:
    """Images (m, C, P) in their sprite's frame, and in its colors inside its mask."""
    model, spec = learner.model, learner.model.spec
    model.eval()
    parts = []
    for rows, mine in zip(index.split(512), owners.split(512), strict=True):
        images = learner.images[rows]
        told, _ = model.parameters_of(images, active)
        every = torch.arange(len(rows), device=rows.device)
        params = {
            n: v[every, mine]
            for n, v in told.items()
            if n not in COLORS and n != "thin_plate_spline"
        }
        images = model.sequence.undo(images, params).flatten(2)
        sprites = model.sprites[mine].flatten(2)  # (m, D, P)
        weight = None
        if spec.is_layered:
            weight = softclip(sprites[:, -1:]).clamp(0, 1)
            images = images * 1.0
            sprites, mask = sprites[:, :-1], weight
            weight = weight / weight.sum(-1, keepdim=True).clamp_min(1e-3)
        if color_of(spec.transformations) in active:
            color = solve_color(images, sprites, weight, with_bias=True)
            images = apply_color(images, color).clamp(-0.5, 1.5)
        parts.append(images * mask if spec.is_layered else images)
    model.train()
    return torch.cat(parts)


def prune(learner: Learner, n_kept: int) -> None:
    """Take the sprites that are missed least out of use, until `n_kept` are left."""
    gone = least_missed(learner.ledger.errors, n_kept)
    learner.ledger.retire(gone)
    learner.spare.extend(gone)


def grow(learner: Learner, rule: Swap, active: frozenset[str]) -> None:
    """Give spare sprites to the clusters that gain most by a split."""
    if not learner.spare:
        return
    n = len(learner.images)
    order = torch.randperm(n, generator=learner.draws)[: rule.n_images]
    index = order.to(learner.images.device)
    least, owners = learner.ledger.errors[index].min(1)
    aligned = aligned_images(learner, index, owners, active).flatten(1)
    gains, halves = split_gains(
        aligned, owners, least, learner.model.spec.n_sprites, learner.draws
    )
    ranked = gains.argsort(descending=True).tolist()
    for parent in [k for k in ranked if k in halves][: len(learner.spare)]:
        spare = learner.spare.pop()
        _split(learner, spare, parent, halves[parent])
        learner.ledger.copy(parent, spare)


@torch.no_grad()
def _split(learner: Learner, goes: int, splits: int, halves: Tensor) -> None:
    """Sprites `goes` and `splits` become the two halves of cluster `splits`."""
    model, optimizer = learner.model, learner.optimizer
    copy_rows(model, optimizer, splits, goes)
    image = model.sprites[splits, : model.spec.channels]
    half = (halves[1] - halves[0]).view_as(image) / 2
    first, second = image + half, image - half
    set_sprite(model, optimizer, goes, first)
    set_sprite(model, optimizer, splits, second)


@torch.no_grad()
def clone(learner: Learner, rule: ClonePerturb) -> int:
    """The papers' rule: rarely used sprites become noisy copies of the most used."""
    model, usage = learner.model, learner.usage
    share = usage / usage.sum().clamp_min(1)
    rare = (share < rule.threshold / model.spec.n_sprites).nonzero()[:, 0].tolist()
    most = int(share.argmax())
    for row in rare:
        copy_rows(model, learner.optimizer, most, row)
        learner.ledger.copy(most, row)
    for row in [*rare, most] if rare else []:
        image = model.sprites[row, : model.spec.channels]
        noise = torch.randn(image.shape, generator=learner.draws) * rule.noise
        image += noise.to(image.device)
    usage.zero_()
    return len(rare)


def cloning(rule: object) -> Callable[[Learner, int], None] | None:
    """What to do after every step under the papers' rule; nothing under another."""
    if not isinstance(rule, ClonePerturb):
        return None

    def after_step(learner: Learner, number: int) -> None:
        if number % rule.check == 0:
            clone(learner, rule)

    return after_step
