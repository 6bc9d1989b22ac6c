"""What images say about masks and appearances of sprites, with everything else fixed.

A layer of tint g shows ``free (g a m + (1 - m) behind)``, with mask m and appearance a,
and perhaps a bias times m.
That is affine in m, and in a where m is known: both are least squares over all places
where the sprite is shown, each sampled into the sprite's frame.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.ground import image_of
from sklearn_sprites._engine.search.layers import (
    Layers,
    Picture,
    layer_biases,
    layer_colors,
)
from sklearn_sprites._engine.search.polish import hidden_by
from sklearn_sprites._engine.search.poses import place
from sklearn_sprites._engine.training.scene_evidence import into_frame

UNEXPLAINED = 0.03  # share of a layer's energy that any sprite may leave
FAINT = 0.05  # squared error of a layer that is nothing
SPREAD = 5  # pixels over which an appearance reaches beyond its mask


class Evidence(NamedTuple):
    """What layers say about their sprites, and how much it counts.

    ``sums`` (B, L, 4, h, w): numerator and denominator of the mask, then those of the
    appearance; ``weight`` (B, L), one over what each layer leaves unexplained;
    ``left`` (B, L), what that is relative to what it explains and leaves.
    """

    sums: Tensor
    weight: Tensor
    left: Tensor


def appearance(planes: Tensor) -> Tensor:
    """Appearance (K, h, w) of sprites (K, 2, h, w), reaching beyond their masks."""
    wide = F.avg_pool2d(planes, SPREAD, 1, SPREAD // 2, count_include_pad=False)
    mean = planes.mean((2, 3), keepdim=True)
    ink, alpha = (1e-3 * mean + 0.05 * wide + planes).unbind(1)
    return ink / alpha.clamp_min(1e-6)


def shaded_evidence(
    views: Tensor,
    layers: Layers,
    found: Picture,
    planes: Tensor,
    spec: SceneSpec,
) -> Evidence:
    """Evidence of a batch of views; `planes` (K, 2, h, w) are the sprites drawn."""
    images, colors = image_of(views, spec), layer_colors(found, spec)
    biases = layer_biases(found, spec)
    biases = torch.zeros_like(colors) if biases is None else biases
    rows, columns = images.shape[2:]
    sides = (planes.shape[2], planes.shape[3])
    shades = place(
        appearance(planes)[:, None], layers.sprite, layers.pose, rows, columns
    )
    left = (images - found.image).square().sum(1)
    sums, weights, shares = [], [], []
    for i in range(spec.n_layers):
        free, behind = hidden_by(views, found, spec, i)
        tint, alpha = colors[:, i, :, None, None], found.alpha[:, i, None]
        bias = free[:, None] * biases[:, i, :, None, None]
        shown = (free * found.ink[:, i])[:, None] * tint + alpha * bias
        without = images - found.image + shown  # (1 - m) behind is still in the image
        contrast = free[:, None] * tint * shades[:, i] + bias - behind
        rest = without - alpha * behind
        target, power = without - alpha * bias, free[:, None] * alpha * tint
        maps = [
            (rest * contrast).sum(1),
            contrast.square().sum(1),
            (target * power).sum(1),
            power.square().sum(1),
        ]
        pose = layers.pose[:, i]
        sums.append(into_frame(torch.stack(maps, 1), pose, sides))
        seen = free * found.alpha[:, i]
        energy = (seen * (images - behind).square().sum(1)).sum((1, 2))
        error = (seen * left).sum((1, 2))
        weights.append(1 / (error + UNEXPLAINED * energy + FAINT))
        shares.append(error / (energy + FAINT))
    return Evidence(*(torch.stack(part, 1) for part in (sums, weights, shares)))
