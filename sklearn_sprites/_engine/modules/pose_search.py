"""Poses found by aligning every image, where no network can tell them exactly.

Things that lie in any turn look alike but for an angle of which a few degrees matter.
All turns are compared by a matrix product, and the best ones are made exact.
"""

import torch
from torch import Tensor, nn

from sklearn_sprites._engine.modules.families import family_of, to_parameters
from sklearn_sprites._engine.modules.turns import with_turns
from sklearn_sprites._engine.ops.alignment import Family, Poses, poses
from sklearn_sprites._engine.ops.resizing import resized
from sklearn_sprites._engine.ops.sampling import make_grid

ALIGNED = 12  # sprites to which an image is aligned; the others turn only


class PoseSearch(nn.Module):
    """Parameters of one rigid transformation, for every image and sprite.

    Large images and sprites are reduced to `size` = (height, width) first.
    """

    weight: Tensor

    def __init__(
        self, name: str, freedom: int, size: tuple[int, int], device: torch.device
    ) -> None:
        super().__init__()
        self.name, self.freedom, self.size = name, freedom, size
        self.grid = make_grid(*size, device=device, dtype=torch.float32)
        #: What mean squared errors weigh against the prior.
        self.register_buffer("weight", torch.ones((), device=device))

    @property
    def family(self) -> Family:
        """What images are aligned with."""
        return with_turns(family_of(self.name, self.freedom, self.weight, self.grid))

    def align(self, images: Tensor, sprites: Tensor, count: int = ALIGNED) -> Poses:
        """Align images (m, C, H, W) to sprites (K, C, H, W)."""
        small = resized(images, self.size).flatten(2)
        return poses(small, resized(sprites, self.size), self.family, count)

    def n_values(self, images: Tensor) -> int:
        """How many values of an image are compared."""
        return images.shape[1] * self.size[0] * self.size[1]

    def told(self, found: Poses) -> Tensor:
        """Parameters (m, K, p) of poses."""
        shape = (*found.matrices.shape[:2], -1)
        matrices = found.matrices.flatten(0, 1)
        return to_parameters(self.name, matrices, self.family).view(shape)

    def forward(self, images: Tensor, sprites: Tensor) -> Tensor:
        """Parameters (m, K, p)."""
        return self.told(self.align(images, sprites))
