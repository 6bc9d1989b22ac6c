import json
import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sklearn_sprites._engine.settings import CURRICULA, Milestones
from sklearn_sprites._engine.spec import (
    COLORS,
    TRANSFORMATIONS,
    ModelSpec,
    auto_transformations,
    parameter_count,
)
from sklearn_sprites._engine.training.curriculum import dated_stages, make_stages
from sklearn_sprites._engine.training.plateau import has_converged, has_settled
from sklearn_sprites._engine.training.run import shares
from sklearn_sprites._engine.training.splits import (
    FLOOR,
    Judgment,
    how_missed,
    least_missed,
    removal_costs,
    split_gains,
    two_means,
)
from tests import oracles
from tests.strategies import attack, draws


def with_one_color(names):
    return len(set(names) & set(COLORS)) < 2


names = st.lists(st.sampled_from(TRANSFORMATIONS), max_size=4, unique=True)
names = names.filter(with_one_color).map(tuple)
curricula = st.sampled_from(CURRICULA)


def spec_of(names, behind=(), color="solve"):
    return ModelSpec(3, 1 if behind else 0, 1, 8, 8, names, behind, color)


@given(names, names, curricula, st.booleans(), st.sampled_from(["solve", "predict"]))
def test_stages_end_with_everything_and_never_forget(sprite, behind, name, lead, color):
    spec = spec_of(sprite, behind, color)
    stages = make_stages(spec, name, lead)
    everything = frozenset((*spec.transformations, *spec.background_transformations))
    assert stages[-1].active == stages[-2].active == everything
    assert [stage.is_last for stage in stages].count(True) == 1
    assert stages[-1].is_last
    for before, after in pairwise(stages):
        assert before.active <= after.active
    assert sum(stage.share for stage in stages) == pytest.approx(1)
    if name == "all_at_once":
        assert len(stages) == 2
    elif not lead:
        assert stages[0].active <= {*COLORS, *spec.solved}


def test_one_by_one_switches_on_one_at_a_time_in_order():
    spec = spec_of(("color", "affine", "morphological", "thin_plate_spline"))
    stages = make_stages(spec, "one_by_one", False)
    assert [set(s.active) for s in stages[:-1]] == [
        {"color"},  # a color that is solved has nothing to learn
        {"color", "affine"},
        {"color", "affine", "morphological"},
        {"color", "affine", "morphological", "thin_plate_spline"},
    ]
    predicted = make_stages(
        spec_of(("color", "affine"), color="predict"), "one_by_one", False
    )
    assert [set(s.active) for s in predicted[:-1]] == [
        set(),
        {"color"},
        {"color", "affine"},
    ]


@pytest.mark.parametrize("lead", [False, True])
def test_an_explicit_curriculum_is_followed(lead):
    spec = spec_of(("color", "affine", "thin_plate_spline"))
    every = ("color", "affine", "thin_plate_spline")
    steps = ((), ("color",), ("affine",), ("color",), every, every)
    stages = make_stages(spec, steps, lead)
    assert [set(s.active) for s in stages[:-1]] == [set(step) for step in steps]
    assert sum(stage.share for stage in stages) == pytest.approx(1)


dates = st.lists(st.integers(0, 60), max_size=4).map(tuple)


@given(names, dates, dates, st.integers(1, 50))
def test_dates_are_kept_to_the_epoch(sprite, joins, drops, max_epochs):
    spec = spec_of(sprite)
    milestones = Milestones(joins, drops, 0.5)
    stages = dated_stages(spec, milestones, max_epochs)
    epochs = shares(stages, max_epochs)
    history = [s for s, n in zip(stages, epochs, strict=True) for _ in range(n)]
    assert len(history) == max_epochs
    for epoch, stage in enumerate(history):  # full epochs before this one
        pairs = zip(spec.transformations, joins, strict=False)
        assert stage.active == {name for name, join in pairs if epoch >= join}
        assert stage.rate == 0.5 ** sum(epoch >= drop for drop in drops)
        assert stage.is_fixed
        assert not stage.is_last


@given(names, curricula, st.booleans(), st.integers(1, 200))
def test_epochs_never_exceed_their_bound(sprite, name, lead, max_epochs):
    stages = make_stages(spec_of(sprite), name, lead)
    epochs = shares(stages, max_epochs)
    assert len(epochs) == len(stages)
    assert min(epochs) >= 0
    assert sum(epochs) <= max_epochs
    assert epochs[-1] >= 1


