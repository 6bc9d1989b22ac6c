"""Which of the layers pay: all of them judged at once, where search asks one by one."""

import torch
from torch import Tensor

from sklearn_sprites._engine.ops.layers import flat
from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.batches import parts, put, take
from sklearn_sprites._engine.search.ground import image_of
from sklearn_sprites._engine.search.layers import (
    NOTICEABLE,
    Picture,
    Worth,
    layer_colors,
    picture,
)
from sklearn_sprites._engine.search.polish import OPAQUE, contrasts

FEW = 8  # images at a time that lose a layer


def paying(
    views: Tensor,
    now: Picture,
    on: Tensor,
    penalty: float,
    spec: SceneSpec,
) -> tuple[Tensor, Worth]:
    """Layers that pay, and what they are worth: the worst is dropped, then the rest."""
    values = without(views, now, spec)
    pays = torch.where(on > 0, values.useful(spec), torch.inf)
    least, worst = pays.min(1, keepdim=True)
    poor = least <= penalty
    on = on.scatter(1, worst, torch.where(poor, 0, on.gather(1, worst)))
    for part in parts(poor[:, 0].nonzero()[:, 0], FEW):  # now, another one may pay
        old, some = take(now, part), views[part]
        drawn = old.drawn * on[part][..., None, None, None]
        fewer = picture(some, drawn, old.over, spec)
        values = put(values, part, without(some, fewer, spec))
    return on * (values.useful(spec) > penalty).to(on), values


def without(views: Tensor, found: Picture, spec: SceneSpec) -> Worth:
    """About what each layer is worth, where nothing else changes without it.

    For all layers at once, where :func:`worth` solves the colors of the others anew.
    """
    alpha = found.alpha.clamp(max=1 - OPAQUE)
    drawn = torch.stack([found.ink, alpha], 2)
    thin = found._replace(drawn=drawn)
    free, behind = contrasts(views, thin, spec)  # (B, L, P), (B, L, C, P)
    own = (free * flat(found.ink))[:, :, None]
    change = behind.mul_(flat(alpha)[:, :, None])  # in place, as memory is slow
    change.addcmul_(own, layer_colors(found, spec)[..., None], value=-1)  # of the image
    left = flat(image_of(views, spec) - found.image)[:, None]
    more = torch.sub(change, left, alpha=2).mul_(change).sum(2)  # squared error
    seen = flat(found.shown)
    shown = (seen > 0.5).to(more)
    better = ((more > NOTICEABLE).to(more) * shown).sum(2)
    return Worth(more.sum(2), better / shown.sum(2).clamp_min(1))
