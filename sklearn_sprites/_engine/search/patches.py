"""Parts of objects, and second copies of them, that were taken for objects."""

import torch
from torch import Tensor

from sklearn_sprites._engine.ops.layers import flat
from sklearn_sprites._engine.search.layers import Layers, Picture

BESIDE = 2.5  # pixels to the right and down within which a layer is a second copy


def patches(found: Picture, share: float) -> Tensor:
    """Layers (B, L) that lie on another layer, one that shows more than they do.

    More than `share` of the pixels that they show are in its mask. Such layers mend
    what the appearance of a sprite cannot tell of an object: a highlight, a shadow, the
    pattern on it. A small object that stands before a large one is among them, too.
    """
    seen = flat(found.shown > 0.5).to(found.alpha)
    mask = flat(found.alpha > 0.5).to(found.alpha)
    area = seen.sum(2)
    within = seen @ mask.mT > share * area[..., None]  # (B, L, L)
    return (within & (area[:, None] > area[..., None])).any(2) & (area > 0)


def copies(layers: Layers, saves: Tensor) -> Tensor:
    """Layers (B, L) that show a sprite again, a pixel or two from where it is.

    What lies between pixels looks like two faint things side by side when layers are
    only shifted on black. The copy is the one that `saves` (B, L) less.
    """
    sprite, place = layers.sprite, layers.pose[..., :2]
    near = (place[:, :, None] - place[:, None]).abs().amax(3) < BESIDE
    same = near & (sprite[:, :, None] == sprite[:, None]) & (layers.on[:, None] > 0)
    index = torch.arange(saves.shape[1], device=saves.device)
    less = saves[:, :, None] < saves[:, None]
    equal = saves[:, :, None] == saves[:, None]
    after = less | equal & (index[:, None] > index)
    return (same & after).any(2) & (layers.on > 0)
