import math
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from sklearn_sprites._engine.ops.layers import free_share
from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.bank import coarse, make_bank
from sklearn_sprites._engine.search.improve import improved
from sklearn_sprites._engine.search.layers import (
    Layers,
    Sprites,
    draw,
    no_layers,
    picture,
    planes_of,
    settle,
)
from sklearn_sprites._engine.search.moves import MUCH, moves, worst_layers
from sklearn_sprites._engine.search.peaks import Candidates, Scene, find_peaks
from sklearn_sprites._engine.search.polish import (
    contrasts,
    hidden_by,
    polished,
    terms_of,
)
from sklearn_sprites._engine.search.posed import draft, make_pose_searcher, sweep
from sklearn_sprites._engine.search.poses import (
    corner_pose,
    pixel_axes,
    pixel_centers,
    place,
)
from sklearn_sprites._engine.search.refine import (
    Slopes,
    Terms,
    cut_views,
    draw_slopes,
    make_slopes,
    normal_equations,
    refine,
)
from sklearn_sprites._engine.search.scene import (
    finished,
    make_searcher,
    sought,
)
from sklearn_sprites._engine.search_settings import SearchPlan

SPEC = SceneSpec(2, 2, 1, 3, 24, 24, 12, 12, ("similarity",), "flat")
NO_BLUR = 1


def smooth_sprites(dtype=torch.float64):
    """A soft ellipse and a soft triangle: derivatives exist everywhere."""
    steps = (torch.arange(12.0) - 5.5) / 6
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    ellipse = torch.sigmoid(6 * (0.5 - (x / 0.9) ** 2 - (y / 0.5) ** 2))
    triangle = torch.sigmoid(8 * (y + 0.4)) * torch.sigmoid(8 * (0.4 - y - x.abs()))
    planes = torch.stack([ellipse, triangle]).to(dtype)
    return Sprites(torch.stack([planes, planes], 1))


def test_a_sprite_on_whole_pixels_is_drawn_as_it_is():
    sprites = torch.rand(1, 1, 5, 4, generator=torch.Generator().manual_seed(0))
    row, column = torch.tensor([[3.0]]), torch.tensor([[2.0]])
    pose = corner_pose(row, column, (5, 4))
    drawn = place(sprites, torch.zeros(1, 1, dtype=torch.int64), pose, 12, 10)
    expected = F.pad(sprites[0], (2, 4, 3, 4))
    torch.testing.assert_close(drawn[0, 0], expected, rtol=0, atol=1e-5)


def test_a_turn_is_from_x_to_y_and_a_scale_makes_larger():
    sprite = torch.zeros(1, 1, 9, 9)
    sprite[0, 0, 4, 8] = 1  # to the right of the center
    pose = torch.tensor([[[10.5, 10.5, 0.0, math.pi / 2]]])
    index = torch.zeros(1, 1, dtype=torch.int64)
    turned = place(sprite, index, pose, 21, 21)[0, 0, 0]
    assert divmod(int(turned.argmax()), 21) == (14, 10)  # below the center
    pose = torch.tensor([[[10.5, 10.5, math.log(2.0), 0.0]]])
    large = place(sprite, index, pose, 21, 21)[0, 0, 0]
    assert divmod(int(large.argmax()), 21)[1] in (18, 19)


def test_the_center_of_a_pose_is_in_pixels_of_the_fine_image():
    sprites = smooth_sprites(torch.float32).planes[:1, :1]
    index, pose = torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, 1, 4)
    pose[..., :2] = torch.tensor([11.0, 13.0])
    fine = place(sprites, index, pose, 24, 24)[0, 0]
    small = place(sprites, index, pose, 12, 12, 2)[0, 0]
    torch.testing.assert_close(coarse(fine[None], 2)[0], small, rtol=0, atol=0.1)


