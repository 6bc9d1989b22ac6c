"""Images that their layers explain poorly, and are searched again."""

from torch import Tensor

from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.ground import image_of
from sklearn_sprites._engine.search_settings import SearchPlan

MEDIAN = 0.4549  # of the square of a normal deviate
DIFFERENCES = 4  # independent values that each of them is made of


def is_poor(
    error: Tensor,
    blank: Tensor,
    noise: Tensor,
    search: SearchPlan,
    penalty: float,
    factor: float = 1.0,
) -> Tensor:
    """Whether the squared error is high for what all layers save, (B,), by some factor.

    `blank` (B,) is the error without any layer. What is `noise` (B,) no layer explains.
    """
    left = error - noise
    return (left > factor * search.poor * (blank - error)) & (left > penalty)


def noise_error(views: Tensor, spec: SceneSpec) -> Tensor:
    """Squared error (B,) of the noise of images, which no layers explain.

    What differs in a pixel from both its row and its column; the median of these
    differences, as edges are few.
    """
    images = image_of(views, spec)
    apart = images.diff(dim=2).diff(dim=3).square().flatten(2)
    if not apart.shape[2]:
        return images.new_zeros(len(images))
    variance = apart.median(2).values / (MEDIAN * DIFFERENCES)
    return variance.sum(1) * images[0, 0].numel()
