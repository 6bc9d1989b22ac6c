"""Images drawn at random that tell how sprites do; what the network makes of them."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from sklearn_sprites._engine.models.clustering import (
    ClusteringModel,
    Description,
    Impression,
)
from sklearn_sprites._engine.training.loop import CHUNK, Learner


class Witnesses(NamedTuple):
    """Images, ``rows`` (m,), and what the network makes of them."""

    rows: Tensor
    seen: Impression

    @torch.no_grad()
    def parts(
        self, model: ClusteringModel, owners: Tensor
    ) -> Iterator[tuple[Tensor, Tensor, Description]]:
        """Rows, owners and descriptions, as many at a time as are looked at together.

        All sprites have the parameters of an image's own one, `owners` (m,).
        """
        params, behind = model.parameters_for(self.seen, owners)
        for start in range(0, len(self.rows), CHUNK):
            some = slice(start, start + CHUNK)
            front, back = (
                {n: v[some] for n, v in each.items()} for each in (params, behind)
            )
            rows = self.rows[some]
            yield rows, owners[some], model.look_behind(front, back, len(rows))


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
        seen = [
            model.impression_of(images[rows.to(images.device)], active)
            for rows in every.split(CHUNK)
        ]
    model.train()
    fronts, behind = (
        {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        for parts in zip(*seen, strict=True)
    )
    found = []
    for rows, place in zip(called, places.split([*map(len, called)]), strict=True):
        there, place = rows.to(images.device), place.to(images.device)
        mine = Impression(_taken(fronts, place), _taken(behind, place))
        found.append(Witnesses(there, mine))
    return found


def _taken(values: dict[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
    return {name: each.index_select(0, rows) for name, each in values.items()}
