"""The gradient loop: look at candidates, choose, draw the winners, step."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sklearn_sprites._engine.models.clustering import ClusteringModel, Description
from sklearn_sprites._engine.training.ledger import Ledger

MIN_STEPS = 48  # steps of an epoch: a small set is passed over several times


@dataclass
class Learner:
    """Running state of one training: everything that a step changes."""

    model: ClusteringModel
    optimizer: torch.optim.Optimizer
    images: Tensor  # (n, C, H, W) on the device
    ledger: Ledger
    draws: torch.Generator  # on the CPU: orders
    noise: torch.Generator  # on the device: mask noise
    batch_size: int
    mask_noise: float
    usage: Tensor  # (K,) images drawn since the last look
    spare: list[int] = field(default_factory=list)  # sprites out of use


def make_optimizer(
    model: ClusteringModel, learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    """Adam, with weight decay for the network and none for what is drawn."""
    drawn = [model.sprites, model.backgrounds]
    ids = {id(p) for p in drawn}
    network = [p for p in model.parameters() if id(p) not in ids]
    groups = [
        {"params": drawn},
        {"params": network, "weight_decay": weight_decay},
    ]
    return torch.optim.Adam(groups, lr=learning_rate, fused=True)


def batches(learner: Learner) -> Iterator[Tensor]:
    """Indices of one epoch's batches, all of the same size."""
    n, size = len(learner.images), learner.batch_size
    n_steps = max(n // size, MIN_STEPS)
    passes = -(-n_steps * size // n)
    orders = [torch.randperm(n, generator=learner.draws) for _ in range(passes)]
    index = torch.cat(orders)[: n_steps * size].to(learner.images.device)
    return iter(index.view(n_steps, size))


def mask_noise(learner: Learner) -> Tensor | None:
    """Uniform noise (1, 1, H, W) for the masks of one step (DTI-Sprites, 2.2)."""
    spec = learner.model.spec
    if not (spec.is_layered and learner.mask_noise):
        return None
    shape = (1, 1, spec.height, spec.width)
    device = learner.images.device
    unit = torch.rand(shape, generator=learner.noise, device=device)
    return learner.mask_noise * (2 * unit - 1)


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
    errors = learner.model.errors(images, candidates, description, active, noise)
    behind = errors.argmin(2)  # (B, S)
    least = learner.ledger.record(index, candidates, errors.amin(2))
    best = least.argmin(1, keepdim=True)
    sprites = candidates.gather(1, best)[:, 0]
    learner.usage.index_add_(0, sprites, torch.ones_like(sprites))
    return sprites, behind.gather(1, best)[:, 0]


def step(learner: Learner, index: Tensor, active: frozenset[str]) -> Tensor:
    """One gradient step on the images at `index`; the loss, still on the device."""
    images = learner.images[index]
    model = learner.model
    description = model.describe(images, active)
    noise = mask_noise(learner)
    sprites, behind = choose(learner, index, images, description, active, noise)
    rows = torch.arange(len(index), device=images.device)
    drawn = model.draw(images, rows, sprites, behind, description, active, noise)
    loss = (drawn.image - images).square().mean()
    learner.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    learner.optimizer.step()
    return loss.detach()


def run_epoch(
    learner: Learner,
    active: frozenset[str],
    after_step: Callable[[Learner, int], None] | None = None,
) -> float:
    """One epoch; the mean loss (the only time the device is waited for)."""
    learner.model.train()
    losses = []
    for number, index in enumerate(batches(learner), 1):
        losses.append(step(learner, index, active))
        if after_step is not None:
            after_step(learner, number)
    return float(torch.stack(losses).mean())


@torch.no_grad()
def survey(
    learner: Learner, active: frozenset[str], index: Tensor, chunk: int = 512
) -> Tensor:
    """Errors (m, K) of the images at `index` under every sprite, noted in the ledger."""
    model, n_sprites = learner.model, learner.model.spec.n_sprites
    model.eval()
    found = []
    for rows in index.split(chunk):
        images = learner.images[rows]
        every = torch.arange(n_sprites, device=rows.device).expand(len(rows), -1)
        description = model.describe(images, active)
        errors = model.errors(images, every, description, active).amin(2)
        found.append(learner.ledger.record(rows, every, errors))
    model.train()
    return torch.cat(found)