def test_a_stage_ends_on_a_plateau_and_not_before():
    falling = [0.9**i for i in range(30)]
    assert not any(has_converged(falling[:i], 1e-3) for i in range(31))
    flat = [1.0] * 8
    assert has_converged(flat, 1e-3)
    assert not has_converged(flat[:7], 1e-3)
    assert has_converged([1.0, 0.99, 1.01, 1.0] * 2, 1e-3)  # noise does not decide
    assert has_converged([*falling, *[falling[-1]] * 8], 1e-3)
    assert has_converged([0.0] * 8, 1e-3)


def lost_by_part(costs, gone, how):
    """The mean of what the part of a sprite's images lose that loses least, sized."""
    mine = costs[costs.argmin(1) == gone]
    others = [j for j in range(costs.shape[1]) if j != gone]
    lost = sorted((mine[:, others].amin(1) - mine[:, gone]).tolist())
    part = lost[: math.ceil(how.part * len(lost))]
    return sum(part) / len(part) * len(lost) ** how.power if part else 0.0


judgments = st.builds(Judgment, st.sampled_from([0.25, 0.5, 1.0]), st.floats(0, 1))


@attack
@given(draws, st.integers(1, 20), st.integers(2, 5), judgments)
def test_removal_costs_equal_their_definition(make, n, k, how):
    errors = make.uniform(n, k)
    owners = errors.argmin(1)
    costs, missed = removal_costs(errors), how_missed(errors, how)
    for gone in range(k):
        without = errors[:, [j for j in range(k) if j != gone]]
        lost = (without.amin(1) - errors.amin(1))[owners == gone]
        torch.testing.assert_close(costs[gone], lost.sum())
        expected = lost_by_part(errors, gone, how)
        torch.testing.assert_close(missed[gone].item(), expected, rtol=1e-4, atol=1e-6)


def test_half_of_a_kind_goes_before_a_kind_that_loses_less_in_all():
    amounts = torch.linspace(0, 2, 100)[:, None]  # of one kind, from border to far
    one = torch.cat([torch.zeros(100, 1), amounts, torch.full((100, 1), 9.0)], 1)
    other = one[:, [1, 0, 2]]
    own = torch.tensor([[0.8, 9.0, 0.0]]).repeat(100, 1)
    costs = torch.cat([one, other, own])
    assert int(removal_costs(costs).argmin()) == 2
    assert int(how_missed(costs, Judgment()).argmin()) == 2
    half = Judgment(part=0.5)
    assert int(how_missed(costs, half).argmin()) in (0, 1)
    without_one = costs.clone()
    without_one[:, 1] = torch.inf
    missed = how_missed(without_one, half)
    assert int(missed.argmin()) == 2
    assert torch.isinf(missed[1])


def test_a_rare_kind_keeps_its_sprite_before_half_of_a_frequent_one():
    half = torch.tensor([[1.0, 1.2, 9.0, 9.0]]).repeat(300, 1)
    other = half[:, [1, 0, 2, 3]]
    rare = torch.tensor([[9.0, 9.0, 1.0, 4.0]]).repeat(30, 1)
    near = torch.tensor([[9.0, 9.0, 3.0, 1.0]]).repeat(200, 1)
    errors = torch.cat([half, other, rare, near])
    assert least_missed(errors, 3, Judgment()) == [2]
    by_root = Judgment(power=0.25)
    (gone,) = least_missed(errors, 3, by_root)
    assert gone in (0, 1)
    assert least_missed(errors, 2, by_root) == [gone, 2]


@attack
@given(draws, st.integers(1, 20), st.integers(2, 6), judgments, st.data())
def test_sprites_go_in_the_order_in_which_they_are_missed_least(make, n, k, how, data):
    errors = make.uniform(n, k)
    kept = data.draw(st.integers(1, k))
    gone = least_missed(errors, kept, how)
    assert len(gone) == len(set(gone)) == k - kept
    left = list(range(k))
    floor = FLOOR * errors.amin(1).mean()
    for sprite in gone:
        logs = (errors[:, left] + floor).log()
        costs = [lost_by_part(logs, place, how) for place in range(len(left))]
        assert left[costs.index(min(costs))] == sprite
        left.remove(sprite)


