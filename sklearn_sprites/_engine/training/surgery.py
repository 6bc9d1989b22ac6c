"""Edits of parameter rows: the only place where they happen outside a gradient step."""

import torch
from torch import Tensor, nn

from sklearn_sprites._engine.models.clustering import ClusteringModel
from sklearn_sprites._engine.records import is_per_sprite
from sklearn_sprites._engine.training.adam import Adam


@torch.no_grad()
def copy_rows(
    model: nn.Module, optimizer: Adam | None, source: int, target: int
) -> None:
    """Sprite `target` becomes sprite `source`, in parameters and optimizer moments."""
    rows = [p for name, p in model.named_parameters() if is_per_sprite(name)]
    copy_parameter_rows(rows, optimizer, source, target)


@torch.no_grad()
def copy_parameter_rows(
    parameters: list[nn.Parameter],
    optimizer: Adam | None,
    source: int,
    target: int,
) -> None:
    """Row `target` of each of these becomes row `source`, moments included."""
    for parameter in parameters:
        parameter[target] = parameter[source]
        for moment in _moments(optimizer, parameter):
            moment[target] = moment[source]


@torch.no_grad()
def set_sprite(
    model: ClusteringModel,
    optimizer: Adam | None,
    row: int,
    image: Tensor,
) -> None:
    """Give a sprite another appearance; what its optimizer knew of the old one goes."""
    model.sprites[row, : len(image)] = image
    for moment in _moments(optimizer, model.sprites):
        moment[row, : len(image)] = 0


def _moments(optimizer: Adam | None, parameter: nn.Parameter) -> list[Tensor]:
    if optimizer is None or parameter not in optimizer.moments:
        return []
    known = optimizer.moments[parameter]
    return [known.first, known.second]
