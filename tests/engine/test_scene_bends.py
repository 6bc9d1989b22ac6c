"""Affine and projective poses: what they mean, their slopes, and what finds them."""

from itertools import pairwise

import pytest
import torch

from sklearn_sprites._engine.models.scene_network import LayerGuess
from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.guesses import exact
from sklearn_sprites._engine.search.layers import (
    Sprites,
    draw,
    no_layers,
    picture,
)
from sklearn_sprites._engine.search.polish import polished
from sklearn_sprites._engine.search.posed import draft, make_pose_searcher, sweep
from sklearn_sprites._engine.search.poses import (
    image_points,
    pixel_axes,
    place,
    sprite_points,
    widened,
)
from sklearn_sprites._engine.search.refine import draw_slopes, make_slopes
from sklearn_sprites._engine.search.scene import find_layers, make_searcher
from sklearn_sprites._engine.search_settings import SearchPlan
from sklearn_sprites._engine.training.gauge import Bends, gauged
from sklearn_sprites._engine.training.scene_evidence import into_frame
from tests.oracles_scenes import placed_point

SIZES = {"affine": 6, "projective": 8}
NAMES = pytest.mark.parametrize("name", SIZES)
POSES = torch.tensor(
    [
        [11.3, 12.1, 0.1, 0.4, 0.2, -0.3, 0.2, -0.1],
        [12.6, 11.2, -0.1, 2.0, -0.25, 0.4, -0.3, 0.25],
    ],
    dtype=torch.float64,
)


def spec_of(name):
    return SceneSpec(2, 2, 1, 3, 24, 24, 12, 10, (name,), "flat")


@NAMES
def test_points_of_sprites_are_where_the_convention_says(name):
    points = torch.rand(5, 2, generator=torch.Generator().manual_seed(0)).double()
    points = 2 * points - 1
    pose = POSES[:, : SIZES[name]]
    found = image_points(points, pose, (12, 10))
    for n in range(2):
        for p in range(5):
            expected = placed_point(points[p].tolist(), pose[n].tolist(), (12, 10))
            assert found[n, p].tolist() == pytest.approx(expected)


@NAMES
def test_pixels_are_looked_up_where_points_come_from(name):
    pose = POSES[:, : SIZES[name]]
    axes = pixel_axes(24, 24, 1, pose)
    where = sprite_points(axes, pose, (12, 10))  # (2, 24, 24, 2)
    for n in range(2):
        inside = where[n].abs().amax(2) < 1
        back = image_points(where[n][inside], pose[n], (12, 10))
        y, x = torch.meshgrid(axes.y, axes.x, indexing="ij")
        expected = torch.stack([x[inside], y[inside]], 1)
        torch.testing.assert_close(back, expected)
        assert int(inside.sum()) > 60


@NAMES
def test_what_lies_behind_a_tilt_is_outside_of_the_sprite(name):
    pose = POSES[:1, : SIZES[name]].clone()
    pose[:, :2], pose[:, 6:] = 48, 0.3
    where = sprite_points(pixel_axes(96, 96, 1, pose), pose, (12, 10))
    points = torch.tensor([[-1.0, -1], [-1, 1], [1, 1], [1, -1]]).double()
    corners = image_points(points, pose, (12, 10))[0]
    inside = where[0].abs().amax(2) < 1
    ahead = corners.roll(-1, 0) - corners
    area = (corners[:, 0] * ahead[:, 1] - corners[:, 1] * ahead[:, 0]).sum() / 2
    assert float(inside.sum()) == pytest.approx(abs(float(area)), rel=0.1)


@NAMES
def test_zeros_draw_a_similarity_to_the_last_bit(name):
    sprites = torch.rand(2, 2, 12, 10, generator=torch.Generator().manual_seed(0))
    index, pose = torch.tensor([[0, 1]]), POSES[None, :, :4].float()
    plain = place(sprites, index, pose, 24, 24)
    assert torch.equal(place(sprites, index, widened(pose, SIZES[name]), 24, 24), plain)