def test_a_few_images_that_nobody_draws_well_count_no_more_than_others():
    clear = torch.tensor([[1.0, 2.0, 9.0]]).repeat(30, 1)
    dark = torch.tensor([[90.0, 90.0, 60.0]]).repeat(20, 1)
    middle = torch.tensor([[4.0, 1.0, 9.0]]).repeat(30, 1)
    errors = torch.cat([clear, dark, middle])
    assert int(removal_costs(errors).argmin()) == 0  # loses 30, the last one 600
    assert least_missed(errors, 2, Judgment()) == [2]


def test_a_cluster_of_two_kinds_gains_by_a_split():
    generator = torch.Generator().manual_seed(0)
    one = torch.randn(60, 4, generator=generator) * 0.1
    two = torch.cat([one[:30] + 3, one[30:] - 3])
    features = torch.cat([one, two])
    owners = torch.arange(2).repeat_interleave(60)
    gains, halves = split_gains(features, owners, 3, generator)
    scatter = (two - two.mean(0)).square().sum()
    assert 0.99 * scatter < gains[1] < scatter
    assert gains[0] < 0.01 * gains[1]
    assert gains[2] == 0
    assert set(halves) == {0, 1}
    parts = {tuple(sorted(part.tolist())) for part in halves[1]}
    assert parts == {tuple(range(60, 90)), tuple(range(90, 120))}


@given(st.integers(0, 2**31), st.integers(1, 30), st.integers(1, 4))
def test_halves_of_groups_are_what_two_means_leaves(seed, n, k):
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(n, 3, generator=generator)
    owners = torch.randint(k, (n,), generator=generator)
    sides, gains = two_means(points, owners, k, generator)
    for group in range(k):
        mine, halves = points[owners == group], sides[owners == group]
        if not len(mine):
            assert gains[group] == 0
            continue
        expected = oracles.explained_by_halves(list(mine), halves.tolist())
        assert float(gains[group]) == pytest.approx(expected, abs=1e-4)
        if halves.any() and not halves.all():
            means = torch.stack([mine[~halves].mean(0), mine[halves].mean(0)])
            near = torch.cdist(mine, means)
            own = near.gather(1, halves.long()[:, None])[:, 0]
            assert (own <= near.amin(1) + 1e-4).all()  # a fixed point of Lloyd's


def test_what_settles_falls_little_from_first_to_last():
    assert has_settled([1.0, 0.999, 0.9985], 1e-3)
    assert not has_settled([1.0, 0.9, 0.998, 0.8], 1e-3)
    assert not has_settled([1.0], 1e-3)
    assert not has_settled([], 1e-3)


@given(names, names)
def test_a_spec_survives_json(sprite, behind):
    spec = spec_of(sprite, behind)
    assert ModelSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    assert "identity" not in spec.transformations


def test_unknown_transformations_are_refused_with_the_valid_ones():
    with pytest.raises(ValueError, match="contains 'shear'; valid names are identity"):
        spec_of(("affine", "shear"))


@given(
    st.integers(1, 64),
    st.integers(1, 64),
    st.integers(1, 5),
    st.integers(0, 2),
    st.booleans(),
)
def test_auto_warps_nothing_that_is_too_small(height, width, channels, behind, solved):
    kind = height, width, channels, behind, solved
    sprites, backgrounds = auto_transformations(*kind)
    spec = ModelSpec(2, behind, channels, height, width, sprites, backgrounds)
    if min(height, width) < 4:
        assert sprites == backgrounds == ()
        assert spec.is_kmeans == (behind == 0)
    else:
        assert "affine" in sprites
        assert ("thickness" in sprites) == (solved and not behind)
    assert bool(backgrounds) <= bool(behind)


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_every_transformation_has_a_number_of_parameters(name):
    assert (
        parameter_count(name, 3)
        == {
            "identity": 0,
            "color": 6,
            "linear_color": 3,
            "light": 2,
            "translation": 2,
            "position": 3,
            "rotation": 1,
            "similarity": 4,
            "affine": 6,
            "projective": 8,
            "thin_plate_spline": 32,
            "thickness": 1,
            "morphological": 50,
        }[name]
    )
