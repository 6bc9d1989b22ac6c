import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sklearn_sprites._engine.ops.color import (
    PULL,
    RIDGE,
    TIE,
    Freedom,
    apply_color,
    layered_errors,
    solve_color,
    solve_layers,
)
from tests import oracles
from tests.strategies import assert_twins, attack, batches, channels, draws

pixels = st.integers(1, 30)


@attack
@given(draws, batches, channels, pixels)
def test_zero_colors_are_the_identity_exactly(make, m, c, p):
    images = make.normal(m, c, p).float()
    assert torch.equal(apply_color(images, torch.zeros(m, c, 2)), images)


@attack
@given(draws, batches, channels, pixels)
def test_apply_equals_its_slow_twin(make, m, c, p):
    assert_twins(
        apply_color, oracles.apply_color, make.normal(m, c, p), make.normal(m, c, 2)
    )


def weighed(make, m, c, p, weighted):
    """Two images, and weights of their pixels that add up to one."""
    drawn, target = make.uniform(m, c, p), make.uniform(m, c, p)
    weight = make.uniform(m, 1, p) + 0.1 if weighted else torch.ones(m, 1, p).double()
    return drawn, target, weight / weight.sum(-1, keepdim=True)


@attack
@given(draws, batches, channels, st.integers(2, 30), st.booleans())
def test_solved_color_minimizes_the_error_plus_the_pull(make, m, c, p, weighted):
    drawn, target, weight = weighed(make, m, c, p, weighted)
    found = solve_color(
        drawn, target, weight if weighted else None, freedom=Freedom.FULL
    )

    def objective(params):
        error = (apply_color(drawn, params) - target).square()
        return (error * weight).sum() + RIDGE * params[..., 0].square().sum()

    found.requires_grad_()
    (slope,) = torch.autograd.grad(objective(found), found)
    torch.testing.assert_close(slope, torch.zeros_like(slope), rtol=0, atol=1e-9)


@attack
@given(draws, batches, channels, st.integers(1, 30))
def test_solved_gain_minimizes_the_error_plus_the_pull(make, m, c, p):
    drawn, target = make.uniform(m, c, p), make.uniform(m, c, p)
    found = solve_color(drawn, target, freedom=Freedom.GAIN)
    assert (found[..., 1] == 0).all()
    for i in range(m):
        for j in range(c):
            (gain,) = oracles.ridge(
                drawn[i, j][:, None],
                target[i, j],
                torch.full((p,), 1 / p, dtype=torch.float64),
                [torch.tensor(1.0).double()],
                [torch.tensor(RIDGE).double()],
            )
            torch.testing.assert_close(1 + found[i, j, 0], gain)


@attack
@given(draws, batches, channels)
def test_a_recolored_image_is_recovered(make, m, c):
    drawn = 20 * make.uniform(m, c, 50)  # strong contrast: the pull does not count
    params = make.normal(m, c, 2, scale=0.5)
    found = solve_color(drawn, apply_color(drawn, params), freedom=Freedom.FULL)
    torch.testing.assert_close(found, params, rtol=0, atol=1e-3)


@attack
@given(draws, batches, channels, st.integers(2, 30), st.booleans())
def test_light_is_the_same_in_all_channels_and_the_best_such(make, m, c, p, weighted):
    drawn, target, weight = weighed(make, m, c, p, weighted)
    found = solve_color(
        drawn, target, weight if weighted else None, freedom=Freedom.LIGHT
    )
    assert torch.equal(found, found[:, :1].expand(m, c, 2))

    def objective(light):
        error = (apply_color(drawn, light.expand(m, c, 2)) - target).square()
        return (error * weight).sum() / c + RIDGE * light[..., 0].square().sum()

    light = found[:, :1].clone().requires_grad_()
    (slope,) = torch.autograd.grad(objective(light), light)
    torch.testing.assert_close(slope, torch.zeros_like(slope), rtol=0, atol=1e-9)


