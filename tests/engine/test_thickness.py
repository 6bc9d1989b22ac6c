import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sklearn_sprites import SpriteClustering
from sklearn_sprites._engine.ops.color import (
    RIDGE,
    Freedom,
    apply_color,
    solve_color,
)
from sklearn_sprites._engine.ops.thickness import (
    LARGEST,
    PRIOR,
    grown,
    slopes,
    solve_growth,
    step_of,
)
from sklearn_sprites._engine.spec import ModelSpec
from tests import oracles
from tests.strategies import assert_twins, attack, batches, channels, draws, sides

steps = st.integers(1, 3)
opaque = st.sampled_from([Freedom.NONE, Freedom.GAIN, Freedom.FULL, Freedom.LIGHT])
WIDE = 1e6  # no bound


@attack
@given(draws, batches, channels, sides, sides, steps)
def test_zero_growth_is_the_identity_exactly(make, m, d, h, w, step):
    images = make.normal(m, d, h, w, scale=3).float()
    assert torch.equal(grown(images, torch.zeros(m, 1), step), images)


@attack
@given(draws, batches, channels, st.integers(1, 5), st.integers(1, 5), steps)
def test_growth_and_its_gradients_equal_the_slow_twin(make, m, d, h, w, step):
    assert_twins(
        lambda x, p: grown(x, p, step),
        lambda x, p: x + p[..., None, None] * oracles.slopes(x, step),
        make.uniform(m, d, h, w, low=-0.5, high=1.5),
        make.normal(m, 1),
        tolerance=1e-8,
    )


def test_gradients_are_finite_where_an_image_is_flat():
    images = torch.full((1, 1, 5, 5), 0.5, requires_grad=True)
    params = torch.ones(1, 1, requires_grad=True)
    out = grown(images, params, 1)
    out.sum().backward()
    assert torch.equal(out.detach(), images.detach())
    assert images.grad.isfinite().all()
    assert params.grad.isfinite().all()


@pytest.mark.parametrize("growth", [-0.5, 0.5])
def test_an_outline_moves_by_as_many_pixels(growth):
    y, x = torch.meshgrid(*[torch.arange(21.0) - 10] * 2, indexing="ij")

    def disc(radius):
        return torch.sigmoid((radius - (x**2 + y**2).sqrt()) / 1.5)[None, None]

    drawn = grown(disc(6), torch.tensor([[growth]]), 1)
    before = (disc(6) - disc(6 + growth)).square().sum()
    assert (drawn - disc(6 + growth)).square().sum() < 0.05 * before


def test_steps_grow_with_images_so_that_slopes_do_not_depend_on_size():
    assert [step_of(n, 3 * n) for n in (4, 32, 63, 64, 128)] == [1, 1, 1, 2, 4]
    small = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    large = small.repeat_interleave(2, 2).repeat_interleave(2, 3)
    found = slopes(large, 2)[..., ::2, ::2]
    torch.testing.assert_close(2 * found, slopes(small, 1), rtol=0, atol=2e-3)


def problem(make, m, c, p, weighted):
    """What is drawn, its slope, a target, and weights that add up to one."""
    parts = [make.uniform(m, c, p) for _ in range(3)]
    weight = make.uniform(m, 1, p) + 0.1 if weighted else torch.ones(m, 1, p).double()
    return (*parts, weight / weight.sum(-1, keepdim=True))


@attack
@given(draws, batches, st.integers(3, 30), st.booleans(), opaque)
def test_growth_of_one_channel_equals_the_slow_twin(make, m, p, weighted, freedom):
    drawn, slope, noise, weight = problem(make, m, 1, p, weighted)
    slope = 0.3 * slope
    growth = make.uniform(m, 1, 1, low=-0.4, high=0.4)
    # Explained by a gain near one: far from where one is hardly defined.
    target = 0.9 * (drawn + growth * slope) + 0.05 * noise
    found, _ = solve_growth(
        drawn,
        slope,
        target,
        weight if weighted else None,
        freedom=freedom,
        largest=WIDE,
    )
    free = freedom > 0, freedom in (Freedom.FULL, Freedom.LIGHT)
    flat = [part[:, 0] for part in (drawn, slope, target, weight)]
    expected = oracles.thickness(*flat, *free, RIDGE, PRIOR)
    torch.testing.assert_close(found[:, 0], expected, rtol=1e-5, atol=1e-6)


@attack
@given(draws, batches, channels, st.integers(3, 30), st.booleans(), opaque)
def test_colors_are_the_best_ones_of_what_is_grown(make, m, c, p, weighted, freedom):
    drawn, slope, target, weight = problem(make, m, c, p, weighted)
    seen = drawn, slope, target, weight
    growth, found = solve_growth(*seen, freedom=freedom, largest=0.3)
    expected = torch.zeros_like(found)
    if freedom:
        shown = drawn + growth[..., None] * slope
        expected = solve_color(shown, target, weight, freedom=freedom)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)


