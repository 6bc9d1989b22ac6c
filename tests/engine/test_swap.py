from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sklearn_sprites._engine.models.build import build_model
from sklearn_sprites._engine.models.candidates import lend
from sklearn_sprites._engine.settings import ClonePerturb, Swap
from sklearn_sprites._engine.spec import ModelSpec
from sklearn_sprites._engine.training import reassignment
from sklearn_sprites._engine.training.ledger import Ledger
from sklearn_sprites._engine.training.loop import Learner, make_optimizer, survey
from sklearn_sprites._engine.training.reassignment import (
    FAINT,
    LOOK,
    epochs_between,
    farewell,
    grow,
    move,
    prospects,
    prune,
    spare_count,
    sprites_kept,
    turnover,
    wishes,
)
from sklearn_sprites._engine.training.splits import (
    Judgment,
    judgment,
    least_missed,
    removal_costs,
)
from sklearn_sprites._engine.training.witnesses import call_witnesses, witnesses_at
from tests.strategies import Draws, attack


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
    steps = [a - b for a, b in pairwise(kept)]
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


def test_over_backgrounds_all_images_tell_how_a_sprite_is_missed_and_sizes_count():
    opaque, layered = judgment(Swap(), False), judgment(Swap(), True)
    assert opaque.part < layered.part == 1
    assert opaque.power < layered.power == 1
    for usual, is_layered in ((opaque, False), (layered, True)):
        given = judgment(Swap(size_power=0.25), is_layered)
        assert given == usual._replace(power=0.25)


def test_what_goes_is_what_is_missed_least_also_after_others_went():
    errors = torch.tensor(
        [
            [1.0, 9.0, 9.0, 1.5],  # the first sprite's image can go to the last
            [9.0, 1.0, 3.0, 9.0],
            [9.0, 9.0, 1.0, 9.0],
            [1.75, 9.0, 9.0, 1.0],  # and the last one's to the first
        ]
    )
    assert removal_costs(errors).tolist() == [0.5, 2.0, 8.0, 0.75]
    how = Judgment()
    assert least_missed(errors, 3, how) == [0]
    assert least_missed(errors, 2, how) == [0, 1]  # the last has no second choice now
    assert least_missed(errors, 4, how) == []


def learner_of(sprites, images, names=("affine",)):
    """A learner whose heads predict the identity, with errors that are exact."""
    height, width = images.shape[2:]
    spec = ModelSpec(len(sprites), 0, images.shape[1], height, width, names)
    draws = torch.Generator().manual_seed(0)
    model = build_model(spec, sprites, images[:0], draws)
    n, k = len(images), len(sprites)
    learner = Learner(
        model,
        make_optimizer(model, 1e-3, 0.0),
        images,
        Ledger(torch.zeros(n, k)),
        draws,
        draws,
        n,
        0.0,
        torch.ones(n),
        torch.zeros(k, dtype=torch.int64),
        torch.zeros(k, dtype=torch.int64),
    )
    survey(learner, frozenset(names))
    return learner


def bars(side=12):
    """A bar in the middle, and a bar a quarter further to the right."""
    images = torch.zeros(2, 1, side, side)
    images[0, 0, 2:-2, 5:7] = 1
    images[1, 0, 2:-2, 8:10] = 1
    return images


def test_without_warps_images_wish_for_themselves():
    make = Draws(3)
    sprites, images = make.uniform(2, 1, 8, 8).float(), make.uniform(9, 1, 8, 8).float()
    learner = learner_of(sprites, images)
    owners = torch.arange(9) % 2
    active = frozenset({"affine"})
    (everyone,) = witnesses_at(learner, active, torch.arange(9))
    wished = wishes(learner, everyone, owners, active)
    expected = (images - sprites[owners]).flatten(2)
    torch.testing.assert_close(wished.right, expected)
    torch.testing.assert_close(wished.weight, torch.ones_like(expected))
    rows = torch.tensor([0, 2, 4])
    change = wished.change(rows)
    whole = len(rows) + FAINT * len(rows)
    torch.testing.assert_close(change, expected[rows].sum(0) / whole)


