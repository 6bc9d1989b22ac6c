"""Sprites of scenes: rounds of search and closed form."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sklearn_sprites._engine.runtime import generator, isolated
from sklearn_sprites._engine.scene_records import FittedScenes, RoundInfo
from sklearn_sprites._engine.scene_settings import (
    POSED,
    SHADED,
    SHIFTED,
    SceneSettings,
    resolve_penalty,
)
from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.sprites import enlarged, pooled, received
from sklearn_sprites._engine.training.best_round import best, rivals
from sklearn_sprites._engine.training.gradient_rounds import GradientLearner
from sklearn_sprites._engine.training.ground import Scenery, make_scenery
from sklearn_sprites._engine.training.learner import AbstractLearner, Task
from sklearn_sprites._engine.training.painted_rounds import PaintedLearner
from sklearn_sprites._engine.training.posed_rounds import PosedLearner
from sklearn_sprites._engine.training.scene_details import with_details
from sklearn_sprites._engine.training.shaded_rounds import ShadedLearner
from sklearn_sprites._engine.training.shifted_rounds import ShiftedLearner

OnRound = Callable[[RoundInfo], bool]
FIRST = 300  # images in which first sprites are sought
ALONE = 600  # the same over pictures, in which only objects that stand alone are seen
EXPLORING = 0.6  # share of the rounds in which other sprites may be tried
PICTURED = 400  # images from which backgrounds are made
PATIENCE = 3  # rounds without progress that end the fit


def fit_scenes(
    images: NDArray,
    spec: SceneSpec,
    settings: SceneSettings,
    seed: np.random.SeedSequence,
    device: str,
    init_sprites: NDArray | None = None,
    warm: FittedScenes | None = None,
    on_round: OnRound | None = None,
) -> FittedScenes:
    """Learn sprites from scenes.

    Assumes valid input: images (n, C, H, W) float32, about in [0, 1]; `init_sprites`
    (K, C + 1, h, w); `warm` sprites of the same spec to go on from. `on_round` is told
    after each round and may ask to stop.
    """
    draws = generator(seed, "cpu")
    given = warm.sprites if warm is not None else init_sprites
    pictures = None if warm is None else warm.backgrounds
    no_gradients = torch.inference_mode(settings.sprite_update != "gradient")
    with isolated(grad=False, seed=seed), no_gradients:  # operations start sooner
        data = torch.from_numpy(np.ascontiguousarray(images))
        scenery = _scenery(data, spec, draws, device, pictures)
        learner = _learner(spec, settings, draws, device, given)
        return _run(learner, scenery, data, spec, settings, draws, on_round)


def first_sprites(
    images: Tensor,
    spec: SceneSpec,
    settings: SceneSettings,
    draws: torch.Generator,
    device: str,
) -> tuple[NDArray, Tensor]:
    """Sprites (K, C + 1, h, w) from windows in which blobs find objects.

    And the backgrounds (M, C, H, W) before which they were sought.
    """
    scenery = _scenery(images, spec, draws, device, None)
    learner = _learner(spec, settings, draws, device, None)
    learner.begin(scenery.views(_some(images, FIRST, draws)))
    return enlarged(learner.published(), spec.reduction), scenery.pictures


def _scenery(
    data: Tensor,
    spec: SceneSpec,
    draws: torch.Generator,
    device: str,
    given: NDArray | None,
) -> Scenery:
    some = _some(data, PICTURED, draws) if spec.has_picture else data[:1]
    return make_scenery(some, spec, draws, device, given)


def _learner(
    spec: SceneSpec,
    settings: SceneSettings,
    draws: torch.Generator,
    device: str,
    given: NDArray | None,
) -> AbstractLearner:
    inner, side = spec.reduced(), spec.reduction
    penalty = resolve_penalty(settings.penalty, spec) / side**2
    task = Task(inner, settings, penalty, draws)
    first = None if given is None else received(pooled(given, side), inner, device)
    solving: AbstractLearner
    if spec.has_own_colors:
        solving = PaintedLearner(task, first)
    elif spec.is_shaded:
        solving = ShadedLearner(task, first)
    elif spec.is_additive:
        solving = ShiftedLearner(task, first)
    else:
        solving = PosedLearner(task, first)
    if settings.sprite_update == "gradient":
        return GradientLearner(task, solving)
    return solving


def _run(
    learner: AbstractLearner,
    scenery: Scenery,
    data: Tensor,
    spec: SceneSpec,
    settings: SceneSettings,
    draws: torch.Generator,
    on_round: OnRound | None,
) -> FittedScenes:
    losses: list[float] = []

    def fitted() -> FittedScenes:
        arrays = {
            "sprites": enlarged(learner.published(), spec.reduction),
            "backgrounds": np.array(scenery.pictures.cpu().numpy(), np.float32),
        }
        done = len(losses)
        loss = losses[-1] if losses else float("nan")
        return FittedScenes(
            spec, arrays, loss, list(losses), done, has_settled(losses, settings.tol)
        )

    has_picture = spec.sought().has_picture
    usual = SHIFTED if spec.is_additive else SHADED if has_picture else POSED
    if spec.has_own_colors:
        usual = POSED  # layers are sought on every side of others
    count = settings.images_per_round or usual
    first = ALONE if has_picture else FIRST
    learner.begin(scenery.views(_some(data, max(count, first), draws)))
    most, phase = max(settings.max_rounds, 1), 0
    before: list[NDArray] = []  # sprites of each round, in its pixels
    for turn in range(most):
        before.append(learner.published())
        exploring = learner.explores and not phase and turn < EXPLORING * most
        batch = scenery.views(_some(data, count, draws))
        losses.append(learner.round(batch, exploring))
        told = RoundInfo(turn + 1, most, losses[-1], "rounds", fitted)
        if on_round is not None and _asked(on_round, told):
            break
        if has_settled(losses[phase:], settings.tol):
            if not exploring:
                break
            phase = turn + 1
    found = fitted()
    if not learner.explores and rivals(losses):
        views = scenery.views(_some(data, count, draws))
        found = _undone(found, before, views, learner)
    if not spec.has_details:
        return found
    return _detailed(found, scenery, _some(data, count, draws), settings, draws)


def _undone(
    found: FittedScenes, before: list[NDArray], views: Tensor, learner: AbstractLearner
) -> FittedScenes:
    """With the sprites `before` some round, where they explain views better."""
    rounds = rivals(found.loss_curve)
    contenders = [learner.published(), *(before[i] for i in rounds)]
    chosen = best(contenders, views, learner)
    if not chosen:
        return found
    sprites = enlarged(contenders[chosen], found.spec.reduction)
    loss = found.loss_curve[rounds[chosen - 1]]
    return replace(found, arrays={**found.arrays, "sprites": sprites}, loss=loss)


def _detailed(
    found: FittedScenes,
    scenery: Scenery,
    images: Tensor,
    settings: SceneSettings,
    draws: torch.Generator,
) -> FittedScenes:
    """With masks solved at full size."""
    spec = found.spec
    whole = scenery._replace(spec=replace(spec, coarsest=1))
    penalty = resolve_penalty(settings.penalty, spec)
    task = Task(spec.sought(), settings, penalty, draws)
    sprites = with_details(found.sprites, whole.views(images), task)
    return replace(found, arrays={**found.arrays, "sprites": sprites})


def _asked(on_round: OnRound, info: RoundInfo) -> bool:
    """Whether to stop; whoever is asked may differentiate."""
    with torch.inference_mode(False):
        return on_round(info)


def _some(data: Tensor, count: int, draws: torch.Generator) -> Tensor:
    if count >= len(data):
        return data
    return data[torch.randperm(len(data), generator=draws)[:count]]


def has_settled(losses: list[float], tol: float, patience: int = PATIENCE) -> bool:
    """Whether no round of the last few was better than before by a share of `tol`."""
    if len(losses) <= patience:
        return False
    before, now = min(losses[:-patience]), min(losses[-patience:])
    return before - now <= tol * losses[0]
