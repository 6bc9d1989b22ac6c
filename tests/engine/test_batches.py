"""How many images an epoch looks at, and which."""

from types import SimpleNamespace

import pytest
import torch

from sklearn_sprites._engine.training.loop import ENOUGH, MIN_STEPS, batches


def epoch(n, size, n_sprites=15, seed=0, is_dated=False):
    learner = SimpleNamespace(
        images=torch.zeros(n, 1, 1, 1),
        batch_size=size,
        is_dated=is_dated,
        draws=torch.Generator().manual_seed(seed),
        model=SimpleNamespace(sprites=torch.zeros(n_sprites, 1)),
    )
    return list(batches(learner))


@pytest.mark.parametrize(
    ("n", "size", "n_sprites", "steps"),
    [
        (10, 4, 2, MIN_STEPS),  # several passes
        (10_000, 100, 15, 100),  # one pass
        (70_000, 128, 15, ENOUGH // 128),  # a part,
        (70_000, 128, 60, 30_000 // 128),  # larger for many sprites
        (70_000, 128, 1000, 70_000 // 128),
    ],
)
def test_epochs_are_neither_short_nor_long(n, size, n_sprites, steps):
    found = epoch(n, size, n_sprites)
    assert [len(index) for index in found] == [size] * steps
    seen = torch.cat(found).bincount(minlength=n)
    assert seen.max() - seen.min() <= 1  # nobody comes twice before others


def test_every_epoch_takes_another_part_of_a_large_set():
    one, other = (torch.cat(epoch(50_000, 128, seed=seed)) for seed in range(2))
    both = torch.isin(one, other).double().mean()
    assert abs(both - ENOUGH / 50_000) < 0.02


def test_epochs_with_dates_are_whole_passes():
    seen = torch.cat(epoch(30_000, 128, is_dated=True))
    assert torch.equal(seen.sort().values, torch.arange(30_000))
