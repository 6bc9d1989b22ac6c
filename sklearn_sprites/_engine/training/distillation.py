"""The network learns parameters that were found without it."""

import torch
from torch import Tensor

from sklearn_sprites._engine.modules.turns import (
    any_angles,
    turned_images,
    turned_parameters,
)
from sklearn_sprites._engine.training.adam import adam_of
from sklearn_sprites._engine.training.loop import Learner, batches
from sklearn_sprites._engine.training.start import Lesson

EPOCHS = 4
TURNED_EPOCHS = 32  # of images turned at random, which are always new
LEARNING_RATE = 2e-3


def distil(learner: Learner, lesson: Lesson) -> None:
    """Plain regression of the parameters for each image's own sprite.

    Where things lie turned in any way, images are turned at random.
    """
    model, labels, params = learner.model, lesson.labels, lesson.params
    names = [name for name in params if name in model.heads]
    if not names:
        return
    learned = [*model.encoder.parameters()]
    learned += [p for name in names for p in model.heads[name].parameters()]
    teacher = adam_of(learned, LEARNING_RATE)
    active = frozenset(names)
    for _ in range(TURNED_EPOCHS if lesson.is_turned else EPOCHS):
        for index in batches(learner, len(labels)):
            images, wanted = learner.images[lesson.rows[index]], _at(params, index)
            if lesson.is_turned:
                angles = any_angles(images, learner.noise)
                images = turned_images(images, angles, model.sequence.grid)
                wanted = {n: turned_parameters(n, wanted[n], angles) for n in names}
            told, _ = model.parameters_of(images, active)
            rows = torch.arange(len(index), device=index.device)
            loss = torch.zeros((), device=index.device)
            for n in names:
                found = told[n][rows, labels[index]]
                loss = loss + _missed(n, found, wanted[n]).mean()
            teacher.zero_grad()
            loss.backward()
            teacher.step()


def _at(params: dict[str, Tensor], index: Tensor) -> dict[str, Tensor]:
    return {name: values[index] for name, values in params.items()}


def _missed(name: str, found: Tensor, wanted: Tensor) -> Tensor:
    """Squared differences of parameters; angles are the same after a whole turn."""
    if name == "rotation":
        return 2 - 2 * (found - wanted).cos()
    return (found - wanted).square()
