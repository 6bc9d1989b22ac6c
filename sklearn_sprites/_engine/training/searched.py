"""Sprites whose poses are searched: expectation and maximisation, without a network.

Every image is aligned to its sprites in all turns, and sprites are solved under these
alignments. Spare sprites go when all have settled a little, those first whose images
are explained nearly as well by others.
"""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from sklearn_sprites._engine.models.build import build_model, from_fitted, to_arrays
from sklearn_sprites._engine.models.clustering import (
    ALL_COLORS,
    ClusteringModel,
    Description,
)
from sklearn_sprites._engine.modules.families import error_weight
from sklearn_sprites._engine.modules.pose_search import PoseSearch
from sklearn_sprites._engine.modules.turns import TURNING
from sklearn_sprites._engine.ops import alignment
from sklearn_sprites._engine.ops.alignment import HYPOTHESES, Found
from sklearn_sprites._engine.ops.centering import centered_in_parts
from sklearn_sprites._engine.ops.sampling import make_grid
from sklearn_sprites._engine.records import EpochInfo, FittedModel
from sklearn_sprites._engine.settings import ClonePerturb, Swap, TrainingSettings
from sklearn_sprites._engine.spec import WARPS, ModelSpec
from sklearn_sprites._engine.training.plateau import has_converged
from sklearn_sprites._engine.training.splits import judgment, least_missed
from sklearn_sprites._engine.training.start import (
    IMAGES_PER_ROUND,
    image_weights,
    weighted_variance,
)

FAREWELLS = 6  # at most, in which all spare sprites go
ROUNDS_BETWEEN = 2  # two of them
DETAIL_ROUNDS = 3  # at full size
STAGE = "turns"

OnEpoch = Callable[[EpochInfo], bool]


def is_searchable(spec: ModelSpec, settings: TrainingSettings) -> bool:
    """Whether alignment can find all that is to be told of an image.

    Who chooses a network, stages or the papers' rules wants these; alignment knows no
    weights of pixels.
    """
    warps = [name for name in spec.transformations if name in WARPS]
    behind = set(spec.background_transformations)
    starts = ("align",) if spec.is_layered else ("align", "array")
    wants_network = (
        spec.encoder != "small"
        or settings.init not in starts
        or not isinstance(settings.curriculum, str)
        or isinstance(settings.reassignment, ClonePerturb)
        or settings.pixel_weights is not None
    )
    tells_more = (
        behind - ALL_COLORS
        or {"morphological", "thickness"} & {*spec.transformations}
        or (not spec.is_layered and spec.padding != "border")
        or (spec.color == "predict" and ALL_COLORS & {*spec.transformations, *behind})
    )
    is_turn = len(warps) == 1 and warps[0] in TURNING
    return is_turn and not (wants_network or tells_more)


@dataclass
class Rounds:
    """Running state: what rounds change, what they go by, and whom to tell."""

    images: Tensor  # (n, C, H, W), centered where the model is to center them
    is_centered: bool
    sprites: Tensor  # (K or more, C, H, W)
    spec: ModelSpec
    settings: TrainingSettings
    draws: torch.Generator
    on_epoch: OnEpoch | None
    weight: Tensor  # of errors against the prior on poses
    losses: list[float] = field(default_factory=list)
    stopped: bool = False
    weights: Tensor = field(init=False)  # (n,) what an image's error counts
    search: PoseSearch = field(init=False)

    def __post_init__(self) -> None:
        """Weigh the images, and know how to search."""
        self.weights = image_weights(self.images, self.spec)
        self.search = searcher(self.model())

    @property
    def has_ended(self) -> bool:
        """Whether no round is left, or wanted."""
        return self.stopped or len(self.losses) >= self.settings.max_epochs

    def model(self) -> ClusteringModel:
        """The model as it stands."""
        spec = replace(self.spec, n_sprites=len(self.sprites), is_searched=True)
        model = build_model(spec, self.sprites, self.sprites[:0], self.draws)
        model.is_centered.fill_(self.is_centered)
        searcher(model).weight.copy_(self.weight)
        return model

    def tell(self, loss: float) -> None:
        """Note a round; the listener may ask to stop."""
        self.losses.append(loss)
        if self.on_epoch is None:
            return

        def fitted() -> FittedModel:
            kept = copy(self)
            kept.sprites = without_spares(self)
            return publish(kept, loss, True)

        epoch, most = len(self.losses), self.settings.max_epochs
        info = EpochInfo(epoch, most, loss, STAGE, fitted)
        self.stopped |= bool(self.on_epoch(info))


def searcher(model: ClusteringModel) -> PoseSearch:
    """What searches poses for a model."""
    assert model.search is not None, "a network tells poses"
    return model.search


