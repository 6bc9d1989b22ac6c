import torch
from hypothesis import given

from sklearn_sprites._engine.ops.compositing import over, softclip
from tests import oracles
from tests.strategies import assert_twins, attack, batches, channels, draws


@attack
@given(draws, batches)
def test_softclip_equals_its_slow_twin(make, m):
    values = make.normal(m, 7, scale=2)
    assert_twins(
        softclip,
        lambda x: torch.stack([oracles.softclip(v) for v in x.flatten()]).view_as(x),
        values,
    )


@attack
@given(draws)
def test_softclip_keeps_the_unit_interval_exactly(make):
    values = make.uniform(50).float()
    assert torch.equal(softclip(values), values)


@attack
@given(draws, batches, channels)
def test_an_opaque_layer_hides_and_a_clear_one_shows_what_is_behind(make, m, c):
    front, back = make.uniform(m, c, 6), make.uniform(m, c, 6)
    ones = torch.ones(m, 1, 6, dtype=front.dtype)
    torch.testing.assert_close(over(front, ones, back), front, rtol=0, atol=1e-15)
    assert torch.equal(over(front, 0 * ones, back), back)


@attack
@given(draws, batches, channels)
def test_over_is_the_weighted_mean(make, m, c):
    assert_twins(
        over,
        lambda front, alpha, back: alpha * front + (1 - alpha) * back,
        make.uniform(m, c, 6),
        make.uniform(m, 1, 6),
        make.uniform(m, c, 6),
    )
