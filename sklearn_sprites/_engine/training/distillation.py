"""The network learns parameters that were found without it."""

import torch
from torch import Tensor

from sklearn_sprites._engine.training.loop import Learner, batches

EPOCHS = 4
LEARNING_RATE = 2e-3


def distil(
    learner: Learner, labels: Tensor, params: dict[str, Tensor], epochs: int = EPOCHS
) -> None:
    """Plain regression of params[name] (n, p) for the image's own sprite (n,)."""
    model = learner.model
    names = [name for name in params if name in model.heads]
    if not names:
        return
    learned = [*model.encoder.parameters()]
    learned += [p for name in names for p in model.heads[name].parameters()]
    teacher = torch.optim.Adam(learned, lr=LEARNING_RATE, fused=True)
    active = frozenset(names)
    for _ in range(epochs):
        for index in batches(learner):
            told, _ = model.parameters_of(learner.images[index], active)
            rows = torch.arange(len(index), device=index.device)
            loss = torch.zeros((), device=index.device)
            for n in names:
                found = told[n][rows, labels[index]]
                loss = loss + (found - params[n][index]).square().mean()
            teacher.zero_grad(set_to_none=True)
            loss.backward()
            teacher.step()
