"""Adam beside torch's own class, which takes the same steps."""

import pytest
import torch
from torch import nn

from sklearn_sprites._engine.training.adam import Adam, Group, adam_of


def parameters(n=3, seed=0):
    draws = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(4, k + 1, generator=draws)) for k in range(n)]


def some_gradients(learned, step):
    """Gradients of all but one parameter, which changes with the step."""
    draws = torch.Generator().manual_seed(step)
    for k, parameter in enumerate(learned):
        gradient = torch.randn(parameter.shape, generator=draws)
        parameter.grad = None if k == step % len(learned) else gradient


@pytest.mark.parametrize("fused", [False, True])
def test_steps_are_those_of_torch_to_the_last_bit(fused):
    ours, theirs = parameters(), parameters()
    optimizer = Adam([Group(ours[:1], 0.1), Group(ours[1:], 0.01, 0.3)], fused)
    twin = torch.optim.Adam(
        [
            {"params": theirs[:1], "lr": 0.1},
            {"params": theirs[1:], "lr": 0.01, "weight_decay": 0.3},
        ],
        fused=fused,
    )
    for step in range(5):
        if step == 3:
            optimizer.groups[1].rate = twin.param_groups[1]["lr"] = 0.05
        some_gradients(ours, step)
        some_gradients(theirs, step)
        optimizer.step()
        twin.step()
        for one, other in zip(ours, theirs, strict=True):
            assert torch.equal(one, other)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(optimizer.moments[one].first, twin.state[other]["exp_avg"])
        second = twin.state[other]["exp_avg_sq"]
        assert torch.equal(optimizer.moments[one].second, second)


def test_a_copy_goes_on_from_where_it_was_made():
    learned = parameters()
    optimizer = adam_of(learned, 0.1)
    some_gradients(learned, 0)
    optimizer.step()
    kept, values = optimizer.copy(), [p.detach().clone() for p in learned]

    def two_steps(one):
        with torch.no_grad():
            for parameter, value in zip(learned, values, strict=True):
                parameter.copy_(value)
        for step in (1, 2):
            some_gradients(learned, step)
            one.step()
        return [p.detach().clone() for p in learned]

    first, again = two_steps(optimizer), two_steps(kept)
    assert all(map(torch.equal, first, again))
    assert not torch.equal(first[0], values[0])
    kept.groups[0].rate = 0.5
    assert optimizer.groups[0].rate == 0.1


def test_gradients_are_forgotten_and_what_has_none_stays():
    learned = parameters()
    some_gradients(learned, 0)
    optimizer = adam_of(learned)
    optimizer.zero_grad()
    assert all(parameter.grad is None for parameter in learned)
    optimizer.step()
    assert not optimizer.moments
    assert all(map(torch.equal, learned, parameters()))
