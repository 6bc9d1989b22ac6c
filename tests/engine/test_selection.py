"""Sprites for layers: the affine formula, greedy and exhaustive selection."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sklearn_sprites._engine.ops.selection import (
    GAIN_RIDGE,
    Candidates,
    Stage,
    candidate_errors,
    composed,
    exhaustive,
    greedy,
    surroundings,
)
from tests import oracles_scenes as slow
from tests.strategies import assert_twins, attack, draws

sizes = st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 3))
penalties = st.sampled_from([0.0, 0.05, 0.5])


def problem(make, b, n_layers, k, channels=2, pixels=5):
    """Candidates and a stage whose order is soft and need not be transitive."""
    candidates = Candidates(
        make.uniform(b, n_layers, k, channels, pixels),
        make.uniform(b, n_layers, k, pixels),
    )
    below = make.uniform(b, n_layers, n_layers).tril(-1)
    above = (1 - below.transpose(1, 2)).triu(1)
    target = make.uniform(b, channels, pixels)
    stage = Stage(target, make.uniform(b, channels, pixels), below + above)
    return candidates, stage


def of_image(candidates, stage, i):
    """What the oracles want of one image."""
    return (
        candidates.color[i],
        candidates.alpha[i],
        stage.target[i],
        stage.behind[i],
        stage.over[i],
    )


@attack
@given(draws, sizes)
def test_composites_equal_their_definition(make, size):
    candidates, stage = problem(make, *size)
    color, alpha = candidates.color[:, :, 0], candidates.alpha[:, :, 0]

    def order(below):
        return below.tril(-1) + (1 - below.tril(-1).transpose(1, 2)).triu(1)

    def by_formula(color, alpha, behind, below):
        return composed(color, alpha, Stage(stage.target, behind, order(below)))

    def by_definition(color, alpha, behind, below):
        images = zip(color, alpha, behind, order(below), strict=True)
        found = torch.stack([slow.composite(*image) for image in images])
        return found + 0 * below.sum()  # of one layer there is no order

    below = make.uniform(size[0], size[1], size[1])
    assert_twins(by_formula, by_definition, color, alpha, stage.behind, below)


@attack
@given(draws, sizes, st.data())
def test_with_the_rest_fixed_a_composite_is_affine_in_a_layer(make, size, data):
    candidates, stage = problem(make, *size)
    layer = data.draw(st.integers(0, size[1] - 1))
    color, alpha = candidates.color[:, :, 0].clone(), candidates.alpha[:, :, 0].clone()
    around = surroundings(color, alpha, stage, layer)
    errors, gains = candidate_errors(
        candidates.color[:, layer],
        candidates.alpha[:, layer],
        False,
        around,
        stage.target,
    )
    assert (gains == 1).all()
    for k in range(size[2]):
        color[:, layer] = candidates.color[:, layer, k]
        alpha[:, layer] = candidates.alpha[:, layer, k]
        whole = (stage.target - composed(color, alpha, stage)).square().sum((1, 2))
        torch.testing.assert_close(errors[:, k], whole)


@attack
@given(draws, sizes)
def test_free_gains_are_the_best_ones(make, size):
    candidates, stage = problem(make, *size)
    color, alpha = candidates.color[:, :, 0], candidates.alpha[:, :, 0]
    around = surroundings(color, alpha, stage, 0)
    own = candidates.color[:, 0], candidates.alpha[:, 0]
    errors, gains = candidate_errors(*own, True, around, stage.target)
    assert (gains >= 0).all()
    least = errors + GAIN_RIDGE * gains.square().sum(2)
    for change in (-0.2, -0.01, 0.01, 0.2):
        others = (gains + change).clamp_min(0)
        drawn = others[..., None] * own[0]
        worse, _ = candidate_errors(drawn, own[1], False, around, stage.target)
        assert (worse + GAIN_RIDGE * others.square().sum(2) >= least - 1e-9).all()


@attack
@given(draws, sizes, penalties, st.integers(1, 3), st.booleans())
def test_greedy_selection_is_that_by_composites(make, size, penalty, sweeps, empty):
    candidates, stage = problem(make, *size)
    found = greedy(candidates, stage, penalty, sweeps, empty)
    for i in range(size[0]):
        expected, _ = slow.greedy_choice(
            *of_image(candidates, stage, i), penalty, sweeps, empty
        )
        assert found[i].tolist() == expected


@attack
@given(draws, sizes, penalties, st.booleans())
def test_exhaustive_selection_finds_the_best_of_all(make, size, penalty, empty):
    candidates, stage = problem(make, *size)
    found = exhaustive(candidates, stage, penalty, empty)
    for i in range(size[0]):
        _, choice = slow.best_choice(*of_image(candidates, stage, i), penalty, empty)
        assert found[i].tolist() == list(choice)


@attack
@given(draws, sizes, penalties, st.booleans())
def test_greedy_never_beats_exhaustive_and_never_rises(make, size, penalty, empty):
    candidates, stage = problem(make, *size)
    best = exhaustive(candidates, stage, penalty, empty)
    for i in range(size[0]):
        parts = of_image(candidates, stage, i)
        least = slow.chosen_objective(*parts, penalty, best[i].tolist())
        found = [
            slow.chosen_objective(*parts, penalty, choice[i].tolist())
            for choice in (
                greedy(candidates, stage, penalty, sweeps, empty)
                for sweeps in (1, 2, 3)
            )
        ]
        assert found[0] + 1e-9 >= found[1] >= found[2] - 1e-9 >= least - 2e-9


@attack
@given(draws, sizes)
def test_a_penalty_above_every_saving_empties_all_layers(make, size):
    candidates, stage = problem(make, *size)
    k = size[2]
    worst = float((stage.target - stage.behind).square().sum()) + 1
    assert (greedy(candidates, stage, worst, 2) == k).all()
    assert (exhaustive(candidates, stage, worst) == k).all()
    assert (greedy(candidates, stage, worst, 2, may_be_empty=False) < k).all()


@attack
@given(draws, sizes)
def test_permuted_sprites_are_chosen_all_the_same(make, size):
    candidates, stage = problem(make, *size)
    order = make.permutation(size[2])
    names = torch.cat([order, torch.tensor([size[2]])])
    permuted = Candidates(candidates.color[:, :, order], candidates.alpha[:, :, order])
    for choose in (
        lambda c: greedy(c, stage, 0.05, 2),
        lambda c: exhaustive(c, stage, 0.05),
    ):
        torch.testing.assert_close(names[choose(permuted)], choose(candidates))


def test_all_combinations_are_tried_with_fixed_gains_only():
    make = torch.Generator().manual_seed(0)
    color = torch.rand(1, 1, 1, 1, 4, generator=make)
    candidates = Candidates(color, color[:, :, :, 0], gain=True)
    stage = Stage(color[:, 0, 0], color[:, 0, 0], torch.zeros(1, 1, 1))
    with pytest.raises(ValueError, match="fixed gains"):
        exhaustive(candidates, stage, 0.0)