@torch.no_grad()
def search_rounds(
    images: Tensor,
    spec: ModelSpec,
    settings: TrainingSettings,
    sprites: Tensor,
    is_centered: bool,
    draws: torch.Generator,
    on_epoch: OnEpoch | None,
) -> FittedModel:
    """Learn `spec.n_sprites` sprites from at least as many."""
    images = centered_in_parts(images) if is_centered else images
    weight = error_weight(images)
    state = Rounds(
        images, is_centered, sprites, spec, settings, draws, on_epoch, weight
    )
    n_gone = -(-(len(sprites) - spec.n_sprites) // FAREWELLS)
    while len(state.sprites) > spec.n_sprites and not state.has_ended:
        for _ in range(ROUNDS_BETWEEN):
            if not state.has_ended:
                one_round(state)
        state.sprites = without_spares(state, n_gone)
    state.sprites = without_spares(state)
    converged = settle(state)
    if len(images) > IMAGES_PER_ROUND and not state.stopped:
        solve_sprites(state, torch.arange(len(images), device=images.device))
    return publish(state, mean_loss(state), converged or state.stopped)


@torch.no_grad()
def detail_rounds(
    found: FittedModel,
    images: Tensor,
    settings: TrainingSettings,
    draws: torch.Generator,
    on_epoch: OnEpoch | None,
) -> FittedModel:
    """Sprites solved at full size, under poses that are searched in reduced images."""
    model = from_fitted(found, str(images.device))
    is_centered = bool(model.is_centered)
    images = centered_in_parts(images) if is_centered else images
    state = Rounds(
        images,
        is_centered,
        model.sprites.detach(),
        found.spec,
        settings,
        draws,
        on_epoch,
        searcher(model).weight,
        list(found.loss_curve),
    )
    loss = mean_loss(state)
    for _ in range(min(settings.max_epochs, DETAIL_ROUNDS)):
        if not state.stopped:
            solve_sprites(state, torch.arange(len(images), device=images.device))
            loss = mean_loss(state)
            state.tell(loss)
    return publish(state, loss, found.converged)


def publish(state: Rounds, loss: float, converged: bool) -> FittedModel:
    """The model as it stands, taken apart."""
    curve = state.losses or [loss]
    model = state.model()
    return FittedModel(
        model.spec, to_arrays(model), loss, list(curve), len(curve), converged
    )


def settle(state: Rounds) -> bool:
    """Rounds until the loss hardly falls; whether it came to that."""
    least = state.settings.tol * weighted_variance(state.images, state.weights)
    losses: list[float] = []
    while not state.has_ended:
        losses.append(one_round(state))
        if has_converged(losses, least):
            return True
    return False


def one_round(state: Rounds) -> float:
    """Expectation and maximisation on some images; the loss before sprites change."""
    order = torch.randperm(len(state.images), generator=state.draws)
    loss = solve_sprites(state, order[:IMAGES_PER_ROUND].to(state.images.device))
    state.tell(loss)
    return loss


def solve_sprites(state: Rounds, rows: Tensor) -> float:
    """Solve sprites under the poses of the images at `rows`; the loss before."""
    some, weights, search = state.images[rows], state.weights[rows], state.search
    found = alignment.joined(
        search.align(part, state.sprites, count=HYPOTHESES)
        for part in some.split(alignment.at_once(some))
    )
    labels = found.errors.argmin(1)
    matrices = found.matrices[torch.arange(len(some), device=some.device), labels]
    grid = make_grid(*some.shape[2:], device=some.device, dtype=torch.float32)
    family = replace(search.family, grid=grid)
    seen = Found(labels, matrices, found.energies)
    state.sprites = alignment.update_sprites(
        some, seen, state.sprites, family, weights=weights
    )
    return float((found.errors.amin(1) * weights).mean()) / search.n_values(some)


def without_spares(state: Rounds, most: int | None = None) -> Tensor:
    """Sprites less those that are missed least, at most so many of them."""
    n_spare = len(state.sprites) - state.spec.n_sprites
    n_gone = n_spare if most is None else min(most, n_spare)
    rule = state.settings.reassignment
    if n_gone == 0 or not isinstance(rule, Swap):
        return state.sprites
    count = len(state.sprites)
    some = state.images[:: -(-len(state.images) // rule.n_images)]
    found = alignment.joined(
        state.search.align(part, state.sprites, count=count)
        for part in some.split(alignment.at_once(some))
    )
    how = judgment(rule, state.spec.is_layered)
    gone = least_missed(found.errors, count - n_gone, how)
    kept = [k for k in range(count) if k not in gone]
    return state.sprites[kept]


def mean_loss(state: Rounds) -> float:
    """The mean squared error of all images as they are drawn, at their own size."""
    model, search = state.model(), state.search
    total = torch.zeros((), device=state.images.device)
    size = alignment.at_once(state.images)
    parts = zip(state.images.split(size), state.weights.split(size), strict=True)
    for images, weights in parts:
        found = search.align(images, state.sprites, count=HYPOTHESES)
        rows = torch.arange(len(images), device=images.device)
        labels = found.errors.argmin(1)
        description = Description({search.name: search.told(found)}, {}, None)
        nothing = torch.zeros_like(labels)
        drawn = model.draw(images, rows, labels, nothing, description, ALL_COLORS)
        squared = (drawn.image - images).square().flatten(1).mean(1)
        total = total + (squared * weights).sum()
    return float(total) / len(state.images)