def test_wishes_through_a_warp_lower_the_error():
    sprites = bars()[:1]
    make = Draws(4)
    images = sprites.roll(2, 3) + 0.3 * make.uniform(1, 1, 12, 12).float()
    images = images.repeat(6, 1, 1, 1)
    learner = learner_of(sprites, images)
    with torch.no_grad():  # two pixels to the right
        learner.model.heads["affine"].group_bias[0, 2] = -4 / 12
    active, everyone = frozenset({"affine"}), torch.arange(6)
    before = survey(learner, active).sum()
    (seen,) = witnesses_at(learner, active, everyone)
    wished = wishes(learner, seen, torch.zeros(6, dtype=torch.int64), active)
    with torch.no_grad():
        learner.model.sprites += wished.change(everyone).view(1, 1, 12, 12)
    assert survey(learner, active).sum() < 0.2 * before


def test_a_sprite_that_shows_the_same_is_not_missed():
    middle, right = bars()[:1], bars()[1:]
    sprites = middle.repeat(2, 1, 1, 1)
    images = right.repeat(4, 1, 1, 1)
    learner = learner_of(sprites, images)
    with torch.no_grad():  # only the first sprite's head has learned where it is
        learner.model.heads["affine"].group_bias[0, 2] = -6 / 12
    active = frozenset({"affine"})
    survey(learner, active)
    known = learner.ledger.errors
    assert (known[:, 1] > known[:, 0] + 10).all()
    (everyone,) = witnesses_at(learner, active, torch.arange(4))
    expected = prospects(learner, everyone, active)
    torch.testing.assert_close(expected[:, 1], expected[:, 0])
    learner.ledger.retire([1])
    assert torch.isinf(prospects(learner, everyone, active)[:, 1]).all()


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_what_shows_the_same_in_another_pose_is_not_missed_where_images_are_perfect(
    noise,
):
    middle, right = bars()[:1], bars()[1:]
    across = middle.transpose(2, 3)
    images = torch.cat([middle, right, across]).repeat(4, 1, 1, 1)
    images = images + noise * Draws(2).uniform(*images.shape).float()
    learner = learner_of(torch.cat([middle, right, across]), images)
    active = frozenset({"affine"})
    survey(learner, active)
    (everyone,) = witnesses_at(learner, active, torch.arange(12))
    seen = prospects(learner, everyone, active)
    is_bar = torch.arange(12) % 3 < 2
    other = torch.tensor([1, 0]).repeat(4)[:, None]
    borrowed = seen[is_bar].gather(1, other)
    known = learner.ledger.errors[is_bar]
    as_it_is = known.gather(1, other)
    if noise:
        torch.testing.assert_close(borrowed, as_it_is)
    else:
        assert (borrowed < 0.1 * as_it_is).all()
    torch.testing.assert_close(seen[is_bar, 2], known[:, 2])


def test_pruning_takes_the_sprite_that_another_can_replace():
    middle = bars()[:1]
    sprites = torch.cat([middle, middle.transpose(2, 3), middle])
    images = torch.cat([middle.roll(3, 3), middle.transpose(2, 3)]).repeat(5, 1, 1, 1)
    learner = learner_of(sprites, images)
    with torch.no_grad():
        learner.model.heads["affine"].group_bias[0, 2] = -6 / 12
    active = frozenset({"affine"})
    survey(learner, active)
    (everyone,) = witnesses_at(learner, active, torch.arange(10))
    prune(learner, Swap(), 2, everyone, active)
    assert len(learner.spare) == 1
    assert learner.spare[0] in (0, 2)
    prune(learner, Swap(), 2, everyone, active)
    assert len(learner.spare) == 1


def test_sprites_go_for_good_until_the_wanted_number_is_left():
    make = Draws(6)
    sprites = make.uniform(4, 1, 8, 8).float()
    learner = learner_of(sprites, make.uniform(30, 1, 8, 8).float())
    rule, active = Swap(n_images=10), frozenset({"affine"})
    farewell(learner, rule, 2, active)
    assert learner.n_used == 2
    assert sorted({0, 1, 2, 3} - set(learner.spare)) == sorted(
        set(learner.ledger.errors.argmin(1).tolist())
    )
    before = learner.draws.get_state()
    farewell(learner, rule, 2, active)
    assert learner.n_used == 2
    assert torch.equal(learner.draws.get_state(), before)


