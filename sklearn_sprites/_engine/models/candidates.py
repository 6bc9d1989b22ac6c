"""Errors of many candidates, to see which sprite explains an image best.

A candidate is an image, a sprite and a background. Nothing here is differentiated.
"""

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from sklearn_sprites._engine.models.clustering import ClusteringModel, Description
from sklearn_sprites._engine.ops.centering import shifted
from sklearn_sprites._engine.ops.color import layered_errors
from sklearn_sprites._engine.ops.sampling import pad_to_canvas
from sklearn_sprites._engine.spec import COLORS, ModelSpec

#: Candidates rendered together, at least: bounds memory, not the result. What they need
#: should stay in a CPU's cache.
ROWS_AT_ONCE = {"cpu": 256, "cuda": 4096}
SMALL = 512  # values below which an image leaves room for others


class Shifted(NamedTuple):
    """Images as they were before they were :func:`centered`, and their offsets."""

    images: Tensor  # (B, C, H, W)
    offset: Tensor  # (B, 2)


def rows_at_once(spec: ModelSpec, device: torch.device) -> int:
    """How many candidates are rendered together; the more, the smaller images are."""
    room = SMALL // (spec.height * spec.width * spec.channels)
    return ROWS_AT_ONCE[device.type] * max(room, 1)


def candidate_errors(
    model: ClusteringModel,
    images: Tensor,
    candidates: Tensor,
    description: Description,
    active: frozenset[str],
    noise: Tensor | None = None,
    before: Shifted | None = None,
    *,
    is_priced: bool = True,
) -> Tensor:
    """Squared errors, summed over an image, of candidate sprites.

    candidates (B, S) holds sprites; the result is (B, S, max(M, 1)). With `before`,
    what is drawn is shifted back and compared with that. If priced, errors hold what
    tied colors cost.
    """
    n_behind = max(model.spec.n_backgrounds, 1)
    shape = (*candidates.shape, n_behind)
    device = images.device
    rows = torch.arange(len(images), device=device)[:, None, None].expand(shape)
    behind = torch.arange(n_behind, device=device).expand(shape)
    pairs = torch.stack([rows, candidates[..., None].expand(shape), behind]).flatten(1)
    size = rows_at_once(model.spec, device)
    errors = images.new_empty(pairs.shape[1])
    with torch.inference_mode():  # operations start sooner
        for chunk, found in zip(pairs.split(size, 1), errors.split(size), strict=True):
            drawn = model.front(chunk[0], chunk[1], description)
            what = images, chunk, description, active, noise, before
            found.copy_(_errors(model, drawn, *what, is_priced=is_priced))
    return errors.view(shape)


def borrowed_errors(
    model: ClusteringModel,
    images: Tensor,
    owners: Tensor,
    description: Description,
    active: frozenset[str],
    posed: Tensor | None = None,
) -> Tensor:
    """Squared errors (B, K, max(M, 1)) of all sprites, each drawn as one of them is.

    Every sprite borrows the parameters of the image's owner (B,), so that one warp per
    image reads all of them. `posed` (K, K, D, H, W), where given, are all sprites as
    they are to be drawn in place of each owner.
    """
    spec, device = model.spec, images.device
    n_behind = max(spec.n_backgrounds, 1)
    choices = [torch.arange(n, device=device) for n in (spec.n_sprites, n_behind)]
    each = max(rows_at_once(spec, device) // (spec.n_sprites * n_behind), 1)
    errors = images.new_empty((len(images), spec.n_sprites, n_behind))
    every = torch.arange(len(images), device=device)
    with torch.inference_mode():
        lent = replace(description, params=lend(description.params, owners))
        shown = model.sprites[None] if posed is None else posed
        canvas = pad_to_canvas(shown.flatten(1, 2), model.padding)
        for rows, found in zip(every.split(each), errors.split(each), strict=True):
            warp = {n: v[rows, 0] for n, v in lent.params.items() if n not in COLORS}
            read = canvas if posed is None else canvas.index_select(0, owners[rows])
            fronts = model.sequence.apply(read.expand(len(rows), -1, -1, -1), warp)
            fronts = fronts.reshape(len(rows) * spec.n_sprites, -1, *fronts.shape[2:])
            drawn = fronts.repeat_interleave(n_behind, 0) if n_behind > 1 else fronts
            pairs = torch.cartesian_prod(rows, *choices).T
            parts = _errors(model, drawn, images, pairs, lent, active)
            found.copy_(parts.view(found.shape))
    return errors


def lend(params: dict[str, Tensor], owners: Tensor) -> dict[str, Tensor]:
    """Parameters (B, K, p) in which every sprite has those of the owner (B,)."""
    rows = torch.arange(len(owners), device=owners.device)
    return {n: v[rows, owners][:, None].expand_as(v) for n, v in params.items()}


def _errors(
    model: ClusteringModel,
    drawn: Tensor,
    images: Tensor,
    pairs: Tensor,
    description: Description,
    active: frozenset[str],
    noise: Tensor | None = None,
    before: Shifted | None = None,
    *,
    is_priced: bool = True,
) -> Tensor:
    """Errors (m,) of sprites as drawn, (m, D, H, W).

    `pairs` (3, m): images, sprites and backgrounds. Where all colors of layers are
    solved, errors need no composite.
    """
    rows, sprites, behind = pairs
    target = images.index_select(0, rows)
    if model.spec.is_layered and model.spec.color == "solve":
        front, alpha, back = model.layers(drawn, rows, behind, description, noise)
        return layered_errors(
            [front, back],
            [alpha, 1 - alpha],
            model.freedoms(active),
            target.flatten(2),
            model.flat_weights,
            is_priced=is_priced,
        )
    finished = model.finish(
        drawn, target, rows, sprites, behind, description, active, noise
    )
    image = finished.image
    if before is not None:
        image = shifted(image, -before.offset.index_select(0, rows))
        target = before.images.index_select(0, rows)
    return model.squared(image - target).flatten(1).sum(1)
