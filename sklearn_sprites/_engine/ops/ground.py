"""A picture behind the layers, as bright and as colored as it is in an image.

Convention
----------
A light (B, C, 6) says how much brighter the ground of an image is than its picture: the
coefficients, per channel, of :func:`light_basis` over the image, whose coordinates go
from -1 to 1 between the outer edges. The ground (B, C, H, W) is the picture times that
gain. All is per image: nothing depends on the other images of a batch.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from sklearn_sprites._engine.ops.layers import LINE, flat
from sklearn_sprites._engine.ops.linear import solve_symmetric

TERMS = 6  # 1, x, y, x^2, x y, y^2
SCALE = 4e-4  # squared error, summed over channels, of a pixel that is hardly ground
FIRST_SCALE = 1e-2
STEPS = 8
ENOUGH = 24  # pixels of a side that tell the light
RIDGE = 1e-4  # of the pixels: an unlit picture stays as it is
DARKEST = 0.85  # share of its light that the ground keeps in a shadow
SOFT = 3  # pixels of a side over which shadows are smooth
UNSHADED = 0.03  # share of a pixel that speaks against a shadow


def light_basis(images: Tensor) -> Tensor:
    """Smooth functions over images (..., H, W): (6, H, W)."""
    rows, columns = images.shape[-2:]

    def centers(n: int) -> Tensor:
        steps = torch.arange(n, dtype=images.dtype, device=images.device)
        return (2 * steps + 1) / n - 1

    y, x = torch.meshgrid(centers(rows), centers(columns), indexing="ij")
    return torch.stack([torch.ones_like(x), x, y, x * x, x * y, y * y])


def plain_light(like: Tensor) -> Tensor:
    """The light of pictures as they are, for images (B, C, H, W)."""
    light = like.new_zeros((*like.shape[:2], TERMS))
    light[..., 0] = 1
    return light


def lit(pictures: Tensor, light: Tensor) -> Tensor:
    """Pictures (B, C, H, W) in a light (B, C, 6)."""
    gain = light @ flat(light_basis(pictures)[None])[0]  # (B, C, P)
    pixels = pictures.shape[2] * pictures.shape[3]
    return pictures * gain[..., :pixels].view_as(pictures)


def doubt(images: Tensor, ground: Tensor, scale: float) -> Tensor:
    """Squared error over channels in units of `scale`: (B, C, ...) to (B, ...)."""
    return (images - ground).square().sum(1) / scale


def solve_light(images: Tensor, terms: Tensor, weight: Tensor) -> Tensor:
    """Light (B, C, 6) of weighted least squares.

    Of images (B, C, P) as sums of terms (B, C, 6, P), the picture times the basis;
    weight (B, P).
    """
    weighted = terms * weight[:, None, None]
    gram = weighted @ terms.mT  # (B, C, 6, 6)
    left = images - terms[:, :, 0]  # the picture as it is
    right = (weighted @ left[..., None])[..., 0]
    ridge = RIDGE * (weight.sum(1) + LINE)[:, None, None, None]
    gram = gram + ridge * torch.eye(TERMS, dtype=gram.dtype, device=gram.device)
    return plain_light(images) + solve_symmetric(gram, right)


def fit_light(images: Tensor, pictures: Tensor) -> Tensor:
    """Light (B, C, 6) of what most pixels of images show.

    Least squares in which pixels of large error lose weight (Geman-McClure), at a
    scale that shrinks from step to step. Pictures (B, C, H, W). A light is smooth, so
    rows and columns of pixels are left out of large images.
    """
    every = max(1, min(images.shape[2:]) // ENOUGH)
    some = slice(every // 2, None, every)
    basis = light_basis(images)[..., some, some]
    seen = flat(images[..., some, some])
    terms = pictures[..., some, some][:, :, None] * basis
    terms = flat(terms.flatten(1, 2)).unflatten(1, (-1, TERMS))  # (B, C, 6, P)
    light = plain_light(images)
    for step in range(STEPS):
        share = step / (STEPS - 1)
        scale = FIRST_SCALE ** (1 - share) * SCALE**share
        far = doubt(seen, (light[:, :, None] @ terms)[:, :, 0], scale)
        light = solve_light(seen, terms, 1 / (1 + far).square())
    return light


def shaded(images: Tensor, ground: Tensor, darkest: float = DARKEST) -> Tensor:
    """The ground, as dark around each pixel as comes closest to the image.

    A shadow darkens all channels by one factor, from `darkest` to 1. Its edges are
    soft, unlike those of objects: the factor is a mean over pixels that such a factor
    explains, and 1 where there are none. So the mixed pixels at the outline of an
    object, darker than the ground, are no shadow. (B, C, H, W)
    """
    along = (images * ground).sum(1, keepdim=True)
    power = ground.square().sum(1, keepdim=True).clamp_min(1e-6)
    factor = (along / power).clamp(darkest, 1)
    far = doubt(images, ground * factor, SCALE)[:, None]
    weight = 1 / (1 + far).square()
    near = F.avg_pool2d(torch.cat([weight * factor, weight], 1), SOFT, 1, SOFT // 2)
    light, count = near.split(1, 1)
    return ground * ((light + UNSHADED) / (count + UNSHADED))
