"""Images in, a learned model out."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sklearn_sprites._engine.models.build import build_model, from_fitted
from sklearn_sprites._engine.models.clustering import ClusteringModel
from sklearn_sprites._engine.ops.centering import centered_in_parts
from sklearn_sprites._engine.ops.resizing import resized
from sklearn_sprites._engine.records import EpochInfo, FittedModel
from sklearn_sprites._engine.runtime import generator, isolated
from sklearn_sprites._engine.settings import Milestones, TrainingSettings
from sklearn_sprites._engine.spec import ModelSpec
from sklearn_sprites._engine.training.coarse import (
    Listener,
    is_coarse_first,
    parts,
    redrawn,
)
from sklearn_sprites._engine.training.curriculum import detail_stages
from sklearn_sprites._engine.training.ledger import SHORTLIST, Ledger
from sklearn_sprites._engine.training.lloyd import PLATEAU, from_a_sample, lloyd
from sklearn_sprites._engine.training.loop import Learner, batch_size, make_optimizer
from sklearn_sprites._engine.training.reassignment import spare_count
from sklearn_sprites._engine.training.run import Progress, run_stages, stages_for
from sklearn_sprites._engine.training.searched import (
    detail_rounds,
    is_searchable,
    search_rounds,
)
from sklearn_sprites._engine.training.start import (
    Start,
    are_turned,
    first_backgrounds,
    first_guess,
    image_weights,
    make_start,
)

OnEpoch = Callable[[EpochInfo], bool]


def fit_clustering(
    images: NDArray,
    spec: ModelSpec,
    settings: TrainingSettings,
    seed: np.random.SeedSequence,
    device: str,
    encoder: nn.Module | None = None,
    init_sprites: NDArray | None = None,
    warm: FittedModel | None = None,
    on_epoch: OnEpoch | None = None,
) -> FittedModel:
    """Learn a clustering model.

    Assumes valid input: images (n, C, H, W) float32, contiguous, about in [0, 1];
    `init_sprites` (K, C or C+1, H, W) where settings.init is "array"; `warm` a model of
    the same spec to go on from.

    Raises
    ------
    TrainingDivergedError
        If the loss is not finite, twice: the second time with half the learning rate.
    """
    children = seed.spawn(2)
    draws, noise = generator(children[0], "cpu"), generator(children[1], device)
    with isolated(grad=True, seed=seed):
        data = torch.from_numpy(images).to(device)
        if spec.is_kmeans:
            return _fit_kmeans(
                data, spec, settings, draws, init_sprites, warm, on_epoch
            )
        given = Given(encoder, init_sprites, warm)
        streams = Streams(draws, noise)
        if is_coarse_first(spec, settings):
            return _coarse_first(data, spec, settings, streams, given, on_epoch)
        return _train(data, spec, settings, streams, given, on_epoch)


class Streams(NamedTuple):
    """Random numbers: on the CPU for orders and weights, on the device for noise."""

    draws: torch.Generator
    noise: torch.Generator


class Given(NamedTuple):
    """What the user brings: an encoder, first sprites, a model to go on from."""

    encoder: nn.Module | None
    sprites: NDArray | None
    warm: FittedModel | None

    def at(self, size: tuple[int, int]) -> "Given":
        """The same for images of another size."""
        sprites, warm = self.sprites, self.warm
        if sprites is not None:
            sprites = resized(torch.from_numpy(np.array(sprites)), size).numpy()
        return Given(self.encoder, sprites, warm and redrawn(warm, size))


def _train(
    data: Tensor,
    spec: ModelSpec,
    settings: TrainingSettings,
    streams: Streams,
    given: Given,
    on_epoch: OnEpoch | None,
) -> FittedModel:
    """From a start, or from a model to go on from: search, or all stages."""
    start = _begin(data, spec, settings, streams.draws, given)
    if start.is_searched:
        return search_rounds(
            data,
            spec,
            settings,
            start.sprites[: spec.n_sprites] if start.has_copies else start.sprites,
            start.is_centered,
            streams.draws,
            on_epoch,
        )
    warm, k = given.warm, spec.n_sprites
    if warm is not None:
        model = from_fitted(warm, str(data.device), given.encoder)
    else:
        trained = replace(spec, n_sprites=len(start.sprites))
        model = build_model(
            trained, start.sprites, start.backgrounds, streams.draws, given.encoder
        )
        model.is_centered.fill_(start.is_centered)
    spare = list(range(k, len(start.sprites))) if start.has_copies else []
    learner = _learner(model, data, settings, streams, spare)
    stages = stages_for(spec, settings, start.lesson is not None)
    if warm is not None:
        stages = stages[-2:]
    return run_stages(learner, stages, start.lesson, Progress(settings, on_epoch, spec))


def _coarse_first(
    data: Tensor,
    spec: ModelSpec,
    settings: TrainingSettings,
    streams: Streams,
    given: Given,
    on_epoch: OnEpoch | None,
) -> FittedModel:
    """Everything but details is learned from reduced images."""
    early, late = (
        replace(settings, max_epochs=epochs) for epochs in parts(settings.max_epochs)
    )
    listener = Listener(on_epoch, spec, settings.max_epochs)
    size = spec.coarse_size
    reduced = torch.cat([resized(part, size) for part in data.split(512)])
    coarse = replace(spec, height=size[0], width=size[1])
    found = _train(reduced, coarse, early, streams, given.at(size), listener)
    del reduced
    found = redrawn(found, (spec.height, spec.width))
    if listener.was_stopped:
        late = replace(late, max_epochs=0)
    if found.spec.is_searched:
        return detail_rounds(found, data, late, streams.draws, listener)
    model = from_fitted(found, str(data.device))
    learner = _learner(model, data, settings, streams, [])
    progress = Progress(late, listener, spec, losses=list(found.loss_curve))
    fine = run_stages(learner, detail_stages(spec), None, progress)
    return replace(fine, converged=found.converged and fine.converged)


def _learner(
    model: ClusteringModel,
    data: Tensor,
    settings: TrainingSettings,
    streams: Streams,
    spare: list[int],
) -> Learner:
    """A model and images, ready for the first step."""
    spec = model.spec
    if model.is_centered:
        data = centered_in_parts(data)
    weights = image_weights(data, spec)
    is_dated = isinstance(settings.curriculum, Milestones)
    looks = len(model.sprites) if is_dated else SHORTLIST
    learner = Learner(
        model,
        make_optimizer(model, settings.learning_rate, settings.weight_decay),
        data,
        Ledger(first_guess(model, data) * weights[:, None], looks),
        streams.draws,
        streams.noise,
        settings.batch_size
        if is_dated
        else batch_size(settings.batch_size, len(data), spec.is_layered),
        settings.mask_noise,
        weights,
        torch.zeros(len(model.sprites), dtype=torch.int64, device=data.device),
        torch.zeros(len(model.sprites), dtype=torch.int64),
        spare,
        is_dated,
        mask_price(data, spec, settings),
    )
    learner.ledger.retire(spare)
    return learner


def mask_price(images: Tensor, spec: ModelSpec, settings: TrainingSettings) -> float:
    """The price of covering a pixel, from a share of the variance within images."""
    if not (spec.is_layered and settings.mask_penalty):
        return 0.0
    return settings.mask_penalty * float(images.flatten(2).var(2, correction=0).mean())


def _begin(
    images: Tensor,
    spec: ModelSpec,
    settings: TrainingSettings,
    draws: torch.Generator,
    given: Given,
) -> Start:
    """Sprites before training, spare ones behind those that are wanted."""
    if given.warm is not None:
        return _where_it_was(given.warm, images)
    spares = spare_count(settings.reassignment, spec.n_sprites, len(images))
    trained = replace(spec, n_sprites=spec.n_sprites + spares)
    if given.sprites is None:
        start = make_start(images, trained, settings.init, draws)
        is_turned = start.lesson is not None and start.lesson.is_turned
        return start._replace(is_searched=is_turned and is_searchable(spec, settings))
    sprites = torch.from_numpy(np.array(given.sprites, dtype=np.float32)).to(images)
    searchable = is_searchable(spec, settings)
    return Start(
        sprites[torch.arange(trained.n_sprites) % len(sprites)],
        first_backgrounds(images, trained, draws),
        None,
        is_searched=searchable and are_turned(images, spec, sprites, draws),
        has_copies=True,
    )


def _where_it_was(warm: FittedModel, images: Tensor) -> Start:
    """The start that goes on from a fit, which has a network or none."""
    sprites, backgrounds = (
        torch.from_numpy(np.array(values)).to(images)
        for values in (warm.sprites, warm.backgrounds)
    )
    is_centered = bool(warm.arrays["is_centered"])
    return Start(sprites, backgrounds, None, is_centered, warm.spec.is_searched)


def _fit_kmeans(
    images: Tensor,
    spec: ModelSpec,
    settings: TrainingSettings,
    draws: torch.Generator,
    init_sprites: NDArray | None,
    warm: FittedModel | None,
    on_epoch: OnEpoch | None,
) -> FittedModel:
    """No transformation and nothing behind: Lloyd's algorithm finds the sprites."""
    given = warm.sprites if warm is not None else init_sprites
    plateau = PLATEAU if given is None else 0.0  # from given ones: as KMeans would
    flat = images.flatten(1)
    max_iter = max(settings.max_epochs, 1)
    if given is None:
        simple = "k-means++" if settings.init in ("align", "kmeans") else settings.init
        sprites = make_start(images, spec, simple, draws).sprites
        first = from_a_sample(flat, sprites.flatten(1), draws, max_iter)
    else:
        sprites = torch.from_numpy(np.array(given, dtype=np.float32)).to(images)
        first = sprites.flatten(1)
    found = lloyd(flat, first, max_iter, plateau=plateau)
    loss = float(found.errors.mean()) / flat.shape[1]
    largest = torch.bincount(found.labels, minlength=spec.n_sprites).argsort(
        descending=True, stable=True
    )
    arrays = {
        "sprites": found.centers[largest].view(sprites.shape).cpu().numpy(),
        "backgrounds": np.zeros((0, *images.shape[1:]), np.float32),
    }
    fitted = FittedModel(
        spec, arrays, loss, [loss], found.n_iter, converged=found.converged
    )
    if on_epoch is not None:
        on_epoch(EpochInfo(found.n_iter, max_iter, loss, "k-means", lambda: fitted))
    return fitted
