"""Sprites of scenes by gradient: epochs, from the first sprites to what predicts."""

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sklearn_sprites._engine.models.scene_model import SceneModel
from sklearn_sprites._engine.runtime import generator, isolated
from sklearn_sprites._engine.scene_records import FittedScenes, RoundInfo
from sklearn_sprites._engine.scene_settings import (
    Gradient,
    SceneSettings,
    resolve_penalty,
)
from sklearn_sprites._engine.scene_spec import BENDS, SPLINE, SceneSpec
from sklearn_sprites._engine.training.regression_steps import (
    SceneLearner,
    make_scene_optimizer,
    scene_epoch,
)
from sklearn_sprites._engine.training.rounds import first_sprites, has_settled
from sklearn_sprites.exceptions import TrainingDivergedError

NETWORK = "network."  # prefix of what is neither sprite nor background
DRAWN = ("sprites.colors", "sprites.masks", "backgrounds")
BACKGROUND_IMAGES = 100  # whose mean a background starts from
PATIENCE = 8  # epochs without progress that end the fit
LIMIT = 1e6  # of parameters: beyond it, training has diverged
GRAY = 0.5  # first background where colors are predicted


def fit_regression(
    images: NDArray,
    spec: SceneSpec,
    settings: SceneSettings,
    regression: Gradient,
    seed: np.random.SeedSequence,
    device: str,
    init_sprites: NDArray | None = None,
    warm: FittedScenes | None = None,
    on_round: Callable[[RoundInfo], bool] | None = None,
) -> FittedScenes:
    """Learn sprites from scenes by gradient.

    Assumes what :func:`~sklearn_sprites._engine.training.rounds.fit_scenes` does; a
    round is an epoch. The network of `warm` goes on if it is the one that `regression`
    asks for; another one starts from the sprites and backgrounds of `warm`.

    Raises
    ------
    TrainingDivergedError
        If the loss is not finite.
    """
    children = seed.spawn(2)
    draws, noise = generator(children[0], "cpu"), generator(children[1], device)
    penalty = resolve_penalty(settings.penalty, spec)
    with isolated(grad=True, seed=seed):
        data = torch.from_numpy(np.ascontiguousarray(images)).to(device)
        known = warm if warm is not None and has_network(warm, regression) else None
        if known is not None:
            model = scene_model(known, regression, device)
        else:
            with torch.no_grad():
                planes, behind = _start(
                    data, spec, settings, regression, draws, init_sprites, warm
                )
            model = SceneModel(spec, regression, planes, behind, draws)
        shape = (spec.n_layers, spec.n_sprites + 1)
        learner = SceneLearner(
            model,
            make_scene_optimizer(model, regression),
            data,
            draws,
            noise,
            penalty,
            torch.zeros(shape, dtype=torch.int64, device=device),
            epochs_until_joined(regression, settings.max_rounds),
        )
        if known is not None:  # nothing is frozen, or waits, again
            learner.epoch = max(regression.freeze, learner.joins)
        return _run(learner, settings, on_round)


def epochs_until_joined(settings: Gradient, max_rounds: int) -> int:
    """After how many epochs all that layers may do is told."""
    return max_rounds // 2 if settings.joins is None else settings.joins


def _run(
    learner: SceneLearner,
    settings: SceneSettings,
    on_round: Callable[[RoundInfo], bool] | None,
) -> FittedScenes:
    losses: list[float] = []
    most, stops = max(settings.max_rounds, 1), learner.settings.stops
    whole = max(learner.settings.freeze, learner.joins) - learner.epoch
    settled = False

    def fitted() -> FittedScenes:
        arrays, loss = published(learner.model), losses[-1]
        spec, done = learner.model.spec, len(losses)
        return FittedScenes(
            spec, arrays, loss, list(losses), done, settled or not stops
        )

    for turn in range(most):
        losses.append(scene_epoch(learner))
        _check(losses, learner.model)
        settled = stops and has_settled(losses[max(whole, 0) :], settings.tol, PATIENCE)
        told = RoundInfo(turn + 1, most, losses[-1], "gradient", fitted)
        if on_round is not None and on_round(told):
            break
        if settled:
            break
    return fitted()


