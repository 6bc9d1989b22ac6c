"""Networks that guess layers, by the names of their parts."""

import numpy as np
import torch
from numpy.typing import NDArray

from sklearn_sprites._engine.attention_settings import Attention
from sklearn_sprites._engine.models.scene_network import SceneNetwork
from sklearn_sprites._engine.modules.attention import AttentionMaps
from sklearn_sprites._engine.modules.cues import CuedMaps, n_cues
from sklearn_sprites._engine.modules.encoders import build_encoder
from sklearn_sprites._engine.modules.latents import AbstractLocalizer
from sklearn_sprites._engine.modules.layer_encoder import LayerEncoder
from sklearn_sprites._engine.modules.maps import build_maps
from sklearn_sprites._engine.modules.peaks import FINER, PeakMaps
from sklearn_sprites._engine.scene_settings import Distilled, Gradient
from sklearn_sprites._engine.scene_spec import BENDS, SceneSpec

N_FEATURES = 64  # of a small network


def build_localizer(
    spec: SceneSpec, settings: Gradient, generator: torch.Generator
) -> AbstractLocalizer:
    """What finds layers where all is trained by gradient."""
    size = (spec.channels, spec.height, spec.width)
    if isinstance(settings, Attention):
        return _attention(spec, settings, generator)
    encoder, n_encoded = build_encoder(
        settings.encoder, *size, generator, settings.pool
    )
    return LayerEncoder(encoder, n_encoded, spec.n_layers, *size[1:], generator)


def _attention(
    spec: SceneSpec, settings: Attention, generator: torch.Generator
) -> AttentionMaps:
    """Layers that attend; `settings.features` names the maps, see `build_maps`."""
    n = settings.n_features
    maps = build_maps(settings.features, spec.channels, spec.n_layers + n, generator)
    reach = (spec.sprite_width / 2, spec.sprite_height / 2)
    return AttentionMaps(maps, spec.n_layers, n, reach, generator, settings.refines)


def build_peaks(
    spec: SceneSpec,
    features: str,
    n_features: int,
    generator: torch.Generator,
    angles: int = 1,
) -> SceneNetwork:
    """Layers at the peaks of one heat map; the network sees views of scenes.

    It tells similarities; what polishes them may bend them.
    """
    maps = build_maps(features, n_cues(spec), FINER**2 + n_features, generator)
    localizer = PeakMaps(CuedMaps(maps, spec), spec.n_layers, n_features + FINER**2)
    return SceneNetwork(spec.without(*BENDS), localizer, generator, angles)


def build_guesser(
    spec: SceneSpec, settings: Distilled, generator: torch.Generator
) -> SceneNetwork:
    """The network that settings ask for."""
    return build_peaks(spec, "small", N_FEATURES, generator, settings.angles)


def arrays_of(network: SceneNetwork) -> dict[str, NDArray]:
    """Parameters and buffers as NumPy arrays of their own."""
    state = network.state_dict()
    return {name: value.detach().cpu().numpy().copy() for name, value in state.items()}


def with_arrays(network: SceneNetwork, arrays: dict[str, NDArray]) -> SceneNetwork:
    """The network with parameters and buffers from :func:`arrays_of`."""
    network.load_state_dict(
        {name: torch.from_numpy(np.array(value)) for name, value in arrays.items()}
    )
    return network
