"""Things that lie turned in any way are aligned, and the network learns every turn."""

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.ndimage import rotate
from sklearn.datasets import load_digits

from sklearn_sprites import SpriteClustering
from sklearn_sprites._engine.modules.families import make_family, to_parameters
from sklearn_sprites._engine.modules.polar import as_parameters, told_count
from sklearn_sprites._engine.modules.transformations import make_sequence
from sklearn_sprites._engine.modules.turns import (
    TURNING,
    turned_images,
    turned_parameters,
    with_turns,
)
from sklearn_sprites._engine.ops.alignment import after_turn, assign
from sklearn_sprites._engine.ops.sampling import pad_to_canvas
from sklearn_sprites._engine.spec import ModelSpec
from sklearn_sprites._engine.training import start
from sklearn_sprites._engine.training.start import aligned_start
from tests.engine.test_alignment import CPU, GRID, SIZE, blobs, grid_of
from tests.strategies import draws

few_epochs = pytest.mark.filterwarnings("ignore:SpriteClustering stopped after")
angles = st.floats(-math.pi, math.pi)
names = pytest.mark.parametrize("name", TURNING)


def drawn(sprites, name, params, grid=GRID):
    """Sprites under one transformation."""
    sequence = make_sequence((name,), grid.height, grid.width, "border", CPU)
    return sequence.apply(pad_to_canvas(sprites, "border"), {name: params})


def parameters(name, angle):
    if name == "rotation":
        return torch.tensor([[angle]])
    return torch.tensor([[math.cos(angle) - 1, math.sin(angle), 0.03, -0.02]])


@names
def test_turning_is_what_the_transformations_do(name):
    grid = grid_of(12, 20)
    image = torch.rand(1, 1, 12, 20, generator=torch.Generator().manual_seed(0))
    angle = torch.tensor([0.7])
    params = parameters(name, 0.7)
    params[:, 2:] = 0
    torch.testing.assert_close(
        turned_images(image, angle, grid), drawn(image, name, params, grid)
    )


def test_the_first_turn_is_none():
    family = with_turns(make_family("rotation", 0, blobs(), GRID))
    assert torch.equal(family.turns[0], torch.zeros(6))
    assert len(family.turns.unique(dim=0)) == len(family.turns)


@names
@given(first=angles, then=angles)
def test_a_turned_image_has_turned_parameters(name, first, then):
    sprite = blobs(k=1)
    params, angle = parameters(name, first), torch.tensor([then])
    seen = turned_images(drawn(sprite, name, params), angle, GRID)
    told = drawn(sprite, name, turned_parameters(name, params, angle))
    middle = (..., slice(5, -5), slice(5, -5))  # what no border reaches
    error = (seen - told)[middle].square().mean()  # one of them is read twice
    assert error < 0.02 * told[middle].var()


@given(st.lists(angles, min_size=2, max_size=2))
def test_parameters_turned_twice_are_turned_by_both(both):
    one, two = (torch.tensor([angle]) for angle in both)
    for name in TURNING:
        params = parameters(name, 0.4)
        twice = turned_parameters(name, turned_parameters(name, params, one), two)
        once = turned_parameters(name, params, one + two)
        if name == "rotation":
            twice, once = twice.cos(), once.cos()
        torch.testing.assert_close(twice, once, atol=1e-4, rtol=1e-4)


@names
@given(angle=angles)
def test_alignment_finds_any_turn(name, angle):
    sprites = blobs(k=2)
    family = with_turns(make_family(name, 0, sprites, GRID))
    images = drawn(sprites, name, parameters(name, angle).expand(2, -1))
    found = assign(images.flatten(2), sprites, family)
    assert found.labels.tolist() == [0, 1]
    told = to_parameters(name, found.matrices, family)
    again = drawn(sprites, name, told)
    assert (again - images).square().mean() < 0.02 * images.var()
    if name == "rotation":
        torch.testing.assert_close(
            (told - angle).cos(), torch.ones(2, 1), atol=5e-3, rtol=0
        )


@given(draws)
def test_a_map_after_a_turn_is_their_product(make):
    maps, turns = make.normal(3, 2, 3), make.normal(3, 2, 3)
    turns[..., 2] = 0
    last = torch.tensor([0.0, 0, 1]).expand(3, 1, 3)
    one, two = (torch.cat([m + torch.eye(2, 3), last], 1) for m in (maps, turns))
    found = after_turn(maps.flatten(1).float(), turns.flatten(1).float())
    product = (two.double() @ one.double())[:, :2] - torch.eye(2, 3)
    torch.testing.assert_close(found.view(3, 2, 3).double(), product, atol=1e-4, rtol=0)


@pytest.mark.parametrize("is_turned", [True, False])
def test_turns_are_only_looked_for_where_things_are_turned(is_turned):
    images = load_digits(n_class=4).images[:200] / 16
    if is_turned:
        random = np.random.default_rng(0)
        images = np.stack(
            [
                rotate(image, random.uniform(0, 360), reshape=False, order=1)
                for image in np.pad(images, ((0, 0), (2, 2), (2, 2)))
            ]
        )
    side = images.shape[1]
    spec = ModelSpec(6, 0, 1, side, side, ("similarity",))
    some = torch.tensor(images, dtype=torch.float32)[:, None]
    _, lesson, _ = aligned_start(some, spec, torch.Generator().manual_seed(0))
    assert lesson.is_turned == is_turned


