"""Direct alignment: every image to every plausible sprite, without a network.

Levenberg-Marquardt on the parameters of a linear family of warps, colors solved on
the way, with a weak pull towards the identity; where things may lie turned in any way,
towards the nearest of some turns, which are tried first.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from sklearn_sprites._engine.ops.adjoint import adjoint
from sklearn_sprites._engine.ops.color import (
    Freedom,
    apply_color,
    as_one_channel,
    solve_color,
)
from sklearn_sprites._engine.ops.linear import solve_symmetric
from sklearn_sprites._engine.ops.sampling import (
    Grid,
    canvas_side,
    pad_to_canvas,
    sample,
)
from sklearn_sprites._engine.ops.warps import affine_flow

STEPS = 4
HYPOTHESES = 4  # sprites to which an image is aligned
LINEAR_PRIOR, SHIFT_PRIOR = 0.3, 0.05
LONGEST = 0.25  # of a step, per parameter
FEWEST, MOST = 32, 256  # images aligned together,
ROOM = 2**20  # and values that they have, if more than the fewest


@dataclass(frozen=True)
class Family:
    """What may be aligned: a linear family of affine maps, and colors.

    ``basis`` (q, 6): directions in the 2 x 3 matrix that is added to the identity.
    ``weight``: of the mean squared error against the prior on the parameters.
    ``turns`` (R, 6): maps, less the identity, where alignment starts, if not there.
    """

    grid: Grid
    basis: Tensor
    weight: float | Tensor
    freedom: int
    turns: Tensor | None = None

    @property
    def prior(self) -> Tensor:
        """Curvature of the pull towards the identity, (q,)."""
        per_entry = self.basis.new_tensor([LINEAR_PRIOR, LINEAR_PRIOR, SHIFT_PRIOR] * 2)
        return self.basis.square() @ per_entry


#: For parameters (m, q), what they draw (m, C, P), and its slopes in x and y
#: (m, 2, C, P).
Look = Callable[[Tensor], tuple[Tensor, Tensor]]


class Poses(NamedTuple):
    """For every image and sprite: matrix (m, K, 6), energy and squared error (m, K).

    Where a sprite is not plausible enough to be aligned, the energy is infinite.
    """

    matrices: Tensor
    energies: Tensor
    errors: Tensor


class Found(NamedTuple):
    """For every image: its sprite, matrix (n, 6), and the energy."""

    labels: Tensor
    matrices: Tensor
    energies: Tensor


def slopes(sprites: Tensor) -> Tensor:
    """Sprites, slightly blurred, with their slopes in x and y: (K, 3, C, H, W)."""
    height, width = sprites.shape[-2:]
    padded = torch.nn.functional.pad(sprites, (1,) * 4)
    blurred = 0.6 * torch.nn.functional.avg_pool2d(padded, 3, 1) + 0.4 * sprites
    dx, dy = torch.zeros_like(blurred), torch.zeros_like(blurred)
    dx[..., 1:-1] = (blurred[..., 2:] - blurred[..., :-2]) * (width / 4)
    dy[..., 1:-1, :] = (blurred[..., 2:, :] - blurred[..., :-2, :]) * (height / 4)
    return torch.stack([sprites, dx, dy], 1)


def warp(
    canvas: Tensor, matrices: Tensor, grid: Grid, padding: str = "border"
) -> Tensor:
    """Read padded images (m, D, H', W') through affine maps (m, 6)."""
    flow = affine_flow(grid.points, matrices.view(-1, 2, 3))
    return sample(canvas, flow, grid, padding)


def _normal_equations(
    slope: Tensor, error: Tensor, grid: Grid
) -> tuple[Tensor, Tensor]:
    """Curvature (m, 6, 6) and gradient (m, 6) of an affine warp, summed over pixels.

    slope (m, 2, C, P), error (m, C, P). Every entry is a moment of a product map, so
    all of them come from two matrix products.
    """
    u = torch.cat([grid.points, torch.ones_like(grid.points[:1])]).T  # (P, 3)
    gx, gy = slope.unbind(1)  # (m, C, P)
    maps = torch.stack([gx * gx, gx * gy, gy * gy], 1).sum(2)  # (m, 3, P)
    products = (u[:, :, None] * u[:, None, :]).flatten(1)  # (P, 9)
    xx, xy, yy = (maps @ products).view(-1, 3, 3, 3).unbind(1)
    curvature = torch.cat([torch.cat([xx, xy], 2), torch.cat([xy, yy], 2)], 1)
    gradient = (slope * error[:, None]).sum(2) @ u  # (m, 2, 3)
    return curvature, gradient.flatten(1)


def refine(
    images: Tensor, canvas: Tensor, start: Tensor, family: Family
) -> tuple[Tensor, Tensor, Tensor]:
    """The best parameters met, their energy, and the squared error in it.

    images (m, C, P); canvas (m, 3 C, H', W') padded :func:`slopes` of one sprite each;
    start (m, q).
    """
    m, channels, pixels = images.shape

    def look(now: Tensor) -> tuple[Tensor, Tensor]:
        read = warp(canvas, now @ family.basis, family.grid)
        drawn, slope = read.view(m, 3, channels, pixels).split([1, 2], 1)
        drawn = drawn[:, 0]
        if family.freedom:
            color = solve_color(drawn, images, freedom=family.freedom)
            drawn = apply_color(drawn, color)
            slope = slope * (1 + color[..., 0])[:, None, :, None]
        return drawn, slope

    return descend(images, look, start, family)


def descend(
    images: Tensor, look: Look, start: Tensor, family: Family
) -> tuple[Tensor, Tensor, Tensor]:
    """Levenberg-Marquardt from `start` (m, q) on what is drawn of images (m, C, P).

    The best parameters met, their energy, and the squared error in it.
    """
    m, channels, pixels = images.shape
    best = images.new_full((m,), torch.inf)
    kept, now, least = start, start, best
    damping = images.new_full((m,), 0.05)
    scale = family.weight / (channels * pixels)
    prior = family.prior
    for turn in range(STEPS + 1):
        drawn, slope = look(now)
        error = images - drawn
        squared = error.square().flatten(1).sum(1)
        energy = scale * squared + (prior * now.square()).sum(1)
        better = energy < best
        damping = torch.where(better, damping * 0.3, damping * 5).clamp(1e-3, 10)
        best = torch.where(better, energy, best)
        least = torch.where(better, squared, least)
        kept = torch.where(better[:, None], now, kept)
        if turn == STEPS:
            break
        full, pull = _normal_equations(slope, error, family.grid)
        curvature = scale * (family.basis @ full @ family.basis.T)
        curvature = curvature + torch.diag(prior)
        right = scale * (pull @ family.basis.T) - prior * now
        diagonal = curvature.diagonal(dim1=1, dim2=2)
        curvature = curvature + torch.diag_embed(damping[:, None] * diagonal + 1e-6)
        move = solve_symmetric(curvature, right).clamp(-LONGEST, LONGEST)
        now = torch.where(better[:, None], now, kept) + move
    return kept, best, least


def _standardised(flat: Tensor, freedom: int) -> Tensor:
    """Images (m, C, P) less what a solved color can absorb of their level."""
    return flat - flat.mean(-1, keepdim=True) if freedom == Freedom.FULL else flat


def coarse_errors(images: Tensor, posed: Tensor, freedom: int) -> Tensor:
    """Squared errors (m, R) of images (m, C, P) under posed sprites (R, C, P)."""
    if freedom == Freedom.LIGHT:
        images, posed = as_one_channel(images), as_one_channel(posed)
        return coarse_errors(images, posed, Freedom.FULL)
    x, s = _standardised(images, freedom), _standardised(posed, freedom)
    if not freedom:
        norms = x.square().flatten(1).sum(1)[:, None] + s.square().flatten(1).sum(1)
        return torch.addmm(norms, x.flatten(1), s.flatten(1).T, alpha=-2)
    inner = torch.einsum("mcp,rcp->mrc", x, s)
    floor = 1e-3 * x.shape[-1]
    explained = inner.square() / (s.square().sum(-1) + floor)
    return x.square().flatten(1).sum(1)[:, None] - explained.sum(-1)


def turned(sprites: Tensor, family: Family, padding: str = "border") -> Tensor:
    """Sprites (K, C, H, W) in all turns, those of the first one first."""
    if family.turns is None:
        return sprites
    n_turns = len(family.turns)
    matrices = family.turns.repeat(len(sprites), 1)
    canvas = pad_to_canvas(sprites, padding).repeat_interleave(n_turns, 0)
    return warp(canvas, matrices, family.grid, padding).view(-1, *sprites.shape[1:])


def poses(images: Tensor, sprites: Tensor, family: Family, count: int) -> Poses:
    """Align images (m, C, P) to their `count` most plausible sprites (K, C, H, W).

    The others are left in the turn that suits them best.
    """
    posed = turned(sprites, family)
    errors = coarse_errors(images, posed.flatten(2), family.freedom)
    steep = pad_to_canvas(slopes(posed).flatten(1, 2), "border")

    def exact(rows: Tensor, which: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        start = images.new_zeros(len(rows), len(family.basis))
        return refine(images[rows], steep[which], start, family)

    return plausible(errors.view(len(images), len(sprites), -1), exact, family, count)


def plausible(
    errors: Tensor,
    exact: Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]],
    family: Family,
    count: int,
) -> Poses:
    """Poses of the `count` most plausible sprites made exact, others as they are.

    errors (m, K, R) of sprites in all turns. `exact` has indices of images and of
    sprites in their turns, (h,) each, and finds parameters from there (h, q), their
    energies and errors (h,).
    """
    m, k, n_turns = errors.shape
    best = errors.min(2)  # of all turns
    labels = best.values.topk(min(count, k), 1, largest=False).indices  # (m, h)
    which = labels * n_turns + best.indices.gather(1, labels)
    rows = torch.arange(m, device=errors.device).repeat_interleave(labels.shape[1])
    found, energy, squared = exact(rows, which.flatten())
    moves = errors.new_zeros(m, k, 6)
    index = labels[..., None].expand(-1, -1, 6)
    moves = moves.scatter(1, index, (found @ family.basis).view(index.shape))
    if family.turns is not None:
        turns = family.turns[best.indices].flatten(0, 1)
        moves = after_turn(moves.flatten(0, 1), turns).view(moves.shape)
    far = torch.full_like(best.values, torch.inf)
    energies = far.scatter(1, labels, energy.view(labels.shape))
    errors = best.values.scatter(1, labels, squared.view(labels.shape))
    return Poses(moves, energies, errors)


def joined(parts: Iterable[Poses]) -> Poses:
    """The poses of all images, found in parts."""
    return Poses(*(torch.cat(column) for column in zip(*parts, strict=True)))


def assign(images: Tensor, sprites: Tensor, family: Family) -> Found:
    """Align images (m, C, P) to their most plausible sprites (K, C, H, W)."""
    found = poses(images, sprites, family, HYPOTHESES)
    energies, labels = found.energies.min(1)
    rows = torch.arange(len(images), device=images.device)
    return Found(labels, found.matrices[rows, labels], energies)


def after_turn(matrices: Tensor, turns: Tensor) -> Tensor:
    """What turns (n, 6) make of maps (n, 6) that read sprites in these turns."""
    maps, linear = matrices.view(-1, 2, 3), turns.view(-1, 2, 3)[..., :2]
    return matrices + turns + (linear @ maps).flatten(1)


def at_once(images: Tensor) -> int:
    """How many images (n, C, H, W) are aligned together; the more, the smaller."""
    channels, height, width = images.shape[1:]
    values = channels * canvas_side(height) * canvas_side(width)
    return max(min(MOST, ROOM // values), FEWEST)


def survey(images: Tensor, sprites: Tensor, family: Family) -> Found:
    """:func:`assign` for any number of images (n, C, H, W)."""
    some = images.split(at_once(images))
    parts = [assign(x.flatten(2), sprites, family) for x in some]
    return Found(*(torch.cat(column) for column in zip(*parts, strict=True)))


def update_sprites(
    images: Tensor,
    found: Found,
    sprites: Tensor,
    family: Family,
    steps: int = 2,
    weights: Tensor | None = None,
) -> Tensor:
    """Jacobi steps on the normal equations: S += W'(x - W S) / W'1.

    The minimiser for warps W; the mean of images warped back is not. `weights` (n,) are
    those of the images, one if there are none.
    """
    every = images.new_ones(len(images)) if weights is None else weights
    for _ in range(steps):
        change, mass = torch.zeros_like(sprites), torch.zeros_like(sprites)
        every_row = torch.arange(len(images), device=images.device)
        for rows in every_row.split(2 * at_once(images)):
            more = _adjoint(images[rows], found, rows, sprites, family, every[rows])
            change, mass = change + more[0], mass + more[1]
        sprites = sprites + change / (mass + 1)
    return sprites


def _adjoint(
    images: Tensor,
    found: Found,
    rows: Tensor,
    sprites: Tensor,
    family: Family,
    weights: Tensor,
) -> tuple[Tensor, Tensor]:
    """Sums (K, C, H, W) of W'(x - W S) and of W'1 over some images."""
    labels, matrices = found.labels[rows], found.matrices[rows]
    with torch.enable_grad():
        variable = sprites.clone().requires_grad_()
        ones = torch.ones_like(sprites).requires_grad_()
        # index_select adds up its gradient in order; indexing would race over threads.
        source = pad_to_canvas(variable, "border").index_select(0, labels)
        whole = pad_to_canvas(ones, "border").index_select(0, labels)
        drawn = warp(source, matrices, family.grid)
        cover = warp(whole, matrices, family.grid)
    gain, shown = torch.ones_like(drawn[..., :1, :1]), drawn.detach()
    if family.freedom:
        flat = shown.flatten(2)
        color = solve_color(flat, images.flatten(2), freedom=family.freedom)
        gain = (1 + color[..., 0])[..., None, None]
        shown = apply_color(flat, color).view_as(drawn)
    weight = weights[:, None, None, None]
    missed = weight * gain * (images - shown)
    counts = (weight * gain**2).expand_as(cover)
    return adjoint(drawn, variable, missed), adjoint(cover, ones, counts)
