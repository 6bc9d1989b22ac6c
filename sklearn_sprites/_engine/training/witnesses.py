"""Images drawn at random that tell how sprites do; what the network says of them."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from sklearn_sprites._engine.models.clustering import ClusteringModel, Description
from sklearn_sprites._engine.training.loop import CHUNK, Learner


class Witnesses(NamedTuple):
    """Images, ``rows`` (m,), and the parameters that are predicted for them.

    ``params``, of sprites, name -> (m, K, p), and ``behind``, of backgrounds.
    """

    rows: Tensor
    params: dict[str, Tensor]
    behind: dict[str, Tensor]

    @torch.no_grad()
    def parts(self, model: ClusteringModel) -> Iterator[tuple[Tensor, Description]]:
        """As many at a time as are looked at together."""
        for start in range(0, len(self.rows), CHUNK):
            some = slice(start, start + CHUNK)
            params, behind = (
                {name: values[some] for name, values in each.items()}
                for each in (self.params, self.behind)
            )
            rows = self.rows[some]
            yield rows, model.look_behind(params, behind, len(rows))


def _taken(params: dict[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
    return {name: values.index_select(0, rows) for name, values in params.items()}


def call_witnesses(
    learner: Learner, active: frozenset[str], *n_images: int
) -> list[Witnesses]:
    """For every task that many images, drawn at random."""
    n, draws = len(learner.images), learner.draws
    called = [torch.randperm(n, generator=draws)[:count] for count in n_images]
    return witnesses_at(learner, active, *called)


@torch.no_grad()
def witnesses_at(
    learner: Learner, active: frozenset[str], *called: Tensor
) -> list[Witnesses]:
    """For every task the images `called` (m,); all pass the network once."""
    model, images = learner.model, learner.images
    every, places = torch.cat(called).unique(return_inverse=True)
    model.eval()
    with torch.inference_mode():  # operations start sooner; joined, they are as others
        told = [
            model.parameters_of(images[rows.to(images.device)], active)
            for rows in every.split(CHUNK)
        ]
    model.train()
    params, behind = (
        {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        for parts in zip(*told, strict=True)
    )
    found = []
    for rows, place in zip(called, places.split([*map(len, called)]), strict=True):
        there, place = rows.to(images.device), place.to(images.device)
        found.append(Witnesses(there, _taken(params, place), _taken(behind, place)))
    return found
