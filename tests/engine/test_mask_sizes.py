"""What masks of things that stand alone tell of sizes, of edges, and of each other."""

import numpy as np
import pytest

from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.training.first_look import FirstLook
from sklearn_sprites._engine.training.mask_sizes import (
    EACH,
    have_soft_edges,
    recur,
    sizes_vary,
)

SIDE, N = 48, 60


def look(radii, n_sprites=2, soft=0.5, n=N, lobes=0.0, seed=0):
    """Two discs per image on black, with two to five lobes of this depth, turned."""
    draws = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    images = np.zeros((n, 1, SIDE, SIDE), np.float32)
    for image in images[:, 0]:
        for left in (12, 36):
            u, v = x - left - draws.uniform(-1, 1), y - draws.uniform(12, 36)
            angle = draws.integers(2, 6) * (np.arctan2(v, u) + draws.uniform(0, 6))
            far = np.hypot(u, v) / (1 + lobes * np.cos(angle))
            edge = draws.uniform(*radii) - far
            image += 0.9 * (edge / (2 * soft) + 0.5).clip(0, 1)
    spec = SceneSpec(n_sprites, 2, 0, 1, SIDE, SIDE, 24, 24)
    return FirstLook(images, spec)


@pytest.mark.parametrize(
    ("radii", "vary"), [((7, 7), False), ((6.8, 7.2), False), ((5, 9), True)]
)
def test_sizes_vary_where_one_size_makes_masks_alike(radii, vary):
    assert sizes_vary(look(radii, n_sprites=1)) == vary


def test_what_is_scaled_recurs_and_what_is_turned_does_only_in_turns():
    assert recur(look((5, 9)), False)
    turned = look((6, 6), n_sprites=4, lobes=0.5)
    assert not recur(turned, False)
    assert recur(turned, True)


@pytest.mark.parametrize(("soft", "are_soft"), [(1e-6, False), (0.5, True), (1, True)])
def test_edges_are_soft_where_they_fade(soft, are_soft):
    assert have_soft_edges(look((7, 7), soft=soft)) == are_soft


def test_a_few_things_for_each_sprite_tell_nothing():
    many = 2 * N // EACH + 1
    assert sizes_vary(look((5, 9)))
    assert not sizes_vary(look((5, 9), n_sprites=many))
    assert recur(look((5, 9)), False)
    assert not recur(look((5, 9), n_sprites=many), False)


def test_nothing_tells_nothing():
    empty = look((7, 7), n=3)
    empty.images[:] = 0
    assert not sizes_vary(empty)
    assert not recur(empty, True)
    assert not have_soft_edges(empty)
