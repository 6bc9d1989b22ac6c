"""What catches the eye in a view, whatever its colors are."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils import convert_conv2d_weight_memory_format

from sklearn_sprites._engine.modules.maps import AbstractMaps
from sklearn_sprites._engine.scene_spec import SceneSpec

CLEAR = 0.01  # squared difference of colors that is seen half
EVERY = 4  # pixels between those whose median is the level of a background


def n_cues(spec: SceneSpec) -> int:
    """Number of maps of cues."""
    return spec.channels + 3


def cues(views: Tensor, spec: SceneSpec) -> Tensor:
    """Maps (B, C + 3, H, W) of views (B, D, H, W).

    The difference of the image from its ground, how clear it is, and how clear edges
    are, between a pixel and the next, across and down.
    """
    image = views[:, : spec.channels]
    far = image - _ground(views, spec)
    across = _clear(image[..., 1:] - image[..., :-1], (0, 1))
    down = _clear(image[..., 1:, :] - image[..., :-1, :], (0, 0, 0, 1))
    return torch.cat([far, _clear(far), across, down], 1)


def _ground(views: Tensor, spec: SceneSpec) -> Tensor | float:
    if spec.has_picture:
        return views[:, spec.channels :]
    if not spec.n_backgrounds:
        return 0.0
    some = views[..., ::EVERY, ::EVERY].flatten(2)
    return some.median(2).values[..., None, None]


def _clear(difference: Tensor, missing: tuple[int, ...] = (0, 0)) -> Tensor:
    """From zero to nearly one, (B, 1, H, W); `missing` pixels are not clear."""
    square = F.pad(difference.square().sum(1, keepdim=True), missing)
    return square / (square + CLEAR)


class CuedMaps(AbstractMaps):
    """Maps of the cues of views."""

    def __init__(self, maps: AbstractMaps, spec: SceneSpec) -> None:
        super().__init__()
        self.maps, self.spec, self.stride = maps, spec, maps.stride
        convert_conv2d_weight_memory_format(maps, torch.channels_last)  # quicker

    def forward(self, images: Tensor) -> Tensor:
        """Views (B, D, H, W) to maps."""
        found = cues(images, self.spec).contiguous(memory_format=torch.channels_last)
        return self.maps(found)
