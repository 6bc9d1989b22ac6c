"""All poses of an image together, at full resolution, by Gauss-Newton.

With the others fixed, a composite is affine in a layer's alpha (and ink): what a change
of a pose does to the image is the change of its mask times the contrast between the
composites with and without the layer. Layers overlap in few pixels, so each layer takes
its own damped step; all of them are kept where the error falls.
"""

import torch
from torch import Tensor

from sklearn_sprites._engine.ops.layers import compose, flat, free_share
from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.layers import (
    Layers,
    Picture,
    Sprites,
    draw,
    layer_colors,
    pick,
    picture,
)
from sklearn_sprites._engine.search.poses import pixel_centers
from sklearn_sprites._engine.search.refine import Slopes, draw_slopes, stepped

DAMPINGS = (0.05, 0.3, 3.0)  # of the diagonal: as it is, after one failure, after more


def hidden_by(found: Picture, spec: SceneSpec, i: int) -> tuple[Tensor, Tensor]:
    """What layer i stands before, and how free it is.

    The composite is ``above + free (ink color + (1 - alpha) behind)`` in layer i:
    returns ``free`` (B, H, W) and ``free * behind`` (B, C, H, W).
    """
    ink, alpha = found.ink.clone(), found.alpha.clone()
    alpha[:, i] = 0
    ink[:, i] = 0
    free = free_share(alpha, found.over)
    over = found.over[:, i, :, None, None]  # layers that i hides
    planes = free * ink * over
    colors = layer_colors(found, spec)
    behind = compose(planes, colors)
    if spec.n_backgrounds:
        clear = (1 - alpha).prod(1, keepdim=True)
        behind = behind + clear * found.colors[:, 0, :, None, None]
    return free[:, i], behind


def normal_step(
    images: Tensor,
    layers: Layers,
    found: Picture,
    slopes: Slopes,
    spec: SceneSpec,
    damping: Tensor,
) -> Tensor:
    """Poses (B, L, 4) after a step of every layer on its own."""
    rows, columns = images.shape[2:]
    centers = pixel_centers(rows, columns, 1, images)
    drawn = draw_slopes(slopes, layers.sprite, layers.pose, centers)
    left = flat(images - found.image)
    colors = layer_colors(found, spec)
    q = len(slopes.active)
    matrices, rights = [], []
    for i in range(spec.n_layers):
        free, behind = (flat(t) for t in _planes(hidden_by(found, spec, i)))
        by_alpha = flat(drawn.alpha_jacobian[:, i].unflatten(2, (rows, columns)))
        by_ink = flat(drawn.ink_jacobian[:, i].unflatten(2, (rows, columns)))
        by_ink = by_ink * free
        matrix = images.new_zeros((len(images), q, q))
        right = images.new_zeros((len(images), q))
        for c in range(images.shape[1]):
            gain = colors[:, i, c, None, None]
            jacobian = gain * by_ink - behind[:, c, None] * by_alpha  # (B, Q, P)
            matrix += jacobian @ jacobian.transpose(1, 2)
            right += (jacobian * left[:, c, None]).sum(2)
        matrices.append(matrix)
        rights.append(right)
    return stepped(
        layers.pose, torch.stack(matrices, 1), torch.stack(rights, 1), slopes, damping
    )


def _planes(pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return pair[0][:, None], pair[1]


def polish(
    images: Tensor,
    layers: Layers,
    sprites: Sprites,
    slopes: Slopes,
    spec: SceneSpec,
    steps: int,
) -> Layers:
    """Layers with better poses."""
    rows, columns = images.shape[2:]
    found = picture(images, draw(sprites, layers, rows, columns), layers.over, spec)
    failed = torch.zeros_like(layers.sprite[:, 0])
    dampings = torch.tensor(DAMPINGS).to(images)
    for _ in range(steps):
        damping = dampings[failed.clamp(max=len(DAMPINGS) - 1)][:, None, None]
        pose = normal_step(images, layers, found, slopes, spec, damping)
        moved = layers._replace(pose=pose)
        other = picture(images, draw(sprites, moved, rows, columns), layers.over, spec)
        better = other.error < found.error
        failed = torch.where(better, failed, failed + 1)
        layers = layers._replace(pose=pick(better, pose, layers.pose))
        found = Picture(
            *(pick(better, n, o) for n, o in zip(other, found, strict=True))
        )
    return layers
