"""Whether masks of things that stand alone are alike in one size, and how much."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from sklearn_sprites._engine.runtime import generator, isolated
from sklearn_sprites._engine.scene_spec import POSES
from sklearn_sprites._engine.search.ground import image_of
from sklearn_sprites._engine.training.components import (
    behind,
    numbered,
    object_windows,
    shown_apart,
)
from sklearn_sprites._engine.training.first_look import OBJECTS, FirstLook
from sklearn_sprites._engine.training.own_colors import ALIKE, left_upright
from sklearn_sprites._engine.training.turned_windows import (
    few_and_small,
    left_in_turns,
)

FEWEST, EACH = 20, 4  # things that stand alone, and for each sprite, that can tell
VARY = 0.8  # of what masks as they are leave may those of one size leave
RECUR = 0.07  # share of masks that K of them may leave, if these are seen again
FAINT = 0.8  # of the strongest contrast of a thing, at its edges,
SOFT = 0.05  # in more than this share of its pixels, where edges are soft


def sizes_vary(look: FirstLook) -> bool:
    """Whether masks of things that stand alone are more alike once they have one size.

    Not where they are alike as they are.
    """
    with isolated(grad=False):
        masks = [unit_masks(look, POSES[:count]).flatten(1) for count in (1, 2)]
        k = look.spec.n_sprites
        if len(masks[0]) < max(FEWEST, EACH * k):
            return False
        as_they_are, in_one_size = (float(left_upright(x, k).mean()) for x in masks)
        return as_they_are > ALIKE and in_one_size < VARY * as_they_are


def recur(look: FirstLook, are_turned: bool) -> bool:
    """Whether a few masks are seen again and again, in one size, or also turned."""
    with isolated(grad=False):
        masks, k = unit_masks(look, POSES[:2]), look.spec.n_sprites
        if len(masks) < max(FEWEST, EACH * k):
            return False
        draws = generator(np.random.SeedSequence(0), "cpu")
        left = (
            left_in_turns(masks, k, draws)
            if are_turned
            else left_upright(masks.flatten(1), k)
        )
        return float(left.mean()) < RECUR


def have_soft_edges(look: FirstLook) -> bool:
    """Whether things of one color are fainter along their edges.

    They lie anywhere between pixels, and not, as sharp ones may, on whole pixels.
    """
    with isolated(grad=False):
        views, spec = look.views, look.spec
        contrast = (image_of(views, spec) - behind(views, spec)).square().sum(1).sqrt()
        where, names, index = numbered(shown_apart(views, spec))
        if not len(names):
            return False
        seen, zeros = contrast[tuple(where.T)], contrast.new_zeros(len(names))
        strongest = zeros.scatter_reduce(0, index, seen, "amax")
        is_faint = (seen < FAINT * strongest[index]).to(seen)
        share = zeros.index_add(0, index, is_faint) / index.bincount()
        return float(share.median()) > SOFT


def unit_masks(look: FirstLook, poses: tuple[str, ...]) -> Tensor:
    """Masks (n, 1, h, w) of some things that stand alone, their squares one in sum.

    In the frames of sprites that are posed so: of one size, if these are scaled.
    """
    spec = replace(look.spec, transformations=poses)
    windows = object_windows(look.views, spec)
    windows = windows.take(torch.arange(min(len(windows), OBJECTS)))
    masks = few_and_small(windows).mask[:, None]
    return masks / masks.square().sum((1, 2, 3), keepdim=True).sqrt()
