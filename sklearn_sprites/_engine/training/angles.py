"""Whether things lie in any turn: what the angles tell at which they were found.

Of things that are upright, most are found upright, whatever they look like; of others,
one in six within 30 degrees, also where noise hides how well they are explained.
"""

import math

import torch
from torch import Tensor

from sklearn_sprites._engine.modules.families import to_parameters
from sklearn_sprites._engine.modules.turns import TURNS
from sklearn_sprites._engine.ops import alignment
from sklearn_sprites._engine.ops.alignment import Family

ANGLES = 400  # images whose angles are looked at
UPRIGHT = 0.27  # share of them that are nearly upright, where things lie in all turns


def angles_found(images: Tensor, sprites: Tensor, family: Family, name: str) -> Tensor:
    """By which angles some of the images are turned from their sprites, (m,)."""
    some = images[:: -(-len(images) // ANGLES)]
    found = alignment.survey(some, sprites, family)
    told = to_parameters(name, found.matrices, family)
    return told[:, 0] if name == "rotation" else torch.atan2(told[:, 1], 1 + told[:, 0])


def upright_share(angles: Tensor) -> float:
    """The share of angles below 30 degrees; of angles of all sizes, a sixth."""
    angles = torch.atan2(angles.sin(), angles.cos())
    return float((angles.abs() < math.pi / 6).float().mean())


def evenness(angles: Tensor) -> float:
    """How evenly angles lie on the circle: one if they are drawn from all of it.

    The entropy of a histogram, less what is missing since there are few angles. Shapes
    that look the same after some turns lie in some turns only.
    """
    turns = (angles / (2 * math.pi) * TURNS).floor().long()
    bins = turns.remainder(TURNS)
    share = torch.bincount(bins, minlength=TURNS) / len(angles)
    entropy = -torch.xlogy(share, share).sum() / math.log(TURNS)
    return float(entropy) + (TURNS - 1) / (2 * len(angles) * math.log(TURNS))