def test_jacobians_of_drawing_equal_finite_differences():
    steps = (torch.arange(12.0).double() - 5.5) / 6
    ramps = torch.stack([0.5 + 0.3 * steps + 0.1 * steps[:, None]] * 2)
    sprites = Sprites(torch.stack([ramps, ramps], 1))  # slopes are exact inside
    slopes = make_slopes(sprites, SPEC, SearchPlan(), NO_BLUR)
    centers = pixel_centers(24, 24, 1, ramps)
    sprite = torch.tensor([[0, 1]])
    pose = torch.tensor([[[11.3, 12.1, 0.1, 0.4], [12.6, 11.2, -0.1, 2.0]]]).double()
    inside = (centers - 12).norm(dim=1) < 3
    axes = pixel_axes(24, 24, 1, pose)
    found = draw_slopes(slopes, sprite, pose, axes)
    for i in range(4):
        step = torch.zeros(4, dtype=torch.float64)
        step[i] = 1e-5
        ahead = draw_slopes(slopes, sprite, pose + step, axes).alpha
        behind = draw_slopes(slopes, sprite, pose - step, axes).alpha
        expected = (ahead - behind) / 2e-5
        torch.testing.assert_close(
            found.alpha_jacobian[:, :, i, inside],
            expected[..., inside],
            rtol=1e-6,
            atol=1e-6,
        )


@pytest.mark.parametrize("color", ["flat", "gain"])
def test_normal_equations_are_those_of_the_written_out_jacobian(color):
    make = torch.Generator().manual_seed(0)
    spec = SceneSpec(2, 2, 1, 3, 24, 24, 12, 12, ("similarity",), color)
    sprites = smooth_sprites()
    shade = torch.linspace(0.3, 1, 12, dtype=torch.float64)
    ink = sprites.alpha * shade if color == "gain" else sprites.alpha
    sprites = Sprites(torch.stack([ink, sprites.alpha], 1))
    slopes = make_slopes(sprites, spec, SearchPlan(), NO_BLUR)
    pose = torch.tensor([[[11.3, 12.1, 0.1, 0.4]]]).double()
    axes = pixel_axes(24, 24, 1, pose)
    drawn = draw_slopes(slopes, torch.tensor([[1]]), pose, axes)
    gain = torch.rand(1, 1, 3, generator=make).double()
    behind = torch.rand(1, 1, 3, 576, generator=make).double()
    left = torch.rand(1, 1, 3, 576, generator=make).double()
    weight = torch.rand(1, 1, 576, generator=make).double()
    terms = terms_of(gain[..., None], behind, left)
    terms = Terms(*(weight * term for term in terms))
    matrix, right = normal_equations(drawn, terms)
    rows = [
        gain[0, 0, c] * drawn.ink_jacobian[0, 0]
        - behind[0, 0, c] * drawn.alpha_jacobian[0, 0]
        for c in range(3)
    ]
    jacobian = torch.cat(rows, 1).T  # (3 P, 4)
    heavy = weight[0, 0].repeat(3)[:, None] * jacobian
    torch.testing.assert_close(matrix[0, 0], jacobian.T @ heavy)
    torch.testing.assert_close(right[0, 0], heavy.T @ left[0, 0].flatten())


def scene_of(poses, sprite, colors, level=0.2):
    """An image of flat layers, the later in front, and the layers themselves."""
    n = len(poses)
    layers = Layers(
        torch.tensor([sprite]),
        torch.tensor([poses]),
        torch.ones(1, n),
        torch.ones(1, n, n).tril(-1),
    )
    drawn = draw(smooth_sprites(torch.float32), layers, 24, 24)
    image = torch.full((1, 3, 24, 24), level)
    for i in range(n):
        color = torch.tensor(colors[i])[:, None, None]
        image = image * (1 - drawn[:, i, 1:]) + drawn[:, i, :1] * color
    return image, layers


TWO = scene_of(
    [[8.0, 9.0, 0.0, 0.3], [13.0, 14.0, -0.1, 1.0]],
    [0, 1],
    [[0.9, 0.1, 0.5], [0.1, 0.8, 0.3]],
)


