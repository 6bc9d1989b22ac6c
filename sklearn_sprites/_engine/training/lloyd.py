"""K-means in torch: the model with no transformation, and the parts of a split."""

from typing import NamedTuple

import torch
from torch import Tensor

SHARE, PER_CENTER = 4, 100  # a sample: 1/SHARE of the points, some for each center
SLACK = 1e-4  # of a distance: what rounding may have taken from a bound
MANY = 0.5  # share of doubtful points from which all are looked at
CHUNK = 1024  # points read at a time: they stay in a CPU's cache
PLATEAU = 3e-6  # of the inertia: a pass that gains less ends a run from a drawn start


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


def means(sums: Tensor, labels: Tensor, centers: Tensor) -> Tensor:
    """Means of the points with each label; a label without points keeps its center."""
    counts = torch.bincount(labels, minlength=len(centers))[:, None]
    return torch.where(counts > 0, sums / counts.clamp_min(1), centers)


def relocate_empty(
    centers: Tensor, labels: Tensor, points: Tensor
) -> tuple[Tensor, bool]:
    """Centers without points move to the points that are served worst."""
    empty = (torch.bincount(labels, minlength=len(centers)) == 0).nonzero()[:, 0]
    if not len(empty):
        return centers, False
    errors = (points - centers[labels]).square().sum(1)
    worst = errors.topk(min(len(empty), len(errors)))
    useful = worst.values > 0
    centers = centers.clone()
    centers[empty[: len(useful)][useful]] = points[worst.indices[useful]]
    return centers, bool(useful.any())


class Bounded(NamedTuple):
    """Labels (n,), bounds of distances (n,) and sums (K, d) of the points of a center.

    The own center is not farther than ``upper``, all others not nearer than ``lower``.
    """

    labels: Tensor
    upper: Tensor
    lower: Tensor
    sums: Tensor


def two_nearest(points: Tensor, norms: Tensor, centers: Tensor) -> tuple[Tensor, ...]:
    """Labels (n,) and distances (n,) to the nearest center and to the next one."""
    own = centers.square().sum(1)[:, None]
    near = torch.addmm(own, centers, points.T, alpha=-2)
    first = near.min(0)
    near.scatter_(0, first.indices[None], torch.inf)
    upper, lower = (
        (value + norms).clamp_min_(0).sqrt_() for value in (first.values, near.amin(0))
    )
    return first.indices, upper, lower


def look(points: Tensor, norms: Tensor, centers: Tensor) -> Bounded:
    """Look at every point.

    `norms` (n,) are the points' squared lengths. A chunk of points is read once for
    both products.
    """
    sums, found = torch.zeros_like(centers), []
    for part, norm in zip(points.split(CHUNK), norms.split(CHUNK), strict=True):
        found.append(two_nearest(part, norm, centers))
        member = part.new_zeros(len(centers), len(part))
        sums.addmm_(member.scatter_(0, found[-1][0][None], 1), part)
    labels, upper, lower = (torch.cat(column) for column in zip(*found, strict=True))
    return Bounded(labels, upper, lower, sums)


def look_again(
    state: Bounded, points: Tensor, norms: Tensor, centers: Tensor, shift: Tensor
) -> Bounded:
    """Look at the points whose bounds meet after centers moved by `shift` (K,).

    The others keep their centers by the triangle inequality (Hamerly, 2010).
    """
    upper = state.upper + shift[state.labels]
    lower = state.lower - shift.max()
    doubtful = (upper * (1 + SLACK) >= lower).nonzero()[:, 0]
    if len(doubtful) > MANY * len(points):
        return look(points, norms, centers)
    labels, sums = state.labels.clone(), state.sums.clone()
    for rows in doubtful.split(CHUNK):
        some, before = points[rows], labels[rows]
        now, upper[rows], lower[rows] = two_nearest(some, norms[rows], centers)
        left = (now != before).nonzero()[:, 0]
        sums.index_add_(0, now[left], some[left])
        sums.index_add_(0, before[left], some[left], alpha=-1)
        labels[rows] = now
    return Bounded(labels, upper, lower, sums)


def explained(sums: Tensor, labels: Tensor) -> float:
    """What means take from the points' squared lengths; the rest is the inertia."""
    counts = torch.bincount(labels, minlength=len(sums)).clamp_min(1)
    return float((sums.double().square().sum(1) / counts).sum())


def lloyd(
    points: Tensor,
    centers: Tensor,
    max_iter: int = 300,
    tol: float = 1e-4,
    plateau: float = 0.0,
) -> Clusters:
    """Lloyd's algorithm from given centers, until labels or centers stand still.

    `tol` is relative to the variance of the points, as in scikit-learn's KMeans. A
    pass that takes less than `plateau` of the inertia away is the last one too.
    """
    norms = points.square().sum(1)
    middle = points.mean(0)
    limit = tol * float(norms.mean() - middle.square().sum()) / points.shape[1]
    state = look(points, norms, centers)
    total = float(norms.double().sum())
    inertia = torch.inf
    n_iter, still = 0, False
    while n_iter < max_iter:
        n_iter += 1
        moved = means(state.sums, state.labels, centers)
        moved, relocated = relocate_empty(moved, state.labels, points)
        shift = (moved - centers).norm(dim=1)
        centers = moved
        if (still and not relocated) or shift.square().sum() <= limit:
            break
        before = state.labels
        state = look_again(state, points, norms, centers, shift)
        still = torch.equal(before, state.labels)
        if plateau:
            previous, inertia = inertia, total - explained(state.sums, state.labels)
            still |= previous - inertia < plateau * inertia
    last = look(points, norms, centers)
    errors = last.upper.square()
    return Clusters(centers, last.labels, errors, n_iter, n_iter < max_iter)


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
