"""Stages from first to last: epochs, reassignment, convergence, divergence."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from sklearn_sprites._engine.models.build import to_arrays
from sklearn_sprites._engine.records import EpochInfo, FittedModel
from sklearn_sprites._engine.settings import Milestones, Swap, TrainingSettings
from sklearn_sprites._engine.spec import ModelSpec
from sklearn_sprites._engine.training.adam import Adam
from sklearn_sprites._engine.training.curriculum import (
    Stage,
    dated_stages,
    make_stages,
)
from sklearn_sprites._engine.training.distillation import distil
from sklearn_sprites._engine.training.ledger import WIDE
from sklearn_sprites._engine.training.loop import (
    Learner,
    run_epoch,
    survey,
)
from sklearn_sprites._engine.training.plateau import has_converged, has_settled
from sklearn_sprites._engine.training.reassignment import (
    cloning,
    epochs_between,
    farewell,
    move,
    sprites_kept,
    turnover,
)
from sklearn_sprites._engine.training.splits import judgment, least_missed
from sklearn_sprites._engine.training.start import Lesson, weighted_variance
from sklearn_sprites.exceptions import TrainingDivergedError

EXPLOSION = 1e3  # a loss this many times the lowest one has diverged
TINY = 1e-6  # a loss below this has not, whatever it was before

Snapshot = tuple[dict[str, torch.Tensor], Adam]


@dataclass
class Progress:
    """What has happened so far, and whom to tell."""

    settings: TrainingSettings
    on_epoch: Callable[[EpochInfo], bool] | None
    spec: ModelSpec
    losses: list[float] = field(default_factory=list)
    first_loss: float = math.inf  # before the first step
    variance: float = 0.0  # the loss under the mean image
    least: float = 0.0  # a smaller fall of the loss per epoch is none
    converged: bool = True
    stopped: bool = False
    rolled_back: bool = False
    exploded: bool = False  # again after it was rolled back: training stopped

    def tell(self, learner: Learner, stage: str, loss: float) -> None:
        """Note an epoch; the listener may ask to stop."""
        self.losses.append(loss)
        if self.on_epoch is None:
            return

        def fitted() -> FittedModel:
            return publish(learner, self, loss)

        epoch, most = len(self.losses), self.settings.max_epochs
        self.stopped |= bool(self.on_epoch(EpochInfo(epoch, most, loss, stage, fitted)))

    def summary(self) -> dict[str, Any]:
        """What a :class:`FittedModel` says of its training."""
        return {
            "loss_curve": list(self.losses) or [self.first_loss],
            "n_epochs": max(len(self.losses), 1),
            "converged": self.converged,
            "exploded": self.exploded,
        }


def publish(learner: Learner, progress: Progress, loss: float) -> FittedModel:
    """The model as it stands, without the sprites that are missed least."""
    model, spec = learner.model, progress.spec
    rule, gone = progress.settings.reassignment, {*learner.spare}
    if isinstance(rule, Swap):
        errors = learner.ledger.errors
        how = judgment(rule, spec.is_layered)
        gone.update(least_missed(errors, spec.n_sprites, how))
    kept = [k for k in range(len(model.sprites)) if k not in gone]
    full = FittedModel(model.spec, to_arrays(model), loss, **progress.summary())
    return replace(full.reordered(np.array(kept)), spec=spec)


def run_stages(
    learner: Learner, stages: list[Stage], lesson: Lesson | None, progress: Progress
) -> FittedModel:
    """Train the learner's model in place, and take it apart.

    The model may have more sprites than `progress.spec`: the rest are spare.
    """
    settings, spec = progress.settings, progress.spec
    squared = learner.model.squared
    progress.variance = weighted_variance(learner.images, learner.weights, squared)
    progress.least = settings.tol * progress.variance
    if lesson is not None:
        distil(learner, lesson)
    active = stages[0].active
    first = survey(learner, active, WIDE).amin(1)
    progress.first_loss = float(first.mean()) / learner.images[0].numel()
    for stage, epochs in zip(stages, shares(stages, settings.max_epochs), strict=True):
        if progress.stopped:
            break
        active = stage.active if epochs else active
        run_stage(learner, stage, epochs, progress)
    if isinstance(settings.reassignment, Swap):  # no other rule has spares
        farewell(learner, settings.reassignment, spec.n_sprites, active)
    errors = survey(learner, active).amin(1)
    loss = float(errors.mean()) / learner.images[0].numel()
    return publish(learner, progress, loss)


def stages_for(
    spec: ModelSpec, settings: TrainingSettings, is_started: bool
) -> list[Stage]:
    """Stages by shares of the epochs, or by dates."""
    if isinstance(settings.curriculum, Milestones):
        return dated_stages(spec, settings.curriculum, settings.max_epochs)
    return make_stages(spec, settings.curriculum, is_started)


def shares(stages: list[Stage], max_epochs: int) -> list[int]:
    """Epochs of each stage, at most `max_epochs` together; the earliest give way."""
    total = sum(stage.share for stage in stages)
    wanted = [max(1, round(max_epochs * stage.share / total)) for stage in stages]
    for i in range(len(wanted)):
        excess = sum(wanted) - max_epochs
        wanted[i] -= min(wanted[i], max(excess, 0))
    return wanted


def run_stage(learner: Learner, stage: Stage, epochs: int, progress: Progress) -> None:
    """Epochs of one stage, until it has converged."""
    settings = progress.settings
    rate = settings.learning_rate * stage.rate
    rate *= 0.5 if progress.rolled_back else 1
    drawn, network = learner.optimizer.groups
    drawn.rate, network.rate = rate * stage.drawn, rate
    after_step = None if stage.is_last else cloning(settings.reassignment)
    losses: list[float] = []
    for _ in range(epochs):
        before = snapshot(learner)
        loss = run_epoch(learner, stage.active, after_step)
        if not is_sound(learner, loss, progress):
            loss = roll_back(learner, before, loss, stage, progress)
            if progress.stopped:
                return
        losses.append(loss)
        progress.tell(learner, stage.name, loss)
        if progress.stopped:
            return
        if reassign(learner, stage, progress):
            losses.clear()  # what was learned counts from here
        if not stage.is_fixed and has_converged(losses, progress.least):
            progress.converged = True
            return
    settled = stage.is_last and has_settled(losses, progress.least)
    progress.converged = stage.is_fixed or settled


def reassign(learner: Learner, stage: Stage, progress: Progress) -> bool:
    """Give sprites a new start where the rule says so; whether it happened."""
    settings, spec = progress.settings, progress.spec
    rule = settings.reassignment
    if not isinstance(rule, Swap) or stage.is_last:
        return False
    before = list(learner.spare)
    epoch, total = len(progress.losses), len(learner.usage)
    kept = sprites_kept(rule, epoch, settings.max_epochs, spec.n_sprites, total)
    every = epochs_between(rule, spec.is_layered)
    if kept < total:
        farewell(learner, rule, kept, stage.active)
    elif epoch % every == 0:
        move(learner, rule, turnover(total - spec.n_sprites), stage.active)
        return True
    return learner.spare != before


def is_sound(learner: Learner, loss: float, progress: Progress) -> bool:
    """Whether all that was learned is finite, and the loss has not exploded.

    Waits for the device once.
    """
    values = [v for v in learner.model.state_dict().values() if v.is_floating_point()]
    finite = torch.stack([torch.isfinite(v).all() for v in values]).all()
    lowest = min([progress.first_loss, *progress.losses])
    limit = EXPLOSION * lowest + max(progress.variance, TINY)
    return bool(finite) and loss <= limit


def snapshot(learner: Learner) -> Snapshot:
    """Model and optimizer as they are."""
    model = {n: v.clone() for n, v in learner.model.state_dict().items()}
    return model, learner.optimizer.copy()


def roll_back(
    learner: Learner,
    before: Snapshot,
    loss: float,
    stage: Stage,
    progress: Progress,
) -> float:
    """Repeat a diverged epoch from its start with half the learning rate, once.

    If the loss explodes again, training stops where it was before; if it is not even
    finite, it has failed.
    """
    rate = learner.optimizer.groups[-1].rate
    if not progress.rolled_back:
        progress.rolled_back = True
        restore(learner, before, 0.5)
        loss = run_epoch(learner, stage.active)
        if is_sound(learner, loss, progress):
            return loss
    if math.isfinite(loss):
        restore(learner, before, 1.0)
        progress.stopped, progress.converged = True, False
        progress.exploded = True
        return loss
    losses = progress.losses
    last = f"the last finite loss was {losses[-1]:g}" if losses else "none was finite"
    raise TrainingDivergedError(
        f"the loss is not finite in epoch {len(losses) + 1} ({stage.name}) "
        f"with learning_rate={rate:g}; {last}. "
        "Lower learning_rate, or scale the images."
    )


def restore(learner: Learner, before: Snapshot, factor: float) -> None:
    """Model and optimizer as they were, with learning rates times a factor."""
    learner.model.load_state_dict(before[0])
    learner.optimizer = before[1].copy()
    for group in learner.optimizer.groups:
        group.rate *= factor
