"""Images in, a learned model out."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sklearn_sprites._engine.models.build import build_model, from_fitted
from sklearn_sprites._engine.models.clustering import ClusteringModel
from sklearn_sprites._engine.ops.centering import centered_in_parts
from sklearn_sprites._engine.ops.leveling import leveled_in_parts
from sklearn_sprites._engine.ops.resizing import resized
from sklearn_sprites._engine.records import EpochInfo, FittedModel
from sklearn_sprites._engine.runtime import generator, isolated
from sklearn_sprites._engine.settings import Milestones, TrainingSettings
from sklearn_sprites._engine.spec import ModelSpec, opaque
from sklearn_sprites._engine.training.apart import without_backgrounds
from sklearn_sprites._engine.training.coarse import (
    Listener,
    is_coarse_first,
    parts,
    redrawn,
)
from sklearn_sprites._engine.training.curriculum import detail_stages
from sklearn_sprites._engine.training.ledger import SHORTLIST, Ledger
from sklearn_sprites._engine.training.lloyd import PLATEAU, from_a_sample, lloyd, means
from sklearn_sprites._engine.training.loop import (
    Learner,
    batch_size,
    is_little,
    make_optimizer,
)
from sklearn_sprites._engine.training.reassignment import spare_count
from sklearn_sprites._engine.training.run import Progress, run_stages, stages_for
from sklearn_sprites._engine.training.searched import (
    detail_rounds,
    is_searchable,
    search_rounds,
)
from sklearn_sprites._engine.training.searched_layers import (
    known_of,
    masked_epochs,
    searched_start,
    with_masks,
)
from sklearn_sprites._engine.training.searched_layers import parts as layered_parts
from sklearn_sprites._engine.training.start import (
    Start,
    are_turned,
    first_backgrounds,
    first_guess,
    image_weights,
    make_start,
    without_middle,
)
from sklearn_sprites._engine.training.weighing import (
    faded,
    in_size,
    on_device,
    stretched,
    with_weights,
)
from sklearn_sprites._engine.workers import one_core

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
    the same spec to go on from. On a CPU, little images take one core: two would wait
    for each other.

    Raises
    ------
    TrainingDivergedError
        If the loss is not finite, twice: the second time with half the learning rate.
    """
    children = seed.spawn(2)
    draws, noise = generator(children[0], "cpu"), generator(children[1], device)
    is_alone = device == "cpu" and not spec.is_kmeans
    is_alone &= is_little(settings.batch_size, len(images), spec)
    with isolated(grad=True, seed=seed), one_core() if is_alone else nullcontext():
        data = torch.from_numpy(images).to(device)
        if spec.is_leveled:
            pixels = on_device(settings.pixel_weights, data)
            data = leveled_in_parts(data, pixels)
            if init_sprites is not None:
                given = torch.from_numpy(np.array(init_sprites)).to(data)
                init_sprites = leveled_in_parts(given, pixels).cpu().numpy()
        task = Task(
            data, spec, settings, draws, noise, encoder, init_sprites, warm, on_epoch
        )
        if spec.is_kmeans:
            return _fit_kmeans(task)
        return _coarse_first(task) if is_coarse_first(spec, settings) else _train(task)


@dataclass(frozen=True)
class Task:
    """What :func:`fit_clustering` was given, on the device."""

    images: Tensor  # (n, C, H, W)
    spec: ModelSpec
    settings: TrainingSettings
    draws: torch.Generator  # on the CPU: orders and first weights
    noise: torch.Generator  # on the device
    encoder: nn.Module | None
    init_sprites: NDArray | None
    warm: FittedModel | None
    on_epoch: OnEpoch | None

    @property
    def pixels(self) -> Tensor | None:
        """What pixels count, (H, W), or None."""
        return on_device(self.settings.pixel_weights, self.images)

    def reduced(self, max_epochs: int, on_epoch: OnEpoch) -> "Task":
        """A part of it, with images of the size at which networks look at them."""
        size = self.spec.coarse_size
        sprites, warm = self.init_sprites, self.warm
        if sprites is not None:
            sprites = resized(torch.from_numpy(np.array(sprites)), size).numpy()
        return replace(
            self,
            images=torch.cat([resized(x, size) for x in self.images.split(512)]),
            spec=replace(self.spec, height=size[0], width=size[1]),
            settings=replace(
                self.settings,
                max_epochs=max_epochs,
                pixel_weights=in_size(self.settings.pixel_weights, size),
            ),
            init_sprites=sprites,
            warm=warm and redrawn(warm, size),
            on_epoch=on_epoch,
        )