def test_contrasts_are_composites_with_and_without_a_layer():
    image, layers = TWO
    drawn = draw(smooth_sprites(torch.float32), layers, 24, 24)
    found = picture(image, drawn, layers.over, SPEC)
    free, behind = contrasts(image, found, SPEC)
    for i in range(2):
        without = drawn.clone()
        without[:, i] = 0
        planes = planes_of(without, free_share(without[:, :, -1], layers.over), SPEC)
        gone = torch.einsum("brhw,brc->bchw", planes, found.colors)
        own_free, own_behind = hidden_by(image, found, SPEC, i)
        shown = own_free * found.ink[:, i]
        color = found.colors[:, i + 1, :, None, None]
        change = shown[:, None] * color - found.alpha[:, i, None] * own_behind
        torch.testing.assert_close(gone + change, found.image, rtol=0, atol=1e-5)
        edge = (found.alpha[:, i] < 0.9).flatten(1)
        torch.testing.assert_close(
            behind[:, i].transpose(1, 2)[:, :576][edge],
            own_behind.flatten(2).transpose(1, 2)[edge],
            rtol=0,
            atol=1e-4,
        )
        torch.testing.assert_close(free[:, i, :576], own_free.flatten(1))


@pytest.mark.parametrize("seed", range(4))
def test_polishing_never_raises_the_error_and_finds_poses_nearby(seed):
    image, layers = TWO
    sprites = smooth_sprites(torch.float32)
    make = torch.Generator().manual_seed(seed)
    unit = torch.tensor([0.7, 0.7, 0.05, 0.1])
    off = layers.pose + unit * (2 * torch.rand(1, 2, 4, generator=make) - 1)
    start = layers._replace(pose=off)
    slopes = make_slopes(sprites, SPEC, SearchPlan(), NO_BLUR)
    errors = []
    for steps in (0, 1, 2, 4, 8):
        moved = polished(image, start, sprites, slopes, SPEC, steps)[0]
        drawn = draw(sprites, moved, 24, 24)
        errors.append(float(picture(image, drawn, moved.over, SPEC).error))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.1 * errors[0]


def test_refining_a_candidate_improves_it_and_keeps_the_best_pose_met():
    image, layers = TWO
    sprites = smooth_sprites(torch.float32)
    slopes = make_slopes(sprites, SPEC, SearchPlan(), NO_BLUR)
    scene = Scene(image, torch.full_like(image, 0.2), torch.ones(1, 24, 24))
    off = layers.pose[:, 1:] + torch.tensor([1.0, -1.0, 0.05, 0.1])
    start = Candidates(torch.tensor([[1]]), off, torch.zeros(1, 1))
    saves = [
        float(refine(scene, start, slopes, steps, 0.4, 18, 1, 0.1).saves)
        for steps in range(5)
    ]
    assert saves == sorted(saves)
    assert saves[-1] > 1.05 * saves[0]


def test_a_hidden_candidate_is_refused():
    image, layers = TWO
    sprites = smooth_sprites(torch.float32)
    slopes = make_slopes(sprites, SPEC, SearchPlan(), NO_BLUR)
    scene = Scene(image, torch.full_like(image, 0.2), torch.zeros(1, 24, 24))
    start = Candidates(torch.tensor([[1]]), layers.pose[:, 1:], torch.zeros(1, 1))
    assert float(refine(scene, start, slopes, 2, 0.4, 18, 1, 0.1).saves) < 0


def test_views_hold_the_pixels_at_their_centers():
    image, layers = TWO
    scene = Scene(image, torch.zeros_like(image), torch.ones(1, 24, 24))
    views = cut_views(scene, layers.pose, 10, 1)
    for n in range(2):
        columns, rows = (axis[0, n].long() for axis in views.axes)
        expected = image[0][:, rows[:, None], columns].flatten(1)
        assert torch.equal(views.both[0, n, :3], expected)


