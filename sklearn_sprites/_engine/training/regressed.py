"""What regressed layers show: candidates, selection, colors, order, composite.

Letters: B images, L layers, K sprites, C channels, D planes of a sprite, H W image.
The P pixels lie in a row of whole cache lines, see ``ops.layers.flat``, so that results
do not depend on where in a batch an image is.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from sklearn_sprites._engine.models.scene_model import Regressed, SceneModel
from sklearn_sprites._engine.modules.ground_head import GroundPose
from sklearn_sprites._engine.ops.compositing import softclip
from sklearn_sprites._engine.ops.layers import flat, order_by_errors
from sklearn_sprites._engine.ops.linear import solve_symmetric
from sklearn_sprites._engine.ops.selection import (
    Candidates,
    Stage,
    composed,
    exhaustive,
    greedy,
    shown_share,
)
from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.splines import place_bent
from sklearn_sprites._engine.training.moved_ground import moved_ground

RIDGE = 1e-2  # squared pixels: the color of what is hardly seen goes to zero
FAINT = 1e-3  # a value of the background below which no gain is read off it


class Look(NamedTuple):
    """How sprites look now: ``planes`` (K, D, h, w), colors and alpha.

    In training alpha is not clipped yet, a plane of ones follows, and ``noise`` (K, P)
    is to be added where it is drawn.
    """

    planes: Tensor
    noise: Tensor | None = None

    def color(self, drawn: Tensor) -> Tensor:
        """Colors (..., C, P) of drawn planes (..., D, P)."""
        return drawn[..., : -1 if self.noise is None else -2, :]

    def alpha(self, drawn: Tensor, sprite: Tensor | None = None) -> Tensor:
        """Alpha (..., P) of drawn planes (..., D, P) of `sprite` (...), or of all."""
        if self.noise is None:
            return drawn[..., -1, :]
        noise = self.noise if sprite is None else self.noise[sprite]
        return softclip(drawn[..., -2, :] + drawn[..., -1, :] * noise)


class Rule(NamedTuple):
    """How sprites are selected: the penalty of a layer, whether it may be empty."""

    penalty: float
    may_be_empty: bool


class Shown(NamedTuple):
    """The layers of B images: all that is needed to draw them.

    ``choice`` (B, L), K where empty; ``pose`` (B, L, Q); ``spline`` (B, L, G, 2);
    ``over`` (B, L, L); ``color`` (B, L, C, 2) and ``behind`` (B, C, 2), gain and bias.
    """

    choice: Tensor
    pose: Tensor
    spline: Tensor
    over: Tensor
    color: Tensor
    behind: Tensor
    ground: GroundPose


def draw_all(planes: Tensor, pose: Tensor, spline: Tensor, spec: SceneSpec) -> Tensor:
    """All sprites (K, D, h, w) in all layers, (B, L, 1 or K, Q) to (B, L, K, D, P)."""
    b, n, own = pose.shape[:3]
    k, size = len(planes), (spec.height, spec.width)
    if own == 1:  # the same places for all sprites: one look-up, K times the planes
        index = torch.zeros((b, n), dtype=torch.int64, device=pose.device)
        whole = planes.flatten(0, 1)[None]
        drawn = place_bent(whole, index, pose[:, :, 0], spline[:, :, 0], *size)
        return flat(drawn.flatten(0, 1)).unflatten(0, (b, n)).unflatten(2, (k, -1))
    index = torch.arange(k, device=pose.device).repeat(b, n)
    each = spline.expand(-1, -1, k, -1, -1).flatten(1, 2)
    drawn = place_bent(planes, index, pose.flatten(1, 2), each, *size)
    return flat(drawn.flatten(0, 1)).unflatten(0, (b, n, k))


def draw_chosen(
    planes: Tensor, choice: Tensor, pose: Tensor, spline: Tensor, spec: SceneSpec
) -> Tensor:
    """Sprites (K, D, h, w) of layers (B, L), at (B, L, Q), to (B, L, D, P)."""
    sprite = choice.clamp_max(len(planes) - 1)
    drawn = place_bent(planes, sprite, pose, spline, spec.height, spec.width)
    return flat(drawn.flatten(0, 1)).unflatten(0, choice.shape)


def recolored(color: Tensor, change: Tensor) -> Tensor:
    """Gain and bias (..., C, 2) of colors (..., C, P)."""
    return color * change[..., :1] + change[..., 1:]


def ground(model: SceneModel, change: Tensor, where: GroundPose) -> Tensor:
    """The background with gain and bias (B, C, 2), (B, C, P); black where none is."""
    spec = model.spec
    if not spec.n_backgrounds:
        shape = (len(change), spec.channels, spec.height, spec.width)
        return flat(change.new_zeros(shape))
    gain, bias = change[..., None].unbind(2)
    picture = moved_ground(model.backgrounds, where)
    return flat(picture * gain[..., None] + bias[..., None])


def first_behind(images: Tensor, model: SceneModel, regressed: Regressed) -> Tensor:
    """Gain and bias (B, C, 2) of the background before layers are known."""
    if regressed.behind is not None:
        return regressed.behind
    if not model.spec.n_backgrounds:
        return images.new_zeros((*images.shape[:2], 2))
    middle = images.flatten(2).median(2).values  # (B, C)
    own = model.backgrounds.detach().flatten(2).median(2).values
    middle = middle / own.clamp_min(FAINT)
    return torch.stack([middle, torch.zeros_like(middle)], -1)


@torch.no_grad()
def select(
    images: Tensor, model: SceneModel, regressed: Regressed, look: Look, rule: Rule
) -> Tensor:
    """The sprite of each layer of images (B, C, H, W), (B, L); K where empty."""
    settings = model.settings
    drawn = draw_all(look.planes, regressed.pose, regressed.spline, model.spec)
    color, alpha = look.color(drawn), look.alpha(drawn)
    if regressed.color is not None:
        color = recolored(color, regressed.color[:, :, None])
    candidates = Candidates(color, alpha, regressed.color is None)
    first = first_behind(images, model, regressed)
    behind = ground(model, first, regressed.ground)
    stage = Stage(flat(images), behind, regressed.over)
    if settings.selection == "exhaustive":
        return exhaustive(candidates, stage, rule.penalty, rule.may_be_empty)
    return greedy(candidates, stage, rule.penalty, settings.sweeps, rule.may_be_empty)


def show(
    images: Tensor, model: SceneModel, regressed: Regressed, look: Look, rule: Rule
) -> tuple[Shown, Tensor, Tensor]:
    """Select sprites, settle colors and order, compose.

    Returns the layers, the image (B, C, P), and what is seen of each layer (B, L, P).

    Gradients pass through what is drawn, not through what is selected or solved: at
    the least error the colors that are solved do not matter to first order.
    """
    choice = select(images, model, regressed, look, rule)
    pose, spline = own(regressed.pose, choice), own(regressed.spline, choice)
    color, alpha = chosen(look, choice, pose, spline, model.spec)
    over, behind = regressed.over, first_behind(images, model, regressed)
    where = regressed.ground
    if regressed.color is not None:
        change = regressed.color
    else:
        change, behind = solved(images, model, color, alpha, over, behind, where)
    if model.spec.order == "solve":
        over = best_order(images, recolored(color, change), alpha)
        if regressed.color is None:
            change, behind = solved(images, model, color, alpha, over, behind, where)
    stage = Stage(flat(images), ground(model, behind, where), over)
    image = composed(recolored(color, change), alpha, stage)
    seen = shown_share(alpha, over)
    return Shown(choice, pose, spline, over, change, behind, where), image, seen


def own(values: Tensor, choice: Tensor) -> Tensor:
    """Those (B, L, ...) of the chosen sprites, of values (B, L, 1 or K, ...)."""
    each = choice.clamp_max(values.shape[2] - 1)
    index = each.view(*each.shape, 1, *[1] * (values.dim() - 3))
    return values.gather(2, index.expand(-1, -1, 1, *values.shape[3:]))[:, :, 0]


def chosen(
    look: Look, choice: Tensor, pose: Tensor, spline: Tensor, spec: SceneSpec
) -> tuple[Tensor, Tensor]:
    """Color (B, L, C, P) and alpha (B, L, P) of layers; empty ones show nothing."""
    k = len(look.planes)
    drawn = draw_chosen(look.planes, choice, pose, spline, spec)
    alpha = look.alpha(drawn, choice.clamp_max(k - 1))
    return look.color(drawn), alpha * (choice < k).to(alpha)[..., None]


@torch.no_grad()
def best_order(images: Tensor, color: Tensor, alpha: Tensor) -> Tensor:
    """In each overlap, the layer that explains the image better is on top."""
    error = (flat(images)[:, None] - color).square().sum(2)
    return order_by_errors(alpha, error)


@torch.no_grad()
def solved(
    images: Tensor,
    model: SceneModel,
    color: Tensor,
    alpha: Tensor,
    over: Tensor,
    behind: Tensor,
    where: GroundPose,
) -> tuple[Tensor, Tensor]:
    """Gains of layers and background by least squares, as (B, L, C, 2), (B, C, 2)."""
    planes = shown_share(alpha, over)[:, :, None] * color
    if model.spec.n_backgrounds:
        clear = (1 - alpha).prod(1)[:, None, None]
        picture = flat(moved_ground(model.backgrounds, where))[:, None]
        planes = torch.cat([planes, clear * picture], 1)
    planes = planes.transpose(1, 2).contiguous()  # (B, C, R, P)
    gram = planes @ planes.transpose(2, 3)
    gram = gram + RIDGE * torch.eye(
        gram.shape[-1], dtype=gram.dtype, device=gram.device
    )
    right = (planes @ flat(images)[..., None])[..., 0]
    gains = solve_symmetric(gram, right).transpose(1, 2).clamp_min(0)  # (B, R, C)
    found = torch.stack([gains, torch.zeros_like(gains)], -1)
    n = alpha.shape[1]
    return found[:, :n], found[:, n] if model.spec.n_backgrounds else behind
