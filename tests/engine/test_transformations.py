import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from sklearn_sprites._engine.modules.heads import GroupedHead
from sklearn_sprites._engine.modules.transformations import Sequence, make_sequence
from sklearn_sprites._engine.ops.morphology import morphological
from sklearn_sprites._engine.ops.sampling import make_grid, pad_to_canvas
from sklearn_sprites._engine.ops.warps import flow_basis
from sklearn_sprites._engine.spec import (
    MORPHOLOGICAL_KERNEL,
    SPLINE_GRID,
    WARPS,
    parameter_count,
)
from tests import oracles
from tests.strategies import Draws, assert_twins, attack, batches, draws, paddings

CPU = torch.device("cpu")
warps = st.lists(st.sampled_from(WARPS), max_size=3, unique=True).map(tuple)
spatial = st.lists(
    st.sampled_from((*WARPS, "thickness", "morphological")), max_size=4, unique=True
).map(tuple)


def sequence(names, height, width, padding="border"):
    """A sequence in float64."""
    grid = make_grid(height, width, device=CPU, dtype=torch.float64)
    return Sequence(names, grid, flow_basis(grid.points, SPLINE_GRID), padding)


def parameters(make, names, m, scale):
    return {
        name: make.normal(m, parameter_count(name, 1), scale=scale) for name in names
    }


@attack
@given(draws, spatial, batches, st.integers(4, 33), st.integers(4, 33), paddings)
def test_zero_parameters_are_the_identity_exactly(make, names, m, h, w, padding):
    images = make.normal(m, 2, h, w).float()
    zeros = {name: torch.zeros(m, parameter_count(name, 1)) for name in names}
    steps = make_sequence(names, h, w, padding, CPU)
    assert torch.equal(steps.apply(pad_to_canvas(images, padding), zeros), images)
    assert torch.equal(steps.undo(images, zeros), images)


@attack
@given(draws, warps, st.integers(1, 2), st.integers(4, 5), paddings, st.booleans())
def test_warps_equal_the_slow_twin(make, names, m, w, padding, is_partial):
    height = 4
    steps = sequence(names, height, w, padding)
    used = names[1:] if is_partial else names  # a name without parameters is skipped
    params = parameters(make, used, m, 0.15)

    def fast(images, *values):
        canvas = pad_to_canvas(images, padding)
        return steps.apply(canvas, dict(zip(used, values, strict=True)))

    def slow(images, *values):
        places = [
            torch.stack(
                [
                    torch.stack(
                        oracles.sequence_point(
                            names,
                            {n: v[i] for n, v in zip(used, values, strict=True)},
                            w / height,
                            SPLINE_GRID,
                            *point,
                        )
                    )
                    for point in steps.grid.points.T
                ],
                1,
            )
            for i in range(len(images))
        ]
        return oracles.sample(images, torch.stack(places), padding).view(images.shape)

    images = make.uniform(m, 2, height, w)
    if not used:
        assert torch.equal(fast(images), images)
        return
    assert_twins(fast, slow, images, *params.values(), tolerance=1e-7)


def test_morphology_takes_its_place_between_warps():
    make = Draws(0)
    names = ("affine", "morphological", "rotation")
    params = parameters(make, names, 3, 0.3)
    images = make.uniform(3, 1, 8, 8)
    before, after = sequence(("affine",), 8, 8), sequence(("rotation",), 8, 8)
    expected = before.apply(images, {"affine": params["affine"]})
    expected = morphological(expected, params["morphological"], MORPHOLOGICAL_KERNEL)
    expected = after.apply(expected, {"rotation": params["rotation"]})
    found = sequence(names, 8, 8).apply(images, params)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("names", [("thickness", "affine"), ("affine", "thickness")])
def test_growth_comes_after_all_warps(names):
    make = Draws(0)
    params = parameters(make, names, 3, 0.3)
    images = make.uniform(3, 2, 8, 40)
    placed = sequence(("affine",), 8, 40).apply(images, {"affine": params["affine"]})
    expected = placed + params["thickness"][..., None, None] * oracles.slopes(placed, 1)
    found = sequence(names, 8, 40).apply(images, params)
    torch.testing.assert_close(found, expected)


@attack
@given(draws, warps.filter(bool))
def test_undo_is_the_inverse_map(make, names):
    height, width, safe = 16, 24, 0.8
    steps = sequence(names, height, width)
    params = {
        n: 0.03 * v.clamp(-2, 2) for n, v in parameters(make, names, 1, 1.0).items()
    }
    points = steps.grid.points
    places = points + steps.inverse_flow(params, 1)[0]
    for start, place in list(zip(points.T, places.T, strict=True))[::17]:
        if max(start.abs().max(), place.abs().max()) < safe:
            one = {n: v[0] for n, v in params.items()}
            back = oracles.sequence_point(
                names, one, width / height, SPLINE_GRID, *place
            )
            torch.testing.assert_close(torch.stack(back), start, rtol=0, atol=1e-6)


