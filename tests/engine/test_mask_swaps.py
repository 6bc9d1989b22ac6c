"""Masks that are put where others explain little."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from sklearn_sprites._engine.scene_settings import SceneSettings
from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.layers import Layers
from sklearn_sprites._engine.search.scene import Found
from sklearn_sprites._engine.search_settings import SearchPlan
from sklearn_sprites._engine.training.components import (
    standing_apart,
    where_whole,
    windows_of,
)
from sklearn_sprites._engine.training.gauge import gauged
from sklearn_sprites._engine.training.mask_swaps import (
    MOST,
    Windows,
    averaged,
    exact,
    layers_seen,
    matched,
    some_of,
    standing_alone,
    swapped,
)
from sklearn_sprites._engine.training.pose_kmeans import (
    all_poses,
    sampling_grids,
    sampling_maps,
)
from sklearn_sprites._engine.training.posed_rounds import is_trusted
from sklearn_sprites._engine.training.rounds import fit_scenes
from sklearn_sprites._engine.training.scene_evidence import frame_points
from tests.oracles_scenes import mask_cost
from tests.strategies import attack

SIDE = 12
SPEC = SceneSpec(3, 2, 1, 1, 24, 24, SIDE, SIDE, ("translation",), "flat")
TURNED = SceneSpec(3, 2, 1, 1, 24, 24, SIDE, SIDE, ("rotation",), "flat")


def shapes(side=SIDE):
    """A ring, a plus and a wedge."""
    steps = (torch.arange(side) - (side - 1) / 2) / (side / 2)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    far = (x**2 + y**2).sqrt()
    ring = (far < 0.75) & (far > 0.4)
    plus = ((x.abs() < 0.2) | (y.abs() < 0.2)) & (far < 0.75)
    wedge = (y > x) & (far < 0.75)
    return torch.stack([ring, plus, wedge]).float()


def smooth(mask):
    """A mask (h, w) with soft edges."""
    return F.avg_pool2d(mask[None, None], 3, 1, 1)[0, 0]


def sampled(mask, pose):
    """A mask (h, w) in poses (n, 4): (n, h, w)."""
    there = sampling_grids(pose, tuple(mask.shape))
    every = mask.expand(len(pose), 1, -1, -1)
    return F.grid_sample(every, there, align_corners=False)[:, 0]


def shown_windows(kinds, noise=0.05, seed=0, side=SIDE):
    """Windows of these kinds with noise, all pixels alike."""
    make = torch.Generator().manual_seed(seed)
    alpha = shapes(side)[torch.as_tensor(kinds)]
    alpha = alpha + noise * torch.randn(alpha.shape, generator=make)
    return Windows(alpha.clamp(0, 1), torch.ones_like(alpha))


@pytest.mark.parametrize("side", [SIDE, 16])  # 16 are compared in pairs of pixels
def test_costs_are_those_of_masks_drawn_in_the_pose_that_is_told(side):
    spec = SceneSpec(3, 2, 1, 1, 40, 40, side, side, ("translation",), "flat")
    poses = all_poses(spec, torch.zeros(1))
    make = torch.Generator().manual_seed(1)
    windows = shown_windows([0, 1, 2, 2], side=side)
    uneven = torch.rand(windows.alpha.shape, generator=make)
    if side == 16:  # pairs change nothing where all in a pair are alike
        doubled = [
            part[:, ::2, ::2].repeat_interleave(2, 1).repeat_interleave(2, 2)
            for part in (windows.alpha, uneven, shapes(side))
        ]
        windows, masks = Windows(*doubled[:2]), doubled[2]
        poses = poses[len(poses) // 2 :][:1]  # the pose that changes nothing
    else:
        windows, masks = windows._replace(weight=uneven), shapes()
    found = matched(windows, masks, poses)
    there = sampling_grids(poses, (side, side))
    for i, (alpha, weight) in enumerate(zip(*windows, strict=True)):
        for k, mask in enumerate(masks):
            told = sampling_grids(found.pose[i, k][None], (side, side))
            cost, _ = mask_cost(alpha, weight, mask, told)
            assert float(found.cost[i, k]) == pytest.approx(cost, abs=1e-4)
            assert cost <= mask_cost(alpha, weight, mask, there)[0] + 1e-5


@attack
@given(
    st.floats(-0.8, 0.8),
    st.floats(-0.8, 0.8),
    st.floats(-0.04, 0.04),
    st.floats(-0.1, 0.1),
    st.integers(0, 2),
)
def test_what_lies_between_poses_is_found_exactly(dx, dy, size, angle, kind):
    mask, half = smooth(shapes(16)[kind]), 16 / 2
    there = torch.tensor([[dx / half, dy / half, size, angle]])
    alpha = sampled(mask, there)
    windows = Windows(alpha, torch.ones_like(alpha))
    nothing = torch.zeros(1, 4)
    before = float((alpha - mask).square().sum())
    error, pose = exact(windows, mask, nothing, torch.ones(4) > 0)
    assert float(error[0]) <= 0.1 * before + 0.02
    left = (alpha - sampled(mask, pose)).square().sum()
    assert float(error[0]) == pytest.approx(float(left), abs=1e-4)


@attack
@given(st.integers(0, 2**16))
def test_maps_of_points_are_the_grids(seed):
    pose = torch.randn((3, 4), generator=torch.Generator().manual_seed(seed)) / 2
    for sides in ((5, 8), (6, 6)):
        points = F.pad(frame_points(sides, pose), (0, 1), value=1.0)
        told = (sampling_maps(pose, sides) @ points.T).mT.view(3, *sides, 2)
        torch.testing.assert_close(told, sampling_grids(pose, sides))


@attack
@given(st.integers(0, 2**16), st.lists(st.booleans(), min_size=4, max_size=4))
def test_exact_poses_are_never_worse_and_keep_what_is_fixed(seed, free):
    make = torch.Generator().manual_seed(seed)
    alpha, weight = torch.rand((2, 5, SIDE, SIDE), generator=make)
    mask = torch.rand((SIDE, SIDE), generator=make)
    pose = torch.randn((5, 4), generator=make) / 10
    is_free = torch.tensor(free)
    error, better = exact(Windows(alpha, weight), mask, pose, is_free)
    before = (weight * (alpha - sampled(mask, pose)).square()).sum((1, 2))
    assert (error <= before + 1e-4).all()
    assert torch.equal(better[:, ~is_free], pose[:, ~is_free])


@attack
@given(st.permutations([0, 1, 2]), st.integers(0, 5))
def test_a_kind_that_no_mask_shows_gets_the_one_that_is_not_missed(kinds, seed):
    lost, kept, twice = kinds
    masks = torch.stack([shapes()[kept], shapes()[twice], shapes()[twice]])
    windows = shown_windows([lost] * 15 + [kept] * 20 + [twice] * 25, seed=seed)
    changed, new = swapped(masks, windows, SPEC)
    assert len(new) == 1
    assert new[0] > 0  # one of the two that were alike
    gap = (changed[new[0]] - shapes()[lost]).abs().mean()
    assert gap < 0.1
    stayed = [k for k in range(3) if k not in new]
    assert (changed[stayed] - masks[stayed]).abs().mean() < 0.1


@pytest.mark.parametrize("spec", [SPEC, TURNED])
def test_masks_that_explain_all_windows_stay_to_the_last_bit(spec):
    windows = shown_windows([0, 1, 2] * 20)
    masks, new = swapped(shapes(), windows, spec)
    assert new == []
    assert torch.equal(masks, shapes())


def test_a_few_odd_windows_do_not_get_a_mask():
    windows = shown_windows([0] * 40 + [1] * 40 + [2] * 2)
    _, new = swapped(shapes()[:2], windows, SPEC)
    assert new == []


def test_a_blend_of_two_kinds_becomes_one_of_them():
    ring, plus, wedge = shapes()
    masks = torch.stack([(ring + plus) / 2, wedge, wedge])
    windows = shown_windows([0] * 20 + [1] * 20 + [2] * 20)
    changed, _ = swapped(masks, windows, SPEC)
    poses = all_poses(SPEC, masks)
    owner = matched(windows, changed, poses).cost.argmin(1).view(3, 20)
    assert (owner == owner[:, :1]).all()
    assert len(owner[:, 0].unique()) == 3


def test_pixels_without_weight_say_nothing():
    windows = shown_windows([0] * 10, noise=0)
    hidden = torch.ones_like(windows.weight)
    hidden[:, : SIDE // 2] = 0
    alpha = torch.where(hidden > 0, windows.alpha, 0.0)
    poses = all_poses(SPEC, alpha)
    ring, _, wedge = shapes()
    found = matched(Windows(alpha, hidden), torch.stack([ring, wedge]), poses)
    assert (found.cost[:, 0] < found.cost[:, 1]).all()


def test_averages_are_weighted_means_and_masks_without_windows_stay():
    windows = shown_windows([0] * 8, noise=0.1)
    poses = all_poses(SPEC, windows.alpha)
    masks = torch.stack([shapes()[0], torch.zeros(SIDE, SIDE)])
    found = matched(windows, masks, poses)
    still = found._replace(pose=torch.zeros_like(found.pose))
    new = averaged(windows, masks, still)
    assert (new[0] - windows.alpha.mean(0)).abs().max() < 0.02
    assert torch.equal(new[1], masks[1])


def test_two_things_that_touch_do_not_get_a_mask():
    make = torch.Generator().manual_seed(0)
    pairs = []
    for _ in range(40):
        down, right = (int(torch.randint(-5, 6, (1,), generator=make)) for _ in "xy")
        moved = torch.roll(shapes()[1], (down, right), (0, 1))
        pairs.append(torch.maximum(shapes()[0], moved))
    touching = Windows(torch.stack(pairs), torch.ones(40, SIDE, SIDE))
    windows = shown_windows([0, 1, 2] * 12).beside(touching)
    _, new = swapped(shapes(), windows, SPEC)
    assert new == []


def test_what_stands_alone_is_seen_as_a_whole():
    images = scenes(20)
    spec = SceneSpec(3, 2, 1, 1, 28, 28, SIDE, SIDE, ("translation",), "flat")
    views = torch.from_numpy(images)
    apart = standing_apart(views, spec)
    seen = standing_alone(windows_of(views, spec, apart))
    assert len(seen.alpha) == int(apart.whole.sum()) > 10
    centered = gauged(shapes(), spec)
    poses = all_poses(spec, centered)
    assert (matched(seen, centered, poses).cost.amin(1) < -2.5).double().mean() > 0.9
    inner = where_whole(apart)
    wrong = (views[:, 0] - 0.5).abs() > 0.2
    assert not (inner & ~wrong).any()
    edge = torch.zeros_like(inner)
    edge[:, 0], edge[:, -1], edge[:, :, 0], edge[:, :, -1] = (True,) * 4
    cut = apart.label[edge & wrong].unique()
    assert not inner[torch.isin(apart.label, cut) & wrong & edge].any()


def test_layers_are_trusted_by_the_penalty_or_by_what_is_usual():
    on = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    saves = torch.tensor([[2.0, 9.0, 0.0], [4.0, 5.0, 90.0]])
    layers = Layers(on.long(), on[..., None], on, on[..., None])
    found = Found(layers, None, saves, None)
    assert is_trusted(found, 0.1).tolist() == [[False, True, False], [True, True, True]]
    assert is_trusted(found, 1.0).tolist() == [
        [False, True, False],
        [False, True, True],
    ]
    nothing = Found(layers._replace(on=0 * on), None, 0 * saves, None)
    assert is_trusted(nothing, 1.0).shape == (2, 3)


def test_windows_are_spread_over_all_evidence():
    evidence = torch.rand(3 * MOST, 2, 4, 4)
    windows = some_of([layers_seen(part) for part in evidence.split(MOST // 2)])
    assert len(windows.alpha) == MOST
    assert torch.equal(windows.weight, evidence[::3, 1])
    assert not len(some_of([layers_seen(evidence[:0])]).alpha)


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_is_put_elsewhere_without_windows_or_other_masks(count):
    windows = shown_windows([0] * 4)
    if count:
        masks, new = swapped(shapes()[1:2], windows, SPEC)
    else:
        masks, new = swapped(shapes(), windows.take(torch.arange(0)), SPEC)
    assert new == []
    assert len(masks) == (1 if count else 3)


def scenes(n):
    """Two shapes per image, moved by whole pixels, on a gray level."""
    make = np.random.default_rng(0)
    images = np.full((n, 1, 28, 28), 0.5, np.float32)
    for image in images[:, 0]:
        for half in (0, 14):
            k, row, column = make.integers(3), make.integers(3), make.integers(17)
            place = np.s_[half + row : half + row + SIDE, column : column + SIDE]
            image[place] += 0.4 * shapes()[k].numpy()
    return images


@pytest.mark.parametrize("first", [(0, 0, 1), (2, 2, 0), (1, 1, 2)])
def test_a_fit_that_begins_without_one_kind_finds_it(first):
    images = scenes(60)
    spec = SceneSpec(3, 2, 1, 1, 28, 28, SIDE, SIDE, ("translation",), "flat")
    search = SearchPlan(sweeps=1, restarts=0, replacements=0)
    settings = SceneSettings(search=search, max_rounds=6, images_per_round=64)
    given = shapes()[list(first), None].repeat(1, 2, 1, 1).numpy()
    fitted = fit_scenes(images, spec, settings, np.random.SeedSequence(0), "cpu", given)
    assert fitted.loss < 5e-4  # two kinds in one mask leave four times as much
