"""Layers in any pose: one at a time, the one that explains most of what is left."""

from typing import NamedTuple

import torch
from torch import Tensor

from sklearn_sprites._engine.scene_settings import Search
from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.bank import Bank, coarse, coarse_step, make_bank
from sklearn_sprites._engine.search.ground import ground_price, image_of, like_ground
from sklearn_sprites._engine.search.layers import (
    MOSTLY,
    Layers,
    Picture,
    Sprites,
    draw,
    is_false,
    no_layers,
    pick,
    picture,
    settle,
    worth,
)
from sklearn_sprites._engine.search.peaks import Scene, find_peaks, try_poses
from sklearn_sprites._engine.search.poses import widened
from sklearn_sprites._engine.search.refine import Slopes, make_slopes, refine

EXPLAINED = 0.01  # squared error of a covered pixel that leaves it to its layer


class PoseSearcher(NamedTuple):
    """Sprites prepared for the search of poses."""

    spec: SceneSpec
    search: Search
    penalty: float
    step: int
    sprites: Sprites  # as they are drawn, blurred as coarse pixels blur them
    bank: Bank
    slopes: Slopes
    last_scale: float


def make_pose_searcher(
    spec: SceneSpec,
    search: Search,
    penalty: float,
    sprites: Sprites,
    last_scale: float,
    step: int | None = None,
) -> PoseSearcher:
    """Prepare sprites, by default for the resolution that images are searched at."""
    step, grid = step or coarse_step(spec), sprites.on_grid()
    slopes = make_slopes(grid, spec, search, step)
    alpha = slopes.planes[:, 0]
    ink = slopes.planes[:, 3] if spec.color == "gain" else alpha
    soft = Sprites(torch.stack([ink, alpha], 1))
    bank = make_bank(grid, spec, search, step)
    drawn = soft if step > 1 else sprites
    return PoseSearcher(spec, search, penalty, step, drawn, bank, slopes, last_scale)


class Draft(NamedTuple):
    """Layers on coarse pixels: as drawn (B, L, 2, H, W), and the picture they make."""

    layers: Layers
    drawn: Tensor
    picture: Picture


def draft(images: Tensor, layers: Layers, searcher: PoseSearcher) -> Draft:
    """Draw layers on coarse images."""
    rows, columns = images.shape[2:]
    drawn = draw(searcher.sprites, layers, rows, columns, searcher.step)
    found = settle(images, drawn, layers.over, searcher.spec)
    return Draft(layers._replace(over=found.over), drawn, found)


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
    side = bank.tile + 2
    found = refine(
        scene,
        tried,
        searcher.slopes,
        search.refine_steps,
        search.visible,
        side,
        step,
        searcher.last_scale,
    )
    saves, best = found.saves.max(1)
    sprite = found.sprite.gather(1, best[:, None])[:, 0]
    index = best[:, None, None].expand(-1, 1, found.pose.shape[2])
    pose = found.pose.gather(1, index)[:, 0]
    return sprite, pose, saves


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
    shown = now.drawn * on[..., None, None, None]
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
    pixel = searcher.step**2
    before = now.picture.error * pixel + searcher.penalty * now.layers.on.sum(1)
    after = found.error * pixel + searcher.penalty * layers.on.sum(1)
    better = after < before
    new = Draft(layers._replace(over=found.over), drawn, found)
    return choose_draft(better, new, now)


def choose_draft(better: Tensor, new: Draft, old: Draft) -> Draft:
    """`new` in the images (B,) where it is better."""
    return Draft(
        Layers(*(pick(better, n, o) for n, o in zip(new[0], old[0], strict=True))),
        pick(better, new.drawn, old.drawn),
        Picture(*(pick(better, n, o) for n, o in zip(new[2], old[2], strict=True))),
    )


def sketch(images: Tensor, searcher: PoseSearcher, sweeps: int) -> Draft:
    """All layers of images (B, C, H, W), sought on coarse pixels."""
    small = coarse(images, searcher.step)
    now = draft(small, no_layers(images, searcher.spec), searcher)
    order = torch.arange(searcher.spec.n_layers, device=images.device)
    for _ in range(sweeps):
        now = sweep(small, now, searcher, order.expand(len(images), -1))
        now = tidied(small, now, searcher)
    return now


def tidied(images: Tensor, now: Draft, searcher: PoseSearcher) -> Draft:
    """Without layers that do not pay, or only mend the edges of others."""
    spec = searcher.spec
    values = worth(images, now.drawn, now.picture, spec)
    if spec.has_picture:
        now = dropping(images, now, is_false(now.picture, values.share, spec), spec)
        values = worth(images, now.drawn, now.picture, spec)
    pays = values.saves * searcher.step**2 > searcher.penalty
    return dropping(images, now, ~(pays & (values.share > MOSTLY)), spec)


def dropping(images: Tensor, now: Draft, dropped: Tensor, spec: SceneSpec) -> Draft:
    """Without some layers (B, L)."""
    on = now.layers.on * (~dropped).to(now.layers.on)
    changed = (on != now.layers.on).any(1)
    drawn = now.drawn * on[..., None, None, None]
    found = settle(images, drawn, now.layers.over, spec)
    layers = now.layers._replace(on=on, over=found.over)
    return choose_draft(changed, Draft(layers, drawn, found), now)
