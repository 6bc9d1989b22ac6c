"""A row of a batch of fixed size does not depend on its place nor on its company.

Predictions rest on this property of the building blocks, bit by bit, on the CPU. It
holds for the kernels in use, not for all that torch has: a batched product whose
weights are stored (K, in, out) breaks it for some sizes, for example.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sklearn_sprites._engine.inference import BATCH, SMALL_BATCH, Predictor
from sklearn_sprites._engine.models.build import to_arrays
from sklearn_sprites._engine.models.candidates import ROWS_AT_ONCE
from sklearn_sprites._engine.modules.encoders import build_encoder
from sklearn_sprites._engine.modules.transformations import make_sequence
from sklearn_sprites._engine.ops.color import (
    layered_errors,
    solve_color,
    solve_layers,
)
from sklearn_sprites._engine.ops.leveling import leveled, slope_filter
from sklearn_sprites._engine.ops.morphology import morphological
from sklearn_sprites._engine.ops.sampling import pad_to_canvas
from sklearn_sprites._engine.ops.thickness import solve_growth
from sklearn_sprites._engine.records import FittedModel
from sklearn_sprites._engine.spec import ModelSpec, parameter_count
from sklearn_sprites._engine.training.lloyd import squared_distances
from tests.strategies import Draws, random_model

SIZES = [(1, 28, 28), (3, 28, 28), (1, 16, 16), (1, 8, 8), (1, 40, 40), (2, 12, 31)]
CPU = torch.device("cpu")
BATCHES = BATCH["cpu"], SMALL_BATCH["cpu"]


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def assert_rows_are_independent(function, *inputs):
    """`function` maps rows to rows: permute them, change the others."""
    for n_rows in BATCHES:
        _assert_independent(function, n_rows, *(value[:n_rows] for value in inputs))


@torch.no_grad()
def _assert_independent(function, n_rows, *inputs):
    make = Draws(5)
    for n_threads in (1, 2):  # which may differ in bits, on some machines
        torch.set_num_threads(n_threads)
        expected = function(*inputs)
        for order in (make.permutation(n_rows), torch.arange(n_rows) * 7 % 64):
            found = function(*(value[order] for value in inputs))
            assert torch.equal(found, expected[order])
        others = [v + make.normal(*v.shape).float() for v in inputs]
        kept = make.permutation(n_rows)[:5]
        for other, value in zip(others, inputs, strict=True):
            other[kept] = value[kept]
        assert torch.equal(function(*others)[kept], expected[kept])


def rows(seed, *shape, scale=1.0):
    return Draws(seed).normal(max(BATCHES), *shape, scale=scale).float()


@pytest.mark.parametrize("size", SIZES)
def test_small_encoder(size):
    encoder, _ = build_encoder("small", *size, Draws(0).generator)
    with torch.no_grad():
        encoder(rows(1, *size)[:32])  # batch statistics
    assert_rows_are_independent(encoder.eval(), rows(2, *size))


@pytest.mark.parametrize("name", ["resnet20", "resnet18"])
def test_residual_networks(name):
    encoder, _ = build_encoder(name, 3, 8, 8, Draws(0).generator)
    assert_rows_are_independent(encoder.eval(), rows(2, 3, 8, 8))


@pytest.mark.parametrize("size", [(1, 28, 28), (3, 8, 9), (3, 32, 32)])
def test_leveled_images(size):
    images = rows(3, *size)
    read = slope_filter(*size[1:], None, like=images)
    for part in (0, 1):
        assert_rows_are_independent(lambda x, i=part: leveled(x, read)[i], images)


@pytest.mark.parametrize("outputs", [*range(1, 13), 16, 18, 32, 50, 60, 320])
def test_linear(outputs):
    make = Draws(0)
    weight, bias = make.normal(outputs, 128).float(), make.normal(outputs).float()
    assert_rows_are_independent(lambda x: F.linear(x, weight, bias), rows(1, 128))


@pytest.mark.parametrize("k", [1, 2, 5, 8, 10, 11, 40])
@pytest.mark.parametrize("size", [64, 784])
def test_squared_distances(k, size):
    centers = Draws(0).normal(k, size).float()
    points = rows(1, size)
    assert_rows_are_independent(lambda x: squared_distances(x, centers), points)


@pytest.mark.parametrize(
    ("names", "size"),
    [
        (("affine", "thin_plate_spline"), (1, 28, 28)),
        (("thin_plate_spline", "projective"), (1, 8, 8)),
        (("similarity", "thin_plate_spline", "rotation"), (2, 8, 9)),
        (("morphological", "position"), (1, 16, 16)),
        (("thickness", "position"), (1, 16, 16)),
    ],
)
def test_transformed_sprites(names, size):
    images = pad_to_canvas(rows(0, *size), "border")
    steps = make_sequence(names, *size[1:], "border", CPU)
    params = [rows(i, parameter_count(n, 1), scale=0.1) for i, n in enumerate(names)]

    def apply(images, *params):
        return steps.apply(images, dict(zip(names, params, strict=True)))

    def undo(images, *params):
        return steps.undo(images, dict(zip(names, params, strict=True)))

    assert_rows_are_independent(apply, images, *params)
    if size[1] < 28:  # splines are undone slowly
        assert_rows_are_independent(undo, rows(9, *size), *params)


@pytest.mark.parametrize("freedoms", [(2, 1), (3, 2), (3, 3)])
@pytest.mark.parametrize("channels", [1, 3])
def test_solved_colors_and_errors(channels, freedoms):
    drawn, back, target = (rows(i, channels, 784) for i in range(3))
    alpha = rows(3, 1, 784).sigmoid()

    def opaque(drawn, target):
        return solve_color(drawn, target, freedom=freedoms[0])

    def layered(drawn, back, alpha, target):
        found = solve_layers([drawn, back], [alpha, 1 - alpha], freedoms, target)
        return torch.cat(found, 2)

    def errors(drawn, back, alpha, target):
        return layered_errors([drawn, back], [alpha, 1 - alpha], freedoms, target)

    assert_rows_are_independent(errors, drawn, back, alpha, target)
    assert_rows_are_independent(opaque, drawn, target)
    assert_rows_are_independent(layered, drawn, back, alpha, target)
    assert_rows_are_independent(lambda x: x.square().flatten(1).sum(1), drawn)


@pytest.mark.parametrize("freedom", [0, 1, 2, 3])
@pytest.mark.parametrize("channels", [1, 3])
def test_solved_growth(channels, freedom):
    parts = [rows(i, channels, 784) for i in range(3)]

    def solved(*parts):
        found = solve_growth(*parts, freedom=freedom, largest=1.0)
        return torch.cat([part.flatten(1) for part in found], 1)

    assert_rows_are_independent(solved, *parts)


def test_morphology_of_many_channels():
    images, params = rows(0, 4, 10, 10), rows(1, 50)
    assert_rows_are_independent(lambda x, p: morphological(x, p, 7), images, params)


def test_candidates_are_drawn_in_chunks_of_whole_batches():
    # Fewer than eight rows pass other kernels: chunks must stay large.
    for batch in (BATCH, SMALL_BATCH):
        assert all(ROWS_AT_ONCE[kind] % size == 0 for kind, size in batch.items())
        assert batch["cpu"] % 16 == 0


SPECS = {
    "k-means": ModelSpec(4, 0, 1, 6, 6, ()),
    "opaque": ModelSpec(9, 0, 1, 8, 8, ("affine", "thin_plate_spline")),
    "one": ModelSpec(1, 0, 3, 6, 7, ("color", "affine", "morphological")),
    "grown": ModelSpec(3, 0, 1, 9, 8, ("color", "affine", "thickness")),
    "predicted": ModelSpec(3, 0, 2, 6, 6, ("color", "projective"), color="predict"),
    "centered": ModelSpec(3, 0, 1, 9, 8, ("translation", "thin_plate_spline")),
    "large": ModelSpec(2, 0, 3, 19, 19, ("color", "affine")),
    "reduced": ModelSpec(2, 0, 1, 64, 101, ("affine",)),
    "searched": ModelSpec(14, 0, 1, 12, 13, ("color", "similarity"), is_searched=True),
    "searched layers": ModelSpec(
        3, 2, 3, 12, 13, ("similarity",), ("color",), is_searched=True
    ),
    "layered": ModelSpec(5, 2, 3, 8, 8, ("color", "similarity"), ("color", "affine")),
}


def predictor(spec):
    if spec.is_kmeans:
        sprites = Draws(0).uniform(spec.n_sprites, 1, 6, 6).float().numpy()
        arrays = {"sprites": sprites, "backgrounds": np.zeros((0, 1, 6, 6), np.float32)}
    else:
        model = random_model(spec, 0)
        model.is_centered.fill_(spec is SPECS["centered"])
        arrays = to_arrays(model)
    return Predictor(FittedModel(spec, arrays, 0.0), "cpu")


def everything(predictor, images):
    """All that a predictor says of images, as arrays with one row per image."""
    found = predictor.assign(images)
    arrays = {
        "labels": found.labels,
        "errors": found.errors,
        "background": found.background,
        "reconstruct": predictor.reconstruct(images),
        "align": predictor.align(images),
        **{f"sprite {n}": v for n, v in found.params.items()},
        **{f"background {n}": v for n, v in found.background_params.items()},
    }
    if predictor.spec.is_layered:
        arrays["segment"] = predictor.segment(images)
    return arrays


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
def test_d5_predictions_do_not_depend_on_batching_order_or_subset(spec):
    made = predictor(spec)
    shape = (made.size + 60, spec.channels, spec.height, spec.width)
    images = Draws(1).uniform(*shape).float().numpy()
    expected = everything(made, images)
    assert len(np.unique(expected["labels"])) > (spec.n_sprites > 1)
    np.testing.assert_array_equal(expected["labels"], expected["errors"].argmin(1))
    order = np.random.default_rng(0).permutation(len(images))
    subsets = [order, order[:1], order[:7], order[::5], np.zeros(9, int)]
    for n_threads, index in zip((1, 2, 1, 2, 1), subsets, strict=True):
        torch.set_num_threads(n_threads)
        found = everything(made, images[index])
        assert found.keys() == expected.keys()
        for name, value in found.items():
            np.testing.assert_array_equal(value, expected[name][index], err_msg=name)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
def test_permuted_sprites_permute_labels(spec):
    shape = (50, spec.channels, spec.height, spec.width)
    images = Draws(1).uniform(*shape).float().numpy()
    made = predictor(spec)
    arrays = (
        {"sprites": made.sprites.numpy(), "backgrounds": np.zeros((0, 1, 6, 6))}
        if made.model is None
        else to_arrays(made.model)
    )
    fitted = FittedModel(spec, arrays, 0.0)
    order = np.random.default_rng(1).permutation(spec.n_sprites)
    before = made.assign(images)
    after = Predictor(fitted.reordered(order), "cpu").assign(images)
    np.testing.assert_array_equal(order[after.labels], before.labels)
    np.testing.assert_allclose(after.errors, before.errors[:, order], rtol=1e-4)
