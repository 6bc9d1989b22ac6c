"""From layers found by search to a network that guesses them."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sklearn_sprites._engine.models.scene_build import build_guesser
from sklearn_sprites._engine.models.scene_network import SceneNetwork
from sklearn_sprites._engine.runtime import generator, isolated
from sklearn_sprites._engine.scene_records import LayerRecord
from sklearn_sprites._engine.scene_settings import Distilled
from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.ground import ground_of
from sklearn_sprites._engine.search.layers import Sprites
from sklearn_sprites._engine.training.adam import adam_of
from sklearn_sprites._engine.training.scene_distillation import losses
from sklearn_sprites._engine.training.scene_end_to_end import image_loss
from sklearn_sprites._engine.training.scene_sampling import (
    Taught,
    drawn_scenes,
    sampled,
)

WARMUP = 50  # steps in which the learning rate grows
GENTLE = 0.15  # share of the learning rate with which images themselves teach
WEIGHT = 20.0  # of the error of images, relative to what search teaches


class Lesson(NamedTuple):
    """Views (n, D, H, W) of images, their layers, and levels behind them (n, C)."""

    views: Tensor
    taught: Taught
    level: Tensor


def lesson_of(views: Tensor, record: LayerRecord, spec: SceneSpec) -> Lesson:
    """What a record of scenes of `spec` says, in pixels of views.

    Flat colors have a bias, or a gain on white. Where light is taken off, a record
    tells the light and not the level that is left.
    """

    def tensor(values: NDArray) -> Tensor:
        return torch.from_numpy(np.array(values, np.float32))

    pose = record.pose()
    pose[..., :2] /= spec.reduction
    sprite = torch.from_numpy(np.array(record.sprite, np.int64))
    taught = Taught(
        sprite.clamp_min(0),
        tensor(pose),
        (sprite >= 0).float(),
        tensor(record.gain + record.bias),
    )
    level = tensor(record.background_gain)
    if spec.evens:
        level = views.flatten(2).median(2).values
    return Lesson(views, taught, level)


def distilled(
    lesson: Lesson,
    sprites: Sprites,
    spec: SceneSpec,
    settings: Distilled,
    seed: np.random.SeedSequence,
) -> SceneNetwork:
    """A network that has learned a lesson about scenes of some sprites.

    `spec` describes views. Half of a batch, or another share, are images; the others
    are scenes drawn from what was found in them. In the end, some steps lower the error
    of the images that guesses draw, too.
    """
    draws = generator(seed, "cpu")
    with isolated(grad=True, seed=seed):
        network = build_guesser(spec, settings, draws).to(sprites.planes.device)
        rows = batches(len(lesson.views), settings.batch_size - settings.n_drawn, draws)
        optimizer = adam_of(network.train().parameters())
        for step in range(settings.steps + settings.end_to_end):
            images, taught = exercise(
                lesson, next(rows), sprites, spec, settings, draws
            )
            found = losses(network, images, taught, draws)
            loss = found.heat + found.sprite + found.pose
            late, share = step - settings.steps, rate(step, settings.steps)
            if late >= 0:
                drawn = image_loss(images, network(images), sprites, spec)
                loss = loss + WEIGHT * drawn
                share = GENTLE * rate(late, settings.end_to_end)
            optimizer.groups[0].rate = settings.learning_rate * share
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network.eval()


@torch.no_grad()
def exercise(
    lesson: Lesson,
    index: Tensor,
    sprites: Sprites,
    spec: SceneSpec,
    settings: Distilled,
    draws: torch.Generator,
) -> tuple[Tensor, Taught]:
    """A batch: some images of a lesson, then scenes drawn like them."""
    device, n_drawn = sprites.planes.device, settings.n_drawn
    images = lesson.views[index].to(device)
    taught = lesson.taught.take(index).to(device)
    if not n_drawn:
        return images, taught
    further = sampled(lesson.taught, n_drawn, spec, draws).to(device)
    rows = torch.randint(len(lesson.views), (n_drawn,), generator=draws)
    behind = lesson.level[rows, :, None, None].to(device)
    if spec.has_picture:
        behind = ground_of(lesson.views[rows], spec).to(device)
    scenes = drawn_scenes(further, behind, sprites, spec, draws)
    return torch.cat([images, scenes]), taught.joined(further)


def rate(step: int, steps: int) -> float:
    """Share of the learning rate: up for a moment, then down in a cosine."""
    return min(1, (step + 1) / WARMUP) * (1 + math.cos(math.pi * step / steps)) / 2


def batches(n: int, size: int, draws: torch.Generator) -> Iterator[Tensor]:
    """Indices of `size` images, without end; all are seen before one is seen again."""
    left = torch.zeros(0, dtype=torch.int64)
    while True:
        while len(left) < size:
            left = torch.cat([left, torch.randperm(n, generator=draws)])
        yield left[:size]
        left = left[size:]
