"""Sprites as published, appearance and alpha, and as searched with, ink and alpha."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.layers import Sprites

OPAQUE = 0.2  # share of a sprite's brightest ink from which on black it is opaque


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
    ink, alpha = sprites.ink, sprites.alpha
    shade = torch.where(alpha > 0, ink / alpha.clamp_min(1e-6), 0)
    if spec.color == "flat":
        shade = torch.ones_like(ink)
    parts = [shade[:, None].expand(-1, spec.channels, -1, -1), alpha[:, None]]
    return np.array(torch.cat(parts, 1).cpu().numpy(), dtype=np.float32)


def received(arrays: NDArray, spec: SceneSpec, device: str) -> Sprites:
    """The inverse of :func:`published`; an appearance in colors becomes gray."""
    values = torch.from_numpy(np.array(arrays, dtype=np.float32)).to(device)
    alpha = values[:, -1]
    if spec.color == "flat":
        return Sprites(alpha[:, None])
    shade = values[:, :-1].mean(1)
    return Sprites(torch.stack([shade * alpha, alpha], 1))


def pooled(arrays: NDArray, side: int) -> NDArray:
    """Published sprites (K, C + 1, h, w) in pixels of `side`."""
    if side == 1:
        return arrays
    values = torch.from_numpy(np.array(arrays, dtype=np.float32))
    alpha = values[:, -1:]
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
    shade = torch.where(alpha > 0, planes[:, :-1] / alpha.clamp_min(1e-6), 0)
    return np.array(torch.cat([shade, alpha], 1).numpy(), dtype=np.float32)
