from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sklearn_sprites._engine.ops.correlation import (
    correlate,
    fast_length,
    make_filters,
)
from sklearn_sprites._engine.search.shifts import (
    draw_at,
    search_shifts,
    windows_at,
)
from tests import oracles_scenes as oracles
from tests.strategies import assert_twins, attack, batches, draws

sides = st.integers(1, 6)


@attack
@given(draws, batches, sides, sides, sides, sides)
def test_correlation_by_fft_equals_sums_over_pixels(make, b, height, width, h, w):
    maps, sprites = make.normal(b, 2, height, width), make.normal(2, h, w)

    def slow(maps, sprites):
        return torch.stack(
            [
                torch.stack(
                    [
                        torch.stack([oracles.correlation(m, s) for s in sprites])
                        for m in each
                    ]
                )
                for each in maps
            ]
        )

    assert_twins(
        lambda m, s: correlate(m, make_filters(s, height, width)), slow, maps, sprites
    )


@attack
@given(draws, sides, sides, sides, sides)
def test_energy_counts_what_lies_inside_the_image(make, height, width, h, w):
    sprites = make.normal(1, h, w)
    ones = torch.ones(height, width, dtype=sprites.dtype)
    expected = oracles.correlation(ones, sprites[0].square())
    found = make_filters(sprites, height, width).energy[0]
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("n", "length"), [(1, 16), (17, 24), (25, 32), (59, 64)])
def test_lengths_are_fast_and_long_enough(n, length):
    assert fast_length(n) == length


@attack
@given(draws, st.integers(3, 7), st.integers(3, 7), st.integers(1, 4))
def test_the_first_layer_is_the_best_of_all_sprites_and_places(make, height, width, h):
    image, sprites = make.uniform(2, height, width), make.uniform(3, h, h)
    filters = make_filters(sprites, height, width)
    found = search_shifts(image[None], sprites, filters, 1, 1, 0.0)
    value, k, row, column = oracles.best_shift(image, sprites)
    assert float(found.table.max()) == pytest.approx(value, rel=1e-9)
    if found.on[0, 0]:
        assert (int(found.sprite[0, 0]), int(found.row[0, 0])) == (k, row)
        assert int(found.column[0, 0]) == column


@pytest.mark.parametrize("seed", range(5))
def test_more_sweeps_never_raise_the_objective(seed):
    make = torch.Generator().manual_seed(seed)
    images = torch.rand(6, 3, 14, 14, generator=make)
    sprites = torch.rand(4, 5, 5, generator=make)
    filters, penalty = make_filters(sprites, 14, 14), 0.3
    objectives = []
    for sweeps in range(4):
        found = search_shifts(images, sprites, filters, 3, sweeps, penalty)
        objectives.append(found.error + penalty * found.on.sum(1))
    for before, after in pairwise(objectives):
        assert (after <= before + 1e-4).all()
    assert (objectives[1] < objectives[0]).any()


def test_shifted_sprites_that_overlap_nowhere_are_found_exactly():
    make = torch.Generator().manual_seed(0)
    sprites = torch.rand(3, 6, 6, generator=make) + 0.2
    image = torch.zeros(1, 3, 20, 20)
    truth = {(0, 1, 2), (2, 9, 10), (1, 12, -1)}  # the last is cut by the border
    for n, (k, row, column) in enumerate(sorted(truth)):
        gain = torch.tensor([0.9, 0.5, 0.2]).roll(n)
        placed = [torch.tensor([v]) for v in (k, row, column)]
        image += gain[:, None, None] * draw_at(sprites[:, None], *placed, image)
    found = search_shifts(image, sprites, make_filters(sprites, 20, 20), 3, 2, 0.01)
    places = torch.stack([found.sprite, found.row, found.column], 2)[0].tolist()
    assert {tuple(place) for place in places} == truth
    assert float(found.error) < 1e-3


def test_a_layer_that_does_not_pay_stays_empty():
    sprites = torch.ones(1, 3, 3)
    images = torch.full((1, 1, 8, 8), 0.05)
    filters = make_filters(sprites, 8, 8)
    found = search_shifts(images, sprites, filters, 2, 2, 1.0)
    assert not found.on.any()
    assert not found.ink.any()


def test_windows_are_what_sprites_are_drawn_into():
    images = torch.arange(2 * 49.0).view(2, 1, 7, 7)
    row, column = torch.tensor([-1, 3]), torch.tensor([2, 5])
    seen = windows_at(images, row, column, 3, 4)
    ones = torch.ones(1, 1, 3, 4)
    mask = draw_at(ones, torch.zeros(2, dtype=torch.int64), row, column, images)
    for n in range(2):
        assert float(seen[n].sum()) == float((images[n, 0] * mask[n, 0]).sum())
    assert seen[0, 0, 1, 0] == images[0, 0, 0, 2]
