"""Candidates that show a gain times their appearance, and a bias where they are.

So a sprite of two tones can be shown in any two colors.
"""

import torch
from torch import Tensor

from sklearn_sprites._engine.ops.layers import RIDGE
from sklearn_sprites._engine.ops.linear import solve_symmetric
from sklearn_sprites._engine.search.layers import PLAIN


def explained_with_bias(
    both: Tensor, alpha: Tensor, ink: Tensor, weight: Tensor
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Squared errors (B, N, P) left in the best gains and biases, and products.

    `both` (B, N, 2 C, P) are the residual r and what is below b; a candidate makes it
    r + alpha b - ink c - alpha d, in gains c and biases d. The products, over channels,
    are those of c and b - d with themselves, each other and what is left.
    """
    r, b = both.chunk(2, 2)
    target = r + alpha[:, :, None] * b
    planes = torch.stack([ink, alpha], 2)
    heavy = weight[:, :, None] * planes
    ridge = torch.diag(planes.new_tensor([PLAIN, RIDGE]))
    gram = heavy @ planes.mT + ridge
    right = target @ heavy.mT  # (B, N, C, 2)
    colors = solve_symmetric(gram[:, :, None], right)
    left = target - colors @ planes
    gain, bias = colors[..., :1], colors[..., 1:]
    behind = b - bias
    return left.square().sum(2), (
        gain.square().sum(2),
        (gain * behind).sum(2),
        behind.square().sum(2),
        (gain * left).sum(2),
        (behind * left).sum(2),
    )


def contrast_filters(ink: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
    """What of ink (F, h, w) no bias explains, and its power, both (F, h w)."""
    ink, alpha = ink.flatten(1), alpha.flatten(1)
    total = alpha.sum(1, keepdim=True).clamp_min(1e-3)
    contrast = ink - alpha * (ink.sum(1, keepdim=True) / total)
    return contrast, contrast.square() / alpha.clamp_min(1e-3)


def contrast_saving(patches: Tensor, contrast: Tensor, power: Tensor) -> Tensor:
    """About what gains save beside biases, for patches (B, C + 2, N, P): (B, N, F)."""
    seen = patches[:, 1:-1] @ contrast.T
    return seen.square().sum(1) / (patches[:, -1] @ power.T).clamp_min(PLAIN)
