"""Where descriptions become models."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sklearn_sprites._engine.models.clustering import ClusteringModel
from sklearn_sprites._engine.modules.encoders import build_encoder, wrap_encoder
from sklearn_sprites._engine.records import FittedModel
from sklearn_sprites._engine.spec import ModelSpec


def build_model(
    spec: ModelSpec,
    sprites: Tensor,
    backgrounds: Tensor,
    generator: torch.Generator,
    encoder: nn.Module | None = None,
    pixel_weights: Tensor | None = None,
) -> ClusteringModel:
    """A model with given sprites (K, D, H, W) and backgrounds (M, C, H, W).

    `generator`, on the CPU, decides the network's first weights; the model lives
    where the sprites do. `encoder` is the user's module where spec.encoder is custom.
    """
    size = (spec.channels, *spec.coarse_size, generator)
    if spec.is_searched:
        made: tuple[nn.Module, int] = (nn.Identity(), 1)
    elif spec.encoder == "custom" and encoder is not None:
        made = wrap_encoder(encoder, *size)
    else:
        made = build_encoder(spec.encoder, *size)
    return ClusteringModel(spec, sprites, backgrounds, made, generator, pixel_weights)


def to_arrays(model: ClusteringModel) -> dict[str, NDArray]:
    """Parameters and buffers as NumPy arrays of their own."""
    state = model.state_dict()
    return {name: value.detach().cpu().numpy().copy() for name, value in state.items()}


def from_fitted(
    fitted: FittedModel, device: str, encoder: nn.Module | None = None
) -> ClusteringModel:
    """The model that :func:`to_arrays` took apart.

    Raises ValueError if `encoder`, a user's module, has other weights than it had.
    """
    arrays = {n: torch.from_numpy(np.array(v)) for n, v in fitted.arrays.items()}
    model = build_model(
        fitted.spec,
        arrays["sprites"].to(device),
        arrays["backgrounds"].to(device),
        torch.Generator().manual_seed(0),  # every weight is overwritten
        encoder,
        arrays.get("pixel_weights"),
    )
    _refuse_other_weights(model, arrays)
    model.load_state_dict(arrays)
    return model


def _refuse_other_weights(model: ClusteringModel, arrays: dict[str, Tensor]) -> None:
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    given = {name: tuple(value.shape) for name, value in arrays.items()}
    other = sorted(
        name for name in {*wanted, *given} if wanted.get(name) != given.get(name)
    )
    if other:
        before, now = (found.get(other[0], "missing") for found in (given, wanted))
        raise ValueError(
            f"encoder is not the network of the last fit: {other[0]!r} was {before} "
            f"and is {now} now; pass that encoder, or fit with warm_start=False."
        )
