from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sklearn_sprites._engine.ops.layers import (
    clear_share,
    compose,
    flat,
    free_share,
    solve_order,
    solve_planes,
)
from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.layers import picture, settle, worth
from tests import oracles_scenes as oracles
from tests.strategies import assert_twins, attack, batches, channels, draws

layer_counts = st.integers(1, 4)
SPEC = SceneSpec(1, 3, 1, 3, 12, 12, 4, 4, ("translation",), "flat")


@attack
@given(draws, batches, layer_counts, channels)
def test_composites_equal_painting_from_back_to_front(make, b, n, c):
    alpha, ink = make.uniform(b, n, 5, 4), make.uniform(b, n, 5, 4)
    colors, level = make.uniform(b, n, c), make.uniform(b, c)
    order = make.permutation(n).tolist()
    over = oracles.hides(order).expand(b, n, n)

    def fast(alpha, ink, colors, level):
        planes = torch.cat([clear_share(alpha), free_share(alpha, over) * ink], 1)
        return compose(planes, torch.cat([level[:, None], colors], 1))

    def slow(*parts):
        return torch.stack(
            [oracles.painted(*each, order) for each in zip(*parts, strict=True)]
        )

    assert_twins(fast, slow, alpha, ink, colors, level)


@attack
@given(draws, batches, layer_counts)
def test_shares_of_a_pixel_sum_to_one(make, b, n):
    alpha = make.uniform(b, n, 5, 4)
    over = oracles.hides(make.permutation(n).tolist()).expand(b, n, n)
    total = (free_share(alpha, over) * alpha).sum(1, keepdim=True) + clear_share(alpha)
    torch.testing.assert_close(total, torch.ones_like(total))


@attack
@given(draws, batches, layer_counts, channels)
def test_solved_colors_are_those_that_painted(make, b, n, c):
    planes = make.normal(b, n, 9, 9, scale=3)
    colors = make.uniform(b, n, c)
    found = solve_planes(planes, compose(planes, colors))
    torch.testing.assert_close(found, colors, rtol=0, atol=2e-2)


def test_the_color_of_a_plane_that_shows_nothing_is_zero():
    planes = torch.zeros(2, 1, 4, 4)
    assert torch.equal(
        solve_planes(planes, torch.ones(2, 3, 4, 4)), torch.zeros(2, 1, 3)
    )


@attack
@given(draws, st.integers(1, 6), st.integers(1, 6))
def test_rows_of_pixels_are_padded_with_zeros_to_whole_lines(make, h, w):
    maps = make.uniform(2, 3, h, w)
    row = flat(maps)
    assert row.shape[2] % 16 == 0
    assert torch.equal(row[..., : h * w], maps.flatten(2))
    assert not row[..., h * w :].any()


def overlapping(seed, n=3, side=12):
    """Opaque rectangles that overlap, their colors, and the order they are in."""
    make = torch.Generator().manual_seed(seed)
    alpha = torch.zeros(n, side, side)
    for i in range(n):
        y, x = torch.randint(1, 5, (2,), generator=make).tolist()
        alpha[i, y : y + 6, x : x + 6] = 1
    colors = torch.rand(n, 3, generator=make)
    order = torch.randperm(n, generator=make).tolist()
    level = torch.rand(3, generator=make)
    image = oracles.painted(alpha, alpha, colors, level, order)
    return alpha, image, order


@pytest.mark.parametrize("seed", range(8))
def test_the_settled_order_is_the_best_of_all_orders(seed):
    alpha, image, _ = overlapping(seed)
    drawn = torch.stack([alpha, alpha], 1)[None]
    start = torch.ones(1, 3, 3).tril(-1)
    errors = [
        picture(image[None], drawn, oracles.hides(order).float()[None], SPEC).error
        for order in oracles.all_orders(3)
    ]
    found = settle(image[None], drawn, start, SPEC, rounds=3)
    assert found.error <= min(errors) + 1e-3


@pytest.mark.parametrize("seed", range(8))
def test_with_the_true_colors_the_true_order_is_solved(seed):
    alpha, image, order = overlapping(seed)
    hidden = oracles.hides(order).float()[None]
    drawn = torch.stack([alpha, alpha], 1)[None]
    colors = picture(image[None], drawn, hidden, SPEC).colors[:, 1:]
    solved = solve_order(alpha[None], alpha[None], colors, image[None])
    again = picture(image[None], drawn, solved, SPEC)
    assert again.error <= picture(image[None], drawn, hidden, SPEC).error + 1e-5


@pytest.mark.parametrize("seed", range(8))
def test_settling_never_raises_the_error(seed):
    make = torch.Generator().manual_seed(seed)
    image, alpha = torch.rand(4, 3, 12, 12, generator=make), None
    alpha = torch.rand(4, 3, 12, 12, generator=make)
    drawn, over = torch.stack([alpha, alpha], 2), torch.ones(4, 3, 3).tril(-1)
    errors = [settle(image, drawn, over, SPEC, rounds).error for rounds in range(4)]
    for before, after in pairwise(errors):
        assert (after <= before).all()


def test_a_fixed_order_stays():
    alpha, image, _ = overlapping(1)
    spec = SceneSpec(1, 3, 1, 3, 12, 12, 4, 4, ("translation",), "flat", "depth")
    start = torch.ones(1, 3, 3).tril(-1)
    drawn = torch.stack([alpha, alpha], 1)[None]
    assert torch.equal(settle(image[None], drawn, start, spec).over, start)


def test_a_layer_is_worth_what_the_image_loses_without_it():
    alpha, image, order = overlapping(2)
    drawn = torch.stack([alpha, alpha], 1)[None]
    found = picture(image[None], drawn, oracles.hides(order).float()[None], SPEC)
    values = worth(image[None], found, SPEC)
    for i in range(3):
        without = drawn.clone()
        without[:, i] = 0
        lost = picture(image[None], without, found.over, SPEC).error - found.error
        torch.testing.assert_close(values.saves[:, i], lost)
    assert ((values.share >= 0) & (values.share <= 1)).all()
