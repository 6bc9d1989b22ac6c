"""Whether masks of things that stand alone are alike once they are turned."""

from dataclasses import replace

import numpy as np
import torch

from sklearn_sprites._engine.runtime import generator, isolated
from sklearn_sprites._engine.scene_spec import POSES
from sklearn_sprites._engine.training.components import object_windows
from sklearn_sprites._engine.training.first_look import OBJECTS, FirstLook
from sklearn_sprites._engine.training.own_colors import ALIKE, left_upright
from sklearn_sprites._engine.training.turned_windows import (
    few_and_small,
    left_in_turns,
)

# Of what upright masks leave may turned ones leave, where things are upright. Layers
# that are turned in vain cost little; things that are turned and may not be, much.
UPRIGHT = 0.65


def may_be_turned(look: FirstLook) -> bool:
    """Whether K masks of standard size leave clearly less in any turn than upright."""
    with isolated(grad=False):
        spec = replace(look.spec, transformations=POSES[:2])
        windows = object_windows(look.views, spec)
        windows = windows.take(torch.arange(min(len(windows), OBJECTS)))
        masks = few_and_small(windows).mask[:, None]
        masks = masks / masks.square().sum((1, 2, 3), keepdim=True).sqrt()
        k, draws = look.spec.n_sprites, generator(np.random.SeedSequence(0), "cpu")
        upright = float(left_upright(masks.flatten(1), k).mean())
        turned = float(left_in_turns(masks, k, draws).mean())
        return upright > ALIKE and turned < UPRIGHT * upright
