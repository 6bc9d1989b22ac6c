"""Learned dilation and erosion, thinning and thickening strokes (DTI-Clustering).

Convention
----------
A pixel becomes the weighted mean of the ``k x k`` pixels around it, pixel ``j`` with
weight ``a_j exp(alpha x_j)``: a positive ``alpha`` prefers bright pixels (dilation), a
negative one dark pixels (erosion). Parameters are ``(m, 1 + k^2)``: ``alpha``, then one
number per window position, by rows. The weight of the window's centre is one whatever
its number is; the others are ``sigmoid(b - 5) - sigmoid(-5)`` where that is positive,
else zero. So zeros change nothing, exactly. Pixels outside the image have no weight.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

START = -5.0  # logit of a neighbour's weight at the start
LARGEST_EXPONENT = 60.0  # of exp(alpha x) over an image; beyond, alpha saturates


def morphological(images: Tensor, params: Tensor, kernel: int) -> Tensor:
    """Soft dilation or erosion of every channel by the image's own window weights.

    Parameters
    ----------
    images : (m, D, H, W)
    params : (m, 1 + kernel^2), see the module's convention.
    kernel : side k of the window, odd.

    Returns
    -------
    (m, D, H, W)
    """
    m, depth, height, width = images.shape
    weights = window_weights(params[:, 1:], kernel)  # (m, k^2)
    alpha = params[:, :1, None, None]  # (m, 1, 1, 1)
    still = images.detach()
    darkest, brightest = (
        extreme((2, 3), keepdim=True) for extreme in (still.amin, still.amax)
    )
    limit = LARGEST_EXPONENT / (brightest - darkest).clamp_min(1)  # (m, D, 1, 1)
    alpha = torch.clamp(alpha, -limit, limit)
    largest = torch.maximum(alpha * darkest, alpha * brightest).detach()
    mass = (alpha * images).sub_(largest).exp_()  # (m, D, H, W), at most 1
    # One image, one window: a convolution with as many groups as there are images.
    stacked = torch.stack([mass * images, mass]).view(2, m * depth, height, width)
    windows = weights.repeat_interleave(depth, 0).view(-1, 1, kernel, kernel)
    around = F.conv2d(stacked, windows, padding=kernel // 2, groups=m * depth)
    carried, neighbours = around.view(2, m, depth, height, width)
    # The mean, as a change of the centre: no neighbours, no change.
    change = torch.addcmul(carried, images, neighbours, value=-1)
    return images + change / (mass + neighbours)


def window_weights(params: Tensor, kernel: int) -> Tensor:
    """Weights of the window without its centre, (m, k^2), from (m, k^2) numbers.

    ``sigmoid(b - 5) - sigmoid(-5)``, written so that it is zero at zero exactly; the
    gradient passes at zero, where every weight starts.
    """
    positive = params.clamp(0, LARGEST_EXPONENT)
    start = 1 / (1 + math.exp(-START))
    weights = start * torch.expm1(positive) * torch.sigmoid(-START - positive)
    middle = torch.arange(kernel**2, device=params.device) == kernel**2 // 2
    return weights.masked_fill(middle, 0)
