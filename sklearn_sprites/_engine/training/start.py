"""The first sprites and backgrounds, and parameters for the network to learn."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from sklearn_sprites._engine.models.clustering import ClusteringModel, color_of
from sklearn_sprites._engine.modules.families import (
    make_family,
    rigid_name,
    to_parameters,
)
from sklearn_sprites._engine.modules.turns import (
    LEANING,
    TURNING,
    with_leans,
    with_turns,
)
from sklearn_sprites._engine.ops import alignment
from sklearn_sprites._engine.ops.alignment import Family
from sklearn_sprites._engine.ops.centering import centered_in_parts
from sklearn_sprites._engine.ops.color import FREEDOMS
from sklearn_sprites._engine.ops.compositing import over, softclip
from sklearn_sprites._engine.ops.sampling import make_grid
from sklearn_sprites._engine.settings import ConstantSprites
from sklearn_sprites._engine.spec import ModelSpec
from sklearn_sprites._engine.training.angles import (
    UPRIGHT,
    angles_found,
    upright_share,
)
from sklearn_sprites._engine.training.likeness import in_one_pose
from sklearn_sprites._engine.training.lloyd import kmeans, plus_plus

ROUNDS = 6
TRIALS = 3  # starts for things in any turn
TRIAL_ROUNDS = 2  # after which it is decided whether images are centered
CLEARLY_BETTER = 0.9  # share of the energy below which centering is worth it
LEANS = 0.95  # below which things are taken to lean by more than a little,
TURNED = 0.87  # and below which things are taken to lie in any turn
IMAGES_PER_ROUND = 2000
TAUGHT = 12_800  # images that a lesson tells of, at most
GAUSSIAN_SPREAD = 0.25  # standard deviation of a first mask, in sides of the image
BLUR = 1 / 6  # and of the blur of a first background
BACKGROUND_IMAGES = 1000
CONTRAST_FLOOR = 0.3  # of the mean variance, added to an image's own


class Lesson(NamedTuple):
    """What alignment found: image rows[i] is sprite labels[i] under params[name][i].

    ``is_turned``: things lie turned in any way.
    """

    rows: Tensor
    labels: Tensor
    params: dict[str, Tensor]
    is_turned: bool = False


class Start(NamedTuple):
    """Sprites (K, D, H, W), backgrounds (M, C, H, W), and a lesson, if any.

    ``is_centered``: the model is to look at images with their content in the middle;
    ``is_searched``: poses are searched, no network learns them; ``is_apart``: sprites
    are what images show less their backgrounds. Where sprites were
    given, or are those of a fit to go on from, there is no lesson; ``has_copies`` says
    that spare sprites are copies.
    """

    sprites: Tensor
    backgrounds: Tensor
    lesson: Lesson | None
    is_centered: bool = False
    is_searched: bool = False
    is_apart: bool = False
    has_copies: bool = False


def gaussian_mask(
    height: int, width: int, spread: float | None, *, like: Tensor
) -> Tensor:
    """A separable Gaussian around the centre, (1, H, W), one at its top.

    Its standard deviation is `spread` pixels, or a share of the sides.
    """
    lines = []
    for side in (height, width):
        offset = torch.arange(side, device=like.device, dtype=like.dtype)
        offset = (offset - (side - 1) / 2) / (spread or GAUSSIAN_SPREAD * side)
        lines.append(torch.exp(-0.5 * offset.square()))
    return torch.outer(*lines)[None]


def first_backgrounds(
    images: Tensor, spec: ModelSpec, draws: torch.Generator
) -> Tensor:
    """Backgrounds (M, C, H, W): the mean image, or the means of k-means clusters."""
    shape = (spec.n_backgrounds, *images.shape[1:])
    if spec.n_backgrounds == 0:
        return images.new_zeros(shape)
    order = torch.randperm(len(images), generator=draws)[:BACKGROUND_IMAGES]
    some = images[order.to(images.device)]
    if spec.n_backgrounds == 1:
        return some.mean(0, keepdim=True)
    k = min(spec.n_backgrounds, len(some))
    centers = kmeans(some.flatten(1), k, draws).centers
    repeated = centers[torch.arange(spec.n_backgrounds) % k]
    return repeated.view(shape)


def without_middle(backgrounds: Tensor) -> Tensor:
    """Backgrounds (M, C, H, W), blurred, as what lies around their middle tells.

    Where all images show the same thing, their mean has a ghost of it in the middle. A
    background that began with it would learn to draw it, and the sprite what lies
    behind.
    """
    height, width = backgrounds.shape[-2:]
    around = (1 - gaussian_mask(height, width, None, like=backgrounds)).square()
    down, across = (_blur(side, backgrounds) for side in (height, width))
    return down @ (backgrounds * around) @ across / (down @ around @ across)


def _blur(side: int, like: Tensor) -> Tensor:
    """What blurs columns of `side` pixels from the left, rows from the right."""
    along = torch.arange(side, device=like.device, dtype=like.dtype)
    far = (along[:, None] - along) / (BLUR * side)
    return torch.exp(-0.5 * far.square())


def simple_sprites(
    images: Tensor, spec: ModelSpec, init: str | ConstantSprites, draws: torch.Generator
) -> Tensor:
    """Appearances (K, C, H, W) by one of the papers' simple rules."""
    shape = (spec.n_sprites, *images.shape[1:])
    n, device = len(images), images.device
    if isinstance(init, ConstantSprites):
        return images.new_full(shape, init.color)
    if init == "random":
        return torch.rand(shape, generator=draws).to(images)
    if init == "sample":
        return images[torch.randperm(n, generator=draws)[: spec.n_sprites].to(device)]
    order = torch.randperm(n, generator=draws)[: max(IMAGES_PER_ROUND, 100)]
    flat = images[order.to(device)].flatten(1)
    if init == "k-means++":
        return plus_plus(flat, spec.n_sprites, draws).view(shape)
    return kmeans(flat, spec.n_sprites, draws).centers.view(shape)


