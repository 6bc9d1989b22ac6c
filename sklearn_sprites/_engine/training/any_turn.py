"""A first look at images: whether they show things in all turns."""

from dataclasses import replace

import torch
from numpy.typing import NDArray

from sklearn_sprites._engine.modules.families import rigid_name
from sklearn_sprites._engine.modules.turns import TURNING, with_turns
from sklearn_sprites._engine.ops.resizing import resized
from sklearn_sprites._engine.runtime import isolated
from sklearn_sprites._engine.spec import ModelSpec, opaque
from sklearn_sprites._engine.training.angles import (
    ANGLES,
    UPRIGHT,
    angles_found,
    evenness,
    upright_share,
)
from sklearn_sprites._engine.training.apart import usual, without_backgrounds
from sklearn_sprites._engine.training.start import (
    TRIAL_ROUNDS,
    first_family,
    run_rounds,
    simple_sprites,
)

FEWEST_IMAGES = 100  # that can tell
MOST_SPRITES = 60  # at this look
EVEN = 0.987  # evenness of angles that are all turns


def lie_in_any_turn(images: NDArray, spec: ModelSpec) -> bool:
    """Whether images (n, C, H, W) show things in all turns, each as often as any other.

    Things that are alike after a quarter of a turn, and kinds that are each other's
    turns, lie in some turns only. Usual backgrounds, which are upright, are taken off
    first, if there are any. Few images are looked at, on the CPU, and always with
    the same random numbers.
    """
    name = rigid_name(spec)
    assert name in TURNING, "nothing is turned"
    if len(images) < FEWEST_IMAGES:
        return False
    with isolated(grad=False):
        some = torch.from_numpy(images[:: -(-len(images) // ANGLES)])
        size, draws = spec.coarse_size, torch.Generator().manual_seed(0)
        n_sprites = min(spec.n_sprites + -(-spec.n_sprites // 2), MOST_SPRITES)
        look = replace(opaque(spec), n_sprites=n_sprites, height=size[0], width=size[1])
        small = resized(some, size)
        if spec.is_layered:
            small = without_backgrounds(small, usual(small, spec, draws), spec)
        family = with_turns(first_family(small, look, name))
        first = simple_sprites(small, look, "k-means++", draws)
        _, sprites = run_rounds(small, first, family, draws, TRIAL_ROUNDS)
        angles = angles_found(small, sprites, family, name)
        return upright_share(angles) <= UPRIGHT and evenness(angles) >= EVEN
