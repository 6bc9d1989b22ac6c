"""Growing what is bright by parts of a pixel: strokes of other pens.

Convention
----------
The slope of an image is how steep it is, in values per pixel: the length of its
gradient, from differences between pixels `step` before and after. An image grown by
``t`` pixels is ``image + t slope``, to first order the image whose outlines have moved
outward by ``t``; with a negative ``t`` what is bright shrinks. Zeros change nothing,
exactly.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sklearn_sprites._engine.ops.color import (
    RIDGE,
    Freedom,
    as_one_channel,
    best_gain,
)

FLAT = 1e-3  # values per pixel, below which slopes are rounded off
PRIOR = 0.002  # mean squared error that the square of one pixel is worth
LARGEST = 1.0  # growth that is solved, in steps
STEPS_PER_SIDE = 32  # how many steps a shorter side has, at least


def step_of(height: int, width: int) -> int:
    """Pixels between which slopes are measured."""
    return max(min(height, width) // STEPS_PER_SIDE, 1)


def slopes(images: Tensor, step: int) -> Tensor:
    """How steep (m, D, H, W) are, in values per pixel; borders are repeated."""
    span, flat = 2 * step, images.new_full((), FLAT**2)
    padded = F.pad(images / span, (step,) * 4, mode="replicate")
    inner = slice(step, -step)
    right = padded[..., inner, span:] - padded[..., inner, :-span]
    down = padded[..., span:, inner] - padded[..., :-span, inner]
    squared = torch.addcmul(flat, right, right).addcmul_(down, down)
    return squared.sqrt_() - FLAT  # in place where nothing that gradients need is lost


def grown(images: Tensor, params: Tensor, step: int) -> Tensor:
    """Images (m, D, H, W) grown by params (m, 1), in pixels."""
    return torch.addcmul(images, slopes(images, step), params[..., None, None])


@torch.no_grad()
def solve_growth(
    drawn: Tensor,
    slope: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    freedom: int,
    largest: float,
) -> tuple[Tensor, Tensor]:
    """By how many pixels `drawn` is to grow, (m, 1), and its colors then, (m, C, 2).

    What brings it closest to `target`; all are (m, C, P), and `weight` (m, 1, P), where
    given, sums to one over the pixels. Colors are the best ones of what is grown.
    Growth, at most `largest`, is solved together with them: exact for one channel or
    one color of all of them; of several, gains are those before growing.
    """
    channels = drawn.shape[1]
    if freedom == Freedom.LIGHT:
        if weight is not None:
            weight = weight.repeat(1, 1, channels) / channels
        drawn, slope, target = map(as_one_channel, (drawn, slope, target))
    moments = _moments(
        drawn, slope, target, weight, is_centered=freedom >= Freedom.FULL
    )
    power, steep, common, seen, told = moments.products
    if not freedom:
        growth = (told - common).mean(-1) / (steep + PRIOR).mean(-1)
        growth = growth.clamp(-largest, largest)[:, None]
        return growth, torch.zeros_like(power)[..., None].expand(-1, -1, 2)
    gain = 1 + best_gain(power, seen)
    square, pulled = gain.square(), power.clamp_min(0) + RIDGE
    left = steep - common.square() / pulled + PRIOR
    over = (gain * (told - gain * common)).mean(-1)
    growth = over / (square * left).mean(-1).clamp_min(RIDGE * PRIOR)
    # A gain falls by what slopes have in common with what is drawn.
    share = (square * common).mean(-1)
    share = share / (square * pulled).mean(-1).clamp_min(RIDGE**2)
    growth = growth / (1 - growth * share).clamp_min(0.5)
    growth = growth.clamp(-largest, largest)[:, None]
    power = power + growth * (2 * common + growth * steep)
    change = best_gain(power, seen + growth * told)
    bias = torch.zeros_like(change)
    if moments.means is not None:
        mean, mean_slope, aim = moments.means
        bias = aim - (1 + change) * (mean + growth * mean_slope)
    return growth, torch.stack([change, bias], -1).expand(-1, channels, -1)


class Moments(NamedTuple):
    """Averages over pixels, (m, C) each, of what is drawn, its slope and the target.

    ``products``: drawn with itself, slope with itself, drawn with slope, drawn with
    target, slope with target; of what differs from the ``means``, where there are any.
    """

    products: Sequence[Tensor]
    means: Sequence[Tensor] | None


def _moments(
    drawn: Tensor,
    slope: Tensor,
    target: Tensor,
    weight: Tensor | None,
    *,
    is_centered: bool,
) -> Moments:
    share, steep = (x if weight is None else weight * x for x in (drawn, slope))

    def mean(values: Tensor) -> Tensor:
        return values.mean(-1) if weight is None else values.sum(-1)

    products = (
        mean(share * drawn),
        mean(steep * slope),
        mean(share * slope),
        mean(share * target),
        mean(steep * target),
    )
    if not is_centered:
        return Moments(products, None)
    aim = target if weight is None else weight * target
    a, b, c = mean(share), mean(steep), mean(aim)
    squares = (a * a, b * b, a * b, a * c, b * c)
    centered = [p - q for p, q in zip(products, squares, strict=True)]
    return Moments(centered, (a, b, c))
