"""Poses found by aligning every image, where no network can tell them exactly.

Things that lie in any turn look alike but for an angle of which a few degrees matter.
All turns are compared by a matrix product, and the best ones are made exact.
"""

import torch
from torch import Tensor, nn

from sklearn_sprites._engine.modules.families import family_of, to_parameters
from sklearn_sprites._engine.modules.turns import with_shifts, with_turns
from sklearn_sprites._engine.ops import alignment, layered_alignment
from sklearn_sprites._engine.ops.alignment import Family, Poses
from sklearn_sprites._engine.ops.layered_alignment import Behind
from sklearn_sprites._engine.ops.resizing import resized
from sklearn_sprites._engine.ops.sampling import make_grid

ALIGNED = 12  # sprites to which an image is aligned; the others turn only


class PoseSearch(nn.Module):
    """Parameters of one rigid transformation, for every image and sprite.

    Large images and sprites are reduced to `size` = (height, width) first. `freedoms`
    are those of the colors of sprites and of backgrounds.
    """

    weight: Tensor

    def __init__(
        self,
        name: str,
        freedoms: tuple[int, int],
        size: tuple[int, int],
        device: torch.device,
    ) -> None:
        super().__init__()
        self.name, self.freedoms, self.size = name, freedoms, size
        self.grid = make_grid(*size, device=device, dtype=torch.float32)
        #: What mean squared errors weigh against the prior.
        self.register_buffer("weight", torch.ones((), device=device))

    @property
    def family(self) -> Family:
        """What images are aligned with."""
        return with_turns(
            family_of(self.name, self.freedoms[0], self.weight, self.grid)
        )

    def align(
        self,
        images: Tensor,
        sprites: Tensor,
        backgrounds: Tensor | None = None,
        count: int = ALIGNED,
    ) -> Poses:
        """Align images (m, C, H, W) to opaque sprites (K, C, H, W).

        Or to sprites with masks (K, C + 1, H, W) over backgrounds (M, C, H, W).
        """
        small = resized(images, self.size).flatten(2)
        fronts = resized(sprites, self.size)
        if backgrounds is None:
            return alignment.poses(small, fronts, self.family, count)
        fronts = torch.cat([fronts[:, :-1], fronts[:, -1:].clamp(0, 1)], 1)
        backs = resized(backgrounds, self.size).flatten(2)
        behind = Behind(backs, self.freedoms)
        family = self.family if self.name == "rotation" else with_shifts(self.family)
        return layered_alignment.poses(small, fronts, behind, family, count)

    def n_values(self, images: Tensor) -> int:
        """How many values of an image are compared."""
        return images.shape[1] * self.size[0] * self.size[1]

    def told(self, found: Poses) -> Tensor:
        """Parameters (m, K, p) of poses."""
        shape = (*found.matrices.shape[:2], -1)
        matrices = found.matrices.flatten(0, 1)
        return to_parameters(self.name, matrices, self.family).view(shape)

    def forward(
        self, images: Tensor, sprites: Tensor, backgrounds: Tensor | None = None
    ) -> Tensor:
        """Parameters (m, K, p)."""
        return self.told(self.align(images, sprites, backgrounds))
