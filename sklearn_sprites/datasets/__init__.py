"""Images to try the estimators on: drawn, or read from a folder.

Public names are loaded on first use, as those of the package.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sklearn_sprites.datasets.folder import load_image_folder
    from sklearn_sprites.datasets.generators import TRAFFIC_SIGNS, make_traffic_signs
    from sklearn_sprites.datasets.scenes import (
        make_multi_dsprites,
        make_shaded_scenes,
        make_tetrominoes,
    )

__all__ = [
    "TRAFFIC_SIGNS",
    "load_image_folder",
    "make_multi_dsprites",
    "make_shaded_scenes",
    "make_tetrominoes",
    "make_traffic_signs",
]

_HOMES = {
    "TRAFFIC_SIGNS": "generators",
    "load_image_folder": "folder",
    "make_multi_dsprites": "scenes",
    "make_shaded_scenes": "scenes",
    "make_tetrominoes": "scenes",
    "make_traffic_signs": "generators",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