def make_start(
    images: Tensor,
    spec: ModelSpec,
    init: str | ConstantSprites,
    draws: torch.Generator,
    may_center: bool = True,
) -> Start:
    """Where training starts for images (n, C, H, W), which may be centered or not."""
    init = ConstantSprites() if init == "constant" else init
    backgrounds = first_backgrounds(images, spec, draws)
    lesson, is_centered = None, False
    if init == "align" and rigid_name(spec):
        sprites, lesson, is_centered = aligned_start(images, spec, draws, may_center)
    else:
        init = "kmeans" if init == "align" else init
        sprites = simple_sprites(images, spec, init, draws)
    if spec.is_layered:
        spread = init.mask_width if isinstance(init, ConstantSprites) else None
        mask = gaussian_mask(spec.height, spec.width, spread, like=images)
        sprites = torch.cat([sprites, mask.expand(len(sprites), -1, -1, -1)], 1)
    return Start(sprites, backgrounds, lesson, is_centered)


@torch.no_grad()
def aligned_start(
    images: Tensor, spec: ModelSpec, draws: torch.Generator, may_center: bool = True
) -> tuple[Tensor, Lesson, bool]:
    """Sprites and parameters by rounds of alignment and closed-form sprites.

    Opaque sprites that may be shifted are tried on centered images too, if these may
    be; the last value says whether those are explained clearly better. Small turns are
    tried first where they help, and where images may be turned, all turns are.
    """
    name = rigid_name(spec)
    assert name is not None, "nothing can be aligned"
    family = upright = first_family(images, spec, name)
    before = draws.get_state()
    best, sprites = first_rounds(images, spec, family, draws)
    is_centered = is_turned = False
    if may_center and not spec.is_layered and name != "rotation":
        middle, then = centered_in_parts(images), draws.get_state()
        energy, others = first_rounds(middle, spec, family, draws)
        if energy < CLEARLY_BETTER * best:
            images, best, sprites, is_centered = middle, energy, others, True
            before = then
    if name in LEANING:
        leaning, again = with_leans(upright), torch.Generator()
        again.set_state(before)  # the same images and first sprites: a fair comparison
        energy, others = first_rounds(images, spec, leaning, again)
        if energy < LEANS * best:
            family, sprites = leaning, others
    if name in TURNING:
        freely = with_turns(upright)
        energy, others = first_turns(images, spec, freely, draws)
        if energy < TURNED * best or few_are_upright(images, others, freely, name):
            family, sprites, is_turned = freely, others, True
    _, sprites = run_rounds(images, sprites, family, draws, ROUNDS - TRIAL_ROUNDS)
    some, rows = images, torch.arange(len(images), device=images.device)
    if len(images) > TAUGHT:
        rows = torch.randperm(len(images), generator=draws)[:TAUGHT].to(images.device)
        some = images[rows]
    found = alignment.survey(some, sprites, family)
    if not is_turned:
        counts = torch.bincount(found.labels, minlength=len(sprites))
        sprites, moved = in_one_pose(sprites, counts, upright)
        found = alignment.survey(some, sprites, family) if moved else found
    params = {name: to_parameters(name, found.matrices, family)}
    lesson = Lesson(rows, found.labels, params, is_turned)
    return sprites, lesson, is_centered


@torch.no_grad()
def turned_start(images: Tensor, spec: ModelSpec, draws: torch.Generator) -> Tensor:
    """Opaque sprites of things in any turn, as of :func:`aligned_start`."""
    name = rigid_name(spec)
    assert name in TURNING, "nothing is turned"
    freely = with_turns(first_family(images, spec, name))
    _, sprites = first_turns(images, spec, freely, draws)
    _, sprites = run_rounds(images, sprites, freely, draws, ROUNDS - TRIAL_ROUNDS)
    return sprites