@NAMES
@pytest.mark.parametrize("color", ["flat", "gain"])
def test_jacobians_of_drawing_equal_finite_differences(name, color):
    lines = [torch.linspace(-1, 1, n, dtype=torch.float64) for n in (12, 10)]
    rows, columns = torch.meshgrid(*lines, indexing="ij")
    ramp = 0.5 + 0.3 * columns + 0.2 * rows
    ink = 0.4 - 0.1 * columns + 0.25 * rows
    planes = torch.stack([ink, ramp]).expand(2, -1, -1, -1)
    spec = SceneSpec(2, 2, 1, 3, 24, 24, 12, 10, (name,), color)
    slopes = make_slopes(Sprites(planes), spec, SearchPlan(), 1)
    pose, sprite = POSES[None, :, : SIZES[name]], torch.tensor([[0, 1]])
    axes = pixel_axes(24, 24, 1, pose)
    found = draw_slopes(slopes, sprite, pose, axes)
    inside = sprite_points(axes, pose, (12, 10)).abs().amax(-1).flatten(2) < 0.7
    assert slopes.active == tuple(range(SIZES[name]))
    for i in range(SIZES[name]):
        step = torch.zeros(SIZES[name], dtype=torch.float64)
        step[i] = 1e-6
        ahead = draw_slopes(slopes, sprite, pose + step, axes)
        behind = draw_slopes(slopes, sprite, pose - step, axes)
        for part in ("alpha", "ink"):
            expected = (getattr(ahead, part) - getattr(behind, part)) / 2e-6
            jacobian = getattr(found, f"{part}_jacobian")[:, :, i]
            torch.testing.assert_close(
                jacobian[inside], expected[inside], rtol=1e-6, atol=1e-7
            )
    assert int(inside.sum()) > 60


def letters():
    """An F and an L with soft edges, (2, 1, 16, 16): no affine map but one fits."""
    steps = (torch.arange(16.0) - 7.5) / 8
    y, x = torch.meshgrid(steps, steps, indexing="ij")

    def bar(x0, x1, y0, y1):
        inside = torch.stack([x - x0, x1 - x, y - y0, y1 - y]).amin(0)
        return (0.5 + 6 * inside).clamp(0, 1)

    stem, top, middle = (
        bar(-0.7, -0.25, -0.8, 0.8),
        bar(-0.7, 0.7, -0.8, -0.35),
        bar(-0.7, 0.4, 0, 0.4),
    )
    foot, stroke = bar(-0.7, 0.7, 0.3, 0.7), bar(-0.5, 0, -0.8, 0.6)
    shapes = (
        torch.maximum(stem, torch.maximum(top, middle)),
        torch.maximum(foot, stroke),
    )
    return Sprites(torch.stack(shapes)[:, None])


def planted(name, n=12, seed=0):
    """Views of an F and an L, away from each other, and their layers."""
    make = torch.Generator().manual_seed(seed)
    spec = SceneSpec(2, 2, 1, 3, 28, 44, 16, 16, (name,), "flat")
    layers = no_layers(torch.zeros(n, 1), spec)
    unit = torch.tensor([1.5, 1.5, 0.1, 3.0, 0.2, 0.25, 0.12, 0.12])[: SIZES[name]]
    middle = torch.tensor([[12.0, 14.0], [32.0, 14.0]])
    pose = unit * (2 * torch.rand(n, 2, SIZES[name], generator=make) - 1)
    pose[..., :2] += middle
    pose[..., 2] -= 0.1
    layers = layers._replace(
        sprite=torch.tensor([[0, 1]]).repeat(n, 1), pose=pose, on=torch.ones(n, 2)
    )
    alpha = draw(letters(), layers, 28, 44)[:, :, -1:]
    color = 0.6 + 0.4 * torch.rand(n, 2, 3, 1, 1, generator=make)
    images = torch.full((n, 3, 28, 44), 0.2)
    for i in range(2):
        images = images * (1 - alpha[:, i]) + alpha[:, i] * color[:, i]
    return spec, images, layers


CORNERS = torch.tensor([[-1.0, -1], [-1, 1], [1, 1], [1, -1]])


@NAMES
def test_planted_poses_are_found_again(name):
    spec, images, layers = planted(name)
    searcher = make_searcher(spec, SearchPlan(), 0.2, letters())
    found = find_layers(images, searcher).layers
    first = found.pose[..., 0].argsort(1)  # the left one first
    index = first[..., None].expand_as(found.pose)
    there = image_points(CORNERS, found.pose.gather(1, index), (16, 16))
    expected = image_points(CORNERS, layers.pose, (16, 16))
    apart = (there - expected).norm(dim=3).mean(2)  # pixels, (n, 2)
    assert found.sprite.gather(1, first).tolist() == layers.sprite.tolist()
    assert float(apart.median()) < 0.1
    assert float((apart < 0.5).float().mean()) > 0.9
    plain = SceneSpec(2, 2, 1, 3, 28, 44, 16, 16, ("similarity",), "flat")
    stiff = find_layers(images, make_searcher(plain, SearchPlan(), 0.2, letters()))
    error = picture(images, draw(letters(), found, 28, 44), found.over, spec).error
    assert float(error.median()) < 0.05 * float(stiff.picture.error.median())


