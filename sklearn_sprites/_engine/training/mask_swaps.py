"""Masks put elsewhere: what no mask explains, for the one that is missed least.

Every layer that search found is a window on what is really there, in the frame of its
pose; what stands alone is seen as a whole, however many layers it was taken for. A
window that no mask explains is tried as one more mask: if all windows together
gain more by it than the mask that is missed least is worth, there are two kinds of
things where there was one mask, or one where there were two. Windows count by
logarithms of errors, as in :mod:`.shaded_kmeans`; those that no mask explains at all,
such as two things in one, count only for a mask that does. Poses are tried on a grid,
and the best is made exact, or thin things would not look like themselves.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.layers import pick
from sklearn_sprites._engine.training.components import Windows as Objects
from sklearn_sprites._engine.training.pose_kmeans import (
    all_poses,
    returning_grids,
    sampling_grids,
    sampling_maps,
)
from sklearn_sprites._engine.training.scene_evidence import frame_points
from sklearn_sprites._engine.training.splits import removal_costs

MOST = 400  # windows that decide
TRIED = 24  # of these, among the worst explained half, as masks
STEPS = 3  # of a mask that was tried best, towards the mean of its windows
LEAST = 0.01  # by which a new mask must gain more than another is missed, in the mean
WORTH = 5e-3  # by which the mean cost must really fall
UNEXPLAINED = 0.03  # share of a window's energy that any mask may leave
ODD = 0.1  # share left from which a window is not of the mask's kind at all
FAINT = 0.05  # squared error of a window that is nothing
OPEN = 1e-2  # evidence in a pixel below which it says little
RIDGE = 1e-3
EXACT = 2  # Gauss-Newton steps from the best pose of the grid
DAMPING = 1e-2  # of the diagonal, in these steps
COARSE = 16  # pixels of a side from which masks are compared in pairs of pixels


class Windows(NamedTuple):
    """Opacities (n, h, w) that images ask for, and what they count, (n, h, w)."""

    alpha: Tensor
    weight: Tensor

    @property
    def energy(self) -> Tensor:
        """What a window would leave without any mask, (n,)."""
        return (self.weight * self.alpha.square()).sum((1, 2)) + FAINT

    def beside(self, other: "Windows") -> "Windows":
        """With more windows."""
        return Windows(*(torch.cat(pair) for pair in zip(self, other, strict=True)))

    def take(self, index: Tensor) -> "Windows":
        """Some of the windows."""
        return Windows(self.alpha[index], self.weight[index])


class Match(NamedTuple):
    """Costs (n, K) of masks in their best poses, and these poses, (n, K, 4)."""

    cost: Tensor
    pose: Tensor

    def beside(self, other: "Match") -> "Match":
        """With more masks."""
        pairs = zip(self, other, strict=True)
        return Match(*(torch.cat(pair, 1) for pair in pairs))

    def take(self, masks: list[int]) -> "Match":
        """With some of the masks."""
        return Match(self.cost[:, masks], self.pose[:, masks])


def layers_seen(evidence: Tensor) -> Windows:
    """What evidence (n, 2, h, w) of masks says, see `scene_evidence.mask_evidence`."""
    top, bottom = evidence.unbind(1)
    return Windows((top / (bottom + OPEN)).clamp(0, 1), bottom)


def some_of(windows: list[Windows]) -> Windows:
    """Windows spread over all of these, not too many."""
    every = Windows(*(torch.cat(parts) for parts in zip(*windows, strict=True)))
    step = max(1, -(-len(every.alpha) // MOST))
    return Windows(every.alpha[::step], every.weight[::step])


def standing_alone(objects: Objects) -> Windows:
    """What objects say that stand alone: each is of one color on its ground."""
    mask = objects.mask[:, None]
    apart = F.max_pool2d(mask, 3, 1, 1) * (objects.image - objects.ground)
    area = mask.sum((2, 3), keepdim=True).clamp_min(1)
    contrast = (apart * mask).sum((2, 3), keepdim=True) / area
    strength = contrast.square().sum(1)
    alpha = (apart * contrast).sum(1) / strength.clamp_min(1e-6)
    return Windows(alpha.clamp(0, 1), strength.expand_as(alpha))


def swapped(
    masks: Tensor, windows: Windows, spec: SceneSpec
) -> tuple[Tensor, list[int]]:
    """Masks (K, h, w) after swaps, as many as help, and which of them are new."""
    new: list[int] = []
    if len(masks) < 2 or not len(windows.alpha):
        return masks, new
    poses = all_poses(spec, masks)
    found = matched(windows, masks, poses)
    for _ in range(len(masks)):
        more, tried = _one_more(masks, found, windows, poses)
        best = found.cost.amin(1)
        gain = float((best - tried.cost[:, -1]).clamp_min(0).sum())
        missed = float(removal_costs(found.cost).min())
        if gain - missed < LEAST * len(best):
            break
        worth = removal_costs(tried.cost)
        leaving = int(worth[:-1].argmin())
        kept = [k if k != leaving else len(masks) for k in range(len(masks))]
        changed = averaged(windows, more[kept], tried.take(kept))
        after = matched(windows, changed, poses)
        if float(best.mean() - after.cost.amin(1).mean()) < WORTH:
            break
        masks, found, new = changed, after, [*new, leaving]
    return masks, sorted(set(new))


def _one_more(
    masks: Tensor, found: Match, windows: Windows, poses: Tensor
) -> tuple[Tensor, Match]:
    """Masks and the best window among some that are explained badly."""
    best = found.cost.amin(1)
    worst = best.argsort(descending=True, stable=True)[: (len(best) + 1) // 2]
    worst = worst[:: -(-len(worst) // TRIED)]
    tried = matched(windows, windows.alpha[worst], poses)
    gains = (best[:, None] - tried.cost).clamp_min(0).sum(0)
    chosen = int(gains.argmax())
    more = torch.cat([masks, windows.alpha[worst[chosen], None]])
    both = found.beside(tried.take([chosen]))
    last = len(masks)
    for _ in range(STEPS):
        more = averaged(windows, more, both, only=last)
        again = matched(windows, more[last:], poses)
        both = both.take(list(range(last))).beside(again)
    return more, both


def matched(windows: Windows, masks: Tensor, poses: Tensor) -> Match:
    """Compare masks (K, h, w) with windows, in poses (P, 4) and those between them."""
    energy = windows.energy
    if _has_pairs(masks):
        weight = _paired(windows.weight)
        alpha = _paired(windows.alpha * windows.weight) / weight.clamp_min(1e-9)
        windows, masks = Windows(alpha, 4 * weight), _paired(masks)
    there = sampling_grids(poses, (masks.shape[1], masks.shape[2]))
    weight, alpha = windows.weight.flatten(1), windows.alpha.flatten(1)
    both = weight * alpha
    without = (both * alpha).sum(1, keepdim=True)
    is_free = (poses != poses[:1]).any(0)
    costs, found = [], []
    for mask in masks:
        drawn = _sampled(mask[None], there)[:, 0]
        left = without - 2 * both @ drawn.T + weight @ drawn.square().T
        error, pose = exact(windows, mask, poses[left.argmin(1)], is_free)
        share = (error / energy).clamp(0, ODD)
        costs.append((share + UNEXPLAINED).log())
        found.append(pose)
    return Match(torch.stack(costs, 1), torch.stack(found, 1))


def exact(
    windows: Windows, mask: Tensor, pose: Tensor, is_free: Tensor
) -> tuple[Tensor, Tensor]:
    """Squared errors (n,) of windows under a mask (h, w), and better poses (n, 4).

    Gauss-Newton steps, of the parameters that are free (4,), kept where they help.
    """
    sides = (mask.shape[0], mask.shape[1])
    nudges = torch.diag_embed(is_free * (2 / min(sides)))  # about a pixel
    weight, alpha = windows.weight.flatten(1), windows.alpha.flatten(1)
    planes = torch.stack([mask, *_slopes(mask)])
    points = F.pad(frame_points(sides, mask), (0, 1), value=1.0).T  # (3, P)

    def look(pose: Tensor) -> tuple[Tensor, Tensor]:
        seen = _sampled(planes, sampling_grids(pose, sides))
        return seen, (weight * (alpha - seen[:, 0]).square()).sum(1)

    seen, error = look(pose)
    for _ in range(EXACT):
        nudged = sampling_maps((pose[:, None] + nudges).flatten(0, 1), sides)
        change = nudged.view(-1, 4, 2, 3) - sampling_maps(pose, sides)[:, None]
        moved = (change.flatten(0, 2) @ points).view(*change.shape[:3], -1)
        slopes = (moved * seen[:, None, 1:]).sum(2)  # (n, 4, P)
        normal = (slopes * weight[:, None]) @ slopes.mT
        damping = DAMPING * normal.diagonal(dim1=1, dim2=2) + 1e-6
        right = (slopes * (weight * (alpha - seen[:, 0]))[:, None]).sum(2)
        step = torch.linalg.solve(normal + torch.diag_embed(damping), right)
        other = pose + step.clamp(-2, 2) @ nudges
        tried, left = look(other)
        better = left < error
        pose, seen = pick(better, other, pose), pick(better, tried, seen)
        error = torch.minimum(left, error)
    return error, pose


def _sampled(planes: Tensor, there: Tensor) -> Tensor:
    """Planes (C, h, w) looked up at (P, h, w, 2): (P, C, h * w)."""
    every = planes.expand(len(there), -1, -1, -1)
    return F.grid_sample(every, there, align_corners=False).flatten(2)


def _slopes(mask: Tensor) -> tuple[Tensor, Tensor]:
    """How a mask (h, w) changes along x and y, from -1 to 1 between its edges."""
    height, width = mask.shape
    wide = F.pad(mask, (1, 1, 1, 1))
    along = (wide[1:-1, 2:] - wide[1:-1, :-2]) * (width / 4)
    down = (wide[2:, 1:-1] - wide[:-2, 1:-1]) * (height / 4)
    return along, down


def _has_pairs(masks: Tensor) -> bool:
    sides = masks.shape[1:]
    return min(sides) >= COARSE and not any(side % 2 for side in sides)


def _paired(maps: Tensor) -> Tensor:
    """Means of 2 x 2 pixels of maps (n, h, w)."""
    return F.avg_pool2d(maps[:, None], 2)[:, 0]


def averaged(
    windows: Windows, masks: Tensor, found: Match, only: int | None = None
) -> Tensor:
    """Masks of least squares over the windows that each explains best.

    All of them, or `only` one.
    """
    sides = (masks.shape[1], masks.shape[2])
    maps = torch.stack([windows.alpha * windows.weight, windows.weight], 1)
    maps = maps / windows.energy[:, None, None, None]
    new, owner = masks.clone(), found.cost.argmin(1)
    for k in range(len(masks)) if only is None else (only,):
        mine = (owner == k).nonzero()[:, 0]
        if not len(mine):
            continue
        turned = returning_grids(found.pose[mine, k], sides)
        seen = F.grid_sample(maps[mine], turned, align_corners=False)
        certain = (-found.cost[mine, k]).exp()[:, None, None, None]
        top, bottom = (certain * seen).sum(0)
        new[k] = ((top + RIDGE * masks[k]) / (bottom + RIDGE)).clamp(0, 1)
    return new
