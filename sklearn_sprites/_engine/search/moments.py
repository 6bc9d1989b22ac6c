"""Normal equations of masks in similarity poses, from the moments of five maps.

With a mask's slopes a and d by the coordinates of its sprite, its derivative by any
parameter of a similarity is a sum of ``a, a x, a y, d, d x, d y`` over the coordinates
(x, y) of a window, with weights that are the same for all pixels. So the Gauss-Newton
matrix follows from the moments ``1, x, y, x^2, x y, y^2`` of the maps ``a a, a d, d d``
and the right side from those of a and d, each times what it is weighted with: one
matrix product instead of a Jacobian.

Convention
----------
Masks (M, P) are seen at the P points of one window, each moved to its own place; a
frame (M, 2, 3) takes points (1, x, y) to sprite coordinates in [-1, 1].
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sklearn_sprites._engine.ops.layers import LINE
from sklearn_sprites._engine.ops.linear import solve_columns
from sklearn_sprites._engine.scene_spec import SIMILARITY, SceneSpec
from sklearn_sprites._engine.search.poses import to_frame
from sklearn_sprites._engine.search.refine import DAMPING, LIMITS, Slopes

SPARE = 1.0  # pixels between a window's middle and a pose, at most
FAINT = 0.02  # alpha that may be left out
FAR = 1e4  # where points are that are no pixels, in pixels


class Window(NamedTuple):
    """Pixels around a center: ``rows`` and ``columns`` (P,), from the upper left one.

    ``points`` (3, P): 1, x, y from the middle of the window, in pixels of the image;
    ``moments`` (P, 16), the nine products of any two of them, then zeros. P is a
    multiple of :data:`LINE`: the last points may be far away, at no pixel, with moments
    of zero.
    """

    rows: Tensor
    columns: Tensor
    points: Tensor
    moments: Tensor
    side: int
    step: int


def make_window(side: int, reach: float, step: int, like: Tensor) -> Window:
    """Pixels within `reach` pixels of the middle of a square of `side` pixels."""
    far = torch.arange(side, dtype=like.dtype, device=like.device) - (side - 1) / 2
    inside = far[:, None].square() + far.square() <= reach**2
    rows, columns = inside.nonzero().unbind(1)
    missing = -len(rows) % LINE
    x, y = (F.pad(far[i] * step, (0, missing), value=FAR) for i in (columns, rows))
    real = F.pad(torch.ones_like(far[rows]), (0, missing))
    points = torch.stack([torch.ones_like(x), x, y])
    moments = (points[:, None] * points * real).flatten(0, 1)
    moments = F.pad(moments.T, (0, LINE - len(moments)))  # whole lines are quicker
    rows, columns = (F.pad(i, (0, missing)) for i in (rows, columns))
    return Window(rows, columns, points, moments, side, step)


def reach_of(slopes: Slopes) -> float:
    """How far from its center, in pixels, a mask may be seen."""
    h, w = slopes.planes.shape[2:]
    like = slopes.planes
    y, x = (torch.arange(n, dtype=like.dtype, device=like.device) for n in (h, w))
    far = torch.hypot((y - (h - 1) / 2)[:, None], x - (w - 1) / 2)
    seen = (like[:, 0] > FAINT).any(0)
    return float((far * seen).max() + 1.5) * math.exp(slopes.log_scales[1])


def are_masks(spec: SceneSpec) -> bool:
    """Whether layers are masks in similarity poses, before a level of one color."""
    flat = spec.color == "flat" and not spec.has_picture
    return flat and spec.pose_size == SIMILARITY


def around_masks(slopes: Slopes, spec: SceneSpec, step: int = 1) -> Window | None:
    """A window that holds masks in any pose they may have; none for other layers."""
    if not are_masks(spec):
        return None
    reach = reach_of(slopes) / step + SPARE
    return make_window(2 * math.ceil(reach), reach, step, slopes.planes)


class Sight(NamedTuple):
    """What windows see of an image: ``center`` (M, 2), in pixels of the image.

    ``places`` (M, P) of their pixels in the flattened image, and whether these are
    ``inside`` (M, P) of it: one or zero.
    """

    center: Tensor
    places: Tensor
    inside: Tensor


def look(window: Window, pose: Tensor, rows: int, columns: int) -> Sight:
    """Put the window around poses (M, Q), in images of `rows` x `columns` pixels."""
    corner = (pose[:, :2] / window.step).round().long() - window.side // 2  # (M, 2)
    x, y = corner[:, :1] + window.columns, corner[:, 1:] + window.rows  # (M, P)
    right, low = x.clamp(0, columns - 1), y.clamp(0, rows - 1)
    inside = ((x == right) & (y == low)).to(pose)
    center = (corner.to(pose) + window.side / 2) * window.step
    return Sight(center, low * columns + right, inside)


def seen_through(maps: Tensor, places: Tensor) -> Tensor:
    """Maps (B, R, P) of images at places (B N, P') of windows, (B N, R, P').

    Whole pixels are copied, all their maps at a time: much quicker than map by map.
    """
    b, r, p = maps.shape
    pixels = maps.mT.reshape(b * p, r)
    first = torch.arange(b, device=places.device)[:, None] * p
    index = (places.view(b, -1) + first).flatten()
    seen = pixels.index_select(0, index).view(*places.shape, r)
    return seen.mT.contiguous()


def frames(pose: Tensor, center: Tensor, sides: tuple[int, int]) -> Tensor:
    """From points around centers (M, 2) to sprites at poses (M, 4)."""
    matrix = to_frame(pose, sides)
    return torch.cat([matrix @ (center - pose[:, :2])[..., None], matrix], 2)


def draw_window(planes: Tensor, frame: Tensor, window: Window) -> Tensor:
    """Planes (M, D, h, w) of sprites at the points of the window, (M, D, P)."""
    where = frame.flatten(0, 1) @ window.points
    where = where.view(-1, 1, 2, where.shape[1]).mT  # (M, 1, P, 2)
    return F.grid_sample(planes, where, align_corners=False)[:, :, 0]


@lru_cache
def similarity_rows(
    sides: tuple[int, int], active: tuple[int, ...]
) -> list[list[float]]:
    """What makes a frame (6,) derivatives by (x, y, log_scale, angle), (6, 24).

    They are sums of slopes: a and d, each times 1, x, y. Zero for what is not active.
    """
    h, w = sides
    rows = np.zeros((2, 3, 4, 2, 3))
    rows[:, 1, 0, :, 0] = rows[:, 2, 1, :, 0] = np.eye(2)
    rows[:, :, 2] = np.eye(6).reshape(2, 3, 2, 3)
    rows[1, :, 3, 0] = np.eye(3) * (-h / w)
    rows[0, :, 3, 1] = np.eye(3) * (w / h)
    kept = np.isin(np.arange(4), active)[:, None, None]
    return (-rows * kept).reshape(6, 24).tolist()


def _square() -> list[int]:
    """Where the entries of the matrix of slopes (6, 6) are among moments (5, 16)."""
    maps = np.array([[0, 1], [1, 2]])  # a a, a d, d d
    pairs = np.arange(9).reshape(3, 3)  # 1, x, y times 1, x, y
    index = maps[:, None, :, None] * LINE + pairs[:, None]
    return index.flatten().tolist()


SQUARE = _square()


class Steps(NamedTuple):
    """What steps may change, and how far.

    ``rows`` (6, 24), see :func:`similarity_rows`; ``square`` (36,), where the matrix of
    slopes is among moments; ``least`` and ``most`` (4,) of a step; ``low`` and ``high``
    (4,) of a pose; ``sides`` of sprites.
    """

    rows: Tensor
    square: Tensor
    least: Tensor
    most: Tensor
    low: Tensor
    high: Tensor
    sides: tuple[int, int]


def make_steps(slopes: Slopes) -> Steps:
    """The same as :func:`stepped` allows."""
    like = slopes.planes
    sides = (like.shape[2], like.shape[3])
    high = like.new_full((4,), torch.inf)
    low = -high
    low[2], high[2] = slopes.log_scales
    most = like.new_tensor(LIMITS[:4])
    rows = like.new_tensor(similarity_rows(sides, slopes.active))
    square = torch.tensor(SQUARE, device=like.device)
    return Steps(rows, square, -most, most, low, high, sides)


def moved(
    pose: Tensor,
    matrix: Tensor,
    right: Tensor,
    steps: Steps,
    damping: float | Tensor = DAMPING,
) -> Tensor:
    """Poses (M, 4) after a damped, limited step from :func:`equations`.

    See :func:`stepped`.
    """
    diagonal = matrix.diagonal(dim1=1, dim2=2)
    ridge = torch.add(diagonal.amax(1, keepdim=True) * 1e-4, 1e-6)
    matrix = matrix + torch.diag_embed(diagonal * damping + ridge)
    move = solve_columns(matrix, right)[..., 0]
    return (pose + move.clamp(steps.least, steps.most)).clamp(steps.low, steps.high)


def slope_maps(drawn: Tensor, strength: Tensor, pull: Tensor) -> Tensor:
    """The five maps (M, 5, P) of masks with slopes, (M, 3, P).

    With the contrast k of a mask, `strength` (M, P) is k . k and `pull` is k . r, r
    being what is left of the image.
    """
    _, across, down = drawn.unbind(1)
    maps = drawn.new_empty((len(drawn), 5, drawn.shape[2]))
    aa, ad, dd, ar, dr = maps.unbind(1)
    heavy = strength * across
    torch.mul(heavy, across, out=aa)
    torch.mul(heavy, down, out=ad)
    torch.mul(torch.mul(strength, down, out=heavy), down, out=dd)
    torch.mul(pull, across, out=ar)
    torch.mul(pull, down, out=dr)
    return maps


def equations(
    maps: Tensor, frame: Tensor, window: Window, steps: Steps
) -> tuple[Tensor, Tensor]:
    """Gauss-Newton matrices (M, 4, 4), right sides (M, 4, 1); zero where not free."""
    found = (maps.flatten(0, 1) @ window.moments).view(len(frame), -1)  # (M, 5 * 16)
    full = found.index_select(1, steps.square).view(-1, 6, 6)
    rows = (frame.flatten(1) @ steps.rows).view(-1, 4, 6)
    right = rows @ found.view(-1, 5, LINE)[:, 3:, :3].reshape(-1, 6, 1)
    return rows @ full @ rows.mT, right