def test_the_highest_peak_is_at_the_only_object():
    image, _ = scene_of([[15.0, 9.0, 0.0, 0.0]], [0], [[1.0, 0.0, 0.5]])
    bank = make_bank(smooth_sprites(torch.float32), SPEC, SearchPlan(), NO_BLUR)
    below = torch.full_like(image, 0.2)
    maps = Scene(image, below, torch.ones(1, 24, 24)).maps()
    peak = find_peaks(maps, bank, 0.4, 1)[0, 0].tolist()
    assert abs(peak[0] - 9) <= 1
    assert abs(peak[1] - 15) <= 1


@pytest.mark.parametrize("seed", range(3))
def test_a_layer_searched_anew_never_raises_the_objective(seed):
    make = torch.Generator().manual_seed(seed)
    images = F.avg_pool2d(torch.rand(4, 3, 28, 28, generator=make), 5, 1)
    images[:2] = TWO[0] + 0.05 * images[:2]
    sprites = smooth_sprites(torch.float32)
    searcher = make_pose_searcher(SPEC, SearchPlan(), 0.3, sprites, 0.1)
    now = draft(images, no_layers(images, SPEC), searcher)
    objectives = [now.picture.error + 0.3 * now.layers.on.sum(1)]
    for i in (0, 1, 0, 1, 1):
        now = sweep(images, now, searcher, torch.full((4, 1), i))
        objectives.append(now.picture.error + 0.3 * now.layers.on.sum(1))
    for before, after in pairwise(objectives):
        assert (after <= before).all()
    assert (objectives[-1] < 0.2 * objectives[0])[:2].all()


def test_what_hides_what_is_settled_from_the_overlap():
    image, layers = TWO
    drawn = draw(smooth_sprites(torch.float32), layers, 24, 24)
    wrong = layers.over.transpose(1, 2).contiguous()
    assert torch.equal(settle(image, drawn, wrong, SPEC).over, layers.over)


def test_slopes_know_which_parameters_are_free():
    sprites = smooth_sprites(torch.float32)
    shifted = SceneSpec(2, 2, 1, 3, 24, 24, 12, 12, ("rotation",), "flat")
    slopes = make_slopes(sprites, shifted, SearchPlan(), NO_BLUR)
    assert isinstance(slopes, Slopes)
    assert slopes.active == (0, 1, 3)


def test_edges_that_leave_zero_and_one_are_cut_once_drawn():
    soft = smooth_sprites(torch.float32).alpha[:, None]
    steep = Sprites((soft - 0.5) * 3 + 0.5)
    layers = TWO[1]
    alpha = draw(steep, layers, 24, 24)[:, :, 0]
    plain = place(soft, layers.sprite, layers.pose, 24, 24)[:, :, 0]
    inside = plain > 0.05  # outside of the frame there is nothing to make steeper
    expected = ((plain - 0.5) * 3 + 0.5).clamp(0, 1)
    torch.testing.assert_close(alpha[inside], expected[inside], rtol=0, atol=1e-5)
    assert float(alpha.max()) == 1
    assert float(alpha.min()) == 0


def test_jacobians_of_cut_edges_equal_finite_differences():
    steps = (torch.arange(12.0).double() - 5.5) / 6
    ramps = (4 * steps + steps[:, None]).expand(2, 12, 12)[:, None]  # far beyond [0, 1]
    slopes = make_slopes(Sprites(ramps), SPEC, SearchPlan(), NO_BLUR)
    centers = pixel_centers(24, 24, 1, ramps)
    sprite = torch.tensor([[0, 1]])
    pose = torch.tensor([[[11.3, 12.1, 0.1, 0.4], [12.6, 11.2, -0.1, 2.0]]]).double()
    inside = (centers - 12).norm(dim=1) < 3
    axes = pixel_axes(24, 24, 1, pose)
    found = draw_slopes(slopes, sprite, pose, axes)
    for i in range(4):
        step = torch.zeros(4, dtype=torch.float64)
        step[i] = 1e-6
        ahead = draw_slopes(slopes, sprite, pose + step, axes).alpha
        behind = draw_slopes(slopes, sprite, pose - step, axes).alpha
        expected = (ahead - behind)[..., inside] / 2e-6
        jacobian = found.alpha_jacobian[:, :, i, inside]
        torch.testing.assert_close(jacobian, expected, rtol=1e-5, atol=1e-5)
    assert 0 < float((found.alpha[..., inside] == 1).double().mean()) < 0.8


