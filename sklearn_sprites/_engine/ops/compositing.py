"""Alpha: how masks are clipped, and how a layer lies over what is behind it."""

from torch import Tensor

LEAK = 0.01  # slope outside [0, 1]: a clipped mask can still be pulled back


def softclip(x: Tensor) -> Tensor:
    """Clip to [0, 1] but for a slope of 0.01 outside (DTI-Sprites)."""
    inside = x.clamp(0, 1)
    return inside + LEAK * (x - inside)


def over(front: Tensor, alpha: Tensor, back: Tensor) -> Tensor:
    """``alpha front + (1 - alpha) back``; an alpha of one hides what is behind."""
    return back + alpha * (front - back)
