"""Whether things in scenes recur in several colors of their own."""

import torch
from torch import Tensor

from sklearn_sprites._engine.runtime import isolated
from sklearn_sprites._engine.training.components import Windows, object_windows
from sklearn_sprites._engine.training.first_look import FirstLook

FEWEST = 20  # objects that stand alone
MOST = 400
SEVERAL = 0.008  # share of an object's squares that no tint of a gray picture explains
MEDIAN = 0.8  # of the squares of normal noise in three channels, in their means
TWIN = 0.02  # squared difference of an object and the most similar one, relative to it


def recur_in_colors(look: FirstLook) -> bool:
    """Whether most objects that stand alone have several colors, and twins.

    What differs by tints, sizes or angles from image to image has no twins; what is of
    one color needs none of its own.
    """
    if look.spec.channels == 1:
        return False
    with isolated(grad=False):
        windows = object_windows(look.views, look.spec)
        if len(windows) < FEWEST:
            return False
        windows = windows.take(torch.arange(min(len(windows), MOST)))
        several = beyond_tints(windows).median() > SEVERAL
        return bool(several and twin_distances(windows).median() < TWIN)


def beyond_tints(windows: Windows) -> Tensor:
    """Share of the squares of each object that one gray picture in a tint leaves.

    A gray picture of light, or of opacity: at the edges of things in one color there
    is some of the ground, and they differ from it in one direction.
    """
    seen = (windows.image, windows.image - windows.ground)
    return torch.minimum(*(_off_one_line(each, windows.mask) for each in seen))


def _off_one_line(image: Tensor, mask: Tensor) -> Tensor:
    """Share of the squares (n,) that colors off one line through black have."""
    inside = (image * mask[:, None]).flatten(2)  # (n, C, P)
    squares = torch.linalg.eigvalsh(inside @ inside.transpose(1, 2)).clamp_min(0)
    return 1 - squares[:, -1] / squares.sum(1).clamp_min(1e-9)


def twin_distances(windows: Windows) -> Tensor:
    """Squared distance of each object to the most similar other, relative to it.

    Without the part that is noise, as much as there is on the ground beside objects.
    """
    apart, mask = windows.image - windows.ground, windows.mask[:, None]
    beside = apart.square().sum(1)[windows.mask == 0]
    noise = beside.median() / MEDIAN if len(beside) else beside.sum()
    apart = (apart * mask).flatten(1)
    squares = apart.square().sum(1)
    distance = squares[:, None] + squares - 2 * apart @ apart.T
    distance.fill_diagonal_(torch.inf)
    rest = distance.min(1).values - 2 * noise * mask.sum((1, 2, 3))
    return rest.clamp_min(0) / squares.clamp_min(1e-9)