def test_light_of_a_gray_image_is_its_color():
    generator = torch.Generator().manual_seed(8)
    drawn, target = torch.rand(2, 4, 1, 30, generator=generator)
    light, color = (
        solve_color(drawn, target, freedom=f) for f in (Freedom.LIGHT, Freedom.FULL)
    )
    assert torch.equal(light, color)
    shares = [torch.rand(4, 1, 30, generator=generator) for _ in range(2)]
    colors = (
        solve_layers([drawn, target], shares, [f, Freedom.FULL], target.flip(2))
        for f in (Freedom.LIGHT, Freedom.FULL)
    )
    for one, other in zip(*colors, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_a_constant_image_keeps_its_gain_and_takes_the_target_mean():
    drawn = torch.full((1, 1, 9), 0.5)
    target = torch.linspace(0, 1, 9).view(1, 1, 9)
    found = solve_color(drawn, target, freedom=Freedom.FULL)
    torch.testing.assert_close(found, torch.tensor([[[0.0, 0.0]]]), rtol=0, atol=1e-6)
    brighter = solve_color(drawn, target + 0.25, freedom=Freedom.FULL)
    expected = torch.tensor([[[0.0, 0.25]]])
    torch.testing.assert_close(brighter, expected, rtol=0, atol=1e-6)


freedoms = st.lists(st.sampled_from(Freedom), min_size=1, max_size=3).filter(any)


@attack
@given(draws, st.integers(1, 2), channels, st.integers(2, 20), freedoms)
def test_solved_layers_equal_the_slow_twin(make, m, c, p, free):
    looks = [make.uniform(m, c, p) for _ in free]
    shares = [make.uniform(m, 1, p) for _ in free]
    target = make.uniform(m, c, p)
    found = solve_layers(looks, shares, free, target)
    expected = oracles.solve_layers(looks, shares, free, target, RIDGE, TIE, PULL)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("freedom", [Freedom.GAIN, Freedom.FULL, Freedom.LIGHT])
def test_one_visible_layer_is_solved_like_one_image(freedom):
    generator = torch.Generator().manual_seed(5)
    drawn, target = torch.rand(2, 3, 2, 40, generator=generator, dtype=torch.float64)
    whole = torch.ones(3, 1, 40, dtype=torch.float64)
    (layered,) = solve_layers([drawn], [whole], [freedom], target)
    alone = solve_color(drawn, target, freedom=freedom)
    # A layer's bias is pulled to zero as well, an image's is not.
    tolerance = 1e-12 if freedom == Freedom.GAIN else 2e-2
    torch.testing.assert_close(layered, alone, rtol=0, atol=tolerance)


def test_layers_without_freedom_keep_their_colors():
    generator = torch.Generator().manual_seed(6)
    looks = list(torch.rand(2, 3, 2, 10, generator=generator))
    shares = list(torch.rand(2, 3, 1, 10, generator=generator))
    for solved in solve_layers(looks, shares, [0, 0], looks[0]):
        assert torch.equal(solved, torch.zeros(3, 2, 2))
    left = layered_errors(looks, shares, [0, 0], looks[0])
    drawn = sum(share * look for share, look in zip(shares, looks, strict=True))
    expected = (drawn - looks[0]).square().sum((1, 2))
    torch.testing.assert_close(left, expected, rtol=1e-4, atol=1e-5)


def test_gradients_of_solved_colors_agree_with_finite_differences():
    generator = torch.Generator().manual_seed(7)
    drawn, target = torch.rand(2, 2, 2, 6, generator=generator, dtype=torch.float64)
    inputs = [value.requires_grad_() for value in (drawn, target)]

    def solve(drawn, target):
        return solve_color(drawn, target, freedom=Freedom.FULL)

    assert torch.autograd.gradcheck(solve, inputs)


@attack
@given(draws, st.integers(1, 2), channels, st.integers(2, 20), freedoms)
def test_errors_of_layers_are_what_composing_them_leaves(make, m, c, p, free):
    looks = [make.uniform(m, c, p) for _ in free]
    shares = [make.uniform(m, 1, p) for _ in free]
    target = make.uniform(m, c, p)
    colors = oracles.solve_layers(looks, shares, free, target, RIDGE, TIE, PULL)
    composed = sum(
        share * apply_color(look, color)
        for look, share, color in zip(looks, shares, colors, strict=True)
    )
    expected = (composed - target).square().sum((1, 2))
    found = layered_errors(looks, shares, free, target)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    for color, freedom in zip(colors, free, strict=True):
        if freedom == Freedom.TIED:
            spread = (color - color.mean(1, keepdim=True)).square().sum((1, 2))
            biases = color[..., 1].square().sum(1)
            expected = expected + p * (TIE * spread + PULL * biases)
    priced = layered_errors(looks, shares, free, target, is_priced=True)
    torch.testing.assert_close(priced, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("is_gray", [True, False])
def test_tied_colors_hide_nothing_at_no_price(is_gray):
    """A white bar in a red shape, and none: free colors make the one of the other."""
    bar, plain = torch.full((2, 1, 3, 64), 0.1)
    bar[..., 0, 10:50] = plain[..., 0, 10:50] = 0.9
    bar[..., 1:, 20:40] = 0.9
    if is_gray:
        bar, plain = bar[:, 1:2] + 0.1, plain[:, 1:2] + 0.1
    whole, behind = torch.ones(1, 1, 64), torch.zeros_like(bar)

    def left(freedom, **price):
        shares = [whole, 0 * whole]
        return layered_errors([bar, behind], shares, [freedom, 2], plain, **price)

    assert left(Freedom.FULL) < 0.01 * left(Freedom.TIED, is_priced=True)
    assert left(Freedom.TIED) < left(Freedom.TIED, is_priced=True)
