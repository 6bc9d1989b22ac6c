"""What was taken for objects: parts of them, second copies, and what nobody can see."""

import torch
from torch import Tensor

from sklearn_sprites._engine.ops.layers import flat
from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.layers import (
    Layers,
    Picture,
    layer_biases,
    layer_colors,
)

LITTLE = 0.1  # share of what layers save that is not worth a layer that nobody sees
BESIDE = 2.5  # pixels to the right and down within which a layer is a second copy
NEAR = 0.25  # the same as a share of a small sprite's sides, where that is less


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


def without_copies(
    change: Tensor,
    sprite: Tensor,
    row: Tensor,
    column: Tensor,
    on: Tensor,
    sides: tuple[int, int],
) -> Tensor:
    """What further layers change, (D, B, K, H', W'), where copies gain nothing.

    A copy is a sprite within a pixel or two of a layer (B, L) that shows it already,
    with its upper left pixel at `row` and `column`. Two faint copies look like one
    opaque sprite; so each would tell of the other that it can be seen through.
    `sides` (h, w) are those of sprites, in places of
    :mod:`~sklearn_sprites._engine.ops.correlation`.
    """
    change, images = change.clone(), torch.arange(change.shape[1], device=change.device)
    places = [
        torch.arange(count, device=change.device) - side // 2
        for count, side in zip(change.shape[3:], sides, strict=True)
    ]
    for j in range(sprite.shape[1]):
        down, right = (
            (place - start[:, j, None]).abs() <= min(BESIDE, NEAR * side)
            for place, start, side in zip(places, (row, column), sides, strict=True)
        )
        near = down[:, :, None] & right[:, None] & (on[:, j, None, None] > 0)
        same = images, sprite[:, j]
        kept = torch.where(near, change[:, *same].clamp_min(0), change[:, *same])
        change[:, *same] = kept
    return change


def unseen(found: Picture, saves: Tensor, penalty: float, spec: SceneSpec) -> Tensor:
    """Layers (B, L) in the color of the level behind, which trim others a little.

    They would not pay if they stood alone, and save (B, L) little, for what the layers
    that are seen save. What hides much of another layer is an object in any color.
    """
    if not spec.has_level:
        return torch.zeros_like(saves) > 0
    ink, alpha = flat(found.ink), flat(found.alpha)
    gain, bias = layer_colors(found, spec), layer_biases(found, spec)
    rest = (0 if bias is None else bias) - found.colors[:, :1]
    change = gain.square().sum(2) * ink.square().sum(2)
    change = change + 2 * (gain * rest).sum(2) * (ink * alpha).sum(2)
    change = change + rest.square().sum(2) * alpha.square().sum(2)
    seen = (change > penalty).to(saves)
    usual = (saves * seen).sum(1, keepdim=True) / seen.sum(1, keepdim=True).clamp_min(1)
    return (seen == 0) & (saves < LITTLE * usual)