@attack
@given(draws, batches, st.integers(1, 4), st.integers(3, 30), st.booleans(), opaque)
def test_channels_that_are_alike_grow_as_one(make, m, c, p, weighted, freedom):
    *parts, weight = problem(make, m, 1, p, weighted)
    one, color = solve_growth(*parts, weight, freedom=freedom, largest=1.0)
    many = [part.expand(-1, c, -1) for part in parts]
    found, colors = solve_growth(*many, weight, freedom=freedom, largest=1.0)
    torch.testing.assert_close(found, one, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(colors, color.expand(-1, c, -1), rtol=1e-6, atol=1e-9)


@attack
@given(draws, batches, channels, opaque, st.sampled_from([-0.4, 0.3]))
def test_growth_is_recovered_in_any_colors(make, m, c, freedom, growth):
    drawn = 20 * make.uniform(m, c, 12, 12)  # strong contrast: no pull counts
    slope = slopes(drawn, 1)
    target = (drawn + growth * slope).flatten(2)
    if freedom == Freedom.LIGHT:
        target = 1.3 * target + 0.2
    elif freedom:
        color = make.uniform(m, c, 2, low=-0.3, high=0.3)
        color[..., 1] *= freedom == Freedom.FULL
        target = apply_color(target, color)
    seen = drawn.flatten(2), slope.flatten(2), target, None
    found, _ = solve_growth(*seen, freedom=freedom, largest=1.0)
    is_exact = c == 1 or freedom in (Freedom.NONE, Freedom.LIGHT)
    tolerance = 1e-3 if is_exact else 0.1 * abs(growth)
    expected = torch.full((m, 1), growth).double()
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


@attack
@given(draws, batches, st.integers(3, 40), opaque)
def test_growing_never_raises_the_error_of_one_channel(make, m, p, freedom):
    drawn, slope, target, _ = problem(make, m, 1, p, False)

    def least(shown):
        if not freedom:
            return (shown - target).square().mean((1, 2))
        color = solve_color(shown, target, freedom=freedom)
        error = (apply_color(shown, color) - target).square().mean((1, 2))
        return error + RIDGE * color[..., 0].square().sum(1)

    seen = drawn, slope, target
    growth, _ = solve_growth(*seen, freedom=freedom, largest=LARGEST)
    assert (growth.abs() <= LARGEST).all()
    assert (least(drawn + growth[..., None] * slope) <= least(drawn) + RIDGE).all()


def test_growth_is_bounded_and_finite_whatever_comes():
    drawn = torch.tensor([[[0.0, 0, 0, 0]], [[0, 1, 0, 1]], [[1, 1, 1, 1]]])
    slope = torch.tensor([[[0.0, 0, 0, 0]], [[1, 1, 1, 1]], [[0, 0, 1, 0]]])
    for scale in (0.0, 1e-30, 1.0, 1e6):
        target = scale * torch.tensor([[[0.0, 3, -1, 2]]]).expand(3, -1, -1)
        for freedom in (Freedom.NONE, Freedom.GAIN, Freedom.FULL, Freedom.LIGHT):
            seen = drawn, slope, target, None
            found, _ = solve_growth(*seen, freedom=freedom, largest=0.7)
            assert (found.abs() <= 0.7).all()
    assert found[0] == 0  # nothing can grow


@pytest.mark.parametrize(
    ("color", "n_backgrounds", "is_solved"),
    [("solve", 0, True), ("predict", 0, False), ("solve", 1, False)],
)
def test_growth_is_solved_for_opaque_sprites_alone(color, n_backgrounds, is_solved):
    spec = ModelSpec(2, n_backgrounds, 1, 8, 8, ("thickness",), color=color)
    assert ("thickness" in spec.solved) == is_solved


def test_pens_of_other_widths_draw_the_same_sprite():
    """Crosses and rings, each drawn with fine and with broad pens."""
    draws = np.random.default_rng(0)
    y, x = np.mgrid[:20, :20] - 9.5
    lines = np.minimum(abs(x), abs(y)), abs(np.hypot(x, y) - 6)
    inside = np.maximum(abs(x), abs(y)) < 8
    width, kind = draws.uniform(0.6, 1.8, 120), draws.integers(0, 2, 120)
    X = np.stack(
        [
            inside / (1 + np.exp((lines[k] - w) / 0.4))
            for k, w in zip(kind, width, strict=True)
        ]
    )
    model = SpriteClustering(
        2, transformations=("thickness",), max_epochs=20, random_state=0
    ).fit(X)
    same = model.labels_ == kind
    assert same.all() or not same.any()
    found = model.transformation_params_["thickness"][:, 0]
    for k in (0, 1):
        assert np.corrcoef(found[kind == k], width[kind == k])[0, 1] > 0.95
    assert 0.2 < np.ptp(found) <= 2 * LARGEST
    sprites = model.sprites_[model.labels_]
    missed, left = (
        np.square(a - sprites).mean() for a in (X[..., None], model.align(X))
    )
    assert left < 0.2 * missed
