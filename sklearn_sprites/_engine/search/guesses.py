"""Layers that a network has guessed, made exact by a step or two of search."""

import math

import torch
from torch import Tensor

from sklearn_sprites._engine.models.scene_network import LayerGuess
from sklearn_sprites._engine.ops.layers import flat, free_share
from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.bank import coarse
from sklearn_sprites._engine.search.ground import image_of
from sklearn_sprites._engine.search.layers import (
    MOSTLY,
    NOTICEABLE,
    Layers,
    Picture,
    Worth,
    draw,
    layer_colors,
    no_layers,
    picture,
    settle,
)
from sklearn_sprites._engine.search.polish import OPAQUE, contrasts, polish
from sklearn_sprites._engine.search.posed import PoseSearcher
from sklearn_sprites._engine.search.poses import widened
from sklearn_sprites._engine.search.scene import Found, Searcher, pruned

DOUBT = 0.03  # chance of a second sprite, relative to the first, to try it
LIKELY = 0.15  # chance of an object from which on a layer is tried
AT_ONCE = 16  # images drawn at full resolution: more leave the cache


def guessed(
    views: Tensor, guess: LayerGuess, searcher: Searcher, second: bool = False
) -> Layers:
    """The likeliest sprite of each layer in its pose; shifts in whole pixels.

    With `second`, the second likeliest, where that is not much less likely.
    """
    assert guess.logits is not None, "a network that tells sprites"
    chance = guess.logits.log_softmax(2)
    sprite = chance[..., :-1].argmax(2)
    if second and searcher.spec.n_sprites > 1:
        best = chance[..., :-1].topk(2, 2)
        doubted = best.values[..., 1] > best.values[..., 0] + math.log(DOUBT)
        sprite = torch.where(doubted, best.indices[..., 1], sprite)
    index = sprite[..., None, None].expand(-1, -1, 1, 4)
    pose = guess.pose.gather(2, index)[:, :, 0]
    if searcher.posed is None:
        h, w = searcher.sprites.sides
        half = pose.new_tensor([w / 2, h / 2])
        whole = (pose[..., :2] - half).round() + half
        pose = torch.cat([whole, pose[..., 2:]], 2)
    else:
        size = pose[..., 2:3].clamp(*searcher.posed.slopes.log_scales)
        pose = torch.cat([pose[..., :2], size, pose[..., 3:]], 2)
    pose = widened(pose, searcher.spec.pose_size)
    on = (chance[..., -1] < math.log(1 - LIKELY)).to(pose)
    layers = no_layers(views, searcher.spec)
    return layers._replace(sprite=sprite, pose=pose, on=on)


def exact(views: Tensor, guess: LayerGuess, searcher: Searcher, steps: int) -> Found:
    """Colors and order solved, poses polished, layers dropped that do not pay.

    Where the network is in doubt between two sprites, both are polished, and the one
    that explains better what its layer shows is taken. Where images are searched on
    coarse pixels, these are precise enough for all but the colors.
    """
    layers, posed = guessed(views, guess, searcher), searcher.posed
    if posed is None:
        return pruned(views, layers, searcher)
    small = coarse(views, posed.step)
    layers = _polished(small, layers, posed, min(steps, 1))
    other = guessed(views, guess, searcher, second=True)
    other = _polished(small, other, posed, min(steps, 1))
    layers = _better(small, layers, other, posed)
    layers = _polished(small, layers, posed, max(steps - 1, 0))
    return _finished(views, small, layers, searcher, posed)


def draw_coarse(small: Tensor, layers: Layers, posed: PoseSearcher) -> Tensor:
    """Ink and alpha of layers on coarse pixels, (B, L, 2, H, W)."""
    rows, columns = small.shape[2:]
    return draw(posed.sprites, layers, rows, columns, posed.step)


def _polished(small: Tensor, layers: Layers, posed: PoseSearcher, steps: int) -> Layers:
    """Layers in their order, after some steps."""
    if not steps:
        return layers
    spec, side = posed.spec, posed.step
    drawn = draw_coarse(small, layers, posed)
    layers = layers._replace(over=settle(small, drawn, layers.over, spec, 1).over)
    return polish(small, layers, posed.sprites, posed.slopes, spec, steps, side)


