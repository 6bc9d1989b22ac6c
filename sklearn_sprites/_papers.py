"""Configurations of published experiments: plain values, each with its source.

Epochs, steps and batches are those of the official training schedules, made for the
sets named; the user guide lists what differs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from inspect import signature
from types import MappingProxyType
from typing import Any

from sklearn_sprites._engine.regression_settings import Regression
from sklearn_sprites._engine.settings import (
    ClonePerturb,
    ConstantSprites,
    GaussianWindow,
    Milestones,
)

DTI_CLUSTERING = (
    "T. Monnier, T. Groueix, M. Aubry, Deep Transformation-Invariant Clustering, "
    "NeurIPS 2020"
)
DTI_SPRITES = (
    "T. Monnier, E. Vincent, J. Ponce, M. Aubry, Unsupervised Layered Image "
    "Decomposition into Object Prototypes, ICCV 2021"
)


@dataclass(frozen=True)
class Configuration:
    """Parameters of an estimator for one published experiment.

    ``source`` names the paper and where it or its official code has the values.
    """

    source: str
    parameters: Mapping[str, Any] = field(hash=False)

    def __post_init__(self) -> None:
        """Nobody changes a table that all share."""
        frozen = MappingProxyType(dict(self.parameters))
        object.__setattr__(self, "parameters", frozen)


MORPHOLOGICAL = ("affine", "morphological", "thin_plate_spline")
COLORED = ("color", "affine", "thin_plate_spline")
PROJECTIVE = ("color", "projective")
RICH = ("color", "projective", "thin_plate_spline")


def _clustering(
    transformations: tuple[str, ...],
    joins: tuple[int, ...],
    drop: int,
    max_epochs: int,
    check: int,
    *,
    n_clusters: int = 10,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    encoder: str = "resnet20",
    window: float | None = None,
    padding: str = "border",
) -> Configuration:
    """Opaque sprites: DTI-Clustering."""
    parameters = {
        "n_clusters": n_clusters,
        "transformations": transformations,
        "init": "sample",
        "color": "predict",
        "encoder": encoder,
        "curriculum": Milestones(joins, drops=(drop,)),
        "reassignment": ClonePerturb(check=check, threshold=0.2, noise=1e-4),
        "max_epochs": max_epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "padding": padding,
        "pixel_weights": None if window is None else GaussianWindow(window),
    }
    source = f"{DTI_CLUSTERING}; supplementary material, official configuration"
    return Configuration(source, parameters)


def _layered(
    transformations: tuple[str, ...],
    joins: tuple[int, ...],
    drop: int,
    max_epochs: int,
    check: int,
    mask_width: float,
    n_clusters: int,
    batch_size: int = 128,
    encoder: str = "resnet32",
) -> Configuration:
    """Sprites over one background: DTI-Sprites."""
    parameters = {
        "n_clusters": n_clusters,
        "n_backgrounds": 1,
        "transformations": transformations,
        "background_transformations": transformations,
        "init": ConstantSprites(0.9, mask_width),
        "color": "predict",
        "encoder": encoder,
        "curriculum": Milestones(joins, drops=(drop,)),
        "reassignment": ClonePerturb(check=check, threshold=0.2, noise=1e-4),
        "mask_noise": 0.4,
        "mask_penalty": 0.0,
        "max_epochs": max_epochs,
        "batch_size": batch_size,
        "learning_rate": 1e-3,
    }
    source = f"{DTI_SPRITES}; supplementary material, section C, official configuration"
    return Configuration(source, parameters)


CLUSTERING: Mapping[str, Configuration] = MappingProxyType(
    {
        "mnist": _clustering(MORPHOLOGICAL, (5, 15, 20), 35, 40, 50),
        "mnist_test": _clustering(MORPHOLOGICAL, (50, 150, 200), 280, 300, 50),
        "mnist_1k": _clustering(
            MORPHOLOGICAL, (100, 500, 700), 1200, 1700, 40, batch_size=100
        ),
        "mnist_color": _clustering(COLORED, (5, 15, 30), 45, 50, 50),
        "fashion_mnist": _clustering(COLORED, (5, 15, 25), 35, 40, 50),
        "affnist": _clustering(
            MORPHOLOGICAL, (5, 20, 25), 37, 45, 400, learning_rate=1e-4
        ),
        "usps": _clustering(COLORED, (60, 120, 200), 250, 270, 50, padding="zeros"),
        "frgc": _clustering(COLORED, (50, 200, 400), 650, 700, 20, n_clusters=20),
        "svhn": _clustering(PROJECTIVE, (2, 18), 30, 33, 100, window=7.0),
        "instagram": _clustering(
            PROJECTIVE,
            (5, 15),
            100,
            110,
            100,
            n_clusters=40,
            batch_size=64,
            encoder="resnet18",
        ),
        "megadepth": _clustering(
            PROJECTIVE,
            (150, 400),
            900,
            1100,
            100,
            n_clusters=20,
            batch_size=64,
            encoder="resnet18",
        ),
        "gtsrb8": _layered(RICH, (0, 100, 350), 600, 700, 25, 5.0, 8),
        "svhn_layered": _layered(RICH, (0, 10, 35), 50, 55, 100, 8.0, 10),
        "weizmann_horse": _layered(
            RICH, (0, 3000, 8000), 14000, 15000, 300, 20.0, 1, 32, "resnet18"
        ),
        "instagram_layered": _layered(
            PROJECTIVE, (0, 100), 700, 850, 250, 20.0, 40, 32, "resnet18"
        ),
    }
)


LAMBDA = 1e-4  # penalty of a layer, per value of the image


def _scenes(
    n_sprites: int,
    n_layers: int,
    side: int,
    sprite_size: int,
    mask_width: float,
    max_epochs: int,
    check: int,
    background: str | float | None = None,
    poses: str = "similarity",
    **regression: Any,
) -> Configuration:
    """Several objects: DTI-Sprites. Sprites fill half of an image at first.

    Where there is a background, sprites add `poses` to those of layers.
    """
    is_layered = background is not None
    parameters = {
        "n_sprites": n_sprites,
        "n_layers": n_layers,
        "n_backgrounds": int(is_layered),
        "background": "image" if is_layered else "auto",
        "sprite_size": sprite_size,
        "transformations": (poses,) if is_layered else ("translation", "scale"),
        "color": "gain",
        "order": "predict" if is_layered else "depth",
        "localizer": Regression(
            color="predict",
            background=background,
            per_sprite=is_layered,
            first_scale=side / 2 / sprite_size,
            mask_noise=0.4,
            empty=is_layered,
            reassignment=ClonePerturb(check=check, threshold=0.2, noise=1e-4),
            batch_size=32,
            learning_rate=1e-4,
            stops=False,
            **regression,
        ),
        "penalty": LAMBDA * side * side * 3 if is_layered else "auto",
        "init": ConstantSprites(0.9, mask_width),
        "max_rounds": max_epochs,
    }
    source = f"{DTI_SPRITES}; supplementary material, section C, official configuration"
    return Configuration(source, parameters)


SCENES: Mapping[str, Configuration] = MappingProxyType(
    {
        "tetrominoes": _scenes(
            *(19, 3, 35, 24, 5.0, 210, 50),
            encoder="resnet32",
            sweeps=1,
            joins=0,
            freeze=1,
            drops=(100, 200),
        ),
        "multi_dsprites": _scenes(
            *(3, 5, 64, 28, 7.0, 510, 100),
            background=0.5,
            encoder="resnet32",
            pool=4,
            joins=20,
            sweeps=3,
            freeze=10,
            drops=(250, 500),
        ),
        "clevr6": _scenes(
            *(6, 6, 128, 40, 10.0, 450, 250),
            poses="projective",
            background="mean",
            encoder="resnet18",
            pool=2,
            joins=150,
            sweeps=3,
            freeze=40,
            drops=(250, 400),
        ),
    }
)


def parameters_of(
    table: Mapping[str, Configuration],
    name: str,
    owner: type,
    overrides: Mapping[str, Any],
) -> dict[str, Any]:
    """Parameters of the entry of a table, some of them set otherwise.

    Or an error that lists what there is.
    """
    if name not in table:
        raise ValueError(
            f"{owner.__name__}.from_paper knows no {name!r}; valid names are "
            f"{', '.join(sorted(table))}."
        )
    valid = signature(owner).parameters
    unknown = [each for each in overrides if each not in valid]
    if unknown:
        raise TypeError(
            f"{owner.__name__}.from_paper got {unknown[0]!r}, which is no parameter of "
            f"{owner.__name__}; valid ones are {', '.join(valid)}."
        )
    return {**table[name].parameters, **overrides}
