"""Sprites over backgrounds, with poses that are searched: opaque sprites, then masks.

Rounds with opaque sprites tell what recurs and how it lies, in images or in what they
show less their usual background. Masks and backgrounds are learned by gradient under
these poses, which are found again between epochs, now with masks.
"""

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from sklearn_sprites._engine.models.build import build_model, from_fitted, to_arrays
from sklearn_sprites._engine.models.candidates import candidate_errors
from sklearn_sprites._engine.models.clustering import (
    ALL_COLORS,
    ClusteringModel,
    Description,
)
from sklearn_sprites._engine.modules.families import error_weight
from sklearn_sprites._engine.ops import alignment
from sklearn_sprites._engine.records import FittedModel
from sklearn_sprites._engine.spec import ModelSpec
from sklearn_sprites._engine.training.adam import Adam, Group
from sklearn_sprites._engine.training.apart import usual, without_backgrounds
from sklearn_sprites._engine.training.ledger import RETIRED
from sklearn_sprites._engine.training.loop import CHUNK, Learner, run_epoch, survey
from sklearn_sprites._engine.training.run import Progress, publish
from sklearn_sprites._engine.training.searched import STAGE, searcher
from sklearn_sprites._engine.training.start import (
    Start,
    aligned_start,
    gaussian_mask,
    left_in_turns,
    turned_start,
)

LOOKS = 4  # times that poses are found with masks,
EPOCHS = 4  # and epochs under each
SETTLED = 8  # epochs in which images keep the sprites that opaque ones gave them
CLEARLY_LESS = 0.9  # of the error, if images less their backgrounds are looked at
SPRITE_RATE, BACKGROUND_RATE = 0.02, 0.01  # of Adam


def parts(max_epochs: int) -> tuple[int, int]:
    """Rounds with opaque sprites, at least one, and epochs with masks."""
    late = min(LOOKS * EPOCHS, max_epochs // 2)
    return max_epochs - late, late


def searched_start(
    images: Tensor, spec: ModelSpec, draws: torch.Generator
) -> Start | None:
    """Opaque sprites and backgrounds, if images show things in any turn."""
    backgrounds = usual(images, spec, draws)
    less = without_backgrounds(images, backgrounds, spec)
    sprites, lesson, _ = aligned_start(less, spec, draws)
    if not lesson.is_turned:
        return None
    plain = turned_start(images, spec, draws)
    error = left_in_turns(images, plain, spec)
    is_apart = left_in_turns(less, sprites, spec) < CLEARLY_LESS * error
    chosen = sprites if is_apart else plain
    return Start(chosen, backgrounds, None, is_searched=True, is_apart=is_apart)


def with_masks(
    found: FittedModel, spec: ModelSpec, start: Start, images: Tensor
) -> FittedModel:
    """Opaque sprites as the first ones with masks, in front of first backgrounds."""
    backgrounds = start.backgrounds
    fronts = torch.from_numpy(found.sprites).to(backgrounds)
    if start.is_apart:
        fronts = fronts + backgrounds.mean((0, 2, 3), keepdim=True)
    mask = gaussian_mask(spec.height, spec.width, None, like=fronts)
    sprites = torch.cat([fronts, mask.expand(len(fronts), -1, -1, -1)], 1)
    spec = replace(spec, is_searched=True)
    model = build_model(spec, sprites, backgrounds, torch.Generator())
    searcher(model).weight.copy_(error_weight(images))
    return replace(found, spec=spec, arrays=to_arrays(model))


class Known(NamedTuple):
    """What opaque sprites tell of images: parameters (n, K, p), and labels (n,)."""

    poses: dict[str, Tensor]
    labels: Tensor


@torch.no_grad()
def known_of(found: FittedModel, images: Tensor) -> Known:
    """Parameters and labels under opaque sprites."""
    model = from_fitted(found, str(images.device)).eval()
    told = poses(model, images)
    every = torch.arange(found.spec.n_sprites, device=images.device)
    labels = []
    for rows in torch.arange(len(images), device=images.device).split(CHUNK):
        lent = Description({name: p[rows] for name, p in told.items()}, {}, None)
        each = every.expand(len(rows), -1)
        errors = candidate_errors(model, images[rows], each, lent, ALL_COLORS)
        labels.append(errors.amin(2).argmin(1))
    return Known(told, torch.cat(labels))


@torch.no_grad()
def poses(model: ClusteringModel, images: Tensor) -> dict[str, Tensor]:
    """Parameters (n, K, p) of all images (n, C, H, W)."""
    some = images.split(alignment.at_once(images))
    found = [model.parameters_of(part, frozenset())[0] for part in some]
    return {name: torch.cat([f[name] for f in found]) for name in found[0]}


def masked_epochs(
    learner: Learner, progress: Progress, n_epochs: int, known: Known | None
) -> FittedModel:
    """Learn sprites, masks and backgrounds, at first by what opaque sprites tell."""
    model = learner.model
    spec = model.spec
    active = frozenset((*spec.transformations, *spec.background_transformations))
    learner.optimizer = Adam(
        [
            Group([model.sprites], SPRITE_RATE),
            Group([model.backgrounds], BACKGROUND_RATE),
        ]
    )
    for epoch in range(n_epochs):
        if progress.stopped:
            break
        if epoch % EPOCHS == 0:
            first = known.poses if known and epoch == 0 else None
            learner.poses = first or poses(model, learner.images)
            labels = known.labels if known and epoch < SETTLED else None
            look(learner, active, labels)
        progress.tell(learner, STAGE, run_epoch(learner, active))
    learner.poses = poses(model, learner.images)
    loss = float(look(learner, active, None).mean())
    return publish(learner, progress, loss / learner.images[0].numel())


def look(learner: Learner, active: frozenset[str], labels: Tensor | None) -> Tensor:
    """Errors (n,) under the best sprites; images then keep `labels` (n,), if any."""
    ledger = learner.ledger
    ledger.seen.zero_()
    errors = survey(learner, active).amin(1)
    if labels is None:
        return errors
    others = torch.ones_like(ledger.errors, dtype=torch.bool)
    others.scatter_(1, labels[:, None], False)
    ledger.errors.masked_fill_(others, torch.inf)
    ledger.seen.masked_fill_(others, RETIRED)
    return errors