@pytest.mark.parametrize(
    ("is_layered", "wanted", "there", "called"),
    [
        (False, 2000, 9000, 2000),
        (False, 2000, 1800, 1350),
        (False, 2000, 1200, LOOK),
        (False, 10, 1200, 10),
        (True, 2000, 9000, LOOK),
        (True, 10, 9000, 10),
    ],
)
def test_fewer_images_judge_where_there_are_few_or_each_takes_longer(
    monkeypatch, is_layered, wanted, there, called
):
    counts = []

    def call(learner, active, *n_images):
        counts.extend(n_images)
        return ["witnesses"] * len(n_images)

    monkeypatch.setattr(reassignment, "call_witnesses", call)
    monkeypatch.setattr(reassignment, "prune", lambda *_: None)
    monkeypatch.setattr(reassignment, "grow", lambda *_: None)
    spec = SimpleNamespace(is_layered=is_layered, n_sprites=3)
    learner = SimpleNamespace(
        n_used=3, model=SimpleNamespace(spec=spec), images=range(there), spare=[]
    )
    rule = Swap(n_images=wanted)
    farewell(learner, rule, 2, frozenset())
    assert counts == [called]
    move(learner, rule, 1, frozenset())
    assert counts[1:] == [LOOK, min(wanted, max(LOOK, 3 * there // 4))]


def test_a_moved_sprite_goes_where_a_split_gains():
    middle = bars()[:1]
    apart = [bars()[1:], middle.transpose(2, 3)]
    sprites = torch.cat([middle, middle, (apart[0] + apart[1]).clamp(0, 1)])
    images = torch.cat(
        [middle.repeat(20, 1, 1, 1), *(a.repeat(20, 1, 1, 1) for a in apart)]
    )
    learner = learner_of(sprites, images)
    before = survey(learner, frozenset()).min(1).values.sum()
    move(learner, Swap(), 1, frozenset())
    assert not learner.spare
    assert learner.splits.tolist()[2] == 1
    assert survey(learner, frozenset()).min(1).values.sum() < 0.2 * before


@pytest.mark.parametrize(("power", "parent"), [(1.0, 2), (0.0, 1)])
def test_a_split_goes_to_a_rare_cluster_if_its_size_counts_little(power, parent):
    plain, lying = bars()[:1], bars()[:1].transpose(2, 3)
    apart = [lying.roll(shift, 2) for shift in (-3, 3)]
    sprites = torch.cat([plain, sum(apart).clamp(0, 1), plain])
    images = [(plain * gain).repeat(200, 1, 1, 1) for gain in (0.7, 1.3)]
    images = [some + 0.1 * Draws(2).normal(*some.shape).float() for some in images]
    images += [some.repeat(15, 1, 1, 1) for some in apart]
    learner = learner_of(sprites, torch.cat(images), ())
    survey(learner, frozenset())
    learner.ledger.retire([0])
    learner.spare.append(0)
    (everyone,) = witnesses_at(learner, frozenset(), torch.arange(430))
    grow(learner, Swap(size_power=power), everyone, frozenset())
    assert learner.splits.tolist() == [1 * (k in (0, parent)) for k in range(3)]


def test_without_spares_nothing_moves():
    make = Draws(7)
    learner = learner_of(
        make.uniform(1, 1, 8, 8).float(), make.uniform(9, 1, 8, 8).float()
    )
    before = learner.draws.get_state()
    move(learner, Swap(), 0, frozenset({"affine"}))
    assert torch.equal(learner.draws.get_state(), before)


def test_witnesses_of_several_tasks_are_those_of_each_alone():
    make = Draws(5)
    sprites = make.uniform(3, 1, 8, 8).float()
    learner = learner_of(sprites, make.uniform(20, 1, 8, 8).float())
    with torch.no_grad():
        learner.model.heads["affine"].group_weight.normal_(generator=make.generator)
    active = frozenset({"affine"})
    first, second = torch.tensor([3, 1, 7]), torch.tensor([7, 19, 3, 0])
    together = witnesses_at(learner, active, first, second)
    for rows, called in zip((first, second), together, strict=True):
        assert torch.equal(called.rows, rows)
        owners = rows % 3
        ((there, whose, description),) = called.parts(learner.model, owners)
        assert torch.equal(there, rows)
        assert torch.equal(whose, owners)
        expected = learner.model.eval().describe(learner.images[rows], active)
        learner.model.train()
        own = lend(expected.params, owners)["affine"]
        torch.testing.assert_close(description.params["affine"], own)
    assert [len(w.rows) for w in call_witnesses(learner, active, 6, 50)] == [6, 20]
