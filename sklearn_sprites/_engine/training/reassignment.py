"""Sprites that explain too little get a new start, in one of two ways."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from sklearn_sprites._engine.models.candidates import borrowed_errors, candidate_errors
from sklearn_sprites._engine.models.clustering import Description
from sklearn_sprites._engine.modules.families import rigid_name
from sklearn_sprites._engine.ops.adjoint import adjoint
from sklearn_sprites._engine.settings import ClonePerturb, Swap
from sklearn_sprites._engine.training.likeness import in_every_pose
from sklearn_sprites._engine.training.loop import Learner
from sklearn_sprites._engine.training.splits import (
    by_size,
    judgment,
    least_missed,
    noise_levels,
    split_gains,
)
from sklearn_sprites._engine.training.start import first_family
from sklearn_sprites._engine.training.surgery import copy_rows, set_sprite
from sklearn_sprites._engine.training.witnesses import Witnesses, call_witnesses

LOOK = 1000  # images that judge which sprites are moved, and may come back
SHARE = 0.75  # of a small set that judges the rest: more would take time and no better
PERFECT = 0.02  # share of the squares within images that is left of half of them
FAINT = 0.05  # of the mean weight: pixels that hardly anyone sees do not decide


def spare_count(rule: Swap | ClonePerturb | None, n_sprites: int, n_images: int) -> int:
    """How many sprites more than wanted are trained."""
    if not isinstance(rule, Swap) or n_sprites < 2:
        return 0
    spares = -(-n_sprites // 2) if rule.spares is None else rule.spares
    return max(0, min(spares, n_images - n_sprites))


def epochs_between(rule: Swap, is_layered: bool) -> int:
    """Epochs between two looks: two layers settle more slowly."""
    return rule.every or (3 if is_layered else 2)


def judges(rule: Swap, n_images: int) -> int:
    """How many of `n_images` judge which clusters are split, and what goes for good."""
    return min(rule.n_images, max(LOOK, int(SHARE * n_images)))


def turnover(spares: int) -> int:
    """How many sprites are moved at a time: the others go on proving themselves."""
    return -(-3 * spares // 4)


def sprites_kept(
    rule: Swap, epoch: int, max_epochs: int, n_sprites: int, total: int
) -> int:
    """How many of `total` sprites are in use after an epoch.

    All of them at first; from two thirds of the time on that the rule has, they are
    taken away one by one, so that those that stay can learn what the others drew.
    """
    end = rule.until * max_epochs
    begin = end * 2 / 3
    if epoch <= begin:
        return total
    left = max(0.0, (end - epoch) / max(end - begin, 1e-9))
    return n_sprites + math.floor((total - n_sprites) * left)


class Wishes(NamedTuple):
    """How images would change their sprites.

    Right-hand sides (m, C, P) and weights (m, C, P) of the normal equations of a
    sprite's pixels: their sums' quotient is the change that explains the images best.
    """

    right: Tensor
    weight: Tensor

    def features(self) -> Tensor:
        """Changes scaled so that their squares are the errors saved, (m, C * P)."""
        return self.right.flatten(1) / _floored(self.weight.flatten(1)).sqrt()

    def change(self, rows: Tensor) -> Tensor:
        """What explains the images `rows` best, (C, P)."""
        return self.right[rows].sum(0) / _floored(self.weight[rows].sum(0))


def _floored(weight: Tensor) -> Tensor:
    """Weights with a share of their mean added, above zero also where nobody looks."""
    return (weight + FAINT * weight.mean()).clamp_min(1e-12)


def wishes(
    learner: Learner, witnesses: Witnesses, owners: Tensor, active: frozenset[str]
) -> Wishes:
    """What images would change in the sprites that they belong to, `owners` (n,).

    Residuals go back through color, mask and warp by the adjoint of drawing.
    """
    learner.model.eval()
    asked = witnesses.parts(learner.model, owners)
    parts = [_wishes(learner, *some, active) for some in asked]
    learner.model.train()
    return Wishes(*(torch.cat(column) for column in zip(*parts, strict=True)))


def _wishes(
    learner: Learner,
    seen: Tensor,
    owners: Tensor,
    description: Description,
    active: frozenset[str],
) -> tuple[Tensor, Tensor]:
    model, spec = learner.model, learner.model.spec
    images, weights = learner.images[seen], learner.weights[seen]
    weights = weights[:, None, None, None]
    with torch.no_grad():
        behind = _behind(learner, images, owners, description, active)
    rows = torch.arange(len(seen), device=seen.device)
    own = model.sprites.detach()[owners].requires_grad_()  # one of its own per image
    with torch.enable_grad():
        front = model.front(rows, owners, description, own)
    drawn = model.finish(
        front.detach(), images, rows, owners, behind, description, active, None
    )
    shown = 1 + drawn.color[..., :1, None]  # what a pixel of the sprite adds: its gain
    shown = shown if drawn.alpha is None else shown * drawn.alpha
    residual = images - drawn.image
    channels = spec.channels
    if model.pixel_weights is not None:
        weights = weights * model.pixel_weights
    found = []
    for seen in (residual, shown.expand_as(images)):
        cotangent = torch.zeros_like(front)
        cotangent[:, :channels] = weights * shown * seen
        brought = adjoint(front, own, cotangent)
        found.append(brought[:, :channels].flatten(2))
    return found[0], found[1].clamp_min(0)


def _behind(
    learner: Learner,
    images: Tensor,
    owners: Tensor,
    description: Description,
    active: frozenset[str],
) -> Tensor:
    """The best background (B,) of each image behind its own sprite."""
    model = learner.model
    if model.spec.n_backgrounds < 2:
        return torch.zeros_like(owners)
    errors = candidate_errors(model, images, owners[:, None], description, active)
    return errors[:, 0].argmin(1)


def farewell(learner: Learner, rule: Swap, n_kept: int, active: frozenset[str]) -> None:
    """Take sprites out of use for good, until `n_kept` are left."""
    if learner.n_used > n_kept:
        is_costly = learner.model.spec.is_layered  # an image takes as long as several
        n_images = judges(rule, len(learner.images))
        n_images = min(LOOK, n_images) if is_costly else n_images
        (witnesses,) = call_witnesses(learner, active, n_images)
        prune(learner, rule, n_kept, witnesses, active)


def move(learner: Learner, rule: Swap, n_moved: int, active: frozenset[str]) -> None:
    """Give the sprites that are missed least to clusters that gain by a split."""
    n_kept = learner.model.spec.n_sprites - n_moved
    if learner.n_used <= n_kept and not learner.spare:
        return
    n_images = judges(rule, len(learner.images))
    some, more = call_witnesses(learner, active, LOOK, n_images)
    prune(learner, rule, n_kept, some, active)
    grow(learner, rule, more, active)


def prune(
    learner: Learner,
    rule: Swap,
    n_kept: int,
    witnesses: Witnesses,
    active: frozenset[str],
) -> None:
    """Take the sprites that are missed least out of use, until `n_kept` are left."""
    if learner.n_used <= n_kept:
        return
    errors = prospects(learner, witnesses, active)
    how = judgment(rule, learner.model.spec.is_layered)
    gone = least_missed(errors, n_kept, how)
    learner.ledger.retire(gone)
    learner.spare.extend(gone)


@torch.no_grad()
def prospects(learner: Learner, witnesses: Witnesses, active: frozenset[str]) -> Tensor:
    """Errors (m, K) of some images under all sprites, once heads had learned them.

    A sprite looks bad on images that its head has never won, also if it shows the same
    thing. So it is tried with the parameters that the image's own sprite has found, and
    the better of this and of what the ledger knows counts. Where images are explained
    nearly perfectly, sprites of one thing in other poses are moved for it.
    """
    model, ledger = learner.model, learner.ledger
    model.eval()
    posed = _posed(learner, witnesses.rows)
    best = ledger.errors[witnesses.rows].argmin(1)
    parts = []
    for rows, owners, description in witnesses.parts(model, best):
        images, known = learner.images[rows], ledger.errors[rows]
        errors = borrowed_errors(model, images, owners, description, active, posed)
        errors = errors.amin(2)
        tried = torch.minimum(errors * learner.weights[rows, None], known)
        parts.append(tried.masked_fill(torch.isinf(known), torch.inf))
    model.train()
    return torch.cat(parts)


def _posed(learner: Learner, rows: Tensor) -> Tensor | None:
    """Opaque sprites in the poses of others, if images at `rows` are nearly perfect."""
    spec, images = learner.model.spec, learner.images[rows]
    name = rigid_name(spec)
    if spec.is_layered or name is None:
        return None
    squares = images.flatten(2).var(2, correction=0).sum(1) * images[0, 0].numel()
    errors = learner.ledger.errors[rows].amin(1) / learner.weights[rows]
    share = float((errors / squares.clamp_min(1e-12)).median())
    if not share < PERFECT:
        return None
    return in_every_pose(learner.model.sprites, first_family(images, spec, name))


def grow(
    learner: Learner, rule: Swap, witnesses: Witnesses, active: frozenset[str]
) -> None:
    """Give spare sprites to the clusters that gain most by a split.

    What a split would gain is only an estimate, so every split that a cluster has
    seen halves its claim to another one, and the next ones get their turn.
    """
    if not learner.spare:
        return
    errors, owners = learner.ledger.errors[witnesses.rows].min(1)
    wished = wishes(learner, witnesses, owners, active)
    features = wished.features() / noise_levels(errors).sqrt()[:, None]
    gains, halves = split_gains(
        features, owners, learner.model.spec.n_sprites, learner.draws
    )
    how = judgment(rule, learner.model.spec.is_layered)
    gains = by_size(gains, owners, how.power)
    hopes = gains * 0.5 ** learner.splits.to(gains)
    ranked = hopes.argsort(descending=True).tolist()
    for parent in [k for k in ranked if k in halves][: len(learner.spare)]:
        spare = learner.spare.pop()
        _split(learner, spare, parent, [wished.change(rows) for rows in halves[parent]])
        learner.ledger.copy(parent, spare)
        learner.splits[parent] += 1
        learner.splits[spare] = learner.splits[parent]


@torch.no_grad()
def _split(learner: Learner, goes: int, splits: int, changes: list[Tensor]) -> None:
    """Sprites `goes` and `splits` become the two halves of cluster `splits`."""
    model, optimizer = learner.model, learner.optimizer
    copy_rows(model, optimizer, splits, goes)
    image = model.sprites[splits, : model.spec.channels].clone()
    for row, change in zip((goes, splits), changes, strict=True):
        set_sprite(model, optimizer, row, image + change.view_as(image))


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


def cloning(rule: object) -> Callable[[Learner], None] | None:
    """What to do after every step under the papers' rule; nothing under another."""
    if not isinstance(rule, ClonePerturb):
        return None

    def after_step(learner: Learner) -> None:
        if learner.steps % rule.check == 0:
            clone(learner, rule)

    return after_step
