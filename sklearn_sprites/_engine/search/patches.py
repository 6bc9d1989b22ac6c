"""Parts of objects that were taken for objects."""

from torch import Tensor

from sklearn_sprites._engine.ops.layers import flat
from sklearn_sprites._engine.search.layers import Picture


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
