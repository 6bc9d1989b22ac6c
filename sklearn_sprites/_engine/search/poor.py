"""Images that their layers explain poorly, and are searched again."""

from torch import Tensor

from sklearn_sprites._engine.search_settings import SearchPlan


def is_poor(
    error: Tensor,
    blank: Tensor,
    search: SearchPlan,
    penalty: float,
    factor: float = 1.0,
) -> Tensor:
    """Whether the squared error is high for what all layers save, (B,), by some factor.

    `blank` (B,) is the error without any layer.
    """
    saved = blank - error
    return (error > factor * search.poor * saved) & (error > penalty)
