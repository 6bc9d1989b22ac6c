"""Masks through windows and moments, against the written-out Jacobians."""

import pytest
import torch
import torch.nn.functional as F

from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search import mask_poses
from sklearn_sprites._engine.search.batches import by_parts, parts, put, take
from sklearn_sprites._engine.search.layers import (
    Layers,
    Sprites,
    draw,
    no_layers,
    picture,
)
from sklearn_sprites._engine.search.mask_poses import refine_masks
from sklearn_sprites._engine.search.moments import (
    around_masks,
    make_window,
    seen_through,
)
from sklearn_sprites._engine.search.peaks import Candidates, Scene, largest_around
from sklearn_sprites._engine.search.polish import mask_step, normal_step, polished
from sklearn_sprites._engine.search.posed import (
    draft,
    make_pose_searcher,
    replace_layer,
)
from sklearn_sprites._engine.search.refine import make_slopes, refine
from sklearn_sprites._engine.search.sketches import sketch, tidied
from sklearn_sprites._engine.search_settings import SearchPlan

TURNED = SceneSpec(2, 3, 1, 3, 24, 24, 12, 12, ("similarity",), "flat")
MOVED = SceneSpec(2, 3, 1, 3, 24, 24, 12, 12, ("scale",), "flat")


def masks(dtype=torch.float64, steep=1.0):
    """An ellipse and a triangle with soft edges; steep ones leave [0, 1]."""
    steps = (torch.arange(12, dtype=dtype) - 5.5) / 6
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    ellipse = torch.sigmoid(6 * (0.5 - (x / 0.9) ** 2 - (y / 0.5) ** 2))
    triangle = torch.sigmoid(8 * (y + 0.4)) * torch.sigmoid(8 * (0.4 - y - x.abs()))
    planes = torch.stack([ellipse, triangle])[:, None]
    return Sprites((planes - 0.5) * steep + 0.5)


def scenes(n, dtype=torch.float64):
    """Images of two overlapping layers on a level, with noise, and the layers."""
    make = torch.Generator().manual_seed(0)
    spread = torch.tensor([5.0, 5.0, 0.2, 2.0], dtype=dtype)
    unit = torch.rand(n, 3, 4, generator=make, dtype=dtype) - 0.5
    pose = torch.tensor([12.0, 12.0, 0.0, 0.0], dtype=dtype) + spread * unit
    sprite = torch.tensor([[0, 1, 0]]).repeat(n, 1)
    on = torch.tensor([[1.0, 1.0, 0.0]], dtype=dtype).repeat(n, 1)
    over = torch.ones(3, 3, dtype=dtype).tril(-1).repeat(n, 1, 1)
    layers = Layers(sprite, pose, on, over)
    color = torch.rand(n, 3, 3, 1, 1, generator=make, dtype=dtype)
    images = torch.full((n, 3, 24, 24), 0.3, dtype=dtype)
    for mask, tint in zip(
        draw(masks(dtype), layers, 24, 24)[:, :, 0].unbind(1),
        color.unbind(1),
        strict=True,
    ):
        images = images * (1 - mask[:, None]) + mask[:, None] * tint
    noise = torch.rand(n, 3, 24, 24, generator=make, dtype=dtype)
    return images + 0.05 * noise, layers


@pytest.mark.parametrize("spec", [TURNED, MOVED])
@pytest.mark.parametrize("steep", [1.0, 3.0])
@pytest.mark.parametrize("step", [1, 2])
def test_masks_are_refined_as_other_sprites_are(monkeypatch, spec, steep, step):
    monkeypatch.setattr(mask_poses, "ROUNDS", 99)  # none are given up
    images, layers = scenes(4)
    small = F.avg_pool2d(images, step)
    shift = torch.tensor([1.0, -1.0, 0.05, 0.1], dtype=torch.float64)
    start = Candidates(layers.sprite, layers.pose + shift, layers.on)
    free = small[:, 0].abs().clamp(max=1)
    scene = Scene(small, torch.full_like(small, 0.3), free)
    slopes = make_slopes(masks(steep=steep), spec, SearchPlan(), step)
    side = 24 // step
    window = make_window(side, 99.0, step, small)
    found = refine_masks(scene, start, slopes, window, 3, 0.4, 0.1)
    expected = refine(scene, start, slopes, 3, 0.4, side, step, 0.1)
    torch.testing.assert_close(found.saves, expected.saves, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found.pose, expected.pose, rtol=1e-6, atol=1e-6)
    assert not torch.equal(found.pose, start.pose)