@pytest.mark.parametrize("sprite", [[1, 1], [0, 0]])
def test_a_layer_of_the_wrong_sprite_is_sought_anew_where_it_is(sprite):
    image, layers = TWO
    images = image.expand(2, -1, -1, -1).contiguous()
    wrong = layers._replace(sprite=torch.tensor([sprite]))
    wrong = Layers(*(values.expand(2, *values.shape[1:]).clone() for values in wrong))
    sprites = smooth_sprites(torch.float32)
    search = SearchPlan(restarts=1, poor=0.0)
    searcher = make_searcher(SPEC, search, 0.3, sprites)
    found = finished(images, wrong, searcher)
    before = found.picture.error.clone()
    found = improved(images, found, searcher, 2)
    assert found.layers.sprite.tolist() == [[0, 1]] * 2
    assert (found.picture.error < 0.05 * before).all()


@pytest.mark.parametrize(
    ("restarts", "replacements", "factors"),
    [
        (0, 0, []),
        (1, 0, [1]),
        (2, 0, [1, MUCH, MUCH]),
        (3, 0, [1, MUCH, MUCH, 1]),
        (5, 2, [1, MUCH, MUCH, 1, 1, 1, 1, 1]),
    ],
)
def test_costly_moves_are_for_images_far_from_explained(
    restarts, replacements, factors
):
    search = SearchPlan(restarts=restarts, replacements=replacements)
    searcher = make_searcher(SPEC, search, 0.3, smooth_sprites(torch.float32))
    assert [attempt.factor for attempt in moves(searcher)] == factors


def test_the_worst_layer_is_the_one_near_what_is_left():
    image, layers = TWO
    searcher = make_searcher(SPEC, SearchPlan(), 0.3, smooth_sprites(torch.float32))
    found = finished(image, layers, searcher)
    for i in range(2):
        x, y = (int(value) for value in layers.pose[0, i, :2])
        spoilt = image.clone()
        spoilt[..., y - 2 : y + 2, x - 2 : x + 2] += 0.2
        assert worst_layers(spoilt, found, SPEC)[0].tolist() == [i, 1 - i]


@pytest.mark.parametrize("shape", [(24, 40, 3), (40, 24, 1), (52, 64, 3)])
def test_layers_with_sharp_edges_are_found_in_images_of_any_shape(shape):
    rows, columns, channels = shape
    soft = smooth_sprites(torch.float32).alpha[:, None]
    sprites = Sprites((soft - 0.5) * 4 + 0.5)
    spec = SceneSpec(2, 2, 1, channels, rows, columns, 12, 12, ("similarity",), "flat")
    poses = [[8.0, 9.0, 0.0, 0.3], [columns - 9.0, rows - 8.0, -0.1, 1.0]]
    layers = no_layers(torch.zeros(1, 1), spec)
    layers = layers._replace(
        sprite=torch.tensor([[0, 1]]), pose=torch.tensor([poses]), on=torch.ones(1, 2)
    )
    alpha = draw(sprites, layers, rows, columns)[:, :, -1:]
    image = torch.full((1, channels, rows, columns), 0.4)
    image = image * (1 - alpha[:, 0]) + 0.9 * alpha[:, 0]
    image = image * (1 - alpha[:, 1])
    searcher = make_searcher(spec, SearchPlan(), 0.1, sprites)
    found = improved(image, sought(image, searcher), searcher, 1)
    blank = (image - 0.4).square().sum()
    assert sorted(found.layers.sprite[0].tolist()) == [0, 1]
    assert found.layers.on.tolist() == [[1, 1]]
    assert float(found.picture.error) < 0.01 * float(blank)
