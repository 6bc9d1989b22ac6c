"""Shaded sprites over pictures: windows, clusters, evidence, rounds."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given

from sklearn_sprites._engine.ops.layers import free_share
from sklearn_sprites._engine.runtime import generator
from sklearn_sprites._engine.scene_inference import ScenePredictor
from sklearn_sprites._engine.scene_settings import SceneSettings
from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.bank import make_bank
from sklearn_sprites._engine.search.ground import COVERED
from sklearn_sprites._engine.search.layers import (
    Picture,
    Sprites,
    draw,
    no_layers,
    picture,
    worth,
)
from sklearn_sprites._engine.search.patches import patches
from sklearn_sprites._engine.search.peaks import Scene, find_peaks
from sklearn_sprites._engine.search.posed import draft
from sklearn_sprites._engine.search.scene import (
    described,
    find_layers,
    make_searcher,
    pruned,
    sought,
)
from sklearn_sprites._engine.search.sketches import tidied
from sklearn_sprites._engine.search_settings import WIDE, Search, SearchPlan
from sklearn_sprites._engine.training.components import (
    Windows,
    alone,
    behind,
    blobs,
    components,
    object_windows,
)
from sklearn_sprites._engine.training.gauge import SPREAD, without_holes
from sklearn_sprites._engine.training.pose_kmeans import pose_grids
from sklearn_sprites._engine.training.rounds import fit_scenes
from sklearn_sprites._engine.training.shaded_evidence import (
    appearance,
    shaded_evidence,
)
from sklearn_sprites._engine.training.shaded_kmeans import (
    fit_windows,
    seen_alone,
    shaded_kmeans,
)
from sklearn_sprites._engine.training.shaded_rounds import sharpest, standard
from tests import strategies
from tests.oracles_scenes import connected, window_error

SIDE = 32
POSES = ("translation", "scale")
SPEC = SceneSpec(2, 2, 1, 3, SIDE, SIDE, 12, 12, POSES, "gain", "solve", "gain")
SEARCH = SearchPlan(sweeps=1, scales=(0.8, 1.0, 1.25), restarts=0, replacements=0)


def draws(seed=0):
    return generator(np.random.SeedSequence(seed), "cpu")


def ground_picture():
    y, x = torch.meshgrid(*[torch.linspace(0, 1, SIDE)] * 2, indexing="ij")
    return torch.stack([0.5 + 0.1 * x, 0.5 + 0.1 * y, 0.6 - 0.1 * x * y])


def shaded_scenes(n, seed=0):
    """A ball and a box per image, lighter above, in tints, on a lit floor."""
    make = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    images = np.empty((n, 3, SIDE, SIDE), np.float32)
    kinds = np.zeros((n, SIDE, SIDE), np.int64)
    for image, kind in zip(images, kinds, strict=True):
        image[:] = ground_picture().numpy() * make.uniform(0.9, 1.1, (3, 1, 1))
        for k, left in ((0, 8), (1, 24)):
            cx, cy = left + make.uniform(-1, 1), make.uniform(8, SIDE - 8)
            r = make.uniform(3.6, 4.8)
            far = (
                np.hypot(x - cx, y - cy)
                if k == 0
                else np.maximum(abs(x - cx), abs(y - cy))
            )
            mask = far < r
            light = (
                0.7 - 0.3 * (y - cy) / r if k == 0 else np.where(y < cy - r / 2, 1, 0.5)
            )
            tint = make.permutation([0.1, 0.5, 1.0])[:, None]
            image[:, mask] = tint * light[mask]
            kind[mask] = k + 1
    return torch.from_numpy(images), torch.from_numpy(kinds)


def views_of(images):
    return torch.cat([images, ground_picture().expand_as(images)], 1)


def sprites(seed=0):
    make = torch.Generator().manual_seed(seed)
    alpha = torch.zeros(2, 12, 12)
    alpha[:, 2:10, 3:9] = 0.4 + 0.6 * torch.rand(2, 8, 6, generator=make)
    return torch.stack([alpha * torch.rand(2, 12, 12, generator=make), alpha], 1)


def test_components_are_connected_pixels():
    shown = torch.rand(3, 9, 13, generator=torch.Generator().manual_seed(1)) > 0.5
    label = components(shown)
    for one, mask in zip(label, shown, strict=True):
        slow = torch.from_numpy(connected(mask.numpy()))
        assert torch.equal(one > 0, slow > 0)
        pairs = torch.stack([one.flatten(), slow.flatten()]).unique(dim=1)
        assert pairs.shape[1] == one.unique().numel() == slow.unique().numel()


def test_blobs_are_measured():
    shown = torch.zeros(2, 20, 30, dtype=torch.bool)
    shown[0, 3:9, 5:19] = True
    shown[1, 0:7, 4:11] = True
    found = blobs(components(shown))
    assert found.image.tolist() == [0, 1]
    assert found.center.tolist() == [[12, 6], [7.5, 3.5]]
    assert found.area.tolist() == [84, 49]
    assert found.low.tolist() == [[5, 3], [4, 0]]
    assert found.high.tolist() == [[19, 9], [11, 7]]
    torch.testing.assert_close(found.spread[0], torch.tensor([195 / 12, 35 / 12]))
    torch.testing.assert_close(found.compact, torch.full((2,), np.pi / 3).reciprocal())
    assert alone(found, 20, 30).tolist() == [True, False]


def test_windows_show_objects_that_stand_alone_in_one_size():
    images, _ = shaded_scenes(30)
    windows = object_windows(views_of(images), SPEC)
    assert 30 < len(windows) <= 60
    mass = windows.mask.sum((1, 2))
    assert mass.std() / mass.mean() < 0.1
    halves = (torch.arange(12) + 0.5) / 6 - 1
    far = halves.square()[:, None] + halves.square()
    spread = ((windows.mask * far).sum((1, 2)) / mass).sqrt()
    torch.testing.assert_close(
        spread, torch.full_like(spread, SPREAD), atol=0.05, rtol=0
    )


def test_what_lies_behind_objects_is_a_picture_a_level_or_black():
    views = views_of(shaded_scenes(2)[0])
    assert torch.equal(behind(views, SPEC), views[:, 3:])
    images = torch.full((1, 3, SIDE, SIDE), 0.25)
    images[..., :10, :10] = 1
    plain = SceneSpec(2, 2, 1, 3, SIDE, SIDE, 12, 12, POSES, "gain")
    assert (behind(images, plain) == 0.25).all()
    black = SceneSpec(2, 2, 0, 3, SIDE, SIDE, 12, 12, POSES, "gain")
    assert (behind(images, black) == 0).all()


def test_errors_of_windows_are_those_of_drawing():
    windows = object_windows(views_of(shaded_scenes(4)[0]), SPEC)
    seen, there = seen_alone(windows), pose_grids(SPEC, windows.mask)[0][:5]
    found = fit_windows(seen, sprites(), there)
    for i in range(2):
        for k in range(2):
            slow = [
                window_error(seen.change[i], seen.ground[i], sprites()[k], pose)
                for pose in there
            ]
            assert float(found.error[i, k]) == pytest.approx(min(slow), abs=1e-3)
            assert slow[found.pose[i, k]] == pytest.approx(min(slow), abs=1e-3)


def test_balls_and_boxes_get_a_sprite_each():
    views = views_of(shaded_scenes(40)[0])
    halves = views.clone(), views.clone()
    halves[0][:, :3, :, 16:] = views[:, 3:, :, 16:]
    halves[1][:, :3, :, :16] = views[:, 3:, :, :16]
    balls, boxes = (object_windows(half, SPEC) for half in halves)
    windows = Windows(*(torch.cat(parts) for parts in zip(balls, boxes, strict=True)))
    found = shaded_kmeans(windows, 2, SPEC, draws())
    there = pose_grids(SPEC, windows.mask)[0]
    label = fit_windows(seen_alone(windows), found, there).error.argmin(1)
    is_box = torch.arange(len(windows)) >= len(balls)
    agree = (label == is_box.long()).float().mean()
    assert max(agree, 1 - agree) > 0.9


@pytest.mark.parametrize("n_windows", [1, 2, 3, 4, 12])
def test_sprites_are_as_many_as_wanted_whatever_the_number_of_windows(n_windows):
    windows = object_windows(views_of(shaded_scenes(12)[0]), SPEC)
    some = windows.take(torch.arange(n_windows))
    found = shaded_kmeans(some, 3, SPEC, draws())
    assert found.shape == (3, 2, 12, 12)
    assert torch.isfinite(found).all()
    assert found[:, 1].amin() >= 0
    assert found[:, 1].amax() <= 1


def test_masks_have_no_holes():
    mask = torch.zeros(1, 9, 9)
    mask[:, 1:8, 1:8] = 0.8
    mask[:, 4, 4] = 0.1
    filled = without_holes(mask)
    assert filled[0, 4, 4] == pytest.approx(0.8)
    mask[:, 4, 4:] = 0.1  # an inlet stays
    torch.testing.assert_close(without_holes(mask), mask)


def test_true_sprites_fit_their_own_evidence():
    planes = sprites().double()
    planes[:, 0] = planes[:, 1] * appearance(planes).clamp(0.2, 1)
    spec = SPEC
    grounds = ground_picture().double()[None]
    layers = no_layers(grounds, spec)
    pose = torch.tensor([[[8.0, 9.0, 0.0, 0.0], [23.0, 20.0, 0.0, 0.0]]]).double()
    layers = layers._replace(pose=pose, sprite=torch.tensor([[0, 1]]), on=layers.on + 1)
    drawn = draw(Sprites(planes), layers, SIDE, SIDE)
    ink, alpha = drawn[:, :, 0], drawn[:, :, 1]
    tint = torch.tensor([[[0.9, 0.5, 0.2], [0.1, 0.6, 1.0]]]).double()
    free = free_share(alpha, layers.over)
    image = torch.einsum("blhw,blc->bchw", free * ink, tint)
    image = image + (1 - alpha).prod(1, keepdim=True) * grounds
    views = torch.cat([image, grounds], 1)
    found = picture(views, drawn, layers.over, spec)
    evidence = shaded_evidence(views, layers, found, planes, spec).sums[0]
    for k in range(2):
        top, bottom, shade_top, shade_bottom = evidence[k]
        shown = planes[k, 1] > 0.2
        inner = (top / bottom)[shown]
        torch.testing.assert_close(inner, planes[k, 1][shown], atol=0.05, rtol=0)
        shade = (planes[k, 0] / planes[k, 1].clamp_min(1e-6))[shown]
        found_shade = (shade_top / shade_bottom)[shown]
        torch.testing.assert_close(found_shade, shade, atol=0.05, rtol=0)


def test_standard_sprites_stay_as_they_are():
    once = standard(standard(sprites(), SPEC), SPEC)
    for _ in range(20):
        once = standard(once, SPEC)
    again = standard(once, SPEC)
    assert (again - once).abs().mean() < 0.02
    assert (again[:, 0] <= again[:, 1] + 1e-6).all()


def test_shaded_sprites_are_learned_from_scenes():
    images, _ = shaded_scenes(60)
    settings = SceneSettings(search=SEARCH, max_rounds=2, images_per_round=32)
    fitted = fit_scenes(
        images.numpy(), SPEC, settings, np.random.SeedSequence(0), "cpu"
    )
    assert fitted.sprites.shape == (2, 4, 12, 12)
    assert fitted.loss < 2e-3
    assert fitted.sprites[:, -1, 6, 6].min() > 0.9
    found = ScenePredictor(fitted, SEARCH, 0.1, "cpu").decompose(images[:16].numpy())
    shown = found.sprite >= 0
    assert shown.sum() == 32
    is_box = found.x[shown] > SIDE / 2  # as they are placed
    agree = np.mean((found.sprite[shown] == 1) == is_box)
    assert max(agree, 1 - agree) > 0.9


def test_scales_over_pictures_are_wide():
    assert Search().plan(has_picture=False) == SearchPlan()
    scales = Search().plan(has_picture=True).scales
    assert max(scales) > 5 * min(scales)
    assert Search().plan(has_picture=True, fills_image=True).scales == scales


def test_what_a_search_leaves_open_goes_by_the_ground():
    asked = Search(parts=1, restarts=2)
    over = asked.plan(has_picture=True)
    assert (over.parts, over.restarts) == (1, 2)
    assert replace(over, parts=0.9, restarts=0) == Search().plan(has_picture=True)
    plain = replace(SearchPlan(), parts=1, restarts=2)
    assert asked.plan(has_picture=False) == plain != over
    full = Search().plan(has_picture=False, fills_image=True)
    assert full == replace(SearchPlan(), scales=(*SearchPlan().scales, 1.2))


def large_scene(colors, poses):
    """Views (1, 6, 48, 48) of the first sprite in colors, on a gray level."""
    spec = SceneSpec(2, 2, 1, 3, 48, 48, 12, 12, POSES, "gain", "solve", "gain")
    grounds = torch.full((1, 3, 48, 48), 0.5)
    layers = no_layers(grounds, spec)
    pose = torch.tensor([[(*p, 0.0, 0.0) for p in poses]])
    layers = layers._replace(pose=pose, on=layers.on + 1)
    drawn = draw(Sprites(solid()), layers, 48, 48)
    alpha = drawn[:, :, 1]
    free = free_share(alpha, layers.over)
    image = torch.einsum("blhw,blc->bchw", free * alpha, torch.tensor([colors]))
    image = image + (1 - alpha).prod(1, keepdim=True) * grounds
    return torch.cat([image, grounds], 1), drawn, layers, spec


def solid():
    planes = torch.zeros(2, 2, 12, 12)
    planes[:, :, 2:10, 2:10] = 1
    planes[1, :, 4:8] = 0.5
    return planes


def test_places_over_pictures_are_found_on_larger_pixels():
    color = [[0.9, 0.1, 0.3]] * 2
    for x, y in ((20.0, 15.0), (31.0, 38.0)):
        views, _, layers, spec = large_scene(color, [(x, y), (x, y)])
        bank = make_bank(Sprites(solid()), spec, SEARCH, 1)
        assert bank.pool == 2
        free = torch.ones_like(views[:, 0])
        maps = Scene(views[:, :3], views[:, 3:], free).maps()
        place = find_peaks(maps, bank, 0.4, 1)[0, 0]
        assert (place - torch.tensor([y, x])).abs().max() <= 2
        assert len(layers.sprite) == 1


@pytest.mark.parametrize(
    ("color", "place", "is_object"),
    [
        ([0.1, 0.5, 0.9], (32.0, 32.0), True),
        ([0.53, 0.53, 0.53], (32.0, 32.0), False),  # faint
        ([0.85, 0.12, 0.32], (14.0, 14.0), False),  # shading of what lies below
        ([0.1, 0.5, 0.9], (14.0, 14.0), True),
        ([0.5, 0.5, 0.5], (14.0, 14.0), False),  # ground before a layer
    ],
)
def test_patches_over_pictures_are_no_objects(color, place, is_object):
    colors = [[0.9, 0.1, 0.3], color]
    views, drawn, layers, spec = large_scene(colors, [(12.0, 12.0), place])
    found = picture(views, drawn, layers.over, spec)
    share = worth(views, found, spec).share[0]
    assert (share[1] > 0.5) == is_object


def test_covering_what_looks_like_the_ground_costs():
    color = [[0.9, 0.1, 0.3]] * 2
    views, drawn, layers, spec = large_scene(color, [(12.0, 12.0), (30.0, 30.0)])
    plain = picture(views, drawn, layers.over, spec)
    moved = layers._replace(pose=layers.pose + torch.tensor([0, 40.0, 0, 0]))
    drawn = draw(Sprites(solid()), moved, 48, 48)
    missed = picture(views, drawn, layers.over, spec)
    squares = (views[:, :3] - missed.image).square().sum()
    covered = int((drawn[:, :, 1].sum(1) > 0).sum())
    torch.testing.assert_close(
        float(missed.error), float(squares) + 3 * COVERED * covered
    )
    assert float(plain.error) < 1e-3


def test_neighbors_are_two_layers_and_not_a_large_one():
    color = [[0.9, 0.1, 0.3]] * 2
    views, _, _, spec = large_scene(color, [(14.0, 20.0), (25.0, 20.0)])
    search = SearchPlan(sweeps=1, peaks=3, scales=WIDE, restarts=0, replacements=0)
    found = find_layers(views, make_searcher(spec, search, 0.3, Sprites(solid())))
    places = sorted(found.layers.pose[0, :, 0].tolist())
    torch.testing.assert_close(places, [14.0, 25.0], atol=0.3, rtol=0)
    assert found.layers.on.sum() == 2


def test_edges_are_made_steeper_where_that_explains_images_better():
    color = [[0.9, 0.1, 0.3]] * 2
    views, _, layers, spec = large_scene(color, [(14.0, 20.0), (30.0, 20.0)])
    soft = torch.nn.functional.avg_pool2d(solid(), 3, 1, 1)
    steep = sharpest(soft, [(views, layers)], spec)
    assert steep.min() >= 0
    assert steep.max() <= 1
    assert (steep - solid())[0].abs().sum() < 0.7 * (soft - solid())[0].abs().sum()


def test_a_large_false_layer_does_not_take_along_what_it_hides():
    color = [[0.9, 0.1, 0.3]] * 2
    views, _, layers, spec = large_scene(color, [(24.0, 24.0), (24.0, 24.0)])
    pose = layers.pose.clone()
    pose[:, 1, 2] = 1.2  # in front, and much larger
    wrong = layers._replace(pose=pose)
    searcher = make_searcher(spec, SEARCH, 0.3, Sprites(solid()))
    found = pruned(views, described(views, wrong, searcher), searcher)
    assert found.layers.on.tolist() == [[1, 0]]
    start = draft(views, wrong, searcher.posed)
    assert tidied(views, start, searcher.posed).layers.on.tolist() == [[1, 0]]


def test_layers_do_not_depend_on_how_many_images_are_searched():
    images, _ = shaded_scenes(5, seed=2)
    views = views_of(images)
    planes = torch.zeros(2, 2, 12, 12)
    planes[:, :, 2:10, 2:10] = 1
    searcher = make_searcher(SPEC, SEARCH, 0.3, Sprites(planes))
    found = sought(views, searcher, 4).layers
    alone = sought(views[:4], searcher, 4).layers
    for every, some in zip(found, alone, strict=True):
        assert torch.equal(every[:4], some)


def test_a_part_of_an_object_is_dropped_and_a_neighbor_is_kept():
    color = [[0.9, 0.1, 0.3], [0.2, 0.7, 0.9]]
    views, _, layers, spec = large_scene(color, [(14.0, 20.0), (30.0, 20.0)])
    pose = layers.pose.clone()
    pose[:, 1] = pose[:, 0]
    pose[:, 1, 2] -= 1  # a smaller layer in the middle of the first
    on_it = layers._replace(pose=pose)
    highlight = views.clone()
    highlight[:, :3, 18:23, 12:17] += 0.3
    for parts, kept in ((0.9, [[1, 0]]), (1.0, [[1, 1]])):
        search = replace(SEARCH, parts=parts)
        searcher = make_searcher(spec, search, 0.01, Sprites(solid()))
        there = described(highlight, on_it._replace(over=layers.over), searcher)
        found = pruned(highlight, there, searcher)
        assert found.layers.on.tolist() == kept
    searcher = make_searcher(spec, SEARCH, 0.01, Sprites(solid()))
    found = pruned(views, described(views, layers, searcher), searcher)
    assert found.layers.on.tolist() == [[1, 1]]


@strategies.attack
@given(strategies.draws)
def test_patches_are_what_a_loop_says(make):
    alpha = make.uniform(2, 4, 5, 6)
    over = (make.uniform(2, 4, 4) > 0.5).to(alpha).tril(-1)
    over = over + (1 - over.transpose(1, 2)).triu(1)
    found = Picture(alpha[:, :, None], over, alpha, alpha, alpha)
    share = 0.6
    told = patches(found, share)
    seen = free_share(alpha, over) * alpha > 0.5
    for b in range(2):
        for j in range(4):
            mine = seen[b, j]
            expected = any(
                mine.any()
                and (alpha[b, k] > 0.5)[mine].double().mean() > share
                and seen[b, k].sum() > mine.sum()
                for k in range(4)
            )
            assert told[b, j] == expected
