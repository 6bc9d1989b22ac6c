import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sklearn_sprites._engine.modules.families import (
    make_family,
    rigid_name,
    to_parameters,
)
from sklearn_sprites._engine.ops.alignment import (
    Found,
    _normal_equations,
    assign,
    at_once,
    coarse_errors,
    refine,
    slopes,
    survey,
    update_sprites,
    warp,
)
from sklearn_sprites._engine.ops.color import Freedom, apply_color, solve_color
from sklearn_sprites._engine.ops.sampling import make_grid, pad_to_canvas
from sklearn_sprites._engine.ops.warps import affine_part
from sklearn_sprites._engine.spec import RIGID, ModelSpec, parameter_count
from tests.strategies import Draws, attack, batches, channels, draws

SIZE = 24
CPU = torch.device("cpu")


def grid_of(height, width, dtype=torch.float32):
    return make_grid(height, width, device=CPU, dtype=dtype)


GRID = grid_of(SIZE, SIZE)


def blobs(seed=0, k=3, n_channels=1):
    """Smooth sprites that no affine map turns into each other, (K, C, H, W)."""
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, SIZE)] * 2, indexing="ij")
    make = Draws(seed)
    sprites = []
    for _ in range(k * n_channels):
        places = make.uniform(4, 2, low=-0.5, high=0.5).tolist()
        spots = [torch.exp(-25 * ((x - a) ** 2 + (y - b) ** 2)) for a, b in places]
        sprites.append(torch.stack(spots).amax(0))
    return torch.stack(sprites).view(k, n_channels, SIZE, SIZE)


def family_for(images, name="affine", freedom=0):
    return make_family(name, freedom, images, GRID)


@attack
@given(draws, batches, channels)
def test_normal_equations_equal_the_jacobian_entry_by_entry(make, m, c):
    grid = grid_of(4, 5, torch.float64)
    slope, error = make.normal(m, 2, c, 20), make.normal(m, c, 20)
    u = torch.cat([grid.points, torch.ones_like(grid.points[:1])])
    curvature, gradient = _normal_equations(slope, error, grid)
    for i in range(m):
        columns = []
        for entry in torch.eye(6, dtype=torch.float64):
            moved = entry.view(2, 3) @ u  # how far each point moves
            columns.append((slope[i] * moved[:, None]).sum(0).flatten())
        jacobian = torch.stack(columns, 1)
        torch.testing.assert_close(curvature[i], jacobian.T @ jacobian)
        torch.testing.assert_close(gradient[i], jacobian.T @ error[i].flatten())


def test_slopes_are_the_change_of_the_image_under_a_shift():
    sprites = blobs()
    unchanged, dx, dy = slopes(sprites).unbind(1)
    assert torch.equal(unchanged, sprites)
    step = 0.5 / SIZE
    for entry, slope in ((2, dx), (5, dy)):
        shift = torch.zeros(len(sprites), 6)
        shift[:, entry] = step
        canvas = pad_to_canvas(sprites, "border")
        change = (warp(canvas, shift, GRID) - warp(canvas, -shift, GRID)) / (2 * step)
        alike = torch.cosine_similarity(change.flatten(), slope.flatten(), 0)
        assert alike > 0.95
        size = (change * slope).sum() / slope.square().sum()
        assert 0.8 < size < 1.4  # slopes are of the slightly blurred sprite


@pytest.mark.parametrize("freedom", [0, 1, 2])
@pytest.mark.parametrize("name", ["affine", "similarity", "translation"])
def test_refine_finds_the_warp_that_drew_the_images(name, freedom):
    sprites = blobs(n_channels=2)
    family = family_for(sprites, name, freedom)
    true = Draws(1).normal(3, len(family.basis), scale=0.06).float()
    canvas = pad_to_canvas(sprites, "border")
    images = warp(canvas, true @ family.basis, GRID).flatten(2)
    if freedom:
        color = torch.tensor([0.3, 0.2 if freedom == 2 else 0.0])
        images = apply_color(images, color.expand(3, 2, 2))
    steep = pad_to_canvas(slopes(sprites).flatten(1, 2), "border")
    start = torch.zeros_like(true)
    found, energy, _ = refine(images, steep, start, family)
    missed = ((found - true) @ family.basis).norm(dim=1)
    away = (true @ family.basis).norm(dim=1)
    assert (missed < 0.25 * away).all()  # the pull towards the identity remains
    drawn = warp(canvas, found @ family.basis, GRID).flatten(2)
    if freedom:
        drawn = apply_color(drawn, solve_color(drawn, images, freedom=freedom))
    error = (images - drawn).square().flatten(1).mean(1)
    expected = family.weight * error + (family.prior * found.square()).sum(1)
    torch.testing.assert_close(energy, expected, rtol=1e-3, atol=1e-5)


def test_refine_never_returns_worse_than_the_start():
    sprites, make = blobs(), Draws(4)
    family = family_for(sprites)
    noise = make.uniform(3, 1, SIZE**2).float()
    steep = pad_to_canvas(slopes(sprites).flatten(1, 2), "border")
    start = make.normal(3, 6, scale=0.3).float()
    drawn = warp(pad_to_canvas(sprites, "border"), start @ family.basis, GRID)
    error = (noise - drawn.flatten(2)).square().flatten(1).mean(1)
    before = family.weight * error + (family.prior * start.square()).sum(1)
    _, energy, _ = refine(noise, steep, start, family)
    assert (energy <= before * (1 + 1e-5)).all()


@attack
@given(draws, st.integers(1, 4), st.integers(1, 4), channels)
def test_coarse_errors_without_color_are_squared_distances(make, m, r, c):
    images, posed = make.uniform(m, c, 9), make.uniform(r, c, 9)
    expected = (images[:, None] - posed).square().flatten(2).sum(2)
    torch.testing.assert_close(coarse_errors(images, posed, 0), expected)


