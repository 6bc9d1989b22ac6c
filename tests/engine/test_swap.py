import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sklearn_sprites._engine.settings import ClonePerturb, Swap
from sklearn_sprites._engine.training.reassignment import (
    epochs_between,
    spare_count,
    sprites_kept,
    turnover,
)
from sklearn_sprites._engine.training.splits import least_missed, removal_costs
from tests.strategies import attack


@attack
@given(st.integers(1, 40), st.integers(0, 40), st.integers(1, 90), st.floats(0, 1))
def test_sprites_leave_one_after_the_other_and_the_number_wanted_stays(
    wanted, spares, max_epochs, until
):
    rule, total = Swap(until=until), wanted + spares
    kept = [
        sprites_kept(rule, epoch, max_epochs, wanted, total)
        for epoch in range(max_epochs + 1)
    ]
    assert kept[0] == total
    assert kept == sorted(kept, reverse=True)
    assert all(wanted <= k <= total for k in kept)
    if until < 0.99:
        assert kept[-1] == wanted


def test_many_epochs_mean_small_steps():
    kept = [sprites_kept(Swap(), epoch, 60, 10, 15) for epoch in range(61)]
    steps = [a - b for a, b in zip(kept, kept[1:], strict=False)]
    assert set(steps) == {0, 1}
    assert kept[28] == 15
    assert kept[42] == 10


@pytest.mark.parametrize(("spares", "moved"), [(0, 0), (1, 1), (4, 3), (5, 4)])
def test_three_quarters_of_the_spares_move_at_a_time(spares, moved):
    assert turnover(spares) == moved


def test_spares_are_half_the_number_wanted_and_no_more_than_there_are_images():
    assert spare_count(Swap(), 10, 1000) == 5
    assert spare_count(Swap(spares=2), 10, 1000) == 2
    assert spare_count(Swap(), 10, 12) == 2
    assert spare_count(Swap(), 1, 12) == 0
    assert spare_count(ClonePerturb(), 10, 1000) == 0
    assert spare_count(None, 10, 1000) == 0
    assert epochs_between(Swap(), True) > epochs_between(Swap(), False)


def test_what_goes_is_what_is_missed_least_also_after_others_went():
    errors = torch.tensor(
        [
            [0.0, 9.0, 9.0, 1.0],  # the first sprite's image can go to the last
            [9.0, 0.0, 2.0, 9.0],
            [9.0, 9.0, 0.0, 9.0],
            [1.5, 9.0, 9.0, 0.0],  # and the last one's to the first
        ]
    )
    assert removal_costs(errors).tolist() == [1.0, 2.0, 9.0, 1.5]
    assert least_missed(errors, 3) == [0]
    assert least_missed(errors, 2) == [0, 1]  # the last one has no second choice now
    assert least_missed(errors, 4) == []
