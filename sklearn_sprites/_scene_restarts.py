"""Learning sprites of scenes from several seeds, and judging what came out."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sklearn_sprites._callbacks import Progress
from sklearn_sprites._engine.scene_records import FittedScenes, LayerRecord
from sklearn_sprites._engine.scene_settings import (
    Distilled,
    Gradient,
    SceneSettings,
    resolve_penalty,
)
from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search_settings import SearchPlan
from sklearn_sprites._restarts import Restart, run_restarts
from sklearn_sprites._validation import Images, Scaling

if TYPE_CHECKING:
    from sklearn_sprites._engine.regression_inference import RegressionPredictor
    from sklearn_sprites._engine.scene_inference import ScenePredictor

    Predictor = ScenePredictor | RegressionPredictor

DISTILLATION = 1  # key of the seed of a network


@dataclass(frozen=True)
class SceneJob:
    """Everything that learning needs, checked; nothing here belongs to the user."""

    images: Images
    features: dict[str, Any]  # n_features_in_, feature_names_in_
    scaling: Scaling
    batch: NDArray  # (n, C, H, W) float32, model units
    spec: SceneSpec
    settings: SceneSettings
    seeds: list[np.random.SeedSequence]  # one per restart
    device: str
    init_sprites: NDArray | None = None
    warm: FittedScenes | None = None

    @property
    def penalty(self) -> float:
        """What a layer must save while sprites are learned, in model units."""
        return resolve_penalty(self.settings.penalty, self.spec)

    @property
    def is_searched_on_ground(self) -> bool:
        """Whether layers are searched over some background."""
        return self.settings.regression is None and self.spec.n_backgrounds > 0


@dataclass(frozen=True)
class Solution:
    """Learned sprites, and what they find in the training images."""

    fitted: FittedScenes
    predictor: "Predictor"
    record: LayerRecord
    penalty: float  # what a layer must save, in model units
    objective: float  # squared error and penalties, summed over images, model units

    @property
    def counts(self) -> NDArray:
        """Layers that show each sprite, (K,), in the order of learning."""
        shown = self.record.sprite[self.record.sprite >= 0]
        return np.bincount(shown, minlength=self.fitted.spec.n_sprites)


def build_predictor(
    fitted: FittedScenes,
    search: SearchPlan,
    regression: Gradient | None,
    taught: Distilled | None,
    penalty: float,
    device: str,
) -> "Predictor":
    """What finds and draws the sprites of `fitted` in images."""
    if regression is not None:
        from sklearn_sprites._engine.regression_inference import RegressionPredictor

        return RegressionPredictor(fitted, regression, penalty, device)
    from sklearn_sprites._engine.scene_inference import ScenePredictor

    return ScenePredictor(fitted, search, penalty, device, taught)


def solve_restarts(
    job: SceneJob, progress: Progress
) -> tuple[Solution, dict[str, NDArray]]:
    """Learn from every seed; the best by the objective, and the `restarts_` table.

    The objective is that of all images under the function that predicts, because
    restarts end with different images in their last round.
    """
    restarts = run_restarts(job.seeds, partial(_learn, job), progress)
    solutions = [
        None if r.model is None else _solution(r.model, job, job.penalty)
        for r in restarts
    ]
    objectives = [np.inf if s is None else s.objective for s in solutions]
    best = solutions[int(np.argmin(objectives))]
    assert best is not None, "run_restarts raises where nothing was learned"
    if job.is_searched_on_ground and job.settings.penalty == "auto":
        best = _heedful(best, job)
    if job.settings.distilled is not None:
        best = _distilled(best, job, job.settings.distilled)
    return best, _table(restarts, solutions, job)


def _learn(
    job: SceneJob, seed: np.random.SeedSequence, on_round: Callable[[Any], bool]
) -> FittedScenes:
    learn: Callable[..., FittedScenes]
    if job.settings.regression is not None:
        from sklearn_sprites._engine.training.scene_gradient import fit_regression

        learn = partial(fit_regression, regression=job.settings.regression)
    else:
        from sklearn_sprites._engine.training.rounds import fit_scenes

        learn = fit_scenes
    return learn(
        job.batch,
        job.spec,
        job.settings,
        seed=seed,
        device=job.device,
        init_sprites=job.init_sprites,
        warm=job.warm,
        on_round=on_round,
    )


def _solution(
    fitted: FittedScenes,
    job: SceneJob,
    penalty: float,
    taught: Distilled | None = None,
) -> Solution:
    settings = job.settings
    predictor = build_predictor(
        fitted, settings.search, settings.regression, taught, penalty, job.device
    )
    record = predictor.decompose(job.batch)
    n_shown = int((record.sprite >= 0).sum())
    objective = float(record.error.sum(dtype=np.float64)) + penalty * n_shown
    return Solution(fitted, predictor, record, penalty, objective)


def _heedful(best: Solution, job: SceneJob) -> Solution:
    """The same sprites, whose layers must save more where the ground is rough."""
    from sklearn_sprites._engine.scene_decoys import rough_penalty
    from sklearn_sprites._engine.scene_inference import ScenePredictor

    predictor = best.predictor
    assert isinstance(predictor, ScenePredictor), "layers are searched"
    penalty = rough_penalty(predictor, job.batch, best.record, best.penalty)
    if penalty == best.penalty:
        return best
    return _solution(best.fitted, job, penalty)


def _distilled(best: Solution, job: SceneJob, settings: Distilled) -> Solution:
    """The same sprites, whose layers a network guesses that has learned from search."""
    from sklearn_sprites._engine.models.scene_build import arrays_of
    from sklearn_sprites._engine.scene_inference import ScenePredictor
    from sklearn_sprites._engine.training.scene_teaching import distilled, lesson_of

    predictor = best.predictor
    assert isinstance(predictor, ScenePredictor), "a search teaches"
    searcher, views = predictor.searcher, predictor.views(job.batch)
    lesson = lesson_of(views, best.record, job.spec)
    seed = np.random.SeedSequence(job.seeds[0].entropy, spawn_key=(DISTILLATION,))
    network = distilled(lesson, searcher.sprites, searcher.spec, settings, seed)
    guessing = best.fitted.with_network(arrays_of(network))
    return _solution(guessing, job, best.penalty, settings)


def _table(
    restarts: list[Restart], solutions: list[Solution | None], job: SceneJob
) -> dict[str, NDArray]:
    """One entry per restart in every column."""
    found = [(s, s is not None) for s in solutions]
    n, values = len(job.batch), job.batch[0].size
    columns = {
        "loss": [r.loss for r in restarts],
        "objective": [s.objective / (n * values) if ok else np.inf for s, ok in found],
        "n_iter": [0 if r.model is None else r.model.n_rounds for r in restarts],
        "diverged": [r.model is None for r in restarts],
        "n_used": [int((s.counts > 0).sum()) if ok else 0 for s, ok in found],
        "n_objects": [float(s.counts.sum()) / n if ok else 0.0 for s, ok in found],
    }
    return {name: np.array(column) for name, column in columns.items()}
