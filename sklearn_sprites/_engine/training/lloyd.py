"""K-means in torch: the model with no transformation, and the parts of a split."""

from typing import NamedTuple

import torch
from torch import Tensor

SHARE, PER_CENTER = 4, 100  # a sample: 1/SHARE of the points, some for each center
CHUNK = 1024  # points read at a time: they stay in a CPU's cache


class Clusters(NamedTuple):
    """Centers (K, d), labels (n,), squared distances (n,) and iterations done."""

    centers: Tensor
    labels: Tensor
    errors: Tensor
    n_iter: int
    converged: bool


def squared_distances(points: Tensor, centers: Tensor) -> Tensor:
    """(n, K), up to rounding never below zero."""
    norms = points.square().sum(1, keepdim=True) + centers.square().sum(1)
    return torch.addmm(norms, points, centers.T, alpha=-2).clamp_min_(0)


def plus_plus(points: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """k-means++ seeds, each the best of a few draws (Arthur & Vassilvitskii, 2007).

    The generator is on the CPU, wherever the points are.
    """
    trials = 2 + k.bit_length()
    first = torch.randint(len(points), (1,), generator=generator)
    centers = [points[first]]
    nearest = squared_distances(points, centers[0])[:, 0]
    for _ in range(k - 1):
        weights = nearest.double().cpu() + 1e-30
        drawn = torch.multinomial(weights, trials, True, generator=generator)
        drawn = drawn.to(points.device)
        reach = torch.minimum(
            nearest[:, None], squared_distances(points, points[drawn])
        )
        best = reach.sum(0).argmin()
        centers.append(points[drawn[best]][None])
        nearest = reach[:, best]
    return torch.cat(centers)


def assign(points: Tensor, norms: Tensor, centers: Tensor) -> tuple[Tensor, ...]:
    """Labels (n,), squared distances (n,) and sums (K, d) of the points of each center.

    `norms` (n,) are the points' squared lengths. A chunk of points is read once for
    both products.
    """
    own = centers.square().sum(1)[:, None]
    sums, found = torch.zeros_like(centers), []
    for part in points.split(CHUNK):
        nearest = torch.addmm(own, centers, part.T, alpha=-2).min(0)
        member = part.new_zeros(len(centers), len(part))
        sums.addmm_(member.scatter_(0, nearest.indices[None], 1), part)
        found.append(nearest)
    labels = torch.cat([part.indices for part in found])
    errors = torch.cat([part.values for part in found]) + norms
    return labels, errors.clamp_min_(0), sums


def means(sums: Tensor, labels: Tensor, centers: Tensor) -> Tensor:
    """Means of the points with each label; a label without points keeps its center."""
    counts = torch.bincount(labels, minlength=len(centers))[:, None]
    return torch.where(counts > 0, sums / counts.clamp_min(1), centers)


def relocate_empty(
    centers: Tensor, labels: Tensor, errors: Tensor, points: Tensor
) -> tuple[Tensor, bool]:
    """Centers without points move to the points that are served worst."""
    empty = (torch.bincount(labels, minlength=len(centers)) == 0).nonzero()[:, 0]
    worst = errors.topk(min(len(empty), len(errors)))
    useful = worst.values > 0
    centers = centers.clone()
    centers[empty[: len(useful)][useful]] = points[worst.indices[useful]]
    return centers, bool(useful.any())


def lloyd(
    points: Tensor, centers: Tensor, max_iter: int = 300, tol: float = 1e-4
) -> Clusters:
    """Lloyd's algorithm from given centers, until labels or centers stand still.

    `tol` is relative to the variance of the points, as in scikit-learn's KMeans.
    """
    norms = points.square().sum(1)
    middle = points.mean(0)
    limit = tol * float(norms.mean() - middle.square().sum()) / points.shape[1]
    labels = torch.full((len(points),), -1, device=points.device)
    n_iter = 0
    while n_iter < max_iter:
        n_iter += 1
        now, errors, sums = assign(points, norms, centers)
        moved = means(sums, now, centers)
        moved, relocated = relocate_empty(moved, now, errors, points)
        still = torch.equal(now, labels) and not relocated
        shift = (moved - centers).square().sum()
        labels, centers = now, moved
        if still or shift <= limit:
            break
    labels, errors, _ = assign(points, norms, centers)
    return Clusters(centers, labels, errors, n_iter, n_iter < max_iter)


def from_a_sample(
    points: Tensor, centers: Tensor, generator: torch.Generator, max_iter: int
) -> Tensor:
    """Centers that a random sample of the points agrees with: a start at less cost."""
    n = max(len(points) // SHARE, PER_CENTER * len(centers))
    if n >= len(points):
        return centers
    order = torch.randperm(len(points), generator=generator)[:n]
    return lloyd(points[order.to(points.device)], centers, max_iter).centers


def kmeans(
    points: Tensor,
    k: int,
    generator: torch.Generator,
    n_init: int = 1,
    max_iter: int = 100,
) -> Clusters:
    """The best of `n_init` runs of Lloyd's algorithm from k-means++ seeds."""
    runs = [
        lloyd(points, plus_plus(points, k, generator), max_iter) for _ in range(n_init)
    ]
    return min(runs, key=lambda run: float(run.errors.sum()))