@NAMES
def test_a_search_for_bent_layers_never_raises_the_objective(name):
    spec, images, _ = planted(name, n=4)
    noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(1))
    images[2:] = images[2:] + 0.2 * noise[2:]
    searcher = make_pose_searcher(spec, SearchPlan(), 0.2, letters(), 0.1)
    now = draft(images, no_layers(images, spec), searcher)
    objectives = [now.picture.error + 0.2 * now.layers.on.sum(1)]
    for i in (0, 1, 0, 1):
        now = sweep(images, now, searcher, torch.full((4, 1), i))
        objectives.append(now.picture.error + 0.2 * now.layers.on.sum(1))
    for before, after in pairwise(objectives):
        assert (after <= before).all()
    assert (objectives[-1] < 0.3 * objectives[0])[:2].all()


@NAMES
def test_polishing_bent_layers_never_raises_the_error(name):
    spec, images, layers = planted(name, n=4)
    make = torch.Generator().manual_seed(2)
    unit = torch.tensor([0.5, 0.5, 0.03, 0.05, 0.05, 0.05, 0.03, 0.03])[: SIZES[name]]
    off = unit * (2 * torch.rand(layers.pose.shape, generator=make) - 1)
    start = layers._replace(pose=layers.pose + off)
    slopes = make_slopes(letters(), spec, SearchPlan(), 1)
    errors = []
    for steps in (0, 1, 2, 4, 8):
        moved = polished(images, start, letters(), slopes, spec, steps)[0]
        drawn = draw(letters(), moved, 28, 44)
        errors.append(picture(images, drawn, moved.over, spec).error)
    for before, after in pairwise(errors):
        assert (after <= before).all()
    assert (errors[-1] < 0.05 * errors[0]).all()


@NAMES
def test_images_seen_from_a_frame_show_the_sprite(name):
    _, _, layers = planted(name)
    drawn = draw(letters(), layers, 28, 44)[:, :, -1]  # (n, 2, H, W)
    maps, pose = drawn.flatten(0, 1)[:, None], layers.pose.flatten(0, 1)
    expected = letters().alpha[layers.sprite.flatten()]

    def error(pose):
        back = into_frame(maps, pose, (16, 16))[:, 0]
        return float((back - expected)[:, 2:-2, 2:-2].abs().mean())

    assert error(pose) < 0.08  # sampled twice
    assert error(pose) < 0.6 * error(pose[:, :4])


@NAMES
def test_sprites_take_over_how_their_layers_are_bent_on_average(name):
    spec, _, layers = planted(name)
    bend = torch.tensor([0.15, 0.2, 0.08, -0.06])[: SIZES[name] - 4]
    bent = layers._replace(
        pose=torch.cat([layers.pose[..., :4], bend.expand(12, 2, -1)], 2)
    )
    bends = Bends(spec, layers.pose)
    bends.add(bent, layers.on)
    masks = letters().alpha
    new = gauged(masks, spec, bends.mean())
    pose = torch.cat([torch.tensor([8.0, 8, 0, 0]), bend]).expand(1, 2, -1)
    drawn = place(masks[:, None], torch.tensor([[0, 1]]), pose, 16, 16)[0, :, 0]
    old = gauged(drawn, spec)  # both are centered and of standard size
    torch.testing.assert_close(new, old, rtol=0, atol=0.35)
    assert float((new - old).abs().mean()) < 0.03
    assert float((gauged(masks, spec) - old).abs().mean()) > 0.08


@NAMES
def test_similarities_that_a_network_guesses_are_bent_by_polishing(name):
    spec, images, layers = planted(name)
    searcher = make_searcher(spec, SearchPlan(), 0.2, letters())
    pose = layers.pose[:, :, None, :4].expand(-1, -1, 2, -1)
    logits = torch.tensor([[9.0, 0.0, 0.0], [0.0, 9.0, 0.0]]).expand(12, -1, -1)
    guess = LayerGuess(pose, logits)
    errors = [
        exact(images, guess, searcher, steps).picture.error.median() for steps in (0, 8)
    ]
    found = exact(images, guess, searcher, 8).layers
    there = image_points(CORNERS, found.pose, (16, 16))
    apart = (there - image_points(CORNERS, layers.pose, (16, 16))).norm(dim=3).mean(2)
    assert float(errors[1]) < 0.1 * float(errors[0])
    assert float(apart.median()) < 0.3


@NAMES
def test_bent_layers_depend_on_no_other_image(name):
    spec, images, _ = planted(name, n=6)
    searcher = make_searcher(spec, SearchPlan(), 0.2, letters())
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    together = find_layers(images, searcher)
    shuffled = find_layers(images[order], searcher)
    for one, other in zip(together.layers, shuffled.layers, strict=True):
        assert torch.equal(one[order], other)
    assert torch.equal(together.saves[order], shuffled.saves)
