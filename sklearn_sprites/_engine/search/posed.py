"""Layers in any pose: one at a time, the one that explains most of what is left."""

from typing import NamedTuple

import torch
from torch import Tensor

from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.bank import Bank, coarse_step, make_bank
from sklearn_sprites._engine.search.ground import ground_price, image_of, like_ground
from sklearn_sprites._engine.search.layers import (
    Layers,
    Picture,
    Sprites,
    choose_picture,
    draw,
    pick,
    picture,
    settle,
)
from sklearn_sprites._engine.search.mask_poses import refine_masks
from sklearn_sprites._engine.search.moments import (
    Window,
    are_masks,
    make_window,
    reach_of,
)
from sklearn_sprites._engine.search.peaks import (
    Candidates,
    Scene,
    find_peaks,
    try_poses,
)
from sklearn_sprites._engine.search.poses import widened
from sklearn_sprites._engine.search.refine import Slopes, make_slopes, refine
from sklearn_sprites._engine.search_settings import SearchPlan

SPARE = 1.5  # pixels by which a candidate may move in its window
EXPLAINED = 0.01  # squared error of a covered pixel that leaves it to its layer


class PoseSearcher(NamedTuple):
    """Sprites prepared for the search of poses."""

    spec: SceneSpec
    search: SearchPlan
    penalty: float
    step: int
    sprites: Sprites  # as they are drawn, blurred as coarse pixels blur them
    bank: Bank
    slopes: Slopes
    last_scale: float
    window: Window | None  # of masks in similarity poses


def make_pose_searcher(
    spec: SceneSpec,
    search: SearchPlan,
    penalty: float,
    sprites: Sprites,
    last_scale: float,
    step: int | None = None,
) -> PoseSearcher:
    """Prepare sprites, by default for the resolution that images are searched at."""
    step, grid = step or coarse_step(spec), sprites.on_grid()
    slopes = make_slopes(grid, spec, search, step)
    alpha = slopes.planes[:, :1]  # that of masks is their ink, too
    shades = [slopes.planes[:, 3:4]] if spec.has_shades else []
    soft = Sprites(torch.cat([*shades, alpha], 1))
    bank = make_bank(grid, spec, search, step)
    drawn = soft if step > 1 else sprites
    window = None
    if are_masks(spec):
        reach = reach_of(slopes) / step + SPARE
        window = make_window(bank.tile + 2, reach, step, sprites.planes)
    return PoseSearcher(
        spec, search, penalty, step, drawn, bank, slopes, last_scale, window
    )


class Draft(NamedTuple):
    """Layers on coarse pixels, and the picture that they make."""

    layers: Layers
    picture: Picture


def draft(images: Tensor, layers: Layers, searcher: PoseSearcher) -> Draft:
    """Draw layers on coarse images."""
    rows, columns = images.shape[2:]
    drawn = draw(searcher.sprites, layers, rows, columns, searcher.step)
    found = settle(images, drawn, layers.over, searcher.spec)
    return Draft(layers._replace(over=found.over), found)


def best_layer(
    scene: Scene, searcher: PoseSearcher, around: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Sprite (B,), pose (B, Q) and robust saving (B,) of the best further layer.

    Anywhere, or `around` places (B, 2), rows and columns of the scene.
    """
    search, bank, step = searcher.search, searcher.bank, searcher.step
    maps = scene.maps()
    if around is None:
        peaks = find_peaks(maps, bank, search.visible, search.peaks)
    else:
        peaks = around[:, None]
    tried = try_poses(maps, peaks, bank, search.visible, search.hypotheses, step)
    tried = tried._replace(pose=widened(tried.pose, searcher.spec.pose_size))
    found = _refined(scene, tried, searcher)
    saves, best = found.saves.max(1)
    sprite = found.sprite.gather(1, best[:, None])[:, 0]
    index = best[:, None, None].expand(-1, 1, found.pose.shape[2])
    pose = found.pose.gather(1, index)[:, 0]
    return sprite, pose, saves


def _refined(scene: Scene, tried: Candidates, searcher: PoseSearcher) -> Candidates:
    search, slopes, last = searcher.search, searcher.slopes, searcher.last_scale
    steps, visible = search.refine_steps, search.visible
    if searcher.window is not None:
        window = searcher.window
        return refine_masks(scene, tried, slopes, window, steps, visible, last)
    side = searcher.bank.tile + 2
    return refine(scene, tried, slopes, steps, visible, side, searcher.step, last)


def sweep(images: Tensor, start: Draft, searcher: PoseSearcher, which: Tensor) -> Draft:
    """Search layers (B, N) anew, one by one; kept only where the objective falls."""
    now = start
    for i in which.unbind(1):
        now = replace_layer(images, now, i, searcher)
    return now


def replace_layer(
    images: Tensor,
    now: Draft,
    i: Tensor,
    searcher: PoseSearcher,
    around: Tensor | None = None,
) -> Draft:
    """Take layer i (B,) of every image away and put the best one in its place.

    With places `around` which to look, see :func:`best_layer`, empty layers stay so.
    """
    spec, row = searcher.spec, i[:, None]
    may = now.layers.on.gather(1, row)[:, 0] > 0 if around is not None else True
    on = now.layers.on.scatter(1, row, 0.0)
    shown = now.picture.drawn * on[..., None, None, None]
    without = picture(images, shown, now.layers.over, spec)
    covered = 1 - (1 - without.alpha).prod(1)
    target = image_of(images, spec)
    wrong = (target - without.image).square().sum(1)
    free = 1 - covered * torch.exp(-wrong / EXPLAINED)
    price = None
    if spec.has_picture:
        plain = like_ground(images, spec)  # covered wrongly: no reason to cover it anew
        price = free * (ground_price(images, spec) + plain * wrong)
    scene = Scene(target, without.image, free, price)
    sprite, pose, saves = best_layer(scene, searcher, around)
    one = ((saves > 0) & may).to(on)
    single = Layers(sprite[:, None], pose[:, None], one[:, None], without.over)
    rows, columns = images.shape[2:]
    planes = draw(searcher.sprites, single, rows, columns, searcher.step)
    drawn = shown.scatter(1, row[..., None, None, None].expand_as(planes), planes)
    layers = Layers(
        now.layers.sprite.scatter(1, row, sprite[:, None]),
        now.layers.pose.scatter(
            1, row[..., None].expand_as(pose[:, None]), pose[:, None]
        ),
        on.scatter(1, row, one[:, None]),
        without.over,
    )
    found = settle(images, drawn, layers.over, spec, 1)
    new = Draft(layers._replace(over=found.over), found)
    better = draft_objective(new, searcher) < draft_objective(now, searcher)
    return choose_draft(better, new, now)


def draft_objective(now: Draft, searcher: PoseSearcher) -> Tensor:
    """Squared error, in pixels of the image, and penalties (B,)."""
    error = now.picture.error * searcher.step**2
    return error + searcher.penalty * now.layers.on.sum(1)


def choose_draft(better: Tensor, new: Draft, old: Draft) -> Draft:
    """`new` in the images (B,) where it is better."""
    return Draft(
        Layers(*(pick(better, n, o) for n, o in zip(new[0], old[0], strict=True))),
        choose_picture(better, new.picture, old.picture),
    )