def leaning_digits(most):
    """Digits 0 to 3, turned by up to `most` degrees, and by how many."""
    random = np.random.default_rng(0)
    digits = np.pad(load_digits(n_class=4).images[:240] / 16, ((0, 0), (2, 2), (2, 2)))
    angles = random.uniform(-most, most, len(digits))
    turned = [
        rotate(image, angle, reshape=False, order=1)
        for image, angle in zip(digits, angles, strict=True)
    ]
    return torch.tensor(np.stack(turned), dtype=torch.float32)[:, None], angles


def test_things_that_lean_are_found_by_how_much():
    images, angles = leaning_digits(45)
    spec = ModelSpec(6, 0, 1, 12, 12, ("affine",))
    _, lesson, _ = aligned_start(images, spec, torch.Generator().manual_seed(0))
    assert not lesson.is_turned
    a, b, c, d = lesson.params["affine"][:, [0, 1, 3, 4]].unbind(1)
    found = torch.rad2deg(torch.atan2(c - b, 2 + a + d)).numpy()
    missed = np.concatenate(
        [
            (found - angles)[mine] - np.median((found - angles)[mine])
            for mine in (lesson.labels.numpy() == k for k in range(6))
            if mine.any()
        ]
    )
    assert np.median(np.abs(missed)) < 8
    assert np.ptp(found) > 60


@pytest.mark.parametrize(("most", "is_tried"), [(0, False), (45, True)])
def test_leaning_starts_are_taken_where_they_help(monkeypatch, most, is_tried):
    images, _ = leaning_digits(most)
    spec = ModelSpec(6, 0, 1, 12, 12, ("affine",))
    found = []
    for limit in (start.LEANS, 0.0):  # nothing is lower than no energy
        monkeypatch.setattr(start, "LEANS", limit)
        draws = torch.Generator().manual_seed(0)
        found.append(aligned_start(images, spec, draws)[0])
    assert torch.equal(*found) != is_tried


@given(
    st.floats(-3, 3),
    st.floats(-3, 3),
    st.floats(-1, 1),
    st.floats(-1, 1),
    st.floats(0, 2),
)
def test_the_length_of_a_direction_is_no_size(right, up, x, y, size):
    assume(math.hypot(1 + right, up) > 0.01)
    told = torch.tensor([right, up, x, y, size], dtype=torch.float64)
    a, b, *shift = as_parameters("similarity", told).tolist()
    assert math.hypot(1 + a, b) == pytest.approx(math.exp(size))
    angle = math.atan2(up, 1 + right)
    assert [1 + a, b] == pytest.approx(
        [math.exp(size) * math.cos(angle), math.exp(size) * math.sin(angle)]
    )
    assert shift == [x, y]


def test_heads_that_tell_zeros_tell_the_identity_and_no_direction_is_no_nan():
    zeros = torch.zeros(2, told_count("similarity", 1))
    assert zeros.shape[1] == 5
    assert torch.equal(as_parameters("similarity", zeros), torch.zeros(2, 4))
    nowhere = torch.tensor([[-1.0, 0.0, 0.0, 0.0, 0.0]], requires_grad=True)
    found = as_parameters("similarity", nowhere)
    found.sum().backward()
    assert found.isfinite().all()
    assert nowhere.grad.isfinite().all()
    others = torch.ones(2, told_count("affine", 3))
    assert as_parameters("affine", others) is others


@few_epochs
@pytest.mark.parametrize("names", [("rotation",), ("color", "similarity")])
def test_kinds_of_things_are_found_in_any_turn(names):
    X, y = turned_things(150)
    found = SpriteClustering(3, transformations=names, max_epochs=12, random_state=0)
    assert_kinds(found.fit(X).labels_, y)


def test_a_network_learns_all_turns_also_of_things_with_a_clear_outline():
    """Wrong sizes cost most here, so that inexact turns must not change the size."""
    X, y = turned_things(150)
    rows = np.arange(SIZE) - (SIZE - 1) / 2
    coin = np.hypot(*np.meshgrid(rows, rows)) < SIZE / 2 - 1
    X = np.where(coin, 1 - 0.7 * X, 0.2)
    names = ("similarity",)
    found = SpriteClustering(
        3, transformations=names, curriculum=(names,), random_state=0
    )
    assert_kinds(found.fit(X).labels_, y)
    assert not found._spec["is_searched"]


def turned_things(n):
    """Images (n, SIZE, SIZE) of three shapes in any turn, and which."""
    random = np.random.default_rng(0)
    shapes = np.zeros((3, SIZE, SIZE))
    shapes[0, 5:19, 10:14] = shapes[0, 5:9, 10:18] = 1  # a hook
    shapes[1, 6:18, 6:18] = 1
    shapes[1, 9:18, 9:18] = 0  # a corner
    shapes[2, 4:20, 11:14] = shapes[2, 10:13, 5:12] = 1  # a branch
    y = np.arange(n) % 3
    turns = random.uniform(0, 360, len(y))
    X = [
        rotate(shapes[k], turn, reshape=False, order=1).clip(0, 1)
        for k, turn in zip(y, turns, strict=True)
    ]
    return np.stack(X), y


def assert_kinds(labels, y):
    table = np.zeros((3, 3))
    np.add.at(table, (y, labels), 1)
    assert table.max(0).sum() > 0.95 * len(y)
    assert (table.max(0) > 0).all()