def _check(losses: list[float], model: SceneModel) -> None:
    """Refuse what is not finite, or beyond all measure; waits for the device."""
    some = [p.detach() for p in model.parameters() if p.numel()]
    sizes = torch.stack([values.abs().max() for values in some])
    if not (math.isfinite(losses[-1]) and bool((sizes < LIMIT).all())):
        owner, rate = type(model.settings).__name__, model.settings.learning_rate
        raise TrainingDivergedError(
            f"the loss is {losses[-1]:g} in epoch {len(losses)}, with learning_rate="
            f"{rate:g} of {owner}, and not all that was learned is finite and below "
            "all bounds; lower it, or scale the images."
        )


def _start(
    images: Tensor,
    spec: SceneSpec,
    settings: SceneSettings,
    regression: Gradient,
    draws: torch.Generator,
    given: NDArray | None,
    warm: FittedScenes | None,
) -> tuple[Tensor, Tensor]:
    """First sprites (K, C + 1, h, w) and backgrounds (M, C, H, W)."""
    if warm is not None and spec.has_picture:
        return _tensor(warm.sprites, images), _tensor(warm.backgrounds, images)
    first, shape = regression.background, (spec.n_backgrounds, *images.shape[1:])
    given = given if warm is None else warm.sprites
    sprites, behind = given, images.new_ones(shape)
    if given is None or (first is None and spec.has_picture):
        stiff, device = spec.without(SPLINE, *BENDS), str(images.device)
        found, behind = first_sprites(images, stiff, settings, draws, device)
        sprites = found if given is None else given
    if not spec.has_picture:
        level = GRAY if regression.color == "predict" else 1.0
        behind = images.new_full(shape, level)
    elif first == "mean":
        order = torch.randperm(len(images), generator=draws)[:BACKGROUND_IMAGES]
        behind = images[order.to(images.device)].mean(0).expand(shape).clone()
    elif first is not None:
        behind = images.new_full(shape, float(first))
    return _tensor(sprites, images), behind


def _tensor(values: NDArray | None, like: Tensor) -> Tensor:
    """A copy where `like` is, float32."""
    return torch.from_numpy(np.array(values, np.float32)).to(like.device)


def published(model: SceneModel) -> dict[str, NDArray]:
    """Sprites and backgrounds as they are drawn, and the network."""
    arrays = {
        NETWORK + name: value
        for name, value in _state_of(model).items()
        if name not in DRAWN
    }
    with torch.no_grad():
        sprites = model.sprites.planes().cpu().numpy().copy()
        backgrounds = model.backgrounds.detach().cpu().numpy().copy()
    return {"sprites": sprites, "backgrounds": backgrounds, **arrays}


def _state_of(model: SceneModel) -> dict[str, NDArray]:
    state = model.state_dict()
    return {name: value.detach().cpu().numpy().copy() for name, value in state.items()}


def scene_model(fitted: FittedScenes, regression: Gradient, device: str) -> SceneModel:
    """The model that :func:`published` took apart."""
    model = _untrained(fitted, regression)
    kept = {name: value for name, value in model.state_dict().items() if name in DRAWN}
    model.load_state_dict({**_weights_of(fitted), **kept})
    return model.to(device)


def has_network(fitted: FittedScenes, regression: Gradient) -> bool:
    """Whether the network of `fitted`, if any, is made as settings ask for."""
    wanted = _untrained(fitted, regression).state_dict()
    shapes = {name: v.shape for name, v in wanted.items() if name not in DRAWN}
    return shapes == {name: v.shape for name, v in _weights_of(fitted).items()}


def _untrained(fitted: FittedScenes, regression: Gradient) -> SceneModel:
    """Sprites and backgrounds of `fitted`, and weights that are to be overwritten."""
    drawn = (fitted.sprites, fitted.backgrounds)
    sprites, backgrounds = (torch.from_numpy(np.array(each)) for each in drawn)
    empty = torch.Generator().manual_seed(0)
    return SceneModel(fitted.spec, regression, sprites, backgrounds, empty)


def _weights_of(fitted: FittedScenes) -> dict[str, Tensor]:
    """Parameters and buffers of the network of `fitted`; none where it was searched."""
    return {
        name.removeprefix(NETWORK): torch.from_numpy(np.array(value))
        for name, value in fitted.arrays.items()
        if name.startswith(NETWORK)
    }
