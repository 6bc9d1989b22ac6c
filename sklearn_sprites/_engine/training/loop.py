"""The gradient loop: look at candidates, choose, draw the winners, step."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sklearn_sprites._engine.models.candidates import candidate_errors
from sklearn_sprites._engine.models.clustering import ClusteringModel, Description
from sklearn_sprites._engine.spec import ModelSpec
from sklearn_sprites._engine.training.adam import Adam, Group
from sklearn_sprites._engine.training.ledger import SHORTLIST, Ledger
from sklearn_sprites._engine.workers import GRAIN

MIN_STEPS = 32  # steps of an epoch: a small set is passed over several times
ENOUGH, ENOUGH_EACH = 12_800, 500  # images of an epoch at most, or for each sprite
SMALLEST_BATCH = 2  # statistics of a batch need two; a single image comes twice
FEW = 32  # images that every batch may have
SHARE = 20  # a batch with more of them holds at most 1/SHARE of a set,
SHARE_OVER_BACKGROUNDS = 100  # or this, as two layers need more steps to settle
CHUNK = 512  # images looked at together, without gradient


@dataclass
class Learner:
    """Running state of one training: everything that a step changes."""

    model: ClusteringModel
    optimizer: Adam
    images: Tensor  # (n, C, H, W) on the device
    ledger: Ledger
    draws: torch.Generator  # on the CPU: orders
    noise: torch.Generator  # on the device: mask noise
    batch_size: int
    mask_noise: float
    weights: Tensor  # (n,) what an image's error counts
    usage: Tensor  # (K,) images drawn since the last look
    splits: Tensor  # (K,) how often a sprite has been split
    spare: list[int] = field(default_factory=list)  # sprites out of use
    is_dated: bool = False  # an epoch is one pass, whatever its length
    mask_price: float = 0.0  # what a pixel of an opaque sprite costs, as squared error
    steps: int = 0
    poses: dict[str, Tensor] = field(default_factory=dict)  # (n, K, p), if searched

    @property
    def n_used(self) -> int:
        """How many sprites are in use."""
        return self.model.spec.n_sprites - len(self.spare)

    def describe(self, index: Tensor, active: frozenset[str]) -> Description:
        """What is known of the images at `index`: found before, or to be predicted."""
        if not self.poses:
            return self.model.describe(self.images[index], active)
        found = {name: value[index] for name, value in self.poses.items()}
        return self.model.look_behind(found, {}, len(index))


def make_optimizer(
    model: ClusteringModel, learning_rate: float, weight_decay: float
) -> Adam:
    """Adam, with weight decay for the network and none for what is drawn."""
    drawn = [model.sprites, model.backgrounds]
    ids = {id(p) for p in drawn}
    network = [p for p in model.parameters() if id(p) not in ids]
    groups = [Group(drawn, learning_rate), Group(network, learning_rate, weight_decay)]
    return Adam(groups, fused=True)


def batch_size(wanted: int, n_images: int, is_layered: bool) -> int:
    """Images of a batch: as wanted, or fewer for sets of a few batches only."""
    share = SHARE_OVER_BACKGROUNDS if is_layered else SHARE
    enough = max(n_images // share, FEW)
    return max(min(wanted, n_images, enough), SMALLEST_BATCH)


def is_little(wanted: int, n_images: int, spec: ModelSpec) -> bool:
    """Whether a batch and its candidates are too small to be shared by cores."""
    rows = SHORTLIST * batch_size(wanted, n_images, spec.is_layered)
    return rows * spec.channels * spec.height * spec.width < GRAIN


def batches(learner: Learner, n_images: int | None = None) -> Iterator[Tensor]:
    """Indices of one epoch's batches: of the same size, or of one pass over all.

    Of a large set, every epoch takes a part, drawn anew. `n_images` is how many there
    are, if not all of the learner's.
    """
    n, size = n_images or len(learner.images), learner.batch_size
    if learner.is_dated:
        return one_pass(torch.randperm(n, generator=learner.draws), learner)
    enough = max(ENOUGH, ENOUGH_EACH * len(learner.model.sprites))
    n_steps = max(min(n, enough) // size, MIN_STEPS)
    passes = -(-n_steps * size // n)
    orders = [torch.randperm(n, generator=learner.draws) for _ in range(passes)]
    index = torch.cat(orders)[: n_steps * size].to(learner.images.device)
    return iter(index.view(n_steps, size))


def one_pass(order: Tensor, learner: Learner) -> Iterator[Tensor]:
    """All images in batches, the last one smaller, but never a single image."""
    parts = order.to(learner.images.device).split(learner.batch_size)
    kept = [part for part in parts if len(part) >= SMALLEST_BATCH]
    return iter(kept or [order.repeat(SMALLEST_BATCH).to(learner.images.device)])


def mask_noise(learner: Learner) -> Tensor | None:
    """Uniform noise (1, 1, H, W) for the masks of one step (DTI-Sprites, 2.2)."""
    spec = learner.model.spec
    if not (spec.is_layered and learner.mask_noise):
        return None
    shape = (1, 1, spec.height, spec.width)
    device = learner.images.device
    unit = torch.rand(shape, generator=learner.noise, device=device)
    return learner.mask_noise * (2 * unit - 1)


def price_of_masks(learner: Learner, alpha: Tensor | None) -> Tensor | None:
    """What images pay for being covered by masks (B, 1, H, W).

    What sprite and background explain equally well, the background shall explain.
    """
    if alpha is None or not learner.mask_price:
        return None
    return learner.mask_price * alpha.clamp(0, 1).mean()


def choose(
    learner: Learner,
    index: Tensor,
    images: Tensor,
    description: Description,
    active: frozenset[str],
    noise: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Minimum loss: the best sprite and background of each image, (B,) each."""
    candidates = learner.ledger.candidates(index)
    errors = candidate_errors(
        learner.model, images, candidates, description, active, noise
    )
    behind = errors.argmin(2)  # (B, S)
    errors = errors.amin(2) * learner.weights[index, None]
    least = learner.ledger.record(index, candidates, errors)
    best = least.argmin(1, keepdim=True)
    sprites = candidates.gather(1, best)[:, 0]
    learner.usage.index_add_(0, sprites, torch.ones_like(sprites))
    return sprites, behind.gather(1, best)[:, 0]


