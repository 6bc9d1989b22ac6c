"""Layers over each other: what is visible, in which colors, and who hides whom.

Convention
----------
``alpha`` (B, L, H, W) are the masks of the layers, ``ink`` (B, L, H, W) their gray
appearance times their mask (a flat layer's ink is its mask). ``over`` (B, L, L) is one
where layer i hides layer j. A layer shows ``free_l ink_l color_l`` with
``free_l = prod_j (1 - over_jl alpha_j)``; the background shows through
``prod_j (1 - alpha_j)``. Planes (B, R, H, W) are what colors multiply.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from sklearn_sprites._engine.ops.linear import solve_columns

RIDGE = 1e-2  # squared pixels: the color of what is hardly seen goes to zero
LINE = 16  # floats per cache line
CLEARLY = 0.03  # squared error of a pixel that a layer clearly does not explain
FAINT = 1e-3  # alpha below which an appearance is not divided by it


def free_share(alpha: Tensor, over: Tensor) -> Tensor:
    """Share of each pixel where nothing hides a layer, (B, L, H, W)."""
    if not alpha.shape[1]:
        return alpha
    hides = over[..., None, None].unbind(1)  # that of a layer and itself is zero
    masks = alpha[:, None].unbind(2)  # views of all at once: small steps add up
    hidden = hides[0] * masks[0]
    free = 1 - hidden
    # in place, as memory is slower than arithmetic, but where gradients need the steps
    has_gradient = alpha.requires_grad or over.requires_grad
    spare, same = (None, None) if has_gradient else (hidden, free)
    for hide, mask in zip(hides[1:], masks[1:], strict=True):
        hidden = torch.mul(hide, mask, out=spare)
        free = torch.addcmul(free, free, hidden, value=-1, out=same)
    return free


def clear_share(alpha: Tensor) -> Tensor:
    """Share of each pixel where the background shows, (B, 1, H, W)."""
    return (1 - alpha).prod(1, keepdim=True)


def flat(maps: Tensor) -> Tensor:
    """Pixels of maps (B, R, H, W) in a row, (B, R, P), with zeros up to whole lines.

    Matrix products sum in an order that depends on where in memory a row begins.
    """
    row = maps.flatten(2)
    missing = -row.shape[2] % LINE
    return F.pad(row, (0, missing)) if missing else row.contiguous()


def solve_planes(
    planes: Tensor, target: Tensor, ridge: Tensor | float = RIDGE
) -> Tensor:
    """Colors (B, R, C) whose sum over planes comes closest to target (B, C, H, W).

    `ridge`, one number or (R,), pulls colors to zero.
    """
    a = flat(planes)
    gram = a @ a.mT
    gram.diagonal(dim1=1, dim2=2).add_(ridge)
    right = a @ flat(target).mT  # (B, R, C)
    return solve_columns(gram, right) if a.shape[1] else right


def compose(planes: Tensor, colors: Tensor) -> Tensor:
    """Sum over planes (B, R, H, W) of colors (B, R, C): (B, C, H, W)."""
    rows, columns = planes.shape[2:]
    mixed = colors.mT @ flat(planes)
    return mixed[..., : rows * columns].view(*mixed.shape[:2], rows, columns)


@torch.no_grad()
def solve_order(
    alpha: Tensor,
    ink: Tensor,
    colors: Tensor,
    target: Tensor,
    biases: Tensor | None = None,
) -> Tensor:
    """In each overlap, the layer that explains the image better is on top, (B, L, L).

    Where two are equally good, the later one is. `colors` and `biases` (B, L, C).
    """
    mask, channels = flat(alpha), flat(target)[:, :, None].unbind(1)
    shade = flat(ink / alpha.clamp_min(FAINT))  # (B, L, P)
    gains = colors[..., None].unbind(2)
    added = gains if biases is None else biases[..., None].unbind(2)
    error, left = torch.zeros_like(mask), torch.empty_like(mask)
    for channel, gain, bias in zip(channels, gains, added, strict=True):
        torch.mul(shade, gain, out=left)  # in place: memory is slow
        torch.sub(channel, left, out=left)
        if biases is not None:
            left -= bias
        error.addcmul_(left, left)
    return order_by_errors(mask, error)


def order_by_errors(mask: Tensor, error: Tensor) -> Tensor:
    """The same from masks (B, L, P) and each layer's squared errors (B, L, P)."""
    wrong = error + CLEARLY  # what neither explains, a third one hides
    torch.div(error, wrong, out=wrong)
    left = wrong.mul_(mask) @ mask.mT  # (B, L, L)
    below = torch.ones_like(left).tril(-1)
    other = left.mT
    return torch.where(left == other, below, (left < other).to(left))
