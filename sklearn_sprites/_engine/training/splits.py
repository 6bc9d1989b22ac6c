"""Which sprite could go, and which cluster wants two: the arithmetic of a swap."""

import torch
from torch import Tensor

from sklearn_sprites._engine.training.lloyd import kmeans

SMALLEST_SPLIT = 20  # images below which a cluster is not split


def removal_costs(errors: Tensor) -> Tensor:
    """What each sprite's images lose when they go to their second choice, (K,).

    errors (n, K), infinite for sprites that are out of use.
    """
    two, owners = errors.topk(2, 1, largest=False)
    lost = two[:, 1] - two[:, 0]
    costs = torch.zeros_like(errors[0]).index_add_(0, owners[:, 0], lost)
    return costs.masked_fill(torch.isinf(errors[0]), torch.inf)


def least_missed(errors: Tensor, n_kept: int) -> list[int]:
    """Sprites to be taken out of use, one after the other, until `n_kept` are left."""
    errors = errors.clone()
    removed = []
    for _ in range(int(torch.isfinite(errors[0]).sum()) - n_kept):
        removed.append(int(removal_costs(errors).argmin()))
        errors[:, removed[-1]] = torch.inf
    return removed


def split_gains(
    aligned: Tensor,
    owners: Tensor,
    errors: Tensor,
    n_sprites: int,
    draws: torch.Generator,
) -> tuple[Tensor, dict[int, Tensor]]:
    """What two sprites instead of one would save in each cluster, and the halves.

    aligned (n, d): images in their sprite's frame; owners (n,); errors (n,). The share
    of the scatter that 2-means explains is taken as the share of the error.
    """
    gains = errors.new_zeros(n_sprites)
    halves: dict[int, Tensor] = {}
    for k in range(n_sprites):  # clusters differ in size
        mine = owners == k
        points = aligned[mine]
        if len(points) < SMALLEST_SPLIT:
            continue
        split = kmeans(points, 2, draws, n_init=2, max_iter=20)
        scatter = (points - points.mean(0)).square().sum()
        share = 1 - split.errors.sum() / scatter.clamp_min(1e-12)
        gains[k] = share * errors[mine].sum()
        halves[k] = split.centers  # (2, d)
    return gains, halves