def step(learner: Learner, index: Tensor, active: frozenset[str]) -> Tensor:
    """One gradient step on the images at `index`; the loss, still on the device."""
    images = learner.images[index]
    model = learner.model
    description = learner.describe(index, active)
    noise = mask_noise(learner)
    sprites, behind = choose(learner, index, images, description, active, noise)
    rows = torch.arange(len(index), device=images.device)
    drawn = model.draw(images, rows, sprites, behind, description, active, noise)
    errors = model.squared(drawn.image - images).flatten(1).mean(1)
    loss = (errors * learner.weights[index]).mean()
    price = price_of_masks(learner, drawn.alpha)
    learner.optimizer.zero_grad()
    (loss if price is None else loss + price).backward()
    learner.optimizer.step()
    learner.steps += 1
    return loss.detach()


def run_epoch(
    learner: Learner,
    active: frozenset[str],
    after_step: Callable[[Learner], None] | None = None,
) -> float:
    """One epoch; the mean loss (the only time the device is waited for)."""
    learner.model.train()
    losses = []
    for index in batches(learner):
        losses.append(step(learner, index, active))
        if after_step is not None:
            after_step(learner)
    return float(torch.stack(losses).mean())


@torch.no_grad()
def survey(
    learner: Learner, active: frozenset[str], width: int | None = None
) -> Tensor:
    """Errors (n, S) of all images under their `width` likeliest sprites, or under all.

    They are noted in the ledger; sprites that are out of use have infinite errors.
    """
    model, ledger = learner.model, learner.ledger
    width = model.spec.n_sprites if width is None else width
    everyone = torch.arange(len(learner.images), device=learner.images.device)
    model.eval()
    found = []
    for rows in everyone.split(CHUNK):
        images = learner.images[rows]
        candidates = ledger.most_likely(rows, width)
        description = learner.describe(rows, active)
        errors = candidate_errors(model, images, candidates, description, active)
        errors = errors.amin(2) * learner.weights[rows, None]
        found.append(ledger.record(rows, candidates, errors))
    model.train()
    return torch.cat(found)
