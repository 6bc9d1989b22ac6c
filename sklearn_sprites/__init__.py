"""Clustering and decomposition of images into learned, transformed sprites.

Public names are loaded on first use (PEP 562), so that importing the package
costs nothing and does not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sklearn_sprites._version import __version__

if TYPE_CHECKING:
    import sklearn_sprites.datasets as datasets
    import sklearn_sprites.exceptions as exceptions
    import sklearn_sprites.metrics as metrics
    import sklearn_sprites.testing as testing
    from sklearn_sprites._clustering import SpriteClustering
    from sklearn_sprites._decomposition import LayeredSpriteDecomposition
    from sklearn_sprites._engine.attention_settings import Attention
    from sklearn_sprites._engine.regression_settings import Regression
    from sklearn_sprites._engine.scene_settings import Distilled
    from sklearn_sprites._engine.search_settings import Search
    from sklearn_sprites._engine.settings import (
        ClonePerturb,
        ConstantSprites,
        GaussianWindow,
        Milestones,
        Swap,
    )
    from sklearn_sprites._loading import load
    from sklearn_sprites._scenes import Decomposition
    from sklearn_sprites.display import (
        DecompositionDisplay,
        ReconstructionDisplay,
        SpriteDisplay,
    )

__all__ = [
    "Attention",
    "ClonePerturb",
    "ConstantSprites",
    "Decomposition",
    "DecompositionDisplay",
    "Distilled",
    "GaussianWindow",
    "LayeredSpriteDecomposition",
    "Milestones",
    "ReconstructionDisplay",
    "Regression",
    "Search",
    "SpriteClustering",
    "SpriteDisplay",
    "Swap",
    "__version__",
    "datasets",
    "exceptions",
    "load",
    "metrics",
    "testing",
]

_SUBMODULES = ("datasets", "exceptions", "metrics", "testing")
_HOMES = {
    "Attention": "sklearn_sprites._engine.attention_settings",
    "ClonePerturb": "sklearn_sprites._engine.settings",
    "ConstantSprites": "sklearn_sprites._engine.settings",
    "Decomposition": "sklearn_sprites._scenes",
    "DecompositionDisplay": "sklearn_sprites.display",
    "Distilled": "sklearn_sprites._engine.scene_settings",
    "GaussianWindow": "sklearn_sprites._engine.settings",
    "LayeredSpriteDecomposition": "sklearn_sprites._decomposition",
    "Milestones": "sklearn_sprites._engine.settings",
    "ReconstructionDisplay": "sklearn_sprites.display",
    "Regression": "sklearn_sprites._engine.regression_settings",
    "Search": "sklearn_sprites._engine.search_settings",
    "SpriteClustering": "sklearn_sprites._clustering",
    "SpriteDisplay": "sklearn_sprites.display",
    "Swap": "sklearn_sprites._engine.settings",
    "load": "sklearn_sprites._loading",
}


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return import_module(f"{__name__}.{name}")
    if name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
