"""Layers of a batch of images, and the picture that they make."""

from typing import NamedTuple

import torch
from torch import Tensor

from sklearn_sprites._engine.ops.layers import (
    RIDGE,
    clear_share,
    compose,
    free_share,
    solve_order,
    solve_planes,
)
from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.ground import ground_of, ground_price, image_of
from sklearn_sprites._engine.search.poses import place

LEAST = 0.25  # share of the pixels that a layer shows which it must improve
MOSTLY = 0.5  # the same over pictures, where parts of objects look like others
NOTICEABLE = 1e-5  # squared error of a pixel
MATTERS = 0.1  # the same, over pictures, relative to a pixel's difference from them
PLAIN = 0.1  # squared pixels of contrast that a gain of zero is worth where biases help
FAINT = 2.5e-3  # squared error per channel that light on the ground may explain
HIGHEST_GAIN = 2.0  # of a sprite whose brightest pixels are near one


class Sprites(NamedTuple):
    """Sprites (K, 2, h, w): ink (gray appearance times alpha) and alpha.

    Or (K, C + 1, h, w), an ink per channel and alpha, where they have their own colors.
    Or (K, 1, h, w), masks that are both. Their values may leave [0, 1], and are cut
    once they are drawn: so edges are as steep as those of images, and at a place that
    is known more exactly than to a pixel of the mask.
    """

    planes: Tensor

    @property
    def ink(self) -> Tensor:
        """(K, h, w)."""
        return self.planes[:, 0]

    @property
    def alpha(self) -> Tensor:
        """(K, h, w)."""
        return self.planes[:, -1]

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width."""
        return self.planes.shape[2], self.planes.shape[3]

    def on_grid(self) -> "Sprites":
        """Ink and alpha as far as the pixels of the sprites can show them."""
        return Sprites(_cut(self.planes, 1).expand(-1, 2, -1, -1))


def _cut(planes: Tensor, dim: int) -> Tensor:
    """Masks, one plane along a dimension, in [0, 1]; ink and alpha as they are."""
    return planes.clamp(0, 1) if planes.shape[dim] == 1 else planes


class Layers(NamedTuple):
    """Which sprites are where: ``sprite`` (B, L), ``pose`` (B, L, Q), ``on`` (B, L).

    See :mod:`~sklearn_sprites._engine.search.poses` for Q. ``on`` is one for layers
    that are shown and zero for empty ones; ``over`` (B, L, L) is one where layer i
    hides layer j.
    """

    sprite: Tensor
    pose: Tensor
    on: Tensor
    over: Tensor


class Picture(NamedTuple):
    """What layers look like.

    ``drawn`` (B, L, 2, H, W), their ink and alpha, or (B, L, 1, H, W), masks that are
    both, is zero for empty layers. ``colors`` (B, R, C) begin with the background's
    where there is one; then come the gains of layers, then their biases. ``image``
    (B, C, H, W); ``error`` (B,), squared, summed over the image, and over pictures the
    price of pixels that are covered though they look like the ground.
    """

    drawn: Tensor
    over: Tensor
    colors: Tensor
    image: Tensor
    error: Tensor

    @property
    def ink(self) -> Tensor:
        """(B, L, H, W)."""
        return self.drawn[:, :, 0]

    @property
    def alpha(self) -> Tensor:
        """(B, L, H, W)."""
        return self.drawn[:, :, -1]

    @property
    def free(self) -> Tensor:
        """Share of each pixel where nothing hides a layer, (B, L, H, W)."""
        return free_share(self.alpha, self.over)

    @property
    def shown(self) -> Tensor:
        """Share of each pixel that shows a layer, (B, L, H, W)."""
        return self.free * self.alpha


def pick(better: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """`new` in the images (B,) where it is better, else `old`."""
    return torch.where(better.view(-1, *[1] * (new.dim() - 1)), new, old)


def with_layer(values: Tensor, i: int, column: Tensor) -> Tensor:
    """Values (B, L, ...) with others (B, ...) for layer i."""
    values = values.clone()
    values[:, i] = column
    return values


def no_layers(images: Tensor, spec: SceneSpec) -> Layers:
    """Empty layers."""
    b, n = len(images), spec.n_layers
    below = images.new_ones((n, n)).tril(-1)
    sprite = torch.zeros((b, n), dtype=torch.int64, device=images.device)
    return Layers(
        sprite,
        images.new_zeros((b, n, spec.pose_size)),
        images.new_zeros((b, n)),
        below.expand(b, n, n).clone(),
    )


def draw(
    sprites: Sprites, layers: Layers, rows: int, columns: int, side: int = 1
) -> Tensor:
    """Ink and alpha of the layers as placed, (B, L, 2, H, W); zero where empty.

    Masks, which are both, are drawn once: (B, L, 1, H, W).
    """
    planes = place(sprites.planes, layers.sprite, layers.pose, rows, columns, side)
    return _cut(planes * layers.on[..., None, None, None], 2)


def picture(images: Tensor, drawn: Tensor, over: Tensor, spec: SceneSpec) -> Picture:
    """Solve the colors of layers drawn by :func:`draw`, and compose them.

    `images` are views, see :mod:`~sklearn_sprites._engine.search.ground`.
    """
    alpha, target = drawn[:, :, -1], image_of(images, spec)
    planes = planes_of(drawn, free_share(alpha, over), spec)
    if spec.has_picture:
        behind = clear_share(alpha) * ground_of(images, spec)
        target = target - behind
    colors = solve_planes(planes, target, ridge_of(planes, alpha.shape[1], spec))
    if spec.color == "gain":
        first = 1 if spec.has_level else 0
        gains = colors[:, first:].clamp(0, HIGHEST_GAIN)
        colors = torch.cat([colors[:, :first], gains], 1)
    image = compose(planes, colors)
    error = (target - image).square().sum((1, 2, 3))
    if spec.has_picture:
        covered = 1 - clear_share(alpha)[:, 0]
        error = error + (covered * ground_price(images, spec)).sum((1, 2))
        image = image + behind
    return Picture(drawn, over, colors, image, error)


def planes_of(drawn: Tensor, free: Tensor, spec: SceneSpec) -> Tensor:
    """What colors multiply, (B, R, H, W): a level's, then gains', then biases'.

    `free` (B, L, H, W) is where nothing hides the layers drawn by :func:`draw`.
    """
    planes = [free * drawn[:, :, 0]]
    if spec.has_bias:
        planes.append(free * drawn[:, :, -1])
    if spec.has_level:
        planes.insert(0, clear_share(drawn[:, :, -1]))
    return torch.cat(planes, 1)


def ridge_of(planes: Tensor, n_layers: int, spec: SceneSpec) -> Tensor | float:
    """What pulls the colors of planes to zero.

    Where little of an appearance is seen, gain and bias cannot be told apart.
    """
    if not spec.has_bias:
        return RIDGE
    ridge = planes.new_full((planes.shape[1],), RIDGE)
    first = planes.shape[1] - 2 * n_layers
    ridge[first : first + n_layers] = PLAIN
    return ridge


def blank_error(images: Tensor, spec: SceneSpec) -> Tensor:
    """Squared error (B,) without any layer."""
    empty = images.new_zeros((len(images), 0, 2, *images.shape[2:]))
    return picture(images, empty, images.new_zeros((len(images), 0, 0)), spec).error


def layer_colors(found: Picture, spec: SceneSpec) -> Tensor:
    """Colors of the layers alone, (B, L, C); their gains if there are biases."""
    colors = found.colors[:, 1:] if spec.has_level else found.colors
    return colors.chunk(2, 1)[0] if spec.has_bias else colors


def layer_biases(found: Picture, spec: SceneSpec) -> Tensor | None:
    """What is added to layers, (B, L, C); None where nothing ever is."""
    return found.colors[:, -found.alpha.shape[1] :] if spec.has_bias else None


def settle(
    images: Tensor, drawn: Tensor, over: Tensor, spec: SceneSpec, rounds: int = 2
) -> Picture:
    """Colors and order in turn; the order changes only where the error falls."""
    return ordered(images, picture(images, drawn, over, spec), spec, rounds)


def ordered(images: Tensor, best: Picture, spec: SceneSpec, rounds: int = 2) -> Picture:
    """The same, from a picture on."""
    if spec.order == "depth":
        return best
    for _ in range(rounds):
        colors, target = layer_colors(best, spec), image_of(images, spec)
        biases = layer_biases(best, spec)
        order = solve_order(best.alpha, best.ink, colors, target, biases)
        if torch.equal(order, best.over):  # a sync, which often saves a picture
            break
        other = picture(images, best.drawn, order, spec)
        best = choose_picture(other.error < best.error, other, best)
    return best


def choose_picture(better: Tensor, new: Picture, old: Picture) -> Picture:
    """`new` in the images (B,) where it is better; layers drawn once are not copied."""
    drawn = old.drawn
    if new.drawn is not drawn:
        drawn = pick(better, new.drawn, drawn)
    rest = (pick(better, n, o) for n, o in zip(new[1:], old[1:], strict=True))
    return Picture(drawn, *rest)


def is_false(found: Picture, share: Tensor, spec: SceneSpec) -> Tensor:
    """Layers (B, L) that do not improve what they show, though they show much of them.

    They are dropped before others are judged: over pictures, a large layer in front of
    several objects would otherwise take them along.
    """
    if not spec.has_picture:
        return torch.zeros_like(share) > 0
    seen = found.shown.sum((2, 3))
    exposed = seen > MOSTLY * found.alpha.sum((2, 3))
    return (share <= MOSTLY) & exposed & (seen > 0)


class Worth(NamedTuple):
    """What layers are worth.

    ``saves`` (B, L), squared errors; ``share`` (B, L) of the pixels shown that are
    better for the layer.
    """

    saves: Tensor
    share: Tensor

    def useful(self, spec: SceneSpec) -> Tensor:
        """What layers save, (B, L); nothing where they improve too little of it.

        Of written letters, which no sprite covers exactly, half may be improved.
        """
        least = MOSTLY if spec.has_picture else LEAST
        return torch.where(self.share > least, self.saves, 0)


def worth(images: Tensor, found: Picture, spec: SceneSpec) -> Worth:
    """What each layer is worth, the colors of the others solved anew without it."""
    target = image_of(images, spec)
    now = (target - found.image).square().sum(1)  # (B, H, W)
    least = now + NOTICEABLE
    counts = torch.ones_like(now)
    if spec.has_picture:  # a patch on an object mends shading, it is no object
        far = (target - ground_of(images, spec)).square().sum(1)
        least = (least + MATTERS * far).clamp_min(FAINT * spec.channels)
        counts = (far > FAINT * spec.channels).to(now)  # nor is a patch of ground
    saves, shares = [], []
    seen = found.shown
    for i in range(spec.n_layers):
        without = found.drawn.clone()
        without[:, i] = 0
        other = picture(images, without, found.over, spec)
        before = (target - other.image).square().sum(1)
        shown = (seen[:, i] > 0.5).to(now)
        better = (before > least).to(now) * shown * counts
        saved = (before - now).sum((1, 2))
        if spec.has_picture:  # the price of what it covers included
            saved = other.error - found.error
        saves.append(saved)
        shares.append(better.sum((1, 2)) / shown.sum((1, 2)).clamp_min(1))
    if not saves:
        nothing = images.new_zeros((len(images), 0))
        return Worth(nothing, nothing)
    return Worth(torch.stack(saves, 1), torch.stack(shares, 1))
