import torch
from hypothesis import given
from hypothesis import strategies as st

from sklearn_sprites._engine.training.ledger import SHORTLIST, Ledger
from tests.strategies import attack, draws


@attack
@given(draws, st.integers(1, 6), st.integers(1, 9))
def test_candidates_are_distinct_and_hold_the_best_known(make, n, k):
    ledger = Ledger(make.uniform(n, k).float())
    picked = ledger.candidates(torch.arange(n))
    assert picked.shape == (n, min(SHORTLIST, k))
    assert all(len(set(row)) == len(row) for row in picked.tolist())
    best = ledger.errors.argmin(1, keepdim=True)
    assert (picked == best).any(1).all()


@attack
@given(draws, st.integers(1, 4), st.integers(1, 12))
def test_every_sprite_is_looked_at_in_time(make, n, k):
    ledger = Ledger(make.uniform(n, k).float())
    true = make.uniform(n, k).float()
    index = torch.arange(n)
    for _ in range(2 * k):
        picked = ledger.candidates(index)
        ledger.record(index, picked, true.gather(1, picked))
    torch.testing.assert_close(ledger.errors, true)
    assert torch.equal(ledger.most_likely(index, 1)[:, 0], true.argmin(1))


@attack
@given(draws, st.integers(2, 8), st.data())
def test_sprites_out_of_use_are_never_the_best(make, k, data):
    gone = data.draw(st.lists(st.integers(0, k - 1), unique=True, max_size=k - 1))
    ledger = Ledger(make.uniform(3, k).float())
    ledger.retire(gone)
    index = torch.arange(3)
    used = [j for j in range(k) if j not in gone]
    for _ in range(2 * k):
        picked = ledger.candidates(index)
        found = ledger.record(index, picked, make.uniform(*picked.shape).float())
        retired = torch.isin(picked, torch.tensor(gone, dtype=torch.long))
        assert torch.equal(torch.isinf(found), retired)
        assert (~retired).any(1).all()
    assert torch.isinf(ledger.errors[:, gone]).all()
    assert torch.isfinite(ledger.errors[:, used]).all()
    assert torch.isin(ledger.errors.argmin(1), torch.tensor(used)).all()


def test_a_copied_column_comes_back_into_use():
    ledger = Ledger(torch.rand(4, 3, generator=torch.Generator().manual_seed(0)))
    ledger.retire([2])
    ledger.copy(source=0, target=2)
    assert torch.equal(ledger.errors[:, 2], ledger.errors[:, 0])
    index, picked = torch.arange(4), torch.full((4, 1), 2)
    assert torch.isfinite(ledger.record(index, picked, torch.ones(4, 1))).all()


def test_the_guess_is_not_changed():
    guess = torch.ones(2, 5)
    ledger = Ledger(guess)
    ledger.record(torch.tensor([0]), torch.tensor([[1]]), torch.zeros(1, 1))
    ledger.retire([0])
    assert torch.equal(guess, torch.ones(2, 5))