@pytest.mark.parametrize("growth", [-1.0, 0.6])
def test_thickness_is_undone_to_first_order(growth):
    y, x = torch.meshgrid(*[torch.arange(32.0) - 15.5] * 2, indexing="ij")
    image = torch.sigmoid(3 - ((x**2 + y**2).sqrt() - 8).abs())[None, None]
    steps = make_sequence(("thickness",), 32, 32, "border", CPU)
    lost = []
    for value in (growth, growth / 2):
        params = {"thickness": torch.tensor([[value]])}
        moved = steps.apply(image, params)
        back = steps.undo(moved, params)
        error, before = ((a - image).square().mean().sqrt() for a in (back, moved))
        assert error < 0.5 * before
        lost.append(error)
    assert lost[1] < 0.35 * lost[0]  # what is left falls with the square of growth


@pytest.mark.parametrize("name", WARPS)
def test_undo_brings_a_transformed_image_back(name):
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, 32)] * 2, indexing="ij")
    image = torch.exp(-4 * ((x - 0.1) ** 2 + 2 * (y + 0.05) ** 2))[None, None]
    steps = make_sequence((name,), 32, 32, "border", CPU)
    params = {name: torch.full((1, parameter_count(name, 1)), 0.1)}
    moved = steps.apply(image, params)
    back = steps.undo(moved, params)
    # Two interpolations blur a little; nothing of the displacement may remain.
    lost, changed = (back - image).square().sum(), (moved - image).square().sum()
    assert changed > 0.1
    assert lost < 0.1 * changed


def test_undone_images_are_sharper_than_by_bilinear_interpolation():
    digits = torch.from_numpy(load_digits().images[:100] / 16)[:, None]
    steps = sequence(("affine",), 8, 8)
    params = parameters(Draws(0), ("affine",), 100, 0.1)
    moved = steps.apply(digits, params)
    places = steps.grid.points + steps.inverse_flow(params, 100)
    softer = oracles.sample(moved, places, "border").view(digits.shape)
    found = steps.undo(moved, params)
    lost, before = ((back - digits).square().mean() for back in (found, softer))
    assert lost < 0.7 * before


@pytest.mark.parametrize("factor", [-0.6, 0.5, 1.5])
def test_splines_that_squeeze_or_stretch_are_undone_too(factor):
    size = 24
    steps = sequence(("thin_plate_spline",), size, size)
    side = torch.linspace(-1, 1, SPLINE_GRID, dtype=torch.float64)
    y, x = torch.meshgrid(side, side, indexing="ij")
    params = {"thin_plate_spline": factor * torch.stack([x, y], -1).view(1, -1)}
    points, pixel = steps.grid.points, 2 / size
    edge = 1 - pixel / 2  # all that lies outside shows the border
    found = (points + steps.inverse_flow(params, 1)[0]).clamp(-edge, edge)
    expected = (points / (1 + factor)).clamp(-edge, edge)
    torch.testing.assert_close(found, expected, rtol=0, atol=0.05 * pixel)


def test_undo_without_parameters_returns_the_images():
    images = Draws(0).normal(2, 1, 5, 5)
    assert sequence(("affine",), 5, 5).undo(images, {}) is images


@attack
@given(draws, batches, st.integers(1, 4), st.integers(1, 9))
def test_a_head_equals_one_small_network_per_group(make, m, groups, outputs):
    head = GroupedHead(6, groups, outputs, make.generator).double()
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.copy_(make.normal(*parameter.shape))
    features = make.normal(m, 6)

    def slow(features):
        out = torch.empty(m, groups, outputs, dtype=torch.float64)
        for i, image in enumerate(features):
            hidden = (head.hidden_weight @ image + head.hidden_bias).clamp_min(0)
            for k in range(groups):
                out[i, k] = head.group_weight[k] @ hidden + head.group_bias[k]
        return out

    assert_twins(head, slow, features)


def test_a_head_starts_at_zero_but_can_learn():
    head = GroupedHead(6, 3, 4, torch.Generator().manual_seed(0))
    features = torch.rand(5, 6, generator=torch.Generator().manual_seed(1))
    out = head(features)
    assert torch.equal(out, torch.zeros(5, 3, 4))
    (out - 1).square().sum().backward()
    assert (head.group_weight.grad.abs().sum((1, 2)) > 0).all()


def test_a_heads_weights_depend_on_the_generator_alone():
    before = torch.get_rng_state()
    weights = [
        GroupedHead(6, 2, 3, torch.Generator().manual_seed(s)).hidden_weight.detach()
        for s in (0, 0, 1)
    ]
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
