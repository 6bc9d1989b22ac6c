"""Layers of two tones: gains and biases solved, searched, and learned."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from sklearn_sprites._engine.ops.layers import free_share
from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.bank import make_bank
from sklearn_sprites._engine.search.biases import contrast_saving, explained_with_bias
from sklearn_sprites._engine.search.layers import (
    Layers,
    Sprites,
    draw,
    layer_biases,
    layer_colors,
    no_layers,
    picture,
    planes_of,
)
from sklearn_sprites._engine.search.peaks import Scene, saving
from sklearn_sprites._engine.search.polish import contrasts, hidden_by, polished
from sklearn_sprites._engine.search.posed import draft, make_pose_searcher, sweep
from sklearn_sprites._engine.search.poses import pixel_axes
from sklearn_sprites._engine.search.refine import (
    Terms,
    draw_slopes,
    make_slopes,
    normal_equations,
)
from sklearn_sprites._engine.search.scene import find_layers, make_searcher
from sklearn_sprites._engine.search_settings import SearchPlan
from sklearn_sprites._engine.training.gauge import full_range
from sklearn_sprites._engine.training.shaded_kmeans import (
    Seen,
    fit_windows,
    solve_tints,
)
from tests.scenes import make_decomposition

SPEC = SceneSpec(2, 2, 1, 3, 24, 32, 12, 12, ("similarity",), "gain_bias")


def two_tones(dtype=torch.float32):
    """Discs with a light half and with a light spot, (2, 2, 12, 12)."""
    steps = (torch.arange(12.0, dtype=dtype) - 5.5) / 6
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    far = (x**2 + y**2).sqrt()
    mask = (0.5 + 5 * (0.85 - far)).clamp(0, 1)
    half, spot = (0.5 + 5 * x).clamp(0, 1), (0.5 + 5 * (0.45 - far)).clamp(0, 1)
    return Sprites(torch.stack([torch.stack([s * mask, mask]) for s in (half, spot)]))


def planted(n=8, seed=0, apart=True, still=False):
    """Views of both sprites in any two colors each, and their layers."""
    make = torch.Generator().manual_seed(seed)
    unit = torch.tensor([1.5, 1.5, 0.15, 3.0])
    pose = unit * (2 * torch.rand(n, 2, 4, generator=make) - 1)
    far = 16.0 if apart else 5.0
    pose[..., :2] += torch.tensor([[8.0, 12.0], [8.0 + far, 12.0]])
    pose[..., 2] -= 0.15
    if still:
        pose[..., 2:] = 0
    over = torch.ones(n, 2, 2).tril(-1)
    sprite = torch.tensor([[0, 1]]).repeat(n, 1)
    layers = Layers(sprite, pose, torch.ones(n, 2), over)
    ink, alpha = draw(two_tones(), layers, 24, 32).unbind(2)
    dark = torch.rand(n, 2, 3, 1, 1, generator=make)
    gain = (0.5 + 0.3 * torch.rand(n, 2, 3, 1, 1, generator=make)) * torch.where(
        dark > 0.5, -1.0, 1.0
    )
    images = torch.rand(n, 3, 1, 1, generator=make).repeat(1, 1, 24, 32)
    for i in range(2):
        shown = ink[:, i, None] * gain[:, i] + alpha[:, i, None] * dark[:, i]
        images = images * (1 - alpha[:, i, None]) + shown
    return images, layers, gain[..., 0, 0], dark[..., 0, 0]


def test_gains_and_biases_of_all_layers_are_solved_at_once():
    images, layers, gain, bias = planted(apart=False)
    found = picture(images, draw(two_tones(), layers, 24, 32), layers.over, SPEC)
    assert float(found.error.max()) < 0.05
    torch.testing.assert_close(layer_biases(found, SPEC), bias, rtol=0, atol=0.05)
    torch.testing.assert_close(layer_colors(found, SPEC), gain, rtol=0, atol=0.05)
    shown = planes_of(found.drawn, free_share(found.alpha, found.over), SPEC)
    for n in range(len(images)):
        planes = shown[n].flatten(1).double()
        pull = torch.diag(torch.tensor([0.01, 0.1, 0.1, 0.01, 0.01]).double().sqrt())
        left = torch.cat([planes.T, pull])
        right = torch.cat([images[n].flatten(1).double().T, torch.zeros(5, 3)])
        expected = torch.linalg.lstsq(left, right).solution
        torch.testing.assert_close(
            found.colors[n].double(), expected, rtol=0, atol=1e-4
        )


def test_contrasts_are_composites_with_and_without_a_layer_of_two_tones():
    images, layers, _, _ = planted(2, apart=False)
    found = picture(images, draw(two_tones(), layers, 24, 32), layers.over, SPEC)
    colors, biases = layer_colors(found, SPEC), layer_biases(found, SPEC)
    free, behind = contrasts(images, found, SPEC)
    level = found.colors[:, 0, :, None, None]
    for i in range(2):
        ink, alpha = found.ink.clone(), found.alpha.clone()
        ink[:, i] = alpha[:, i] = 0
        gone = level.expand_as(images)
        for j in range(2):  # the later one is in front
            shown = ink[:, j, None] * colors[:, j, :, None, None]
            shown = shown + alpha[:, j, None] * biases[:, j, :, None, None]
            gone = gone * (1 - alpha[:, j, None]) + shown
        own_free, own_behind = hidden_by(images, found, SPEC, i)
        shown = found.ink[:, i, None] * colors[:, i, :, None, None]
        shown = shown + found.alpha[:, i, None] * biases[:, i, :, None, None]
        change = own_free[:, None] * shown - found.alpha[:, i, None] * own_behind
        torch.testing.assert_close(gone + change, found.image, rtol=0, atol=1e-5)
        torch.testing.assert_close(free[:, i], own_free.flatten(1))
        edge = (found.alpha[:, i] < 0.9).flatten(1)
        torch.testing.assert_close(
            behind[:, i].transpose(1, 2)[edge],
            own_behind.flatten(2).transpose(1, 2)[edge],
            rtol=0,
            atol=1e-4,
        )


def candidate(pose):
    """What a candidate at a pose (4,) leaves of a view, and its terms."""
    make = torch.Generator().manual_seed(3)
    sprites = two_tones(torch.float64)
    slopes = make_slopes(sprites, SPEC, SearchPlan(), 1)
    axes = pixel_axes(24, 32, 1, pose)
    drawn = draw_slopes(slopes, torch.tensor([[1]]), pose[None, None], axes)
    both = torch.rand(1, 1, 6, 768, generator=make, dtype=torch.float64) - 0.5
    weight = torch.rand(1, 1, 768, generator=make, dtype=torch.float64)
    return (
        drawn,
        both,
        weight,
        explained_with_bias(both, drawn.alpha, drawn.ink, weight),
    )


POSE = torch.tensor([15.3, 12.1, 0.05, 0.4], dtype=torch.float64)


def test_a_candidate_leaves_what_least_squares_leave():
    drawn, both, weight, (error, _) = candidate(POSE)
    r, b = both[0, 0].chunk(2)
    planes = torch.stack([drawn.ink[0, 0], drawn.alpha[0, 0]])
    root = weight[0, 0].sqrt()
    pull = torch.diag(torch.tensor([0.1, 0.01]).double().sqrt())
    expected = torch.zeros(768, dtype=torch.float64)
    for c in range(3):
        target = r[c] + drawn.alpha[0, 0] * b[c]
        left = torch.cat([(root * planes).T, pull])
        right = torch.cat([root * target, torch.zeros(2).double()])
        color = torch.linalg.lstsq(left, right[:, None]).solution[:, 0]
        expected += (target - color @ planes).square()
    torch.testing.assert_close(error[0, 0], expected)


def test_normal_equations_of_two_tones_are_those_of_the_written_out_jacobian():
    drawn, both, weight, (_, terms) = candidate(POSE)
    matrix, right = normal_equations(drawn, Terms(*(weight * t for t in terms)))
    planes = torch.stack([drawn.ink, drawn.alpha], 2)[0, 0]
    r, b = both[0, 0].chunk(2)
    heavy = weight[0, 0] * planes
    gram = heavy @ planes.T + torch.diag(torch.tensor([0.1, 0.01]).double())
    expected, pull = torch.zeros(4, 4).double(), torch.zeros(4).double()
    for c in range(3):
        target = r[c] + drawn.alpha[0, 0] * b[c]
        gain, bias = torch.linalg.solve(gram, heavy @ target)
        jacobian = (
            gain * drawn.ink_jacobian[0, 0] + (bias - b[c]) * drawn.alpha_jacobian[0, 0]
        )
        left = target - gain * planes[0] - bias * planes[1]
        expected += (weight[0, 0] * jacobian) @ jacobian.T
        pull += (weight[0, 0] * jacobian) @ left
    torch.testing.assert_close(matrix[0, 0], expected)
    torch.testing.assert_close(right[0, 0], pull)


def test_what_a_bank_promises_is_about_what_gains_and_biases_save():
    images, layers, _, _ = planted(4)
    layers.pose[:, 0] = torch.tensor([8.0, 12.0, 0.0, 0.0])
    layers = layers._replace(on=torch.tensor([[1.0, 0.0]]).repeat(4, 1))
    ink, alpha = draw(two_tones(), layers, 24, 32).unbind(2)
    make = torch.Generator().manual_seed(1)
    tint = 2 * torch.rand(4, 3, 1, 1, generator=make) - 1
    level = torch.full((4, 3, 24, 32), 0.3)
    images = level * (1 - alpha[:, :1]) + tint * ink[:, :1] + 0.6 * alpha[:, :1]
    bank = make_bank(two_tones(), SPEC, SearchPlan(scales=(1.0,), rotations=1), 1)
    maps = Scene(images, level, torch.ones(4, 24, 32)).maps()
    corner = 12 - bank.tile // 2, 8 - bank.tile // 2
    rows, columns = (slice(start, start + bank.tile) for start in corner)
    patches = maps[:, :, rows, columns].flatten(2)[:, :, None]  # (B, C + 2, 1, P)
    change, shown = (patches[:, i] @ bank.alpha.T for i in (0, -1))
    seen = patches[:, 1:-1] @ bank.ink.T
    plain = saving(change, seen, shown, shown, 0 * bank.area)
    saved = plain + contrast_saving(patches, *bank.contrast)
    exact = (images - level).square().sum((1, 2, 3))
    own = saved.view(4, 2, -1)[:, 0, 0]
    torch.testing.assert_close(own, exact, rtol=0.15, atol=0.5)
    assert (own > plain.view(4, 2, -1)[:, 0, 0] + 0.5).any()


def test_planted_layers_of_two_tones_are_found_and_told_apart():
    images, layers, _, _ = planted(16)
    found = find_layers(images, make_searcher(SPEC, SearchPlan(), 0.1, two_tones()))
    first = found.layers.pose[..., 0].argsort(1)
    is_right = found.layers.sprite.gather(1, first) == layers.sprite
    assert float(is_right.float().mean()) > 0.95  # a tone may be that of the ground
    apart = found.layers.pose.gather(1, first[..., None].expand(-1, -1, 4))
    apart = (apart - layers.pose)[..., :2].norm(dim=2)[is_right]
    assert float(apart.median()) < 0.05
    level = images.flatten(2).median(2).values[..., None, None]
    contrast = (images - level).square().sum((1, 2, 3))
    assert float((found.picture.error / contrast).median()) < 1e-3


def test_a_search_for_two_tones_never_raises_the_objective():
    images, layers, _, _ = planted(4)
    images[2:] += 0.2 * torch.rand(
        images[2:].shape, generator=torch.Generator().manual_seed(1)
    )
    searcher = make_pose_searcher(SPEC, SearchPlan(), 0.2, two_tones(), 0.1)
    now = draft(images, no_layers(images, SPEC), searcher)
    objectives = [now.picture.error + 0.2 * now.layers.on.sum(1)]
    for i in (0, 1, 0, 1):
        now = sweep(images, now, searcher, torch.full((4, 1), i))
        objectives.append(now.picture.error + 0.2 * now.layers.on.sum(1))
    for before, after in pairwise(objectives):
        assert (after <= before).all()
    off = layers._replace(pose=layers.pose + torch.tensor([0.4, -0.3, 0.03, 0.1]))
    slopes, errors = make_slopes(two_tones(), SPEC, SearchPlan(), 1), []
    for steps in (0, 1, 2, 4, 8):
        moved = polished(images, off, two_tones(), slopes, SPEC, steps)[0]
        drawn = draw(two_tones(), moved, 24, 32)
        errors.append(picture(images, drawn, moved.over, SPEC).error)
    for before, after in pairwise(errors):
        assert (after <= before).all()
    assert (errors[-1] < 0.1 * errors[0])[:2].all()


def test_windows_are_explained_by_gains_and_biases():
    make = torch.Generator().manual_seed(0)
    change, ground = torch.rand(2, 3, 3, 144, generator=make).double()
    planes = two_tones(torch.float64).planes[:1]
    steps = (torch.arange(12.0).double() - 5.5) / 6
    grid = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1)
    there = torch.stack([grid, grid.flip(1)])
    seen = Seen(change, ground, change.square().sum((1, 2)), True)
    found = fit_windows(seen, planes, there)
    for n in range(3):
        errors = []
        for pose in range(2):
            drawn = torch.nn.functional.grid_sample(
                planes, there[pose : pose + 1], align_corners=False
            )
            ink, alpha = drawn[0].flatten(1)
            target = change[n] + alpha * ground[n]
            pull = torch.diag(torch.tensor([0.1, 0.01]).double().sqrt())
            left = torch.cat([torch.stack([ink, alpha], 1), pull])
            right = torch.cat([target.T, torch.zeros(2, 3).double()])
            color = torch.linalg.lstsq(left, right).solution
            rest = right - left @ color
            errors.append(float(rest.square().sum()))
            gains, biases = solve_tints(
                target[None].unflatten(2, (12, 12)),
                ink.view(12, 12),
                alpha.view(12, 12),
                True,
            )
            solved = torch.stack([gains[0, :, 0, 0], biases[0, :, 0, 0]])
            torch.testing.assert_close(solved, color)
        assert float(found.error[n, 0]) == pytest.approx(min(errors))
        assert int(found.pose[n, 0]) == int(np.argmin(errors))


def test_appearances_have_their_full_range_inside_of_masks():
    ink, alpha = two_tones().planes.unbind(1)
    shade = ink / alpha.clamp_min(1e-6)
    faint = 0.3 + 0.2 * shade
    full = full_range(faint, alpha)
    inside = alpha > 0.5
    torch.testing.assert_close(full[inside], shade[inside], rtol=0, atol=0.05)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_kinds_that_differ_in_their_tones_alone_are_told_apart():
    images, _, _, _ = planted(30, seed=2, still=True)
    X = images.permute(0, 2, 3, 1).double().numpy()
    model = make_decomposition(
        2,
        n_backgrounds=1,
        background="flat",
        color="gain_bias",
        transformations=("translation",),
        sprite_size=12,
        max_rounds=2,
    ).fit(X)
    found = model.decomposition_
    left = np.where(found.shown, found.x, np.inf).argsort(1)
    sprite = np.take_along_axis(found.sprite, left, 1)
    same = (sprite == sprite[0]).all(1) & (sprite[0, 0] != sprite[0, 1])
    assert same.mean() > 0.8
    assert (np.abs(found.bias[found.shown]).max(1) > 0).all()
    error = ((model.reconstruct(X) - X) ** 2).sum((1, 2, 3))
    np.testing.assert_allclose(found.error, error, rtol=0.02, atol=0.05)