def test_a_round_window_sees_all_that_its_mask_can_show():
    images, layers = scenes(4)
    start = Candidates(layers.sprite, layers.pose + 0.3, layers.on)
    scene = Scene(images, torch.full_like(images, 0.3), torch.ones_like(images[:, 0]))
    small = F.pad(masks().planes[..., 4:-4, 4:-4], (4,) * 4)
    slopes = make_slopes(Sprites(small), TURNED, SearchPlan(), 1)
    window = around_masks(slopes, TURNED)
    assert window is not None
    assert window.points.shape[1] < window.side**2 < 24**2
    found = refine_masks(scene, start, slopes, window, 0, 0.4, 0.1)
    every = make_window(24, 99.0, 1, images)
    expected = refine_masks(scene, start, slopes, every, 0, 0.4, 0.1)
    torch.testing.assert_close(found.saves, expected.saves, rtol=1e-6, atol=1e-6)


def test_the_candidates_that_save_least_are_given_up():
    images, layers = scenes(4)
    scene = Scene(images, torch.full_like(images, 0.3), torch.ones_like(images[:, 0]))
    near, far = layers.pose[:, :1] + 0.5, torch.zeros_like(layers.pose[:, :1])
    start = Candidates(
        layers.sprite[:, [0] * 4],
        torch.cat([far, far + 1, far + 2, near], 1),
        torch.zeros_like(layers.on[:, [0] * 4]),
    )
    slopes = make_slopes(masks(), TURNED, SearchPlan(), 1)
    window = make_window(24, 99.0, 1, images)
    found = refine_masks(scene, start, slopes, window, 4, 0.1, 0.1)
    assert found.saves.shape[1] < 4
    alone = Candidates(*(each[:, 3:] for each in start))
    expected = refine_masks(scene, alone, slopes, window, 4, 0.1, 0.1)
    best = found.saves.max(1).values
    torch.testing.assert_close(best, expected.saves[:, 0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("spec", [TURNED, MOVED])
@pytest.mark.parametrize("steep", [1.0, 3.0])
def test_a_step_of_masks_is_that_of_the_written_out_jacobian(spec, steep):
    images, layers = scenes(4)
    sprites = masks(steep=steep)
    slopes = make_slopes(sprites, spec, SearchPlan(), 1)
    off = layers._replace(pose=layers.pose + 0.2)
    off.pose[0, 0, :2] = -1.0  # beyond the border
    found = picture(images, draw(sprites, off, 24, 24), off.over, spec)
    damping = torch.tensor([0.05, 0.3, 3.0, 0.05], dtype=torch.float64)[:, None, None]
    window = around_masks(slopes, spec)
    assert window is not None
    pose = mask_step(images, off, found, slopes, spec, damping, window)
    expected = normal_step(images, off, found, slopes, spec, damping)
    shown = off.on > 0
    torch.testing.assert_close(pose[shown], expected[shown], rtol=1e-4, atol=1e-5)
    assert (pose != off.pose)[shown].any(1).all()


def test_polishing_through_windows_ends_where_polishing_without_does():
    images, layers = scenes(4)
    slopes = make_slopes(masks(), TURNED, SearchPlan(), 1)
    off = layers._replace(pose=layers.pose + 0.2)
    window = around_masks(slopes, TURNED)
    found = polished(images, off, masks(), slopes, TURNED, 3, window=window)[0]
    expected = polished(images, off, masks(), slopes, TURNED, 3)[0]
    shown = off.on > 0
    torch.testing.assert_close(
        found.pose[shown], expected.pose[shown], rtol=1e-4, atol=1e-5
    )


def test_other_layers_than_masks_have_no_window():
    gain = SceneSpec(2, 3, 1, 3, 24, 24, 12, 12, ("similarity",), "gain")
    planes = masks().planes.repeat(1, 2, 1, 1)
    slopes = make_slopes(Sprites(planes), gain, SearchPlan(), 1)
    assert around_masks(slopes, gain) is None


@pytest.mark.parametrize("dim", [1, 2])
def test_the_largest_around_a_place_is_that_of_max_pooling(dim):
    heat = torch.randn(2, 7, 9, generator=torch.Generator().manual_seed(0))
    size = (5, 1) if dim == 1 else (1, 5)
    reach = (2, 0) if dim == 1 else (0, 2)
    expected = F.max_pool2d(heat[:, None], size, 1, reach)[:, 0]
    assert torch.equal(largest_around(heat, 5, dim), expected)


@pytest.mark.parametrize("n", [0, 1, 5, 6])
def test_batches_have_one_size_and_hold_every_row_in_its_order(n):
    rows = torch.arange(n) + 10
    batches = parts(rows, 3)
    assert all(len(batch) == 3 for batch in batches)
    assert torch.equal(torch.cat([rows[:0], *batches])[:n], rows)
    for batch, own in zip(batches, rows.split(3), strict=False):
        assert set(batch.tolist()) == set(own.tolist())  # others may have changed


def test_rows_of_records_are_taken_and_put_back():
    _, layers = scenes(5)
    rows = torch.tensor([3, 1])
    some = take(layers, rows)
    assert torch.equal(some.pose, layers.pose[rows])
    changed = put(layers, rows, some._replace(pose=some.pose + 1))
    assert torch.equal(changed.pose[[1, 3]], some.pose[[1, 0]] + 1)
    again = by_parts(lambda part: take(changed, part), 5, 2, rows.device)
    assert all(map(torch.equal, again, changed))


def test_a_first_sweep_leaves_out_only_what_cannot_change():
    images, _ = scenes(5, torch.float32)
    images[3:] = 0.3  # nothing to find
    images[4, :, 4:9, 4:9] = 0.8
    searcher = make_pose_searcher(TURNED, SearchPlan(), 0.3, masks(torch.float32), 0.1)
    found = sketch(images, searcher, 1)
    now = draft(images, no_layers(images, TURNED), searcher)
    for i in range(TURNED.n_layers):
        now = replace_layer(images, now, torch.full((5,), i), searcher)
    now = tidied(images, now, searcher)
    assert torch.equal(found.layers.on, now.layers.on)
    assert torch.equal(found.picture.error, now.picture.error)
    assert not found.layers.on[3].any()


def test_sketches_do_not_depend_on_the_company_of_an_image():
    images, _ = scenes(7, torch.float32)
    images[3] = 0.3
    searcher = make_pose_searcher(TURNED, SearchPlan(), 0.3, masks(torch.float32), 0.1)
    every = sketch(images, searcher, 2, 4)
    order = torch.tensor([6, 3, 0, 5, 1, 4, 2])
    other = sketch(images[order], searcher, 2, 4)
    for one, two in zip(every.layers, other.layers, strict=True):
        assert torch.equal(one[order], two)
    assert torch.equal(every.picture.error[order], other.picture.error)
    assert len(every.layers.on.sum(1).unique()) > 1  # not all are searched as often


def test_windows_see_the_pixels_of_their_own_images():
    maps = torch.rand(2, 3, 20, generator=torch.Generator().manual_seed(0))
    places = torch.tensor([[0, 5, 19], [4, 4, 2], [7, 0, 1], [19, 18, 3]])
    found = seen_through(maps, places)
    for i, where in enumerate(places):
        assert torch.equal(found[i], maps[i // 2][:, where])