def _train(task: Task) -> FittedModel:
    """From a start, or from a model to go on from: search, or all stages."""
    spec, settings, warm = task.spec, task.settings, task.warm
    start = _begin(task)
    if start.is_searched and spec.is_layered:
        return _search_layers(task, start)
    if _may_show_a_ghost(task):
        start = start._replace(backgrounds=without_middle(start.backgrounds))
    if start.is_searched:
        return search_rounds(
            task.images,
            spec,
            settings,
            start.sprites[: spec.n_sprites] if start.has_copies else start.sprites,
            start.is_centered,
            task.draws,
            task.on_epoch,
        )
    if warm is not None:
        warm = with_weights(warm, settings.pixel_weights)
        model = from_fitted(warm, str(task.images.device), task.encoder)
    else:
        trained = replace(spec, n_sprites=len(start.sprites))
        model = build_model(
            trained,
            start.sprites,
            start.backgrounds,
            task.draws,
            task.encoder,
            task.pixels,
        )
        model.is_centered.fill_(start.is_centered)
    copies = range(spec.n_sprites, len(start.sprites)) if start.has_copies else ()
    learner = _learner(model, task, list(copies))
    stages = stages_for(spec, settings, start.lesson is not None)
    progress = Progress(settings, task.on_epoch, spec)
    return run_stages(
        learner, stages if warm is None else stages[-2:], start.lesson, progress
    )


def _may_show_a_ghost(task: Task) -> bool:
    """Whether first backgrounds are means of several images of one thing."""
    is_default = task.settings.init in ("align", "array") and task.warm is None
    return is_default and task.spec.n_sprites == 1 and len(task.images) > 1


def _search_layers(task: Task, start: Start) -> FittedModel:
    """Opaque sprites in searched poses, then their masks and what lies behind."""
    images, spec, settings = task.images, task.spec, task.settings
    if task.warm is not None:
        learner = _learner(from_fitted(task.warm, str(images.device)), task, [])
        progress = Progress(settings, task.on_epoch, learner.model.spec)
        return masked_epochs(learner, progress, settings.max_epochs, None)

    def dress(found: FittedModel) -> FittedModel:
        return with_masks(found, spec, start, images)

    early, late = layered_parts(settings.max_epochs)
    listener = Listener(task.on_epoch, dress, settings.max_epochs)
    seen = images
    if start.is_apart:
        seen = without_backgrounds(images, start.backgrounds, spec)
    found = search_rounds(
        seen,
        opaque(spec),
        replace(settings, max_epochs=early),
        start.sprites,
        False,
        task.draws,
        listener,
    )
    model = from_fitted(dress(found), str(images.device))
    progress = Progress(settings, task.on_epoch, model.spec, list(found.loss_curve))
    progress.converged, progress.stopped = found.converged, listener.was_stopped
    known = known_of(found, seen)
    return masked_epochs(_learner(model, task, []), progress, late, known)


def _coarse_first(task: Task) -> FittedModel:
    """Everything but details is learned from reduced images."""
    spec, settings = task.spec, task.settings
    early, late = parts(settings.max_epochs)

    def drawn(found: FittedModel) -> FittedModel:
        whole = redrawn(found, (spec.height, spec.width))
        return with_weights(whole, settings.pixel_weights)

    listener = Listener(task.on_epoch, drawn, settings.max_epochs)
    found = drawn(_train(task.reduced(early, listener)))
    last = replace(settings, max_epochs=0 if listener.was_stopped else late)
    if found.spec.is_searched and not spec.is_layered:
        return detail_rounds(found, task.images, last, task.draws, listener)
    learner = _learner(from_fitted(found, str(task.images.device)), task, [])
    progress = Progress(last, listener, found.spec, losses=list(found.loss_curve))
    if found.spec.is_searched:
        whole = masked_epochs(learner, progress, last.max_epochs, None)
        return replace(whole, converged=found.converged)
    fine = run_stages(learner, detail_stages(spec), None, progress)
    return replace(
        fine,
        converged=found.converged and fine.converged,
        exploded=found.exploded or fine.exploded,
    )


