"""Which of the layers pay: all of them judged at once, where search asks one by one."""

import torch
from torch import Tensor

from sklearn_sprites._engine.ops.layers import flat, free_share
from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.ground import image_of
from sklearn_sprites._engine.search.layers import (
    NOTICEABLE,
    Picture,
    Worth,
    layer_colors,
    picture,
)
from sklearn_sprites._engine.search.polish import OPAQUE, contrasts


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
    kept = torch.where(least > penalty, on.gather(1, worst), 0)
    on = on.scatter(1, worst, kept)  # without it, another one may pay
    now = picture(views, now.drawn * on[..., None, None, None], now.over, spec)
    values = without(views, now, spec)
    return on * (values.useful(spec) > penalty).to(on), values


def without(views: Tensor, found: Picture, spec: SceneSpec) -> Worth:
    """About what each layer is worth, where nothing else changes without it.

    For all layers at once, where :func:`worth` solves the colors of the others anew.
    """
    alpha = found.alpha.clamp(max=1 - OPAQUE)
    thin = found._replace(drawn=torch.stack([found.ink, alpha], 2))
    free, behind = contrasts(views, thin, spec)  # (B, L, P), (B, L, C, P)
    color, mask = layer_colors(found, spec), flat(alpha)
    own = free[:, :, None] * flat(found.ink)[:, :, None] * color[..., None]
    change = mask[:, :, None] * behind - own  # of the image, (B, L, C, P)
    left = flat(image_of(views, spec) - found.image)[:, None]
    more = (change * (change - 2 * left)).sum(2)  # squared error, (B, L, P)
    seen = flat(free_share(found.alpha, found.over) * found.alpha)
    shown = (seen > 0.5).to(more)
    better = ((more > NOTICEABLE).to(more) * shown).sum(2)
    return Worth(more.sum(2), better / shown.sum(2).clamp_min(1))