@torch.no_grad()
def left_in_turns(images: Tensor, sprites: Tensor, spec: ModelSpec) -> float:
    """Mean squared error of images under opaque sprites in any turn."""
    name = rigid_name(spec)
    assert name in TURNING, "nothing is turned"
    freely = with_turns(first_family(images, spec, name))
    some = images[:: -(-len(images) // IMAGES_PER_ROUND)]
    found = alignment.joined(
        alignment.poses(part.flatten(2), sprites, freely, alignment.HYPOTHESES)
        for part in some.split(alignment.at_once(some))
    )
    return float(found.errors.amin(1).mean())


def are_turned(
    images: Tensor, spec: ModelSpec, sprites: Tensor, draws: torch.Generator
) -> bool:
    """Whether images show given sprites (K, C, H, W) in any turn, by the same rule."""
    name = rigid_name(spec)
    if name not in TURNING:
        return False
    family = first_family(images, spec, name)
    best, _ = run_rounds(images, sprites, family, draws, TRIAL_ROUNDS)
    freely = with_turns(family)
    turned, others = run_rounds(images, sprites, freely, draws, TRIAL_ROUNDS)
    return turned < TURNED * best or few_are_upright(images, others, freely, name)


def few_are_upright(images: Tensor, sprites: Tensor, family: Family, name: str) -> bool:
    """Whether hardly more images than by chance are found upright."""
    return upright_share(angles_found(images, sprites, family, name)) <= UPRIGHT


def first_family(images: Tensor, spec: ModelSpec, name: str) -> Family:
    """What images are aligned with first."""
    grid = make_grid(spec.height, spec.width, device=images.device, dtype=torch.float32)
    freedom = FREEDOMS[color_of(spec.transformations)]
    return make_family(name, freedom, images, grid)


def first_rounds(
    images: Tensor, spec: ModelSpec, family: Family, draws: torch.Generator
) -> tuple[float, Tensor]:
    """A few rounds from the centers of k-means: their energy, and sprites."""
    first = simple_sprites(images, spec, "kmeans", draws)
    return run_rounds(images, first, family, draws, TRIAL_ROUNDS)


def first_turns(
    images: Tensor, spec: ModelSpec, family: Family, draws: torch.Generator
) -> tuple[float, Tensor]:
    """The same for things that lie in any turn: from images, which have a shape.

    The best of some starts.
    """
    found = []
    for _ in range(TRIALS):
        first = simple_sprites(images, spec, "k-means++", draws)
        found.append(run_rounds(images, first, family, draws, TRIAL_ROUNDS))
    return min(found, key=lambda result: result[0])


def run_rounds(
    images: Tensor, sprites: Tensor, family: Family, draws: torch.Generator, rounds: int
) -> tuple[float, Tensor]:
    """Expectation and maximisation in turn; the last energy, and sprites."""
    energy = torch.inf
    for _ in range(rounds):
        order = torch.randperm(len(images), generator=draws)[:IMAGES_PER_ROUND]
        some = images[order.to(images.device)]
        found = alignment.survey(some, sprites, family)
        energy = float(found.energies.mean())
        sprites = alignment.update_sprites(some, found, sprites, family)
    return energy, sprites


@torch.no_grad()
def first_guess(model: ClusteringModel, images: Tensor) -> Tensor:
    """Errors (n, K) under untransformed sprites: what is worth looking at first."""
    spec = model.spec
    sprites: Tensor = model.sprites
    if spec.is_layered:
        alpha = softclip(sprites[:, -1:])
        sprites = over(sprites[:, :-1], alpha, model.backgrounds.mean(0, keepdim=True))
    freedom = FREEDOMS[color_of(spec.transformations)]
    parts = images.flatten(2).split(2048)
    flat = sprites.flatten(2)
    return torch.cat([alignment.coarse_errors(part, flat, freedom) for part in parts])


def image_weights(images: Tensor, spec: ModelSpec) -> Tensor:
    """What each image's error counts, (n,), one on average.

    Where gains are solved, contrast is a nuisance: errors count relative to an image's
    own variance, so that pictures of high contrast do not decide alone.
    """
    has_gain = color_of(spec.transformations) in ("color", "light")
    is_solved = has_gain and spec.color == "solve"
    if not is_solved:
        return images.new_ones(len(images))
    variance = images.flatten(2).var(2).sum(1)
    weights = 1 / (variance + CONTRAST_FLOOR * variance.mean()).clamp_min(1e-12)
    return weights / weights.mean()


def weighted_variance(
    images: Tensor, weights: Tensor, squared: Callable[[Tensor], Tensor] = torch.square
) -> float:
    """What the loss is when every image is explained by the mean image.

    `squared` squares differences, as they count.
    """
    mean = images.mean(0)
    parts = zip(images.split(2048), weights.split(2048), strict=True)
    squares = [(squared(x - mean).flatten(1).mean(1) * w).sum() for x, w in parts]
    return float(torch.stack(squares).sum()) / len(images)
