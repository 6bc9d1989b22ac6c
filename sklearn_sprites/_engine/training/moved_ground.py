"""Backgrounds that are moved and bent, as images show them."""

from torch import Tensor

from sklearn_sprites._engine.modules.ground_head import GroundPose
from sklearn_sprites._engine.ops.sampling import make_grid, pad_to_canvas, sample
from sklearn_sprites._engine.search.poses import pixel_axes, sprite_points
from sklearn_sprites._engine.search.splines import bent_points

BORDER = "border"  # beyond a background lie its outermost pixels


def moved_ground(backgrounds: Tensor, where: GroundPose) -> Tensor:
    """The background (1, C, H, W) at poses (B, Q), bent: (1 or B, C, H, W).

    Read at displacements from the center of each pixel, so that zero parameters change
    nothing to the last bit.
    """
    pose = where.pose
    if not pose.shape[1]:
        return backgrounds
    sides = (backgrounds.shape[2], backgrounds.shape[3])
    axes = pixel_axes(*sides, 1, pose)
    still = pose.new_zeros(pose.shape)
    still[:, 0], still[:, 1] = sides[1] / 2, sides[0] / 2
    own = sprite_points(axes, still, sides)
    seen = bent_points(sprite_points(axes, pose, sides), where.spline, sides)
    flow = (seen - own).movedim(3, 1).flatten(2)  # (B, 2, P)
    grid = make_grid(*sides, device=pose.device, dtype=pose.dtype)
    canvas = pad_to_canvas(backgrounds, BORDER).expand(len(pose), -1, -1, -1)
    return sample(canvas, flow, grid, BORDER)
