"""Which sprite could go, and which cluster wants two: the arithmetic of a swap."""

from typing import NamedTuple

import torch
from torch import Tensor

from sklearn_sprites._engine.settings import Swap

FLOOR = 0.1  # of the mean error: images drawn perfectly do not decide alone
SMALLEST_SPLIT = 20  # images below which a cluster is not split
POWER_STEPS, SPLIT_STEPS = 6, 20  # towards a principal direction; of 2-means


class Judgment(NamedTuple):
    """What of a cluster counts where sprites are compared.

    Of what its images lose without their sprite, the mean over the `part` that loses
    least; and its size, the number of its images, to a `power`.
    """

    part: float = 1.0
    power: float = 1.0


OPAQUE = Judgment(0.5, 0.5)
LAYERED = Judgment()  # what is behind makes some images of any kind lose nothing


def noise_levels(errors: Tensor) -> Tensor:
    """What errors of images, (m,) or (m, K), are measured by: themselves, floored."""
    best = errors if errors.ndim == 1 else errors.amin(1)
    return (errors + FLOOR * best.mean()).clamp_min(1e-12)


def judgment(rule: Swap, is_layered: bool) -> Judgment:
    """The usual one, but for a power that is given."""
    usual = LAYERED if is_layered else OPAQUE
    return usual if rule.size_power is None else usual._replace(power=rule.size_power)


def by_size(totals: Tensor, owners: Tensor, power: float) -> Tensor:
    """Sums over clusters (K,) as means times the clusters' sizes to a power.

    owners (n,) are the clusters that images belong to. With a power of one, the sums.
    """
    counts = torch.bincount(owners, minlength=len(totals)).clamp_min(1)
    return totals * counts.to(totals) ** (power - 1)


def second_choices(costs: Tensor) -> tuple[Tensor, Tensor]:
    """What every image loses without its own sprite, (n,), and which that is, (n,).

    costs (n, K), infinite for sprites that are out of use.
    """
    two, owners = costs.topk(2, 1, largest=False)
    return two[:, 1] - two[:, 0], owners[:, 0]


def removal_costs(costs: Tensor) -> Tensor:
    """What the images of each sprite lose together without it, (K,).

    costs (n, K), infinite for sprites that are out of use.
    """
    lost, owners = second_choices(costs)
    total = torch.zeros_like(costs[0]).index_add_(0, owners, lost)
    return total.masked_fill(torch.isinf(costs[0]), torch.inf)


def how_missed(costs: Tensor, how: Judgment) -> Tensor:
    """What a sprite's images lose, on average over those that lose least, (K,).

    Of two sprites for one kind, each has many images near the border that hardly need
    it, although others far from it do; a sprite with a kind of its own has few. The
    average counts times the number of images to a power. costs as in
    :func:`removal_costs`.
    """
    lost, owners = second_choices(costs)
    order = lost.argsort()
    order = order[owners[order].argsort(stable=True)]  # by owner, then by loss
    lost, owners = lost[order], owners[order]
    counts = torch.bincount(owners, minlength=costs.shape[1])
    places = torch.arange(len(lost), device=lost.device)
    ranks = places - (counts.cumsum(0) - counts)[owners]
    n_least = (how.part * counts).ceil().long()
    lost = lost.masked_fill(ranks >= n_least[owners], 0)
    total = torch.zeros_like(costs[0]).index_add_(0, owners, lost)
    missed = total / n_least.clamp_min(1) * counts.to(total) ** how.power
    return missed.masked_fill(torch.isinf(costs[0]), torch.inf)


def least_missed(errors: Tensor, n_kept: int, how: Judgment) -> list[int]:
    """Sprites to be taken out of use, one after the other, until `n_kept` are left.

    They are judged by logarithms of errors: an image's log-likelihood, but for a
    factor, where each has a noise level of its own. So a few images in bad light, which
    no sprite draws well, weigh no more than as many clear ones.
    """
    costs = noise_levels(errors).log()
    removed = []
    for _ in range(int(torch.isfinite(errors[0]).sum()) - n_kept):
        removed.append(int(how_missed(costs, how).argmin()))
        costs[:, removed[-1]] = torch.inf
    return removed


def split_gains(
    features: Tensor,
    owners: Tensor,
    n_sprites: int,
    draws: torch.Generator,
) -> tuple[Tensor, dict[int, tuple[Tensor, Tensor]]]:
    """What two sprites instead of one would save in each cluster, and the halves.

    features (n, d): what every image would change in its sprite, scaled so that squares
    are errors; owners (n,). The gain is the scatter that 2-means explains. Halves are
    the indices of a cluster's images, in two parts.
    """
    sides, gains = two_means(features, owners, n_sprites, draws)
    counts = torch.bincount(owners, minlength=n_sprites)
    large = counts >= SMALLEST_SPLIT
    halves = {
        k: tuple(((owners == k) & part).nonzero()[:, 0] for part in (~sides, sides))
        for k in large.nonzero()[:, 0].tolist()
    }
    return gains * large, halves


def two_means(
    points: Tensor, owners: Tensor, k: int, draws: torch.Generator
) -> tuple[Tensor, Tensor]:
    """2-means within each of k groups: sides (n,), scatter explained (k,).

    points (n, d); owners (n,) are groups.
    """
    lines = torch.randn((k, points.shape[1]), generator=draws).to(points)
    sides = torch.zeros_like(owners) > 0
    gains = points.new_zeros(k)
    for group, line in enumerate(lines):
        rows = (owners == group).nonzero()[:, 0]  # a sync
        if len(rows):  # a group at a time, which stays in a CPU's cache
            sides[rows], gains[group] = _halves(points[rows], line)
    return sides, gains


def _halves(points: Tensor, line: Tensor) -> tuple[Tensor, Tensor]:
    """2-means of points (n, d): side of each, (n,), and the scatter explained.

    It starts from the two sides of their mean along the first principal direction,
    sought from a random `line` (d,). About the mean the two centers lie on one line
    through it, so one sum and one product are all that a step needs.
    """
    points = points - points.mean(0)
    for _ in range(POWER_STEPS):
        line = torch.nn.functional.normalize((points @ line) @ points, dim=0)
    sides = points @ line > 0
    for _ in range(SPLIT_STEPS):
        count = int(sides.sum())  # a sync
        one, other = 1 / max(count, 1), 1 / max(len(points) - count, 1)
        total = sides.to(points) @ points  # of one side; the other is minus that
        norm = total @ total
        before = sides
        sides = points @ total > norm * ((one - other) / 2)
        if torch.equal(sides, before):
            break
    return before, norm * (one + other)
