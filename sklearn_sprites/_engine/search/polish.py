"""All poses of an image together, at full resolution, by Gauss-Newton.

With the others fixed, a composite is affine in a layer's alpha (and ink): what a change
of a pose does to the image is the change of its mask times the contrast between the
composites with and without the layer. Layers overlap in few pixels, so each layer takes
its own damped step; all of them are kept where the error falls.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from sklearn_sprites._engine.ops.layers import (
    LINE,
    clear_share,
    compose,
    flat,
    free_share,
)
from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.ground import ground_of, image_of
from sklearn_sprites._engine.search.layers import (
    Layers,
    Picture,
    Sprites,
    choose_picture,
    draw,
    layer_biases,
    layer_colors,
    pick,
    picture,
    planes_of,
)
from sklearn_sprites._engine.search.mask_poses import cut_slopes
from sklearn_sprites._engine.search.moments import (
    Window,
    draw_window,
    equations,
    frames,
    look,
    make_steps,
    moved,
    seen_through,
    slope_maps,
)
from sklearn_sprites._engine.search.poses import pixel_axes
from sklearn_sprites._engine.search.refine import (
    Drawn,
    Slopes,
    Terms,
    draw_slopes,
    ink_equations,
    mask_equations,
    stepped,
)

OPAQUE = 0.02  # share of what is behind a layer below which it shows nothing
DAMPINGS = (0.05, 0.3, 3.0)  # of the diagonal: as it is, after one failure, after more


def hidden_by(
    images: Tensor, found: Picture, spec: SceneSpec, i: int
) -> tuple[Tensor, Tensor]:
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
    colors, biases = layer_colors(found, spec), layer_biases(found, spec)
    behind = compose(planes, colors)
    if biases is not None:
        behind = behind + compose(free * alpha * over, biases)
    clear = (1 - alpha).prod(1, keepdim=True)
    if spec.has_level:
        behind = behind + clear * found.colors[:, 0, :, None, None]
    if spec.has_picture:
        behind = behind + clear * ground_of(images, spec)
    return free[:, i], behind


def hidden_planes(found: Picture, spec: SceneSpec) -> tuple[Tensor, Tensor, Tensor]:
    """What layers hide, pictures apart: ``planes`` (B, R, P), ``weights`` (B, L C, R).

    It is ``weights @ planes``, times how free layers are, which is returned too.
    """
    colors, biases = layer_colors(found, spec), layer_biases(found, spec)
    hidden = found.over[..., None] * colors[:, None]  # (B, L, L, C): i hides j
    if biases is not None:
        hidden = torch.cat([hidden, found.over[..., None] * biases[:, None]], 2)
    if spec.has_level:
        level = found.colors[:, None, :1].expand(-1, spec.n_layers, -1, -1)
        hidden = torch.cat([level, hidden], 2)
    free = found.free
    planes = planes_of(found.drawn, free, spec)
    return flat(planes), hidden.mT.flatten(1, 2), flat(free)


def contrasts(images: Tensor, found: Picture, spec: SceneSpec) -> tuple[Tensor, Tensor]:
    """How free layers are, (B, L, P), and that times what they hide, (B, L, C, P).

    For all layers at once, and exact but where a layer is opaque: there its mask does
    not change with its pose.
    """
    planes, weights, free = hidden_planes(found, spec)
    behind = (weights @ planes).unflatten(1, (spec.n_layers, -1))
    if spec.has_picture:
        ground = clear_share(found.alpha) * ground_of(images, spec)
        behind = behind + flat(ground)[:, None]
    clear = (1 - flat(found.alpha)).clamp_min(OPAQUE)
    return free, behind.div_(clear[:, :, None])


def terms_of(color: Tensor, behind: Tensor, left: Tensor) -> Terms:
    """From maps (B, L, C, P), or what can be expanded to that."""
    return Terms(
        color.square().sum(2),
        (color * behind).sum(2),
        behind.square().sum(2),
        (color * left).sum(2),
        (behind * left).sum(2),
    )


def normal_step(
    images: Tensor,
    layers: Layers,
    found: Picture,
    slopes: Slopes,
    spec: SceneSpec,
    damping: Tensor,
    side: int = 1,
) -> Tensor:
    """Poses (B, L, 4) after a step of every layer on its own."""
    rows, columns = images.shape[2:]
    axes = pixel_axes(rows, columns, side, images)
    drawn = draw_slopes(slopes, layers.sprite, layers.pose, axes)
    left = flat(image_of(images, spec) - found.image)[:, None]  # (B, 1, C, P)
    free, behind = contrasts(images, found, spec)
    biases = layer_biases(found, spec)
    if biases is not None:  # a mask brings its bias, and takes away what is behind
        behind = behind - biases[..., None] * free[:, :, None]
    shown = layer_colors(found, spec)[..., None] * free[:, :, None]
    missing = -(rows * columns) % LINE
    by_alpha = F.pad(drawn.alpha_jacobian, (0, missing))
    if drawn.ink is drawn.alpha:
        contrast = shown - behind
        strength, pull = contrast.square().sum(2), (contrast * left).sum(2)
        matrix, right = mask_equations(by_alpha, strength, pull)
    else:
        by_ink = F.pad(drawn.ink_jacobian, (0, missing))
        padded = Drawn(drawn.alpha, drawn.ink, by_alpha, by_ink)
        matrix, right = ink_equations(padded, terms_of(shown, behind, left))
    return stepped(layers.pose, matrix, right, slopes, damping)


def mask_step(
    images: Tensor,
    layers: Layers,
    found: Picture,
    slopes: Slopes,
    spec: SceneSpec,
    damping: Tensor,
    window: Window,
) -> Tensor:
    """The same for masks in similarity poses, seen through windows around them."""
    b, n = layers.sprite.shape
    allowed, pose = make_steps(slopes), layers.pose.flatten(0, 1)
    sight = look(window, pose, *images.shape[2:])
    frame = frames(pose, sight.center, allowed.sides)
    drawn = draw_window(slopes.planes[layers.sprite.flatten()], frame, window)
    if slopes.is_cut:
        drawn = cut_slopes(drawn)
    planes, weights, free = hidden_planes(found, spec)
    left = image_of(images, spec) - found.image
    maps = torch.cat([flat(left), planes], 1)  # (B, C + R, P)
    seen = seen_through(maps, sight.places)
    left, behind = seen.split([left.shape[1], planes.shape[1]], 1)
    behind = weights.unflatten(1, (n, -1)).flatten(0, 1) @ behind  # (M, C, P)
    open_share = free.flatten(0, 1).gather(1, sight.places) * sight.inside
    clear = (1 - drawn[:, :1]).clamp_min(OPAQUE)
    color = layer_colors(found, spec).flatten(0, 1)[..., None]  # (M, C, 1)
    hidden = behind.mul_(sight.inside[:, None] / clear)  # in place: memory is slow
    contrast = (open_share[:, None] * color).sub_(hidden)
    strength, pull = contrast.square().sum(1), (contrast * left).sum(1)
    normal = equations(slope_maps(drawn, strength, pull), frame, window, allowed)
    share = damping.expand(b, n, 1).flatten(0, 1)
    return moved(pose, *normal, allowed, share).view(b, n, -1)


def polished(
    images: Tensor,
    layers: Layers,
    sprites: Sprites,
    slopes: Slopes,
    spec: SceneSpec,
    steps: int,
    side: int = 1,
    window: Window | None = None,
) -> tuple[Layers, Picture]:
    """Layers with better poses, and the picture that they make.

    Pixels of the images have a `side` of some pixels.
    """
    rows, columns = images.shape[2:]
    drawn = draw(sprites, layers, rows, columns, side)
    found = picture(images, drawn, layers.over, spec)
    return stepped_on(images, layers, found, sprites, slopes, spec, steps, side, window)


def stepped_on(
    images: Tensor,
    layers: Layers,
    found: Picture,
    sprites: Sprites,
    slopes: Slopes,
    spec: SceneSpec,
    steps: int,
    side: int = 1,
    window: Window | None = None,
) -> tuple[Layers, Picture]:
    """The same from the picture that layers make at first."""
    rows, columns = images.shape[2:]
    failed = torch.zeros_like(layers.sprite[:, 0])
    dampings = torch.tensor(DAMPINGS).to(images)
    for _ in range(steps):
        damping = dampings[failed.clamp(max=len(DAMPINGS) - 1)][:, None, None]
        if window is not None:
            pose = mask_step(images, layers, found, slopes, spec, damping, window)
        else:
            pose = normal_step(images, layers, found, slopes, spec, damping, side)
        drawn = draw(sprites, layers._replace(pose=pose), rows, columns, side)
        other = picture(images, drawn, layers.over, spec)
        better = other.error < found.error
        failed = torch.where(better, failed, failed + 1)
        layers = layers._replace(pose=pick(better, pose, layers.pose))
        if better.all():  # a sync, which often saves a copy of everything
            found = other
            continue
        found = choose_picture(better, other, found)
    return layers, found
