"""Training from several seeds, comparing what came out, numbering sprites by size."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score

from sklearn_sprites._callbacks import Progress
from sklearn_sprites._engine.records import Assignment, FittedModel
from sklearn_sprites._engine.settings import TrainingSettings
from sklearn_sprites._engine.spec import ModelSpec
from sklearn_sprites._validation import Images, Scaling
from sklearn_sprites.exceptions import TrainingDivergedError

if TYPE_CHECKING:
    from sklearn_sprites._engine.inference import Predictor


@dataclass(frozen=True)
class Job:
    """Everything that training needs, checked; nothing here belongs to the user."""

    images: Images
    features: dict[str, Any]  # n_features_in_, feature_names_in_
    scaling: Scaling
    batch: NDArray  # (n, C, H, W) float32, model units
    spec: ModelSpec
    settings: TrainingSettings
    seeds: list[np.random.SeedSequence]  # one per restart
    device: str
    encoder: Any = None
    init_sprites: NDArray | None = None
    warm: FittedModel | None = None


@dataclass(frozen=True)
class Restart:
    """One training: the model, or the error with which it diverged."""

    model: Any  # a record with a loss
    error: TrainingDivergedError | None = None

    @property
    def loss(self) -> float:
        """Loss of the model; infinite where training diverged."""
        return np.inf if self.model is None else self.model.loss


def build_predictor(fitted: FittedModel, device: str, encoder: Any) -> "Predictor":
    """A network ready to predict; a user's encoder is copied, never changed."""
    from sklearn_sprites._engine.inference import Predictor

    return Predictor(fitted, device, copy.deepcopy(encoder))


def run_restarts(
    seeds: list[np.random.SeedSequence],
    train: Callable[[np.random.SeedSequence, Callable[[Any], bool]], Any],
    progress: Progress,
) -> list[Restart]:
    """Train from every seed; a restart that diverges does not stop the others."""
    restarts = []
    for seed in seeds:
        progress.begin_restart()
        restarts.append(_run_one(partial(train, seed, progress.on_epoch)))
        progress.end_restart()
    if all(restart.model is None for restart in restarts):
        raise restarts[0].error
    return restarts


def _run_one(train: Callable[[], Any]) -> Restart:
    try:
        model = train()
    except TrainingDivergedError as error:
        return Restart(None, error)
    if not np.isfinite(model.loss):
        return Restart(None, TrainingDivergedError(f"The loss became {model.loss}."))
    return Restart(model)


def train_restarts(job: Job, progress: Progress) -> list[Restart]:
    """Train a clustering from every seed of the job."""
    return run_restarts(job.seeds, partial(_train_one, job), progress)


def _train_one(
    job: Job, seed: np.random.SeedSequence, on_epoch: Callable[[Any], bool]
) -> FittedModel:
    from sklearn_sprites._engine.training import fit

    model = fit.fit_clustering(
        job.batch,
        job.spec,
        job.settings,
        seed,
        job.device,
        encoder=copy.deepcopy(job.encoder),
        init_sprites=job.init_sprites,
        warm=job.warm,
        on_epoch=on_epoch,
    )
    return with_clear_masks(model)


def with_clear_masks(fitted: FittedModel) -> FittedModel:
    """The model with opacities in [0, 1], where training may leave them further out.

    What is published is then exactly what predicts.
    """
    if not fitted.spec.is_layered:
        return fitted
    sprites = fitted.sprites.copy()
    sprites[:, fitted.spec.channels :] = sprites[:, fitted.spec.channels :].clip(0, 1)
    return replace(fitted, arrays={**fitted.arrays, "sprites": sprites})


def sort_by_size(
    fitted: FittedModel, job: Job
) -> tuple[FittedModel, "Predictor", Assignment]:
    """Number sprites by how many images they draw, largest first.

    The labels come from the model as it is published, through the function that
    predicts, so that predicting the training images gives them again. Only images
    that two sprites draw equally well can upset the order, hence the few rounds.
    """
    for _ in range(3):
        predictor = build_predictor(fitted, job.device, job.encoder)
        assigned = predictor.assign(job.batch)
        counts = np.bincount(assigned.labels, minlength=fitted.spec.n_sprites)
        order = np.argsort(-counts, kind="stable")
        if (order == np.arange(len(order))).all():
            break
        fitted = fitted.reordered(order)
    else:
        predictor = build_predictor(fitted, job.device, job.encoder)
        assigned = predictor.assign(job.batch)
    return fitted, predictor, assigned


def compare_restarts(
    restarts: list[Restart], job: Job, best: int, best_labels: NDArray
) -> dict[str, NDArray]:
    """The `restarts_` table: one entry per restart in every column."""
    labels = [best_labels if i == best else None for i in range(len(restarts))]
    for i, restart in enumerate(restarts):
        if restart.model is not None and i != best:
            predictor = build_predictor(restart.model, job.device, job.encoder)
            labels[i] = predictor.assign(job.batch).labels
    columns = {
        "loss": [r.loss for r in restarts],
        "n_iter": [0 if r.model is None else r.model.n_epochs for r in restarts],
        "diverged": [r.model is None for r in restarts],
        "agreement": [
            0.0 if each is None else adjusted_rand_score(best_labels, each)
            for each in labels
        ],
        "n_used": [0 if each is None else len(np.unique(each)) for each in labels],
    }
    return {name: np.array(column) for name, column in columns.items()}