def _better(small: Tensor, one: Layers, two: Layers, posed: PoseSearcher) -> Layers:
    """Each layer as in `two` if what either shows of it is explained better there."""
    spec = posed.spec
    seen, errors = [], []
    for layers in (one, two):
        drawn = draw_coarse(small, layers, posed)
        found = picture(small, drawn, layers.over, spec)
        seen.append(free_share(found.alpha, found.over) * found.alpha)
        errors.append((image_of(small, spec) - found.image).square().sum(1))
    where = flat(torch.maximum(*seen))  # (B, L, P)
    before, after = (flat(each[:, None]) for each in errors)
    better = (where * (after - before)).sum(2) < 0
    better = better & (two.sprite != one.sprite)
    return one._replace(
        sprite=torch.where(better, two.sprite, one.sprite),
        pose=torch.where(better[..., None], two.pose, one.pose),
    )


def _finished(
    views: Tensor,
    small: Tensor,
    layers: Layers,
    searcher: Searcher,
    posed: PoseSearcher,
) -> Found:
    """Layers that pay, in their order on coarse pixels, and the picture they make."""
    spec, side = searcher.spec, posed.step
    drawn = draw_coarse(small, layers, posed)
    now = settle(small, drawn, layers.over, spec, 1)
    on, values = _paying(small, drawn, now, layers.on, searcher.penalty / side**2, spec)
    layers = layers._replace(over=now.over, on=on)
    parts = [
        picture(
            some, draw(searcher.sprites, part, spec.height, spec.width), part.over, spec
        )
        for some, part in zip(
            views.split(AT_ONCE), _split(layers, AT_ONCE), strict=True
        )
    ]
    found = Picture(*(torch.cat(column) for column in zip(*parts, strict=True)))
    return Found(layers, found, values.saves * side**2 * on, values.share)


def _paying(
    views: Tensor,
    drawn: Tensor,
    now: Picture,
    on: Tensor,
    penalty: float,
    spec: SceneSpec,
) -> tuple[Tensor, Worth]:
    """Layers that pay, and what they are worth: the worst is dropped, then the rest."""
    values = without(views, now, spec)
    pays = torch.where(values.share > MOSTLY, values.saves, 0)
    least, worst = torch.where(on > 0, pays, torch.inf).min(1, keepdim=True)
    kept = torch.where(least > penalty, on.gather(1, worst), 0)
    on = on.scatter(1, worst, kept)  # without it, another one may pay
    now = picture(views, drawn * on[..., None, None, None], now.over, spec)
    values = without(views, now, spec)
    pays = torch.where(values.share > MOSTLY, values.saves, 0)
    return on * (pays > penalty).to(on), values


def _split(layers: Layers, size: int) -> list[Layers]:
    columns = [each.split(size) for each in layers]
    return [Layers(*parts) for parts in zip(*columns, strict=True)]


def without(views: Tensor, found: Picture, spec: SceneSpec) -> Worth:
    """About what each layer is worth, where nothing else changes without it.

    For all layers at once, where :func:`worth` solves the colors of the others anew.
    """
    thin = found._replace(alpha=found.alpha.clamp(max=1 - OPAQUE))
    free, behind = contrasts(views, thin, spec)  # (B, L, P), (B, L, C, P)
    color, alpha = layer_colors(found, spec), flat(thin.alpha)
    own = free[:, :, None] * flat(found.ink)[:, :, None] * color[..., None]
    change = alpha[:, :, None] * behind - own  # of the image, (B, L, C, P)
    left = flat(image_of(views, spec) - found.image)[:, None]
    more = (change * (change - 2 * left)).sum(2)  # squared error, (B, L, P)
    seen = flat(free_share(found.alpha, found.over) * found.alpha)
    shown = (seen > 0.5).to(more)
    better = ((more > NOTICEABLE).to(more) * shown).sum(2)
    return Worth(more.sum(2), better / shown.sum(2).clamp_min(1))