@pytest.mark.parametrize("freedom", [1, 2])
def test_coarse_errors_ignore_the_colors_that_are_solved(freedom):
    images = 5 * Draws(0).uniform(4, 2, 50)
    posed = 5 * Draws(1).uniform(3, 2, 50)
    bias = 2.0 if freedom == 2 else 0.0
    plain = coarse_errors(images, posed, freedom)
    recolored = coarse_errors(images, -3 * posed + bias, freedom)
    torch.testing.assert_close(plain, recolored, rtol=1e-2, atol=1e-2)
    own = coarse_errors(2 * posed + bias, posed, freedom)
    assert torch.equal(own.argmin(1), torch.arange(3))


@pytest.mark.parametrize("freedom", [0, 2])
def test_images_are_assigned_to_the_sprites_that_drew_them(freedom):
    sprites = blobs(k=6)
    labels = torch.arange(24) % 6
    family = family_for(sprites, "affine", freedom)
    true = Draws(2).normal(24, 6, scale=0.08).float()
    images = warp(pad_to_canvas(sprites, "border")[labels], true, GRID)
    if freedom:
        images = 0.5 * images + 0.2
    found = survey(images, sprites, family)
    assert (found.labels == labels).float().mean() > 0.95
    whole = assign(images.flatten(2), sprites, family)
    assert torch.equal(whole.labels, found.labels)
    drawn = warp(pad_to_canvas(sprites, "border")[found.labels], found.matrices, GRID)
    flat = drawn.flatten(2)
    if freedom:
        flat = apply_color(
            flat, solve_color(flat, images.flatten(2), freedom=Freedom.FULL)
        )
    error = (flat - images.flatten(2)).square().mean()
    assert error < 0.1 * (images - images.mean(0)).square().mean()


def test_one_sprite_owns_everything():
    sprites = blobs(k=1)
    family = family_for(blobs())
    found = assign(sprites.flatten(2), sprites, family)
    assert found.labels.tolist() == [0]
    assert found.energies.isfinite().all()


@pytest.mark.parametrize("freedom", [0, 2])
def test_updated_sprites_lower_the_error_down_to_the_least_squares_solution(freedom):
    sprites = blobs(k=2)
    family = family_for(blobs(), "affine", freedom)
    labels = torch.arange(40) % 2
    matrices = Draws(3).normal(40, 6, scale=0.1).float()
    images = warp(pad_to_canvas(sprites, "border")[labels], matrices, GRID)
    found = Found(labels, matrices, torch.zeros(40))

    def error(guess):
        drawn = warp(pad_to_canvas(guess, "border")[labels], matrices, GRID).flatten(2)
        flat = images.flatten(2)
        if freedom:
            drawn = apply_color(drawn, solve_color(drawn, flat, freedom=Freedom.FULL))
        return float((drawn - flat).square().mean())

    guess = sprites.mean(0, keepdim=True).repeat(2, 1, 1, 1)
    guess = guess + 0.05 * Draws(4).normal(2, 1, SIZE, SIZE).float()
    errors = [error(guess)]
    for _ in range(5):
        guess = update_sprites(images, found, guess, family)
        errors.append(error(guess))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.01 * errors[0]


def test_updated_sprites_are_reproducible_with_two_threads():
    sprites = blobs(k=4)
    family = family_for(sprites)
    labels = torch.randint(4, (600,), generator=torch.Generator().manual_seed(0))
    matrices = Draws(3).normal(600, 6, scale=0.1).float()
    images = Draws(4).uniform(600, 1, SIZE, SIZE).float()
    found = Found(labels, matrices, torch.zeros(600))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        first = update_sprites(images, found, sprites, family)
        for _ in range(4):
            assert torch.equal(update_sprites(images, found, sprites, family), first)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("name", RIGID)
def test_matrices_become_the_parameters_that_make_them(name):
    family = family_for(blobs(), name)
    params = Draws(5).normal(4, parameter_count(name, 1), scale=0.02)
    if name == "projective":
        params[:, 6:] = 0  # alignment finds affine maps only
        matrices = params[:, :6]
    else:
        matrices = affine_part(name, params, 1.0).flatten(1)
    found = to_parameters(name, matrices.float(), family)
    # A turn is found to first order, and by its tangent.
    torch.testing.assert_close(found.double(), params, rtol=1e-2, atol=1e-4)


def test_the_first_rigid_transformation_is_the_one_to_find():
    def spec(*names):
        return ModelSpec(2, 0, 1, 8, 8, names)

    assert rigid_name(spec("color", "rotation", "affine")) == "rotation"
    assert rigid_name(spec("color", "thin_plate_spline")) is None


@pytest.mark.parametrize(
    ("shape", "count"),
    [
        ((1, 8, 8), 256),
        ((3, 28, 28), 256),
        ((1, 64, 60), 256),
        ((3, 40, 40), 85),
        ((3, 128, 100), 32),
    ],
)
def test_fewer_large_images_are_aligned_together(shape, count):
    assert at_once(torch.zeros(1, *shape)) == count


def test_images_aligned_in_parts_are_aligned_as_all_together():
    grid = make_grid(40, 36, device=CPU, dtype=torch.float32)
    draws = torch.Generator().manual_seed(0)
    images = torch.rand(90, 3, 40, 36, generator=draws)
    family = make_family("affine", 2, images, grid)
    found = survey(images, images[:2], family)
    together = assign(images.flatten(2), images[:2], family)
    assert torch.equal(found.labels, together.labels)
    torch.testing.assert_close(found.energies, together.energies)
