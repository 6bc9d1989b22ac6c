"""Which sprite could go, and which cluster wants two: the arithmetic of a swap."""

import torch
from torch import Tensor

from sklearn_sprites._engine.training.lloyd import kmeans

FLOOR = 0.1  # of the mean error: images drawn perfectly do not decide alone
SMALLEST_SPLIT = 20  # images below which a cluster is not split


def noise_levels(errors: Tensor) -> Tensor:
    """What errors of images, (m,) or (m, K), are measured by: themselves, floored."""
    best = errors if errors.ndim == 1 else errors.amin(1)
    return (errors + FLOOR * best.mean()).clamp_min(1e-12)


def removal_costs(costs: Tensor) -> Tensor:
    """What each sprite's images lose when they go to their second choice, (K,).

    costs (n, K), infinite for sprites that are out of use.
    """
    two, owners = costs.topk(2, 1, largest=False)
    lost = two[:, 1] - two[:, 0]
    total = torch.zeros_like(costs[0]).index_add_(0, owners[:, 0], lost)
    return total.masked_fill(torch.isinf(costs[0]), torch.inf)


def least_missed(errors: Tensor, n_kept: int) -> list[int]:
    """Sprites to be taken out of use, one after the other, until `n_kept` are left.

    They are judged by logarithms of errors: an image's log-likelihood, but for a
    factor, where each has a noise level of its own. So a few images in bad light, which
    no sprite draws well, weigh no more than as many clear ones.
    """
    costs = noise_levels(errors).log()
    removed = []
    for _ in range(int(torch.isfinite(errors[0]).sum()) - n_kept):
        removed.append(int(removal_costs(costs).argmin()))
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
    gains = features.new_zeros(n_sprites)
    halves: dict[int, tuple[Tensor, Tensor]] = {}
    for k in range(n_sprites):  # clusters differ in size
        mine = (owners == k).nonzero()[:, 0]
        if len(mine) < SMALLEST_SPLIT:
            continue
        points = features[mine]
        split = kmeans(points, 2, draws, n_init=2, max_iter=20)
        scatter = (points - points.mean(0)).square().sum()
        gains[k] = scatter - split.errors.sum()
        halves[k] = mine[split.labels == 0], mine[split.labels == 1]
    return gains, halves
