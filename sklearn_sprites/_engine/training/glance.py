"""Few and small images, and what a few sprites leave of them: enough for a decision.

Computed on the CPU, and always with the same random numbers.
"""

from dataclasses import replace

import torch
from numpy.typing import NDArray
from torch import Tensor

from sklearn_sprites._engine.ops import alignment
from sklearn_sprites._engine.ops.alignment import Family
from sklearn_sprites._engine.ops.resizing import resized
from sklearn_sprites._engine.spec import ModelSpec
from sklearn_sprites._engine.training.start import run_rounds, simple_sprites

IMAGES, FEWEST_IMAGES = 240, 50  # looked at, and that can tell
MOST_SPRITES = 60  # at this look
LARGEST = 16  # pixels of the shorter side at which they are looked at
ROUNDS = 3


def glance(images: NDArray, spec: ModelSpec) -> tuple[Tensor, ModelSpec]:
    """Some of the images (n, C, H, W), reduced, and the description of such ones."""
    some = torch.from_numpy(images[:: -(-len(images) // IMAGES)])
    shrink = max(min(spec.height, spec.width) / LARGEST, 1)
    height, width = round(spec.height / shrink), round(spec.width / shrink)
    return resized(some, (height, width)), replace(spec, height=height, width=width)


def errors_left(images: Tensor, spec: ModelSpec, family: Family) -> Tensor:
    """Squared errors of images under a few more sprites than are wanted, (n,)."""
    draws = torch.Generator().manual_seed(0)
    first = first_sprites(images, spec, draws)
    return errors_from(images, first, family, draws)


def first_sprites(images: Tensor, spec: ModelSpec, draws: torch.Generator) -> Tensor:
    """Images that are unlike each other, a few more than sprites are wanted."""
    k = min(spec.n_sprites + -(-spec.n_sprites // 2), MOST_SPRITES, len(images))
    return simple_sprites(images, replace(spec, n_sprites=k), "k-means++", draws)


def errors_from(
    images: Tensor, sprites: Tensor, family: Family, draws: torch.Generator
) -> Tensor:
    """Squared errors of images under sprites after some rounds from these, (n,)."""
    _, sprites = run_rounds(images, sprites, family, draws, ROUNDS)
    found = alignment.poses(images.flatten(2), sprites, family, alignment.HYPOTHESES)
    return found.errors.amin(1)


def squares_within(images: Tensor) -> Tensor:
    """Squares of what differs from each image's own mean color, summed, (n,)."""
    squares = images.flatten(2).var(2, correction=0).sum(1)
    return squares * images[0, 0].numel()