def _learner(model: ClusteringModel, task: Task, spare: list[int]) -> Learner:
    """A model and images, ready for the first step."""
    spec, settings, data = model.spec, task.settings, task.images
    if model.is_centered:
        data = centered_in_parts(data)
    seen = faded(data, model.pixel_weights, spec)
    weights = image_weights(seen, spec)
    is_dated = isinstance(settings.curriculum, Milestones)
    looks = len(model.sprites) if is_dated else SHORTLIST
    learner = Learner(
        model,
        make_optimizer(model, settings.learning_rate, settings.weight_decay),
        data,
        Ledger(first_guess(model, seen) * weights[:, None], looks),
        task.draws,
        task.noise,
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


def _begin(task: Task) -> Start:
    """Sprites before training, spare ones behind those that are wanted."""
    spec, settings, draws = task.spec, task.settings, task.draws
    if task.warm is not None:
        return _where_it_was(task.warm, task.images)
    pixels = task.pixels if settings.init == "align" else None
    images, may_center = faded(task.images, pixels, spec), pixels is None
    spares = spare_count(settings.reassignment, spec.n_sprites, len(images))
    trained = replace(spec, n_sprites=spec.n_sprites + spares)
    searchable, given = is_searchable(spec, settings), task.init_sprites
    if given is None and searchable and spec.is_layered:
        found = searched_start(images, trained, draws)
        return found or make_start(images, trained, settings.init, draws)
    if given is None:
        start = make_start(images, trained, settings.init, draws, may_center)
        is_turned = start.lesson is not None and start.lesson.is_turned
        return start._replace(is_searched=is_turned and searchable)
    sprites = torch.from_numpy(np.array(given, dtype=np.float32)).to(images)
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


def _fit_kmeans(task: Task) -> FittedModel:
    """No transformation and nothing behind: Lloyd's algorithm finds the sprites."""
    images, spec, settings, draws = task.images, task.spec, task.settings, task.draws
    given = task.init_sprites if task.warm is None else task.warm.sprites
    plateau = PLATEAU if given is None else 0.0  # from given ones: as KMeans would
    pixels = task.pixels
    flat = stretched(images, pixels)
    max_iter = max(settings.max_epochs, 1)
    if given is None:
        simple = "k-means++" if settings.init in ("align", "kmeans") else settings.init
        sprites = make_start(images, spec, simple, draws).sprites
        first = from_a_sample(flat, stretched(sprites, pixels), draws, max_iter)
    else:
        sprites = torch.from_numpy(np.array(given, dtype=np.float32)).to(images)
        first = stretched(sprites, pixels)
    found = lloyd(flat, first, max_iter, plateau=plateau)
    loss = float(found.errors.mean()) / flat.shape[1]
    largest = torch.bincount(found.labels, minlength=spec.n_sprites).argsort(
        descending=True, stable=True
    )
    centers = found.centers
    if pixels is not None:  # what counts nothing has been lost in them
        flat = images.flatten(1)
        sums = torch.zeros_like(centers).index_add_(0, found.labels, flat)
        centers = means(sums, found.labels, flat.mean(0).expand_as(sums))
    arrays = {
        "sprites": centers[largest].view(sprites.shape).cpu().numpy(),
        "backgrounds": np.zeros((0, *images.shape[1:]), np.float32),
    }
    fitted = FittedModel(
        spec, arrays, loss, [loss], found.n_iter, converged=found.converged
    )
    fitted = with_weights(fitted, settings.pixel_weights)
    if task.on_epoch is not None:
        task.on_epoch(
            EpochInfo(found.n_iter, max_iter, loss, "k-means", lambda: fitted)
        )
    return fitted
