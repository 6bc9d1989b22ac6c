"""Layers drawn alone: their sprites as placed, without masks, whoever hides them."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sklearn_sprites._engine.runtime import isolated
from sklearn_sprites._engine.scene_records import FittedScenes, LayerRecord
from sklearn_sprites._engine.search.splines import place_bent
from sklearn_sprites._engine.search.sprites import FAINT


def unmasked(sprites: Tensor) -> Tensor:
    """Colors (K, C, h, w) of sprites (K, C + 1, h, w), beyond masks of what is nearest.

    There they are the mean in the smallest square window, of sides 3, 5, 9, ..., in
    which anything shows; zero if nothing does at all.
    """
    colors, alpha = sprites[:, :-1], sprites[:, -1:].clamp(0, 1)
    known = alpha > FAINT
    weight = alpha * known
    found, reach = colors * known, 1
    while not known.all() and reach < 2 * max(alpha.shape[2:]):
        total = F.avg_pool2d(weight, 2 * reach + 1, 1, reach)
        mean = F.avg_pool2d(weight * colors, 2 * reach + 1, 1, reach)
        fresh = (total > 0) & ~known
        found = torch.where(fresh, mean / total.clamp_min(1e-12), found)
        known, reach = known | fresh, 2 * reach
    return found


def draw_alone(fitted: FittedScenes, record: LayerRecord) -> NDArray:
    """Each layer's sprite as placed, without its mask, (n, L, C, H, W) float32.

    Zero beyond the sprite's frame, and where a layer is empty.
    """
    spec = fitted.spec
    shape = (len(record), *record.sprite.shape[1:], spec.channels)
    drawn = np.zeros((*shape, spec.height, spec.width), np.float32)
    with isolated(grad=False):
        sprites = torch.from_numpy(np.array(fitted.sprites, np.float32))
        planes = torch.cat([unmasked(sprites), torch.ones_like(sprites[:, :1])], 1)
        pose = torch.from_numpy(np.array(record.pose(), np.float32))
        spline = torch.from_numpy(np.array(record.spline, np.float32))
        for image, layer in zip(*np.nonzero(record.sprite >= 0), strict=True):
            index = torch.tensor([int(record.sprite[image, layer])])
            at = pose[image : image + 1, layer], spline[image : image + 1, layer]
            one = place_bent(planes, index, *at, spec.height, spec.width)[0].numpy()
            gain, bias = record.gain[image, layer], record.bias[image, layer]
            drawn[image, layer] = gain[:, None, None] * one[:-1]
            drawn[image, layer] += bias[:, None, None] * one[-1:]
    return drawn
