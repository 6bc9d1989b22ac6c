"""Sprites as published, appearance and alpha, and as searched with, ink and alpha."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.layers import Sprites

OPAQUE = 0.2  # share of a sprite's brightest ink from which on black it is opaque
FAINT = 1e-3  # alpha up to which a sprite has no appearance of its own


def alpha_on_black(ink: Tensor) -> Tensor:
    """Alpha (K, h, w) of ink seen on black: opaque but where it is very dark."""
    brightest = ink.flatten(1).amax(1).clamp_min(1e-6)[:, None, None]
    return (ink / (OPAQUE * brightest)).clamp(0, 1)


def with_alpha(ink: Tensor, spec: SceneSpec) -> Sprites:
    """Sprites from their ink (K, h, w)."""
    if spec.color == "flat":
        return Sprites(ink[:, None])
    return Sprites(torch.stack([ink, alpha_on_black(ink)], 1))


def published(sprites: Sprites, spec: SceneSpec) -> NDArray:
    """Appearance in all channels and alpha, (K, C + 1, h, w) float32.

    The alpha of masks may leave [0, 1], see :class:`Sprites`.
    """
    alpha = sprites.alpha[:, None]
    shade = torch.ones_like(alpha)
    if spec.color != "flat":
        shade = appearance(sprites.planes[:, :-1], alpha)
    parts = [shade.expand(-1, spec.channels, -1, -1), alpha]
    return np.array(torch.cat(parts, 1).cpu().numpy(), dtype=np.float32)


def appearance(inks: Tensor, alpha: Tensor) -> Tensor:
    """Colors (K, C, h, w) of inks under alpha (K, 1, h, w), zero where it is faint."""
    return torch.where(alpha > FAINT, inks / alpha.clamp_min(FAINT), 0)


def received(arrays: NDArray, spec: SceneSpec, device: str) -> Sprites:
    """The inverse of :func:`published`; colors that are not kept become gray."""
    values = torch.from_numpy(np.array(arrays, dtype=np.float32)).to(device)
    alpha = values[:, -1]
    if spec.color == "flat":
        return Sprites(alpha[:, None])
    if spec.has_own_colors:
        return Sprites(torch.cat([values[:, :-1] * alpha[:, None], values[:, -1:]], 1))
    shade = values[:, :-1].mean(1)
    return Sprites(torch.stack([shade * alpha, alpha], 1))


def pooled(arrays: NDArray, side: int) -> NDArray:
    """Published sprites (K, C + 1, h, w) in pixels of `side`."""
    if side == 1:
        return arrays
    values = torch.from_numpy(np.array(arrays, dtype=np.float32))
    alpha = values[:, -1:].clamp(0, 1)
    small = F.avg_pool2d(torch.cat([values[:, :-1] * alpha, alpha], 1), side)
    return _divided(small)


def enlarged(arrays: NDArray, times: int) -> NDArray:
    """Published sprites (K, C + 1, h, w) in smaller pixels, smooth, of equal means."""
    if times == 1:
        return arrays
    values = torch.from_numpy(np.array(arrays, dtype=np.float32))
    planes = torch.cat([values[:, :-1] * values[:, -1:], values[:, -1:]], 1)
    smooth = torch.zeros_like(planes)
    for _ in range(4):
        smooth = smooth + planes - F.avg_pool2d(_interpolated(smooth, times), times)
    return _divided(_interpolated(smooth, times).clamp(0, 1))


def _interpolated(planes: Tensor, times: int) -> Tensor:
    return F.interpolate(planes, scale_factor=times, mode="bilinear")


def _divided(planes: Tensor) -> NDArray:
    """Appearance times alpha, and alpha, as published."""
    alpha = planes[:, -1:]
    whole = torch.cat([appearance(planes[:, :-1], alpha), alpha], 1)
    return np.array(whole.numpy(), dtype=np.float32)
