"""Whether masks of things that stand alone are alike once they are turned."""

import numpy as np

from sklearn_sprites._engine.runtime import generator, isolated
from sklearn_sprites._engine.scene_spec import POSES
from sklearn_sprites._engine.training.first_look import FirstLook
from sklearn_sprites._engine.training.mask_sizes import unit_masks
from sklearn_sprites._engine.training.own_colors import ALIKE, left_upright
from sklearn_sprites._engine.training.turned_windows import left_in_turns

# Of what upright masks leave may turned ones leave, where things are upright. Layers
# that are turned in vain cost little; things that are turned and may not be, much.
UPRIGHT = 0.65


def may_be_turned(look: FirstLook) -> bool:
    """Whether K masks of standard size leave clearly less in any turn than upright."""
    with isolated(grad=False):
        masks = unit_masks(look, POSES[:2])
        k, draws = look.spec.n_sprites, generator(np.random.SeedSequence(0), "cpu")
        upright = float(left_upright(masks.flatten(1), k).mean())
        turned = float(left_in_turns(masks, k, draws).mean())
        return upright > ALIKE and turned < UPRIGHT * upright
