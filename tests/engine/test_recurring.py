"""Sizes and turns of things, by what recurs of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.training.first_look import FEW, MOST, FirstLook
from sklearn_sprites._engine.training.recurring import (
    MARGIN,
    larger_side,
    lie_in_several_directions,
    sprite_side,
)

SIDE = 40
SPEC = SceneSpec(2, 3, 1, 1, SIDE, SIDE, 20, 20)


def boxes(sizes, n=60, n_objects=2, seed=0, noise=0.0):
    """Boxes of these heights and widths on gray; they may touch."""
    draws = np.random.default_rng(seed)
    images = np.full((n, 1, SIDE, SIDE), 0.4, np.float32)
    for image in images[:, 0]:
        for _ in range(n_objects):
            h, w = sizes[draws.integers(len(sizes))]
            y, x = draws.integers(1, SIDE - h), draws.integers(1, SIDE - w)
            image[y : y + h, x : x + w] = 0.9
    return images + noise * draws.normal(size=images.shape).astype(np.float32)


def bars(angles, n=60, seed=0):
    """A bar and a disc per image; `angles` draws how the bar lies."""
    draws = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    images = np.full((n, 1, SIDE, SIDE), 0.4, np.float32)
    for image in images[:, 0]:
        for k, left in ((0, 10), (1, 30)):
            cx, cy = left + draws.uniform(-2, 2), draws.uniform(10, SIDE - 10)
            angle = angles(draws)
            u = np.cos(angle) * (x - cx) + np.sin(angle) * (y - cy)
            v = np.cos(angle) * (y - cy) - np.sin(angle) * (x - cx)
            bar = (abs(u) < 7) & (abs(v) < 2.5)
            image[(bar, u**2 + v**2 < 25)[k]] = 0.9
    return images


@given(st.integers(5, 12), st.integers(5, 12), st.integers(0, 3))
def test_sprites_hold_the_largest_thing_that_recurs(high, wide, seed):
    images = boxes([(high, wide), (5, 5)], seed=seed)
    side = sprite_side(FirstLook(images, SPEC))
    largest = max(high, wide) + 2 * MARGIN
    assert side in (largest, largest + 1)  # what is a pixel larger is alike


def test_noise_and_things_that_touch_do_not_count():
    images = boxes([(8, 6), (6, 9)], n=100, n_objects=4, noise=0.01)
    assert sprite_side(FirstLook(images, SPEC)) == 9 + 2 * MARGIN


def test_frames_are_larger_where_all_things_are():
    large = FirstLook(boxes([(22, 20), (20, 24)], n_objects=1), SPEC)
    side = larger_side(large, 20)
    assert side is not None
    assert 1.3 * 22 < side <= SIDE
    assert larger_side(large, side) is None
    usual = FirstLook(boxes([(9, 8), (8, 10)], n_objects=2), SPEC)
    assert larger_side(usual, 20) is None
    few = FirstLook(boxes([(22, 20)], n=8, n_objects=1), SPEC)
    assert larger_side(few, 20) is None


def test_sprites_are_no_larger_than_images():
    images = boxes([(SIDE - 3, 9)], n_objects=1)
    assert sprite_side(FirstLook(images, SPEC)) == SIDE


@pytest.mark.parametrize("case", ["no two alike", "few", "nothing"])
def test_where_nothing_recurs_there_is_no_size(case):
    draws = np.random.default_rng(0)
    if case == "few":
        images = boxes([(8, 8)], n=8, n_objects=1)
    elif case == "nothing":
        images = boxes([(8, 8)], n_objects=0)
    else:
        kinds = [tuple(draws.integers(4, 30, 2)) for _ in range(400)]
        images = boxes(kinds, n_objects=1)
    assert sprite_side(FirstLook(images, SPEC)) is None
    assert not lie_in_several_directions(FirstLook(images, SPEC))


@pytest.mark.parametrize(
    ("angles", "turned"),
    [
        (lambda draws: draws.uniform(0, 2 * np.pi), True),
        (lambda draws: draws.normal(0, 0.05), False),
        (lambda draws: 0.5 + np.pi * draws.integers(2), False),  # upside down
    ],
)
def test_bars_that_lie_in_several_directions_are_turned(angles, turned):
    assert lie_in_several_directions(FirstLook(bars(angles), SPEC)) == turned


def test_round_things_lie_in_no_direction():
    images = bars(lambda draws: draws.uniform(0, 2 * np.pi))
    images[..., : SIDE // 2] = 0.4  # discs are on the right
    assert not lie_in_several_directions(FirstLook(images, SPEC))


def test_some_images_are_looked_at_as_many_as_have_a_million_pixels():
    images = boxes([(8, 8)], n=2 * MOST)
    look = FirstLook(images, SPEC)
    assert len(look.views) == MOST
    assert len(FirstLook(images[:5], SPEC).views) == 5
    large = np.full((80, 1, 160, 160), 0.5, np.float32)
    spec = SceneSpec(2, 3, 1, 1, 160, 160, 20, 20)
    assert len(FirstLook(large, spec).views) == FEW
