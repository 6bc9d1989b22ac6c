"""Small pictures and quick models for tests."""

import numpy as np

from sklearn_sprites import Decomposition, SpriteClustering

DEVICE = "cpu"  # set by conftest from the command line
KMEANS = {"transformations": ()}
QUICK = {"max_epochs": 1, "batch_size": 16, "init": "kmeans"}


def make_pictures(n=36, height=8, width=8, channels=None, seed=0):
    """Images of three shapes with noise, floats in [0, 1], and their classes."""
    draws = np.random.default_rng(seed)
    shapes = np.zeros((3, height, width, channels or 1))
    shapes[0, 1:-1, 1:3] = 0.8
    shapes[1, 1:3, 1:-1] = 0.8
    shapes[2, -4:-1, -4:-1] = 0.8
    y = np.arange(n) % 3
    X = shapes[y] + 0.2 * draws.uniform(size=(n, *shapes.shape[1:]))
    X[0].flat[0], X[0].flat[1] = 0, 1
    return (X if channels else X[..., 0]), y


def make_model(n_clusters=3, **params):
    """A clustering with a fixed seed on the device under test; defaults otherwise."""
    params = {"random_state": 0, "device": DEVICE, **params}
    return SpriteClustering(n_clusters, **params)


def fitted_arrays(model):
    """All fitted attributes as (name, array), nested ones flattened."""
    for name, value in sorted(vars(model).items()):
        if not name.endswith("_") or name.startswith("_"):
            continue
        if isinstance(value, Decomposition):
            value = vars(value)
        if isinstance(value, dict):
            yield from ((f"{name}.{k}", np.asarray(v)) for k, v in value.items())
        else:
            yield name, np.asarray(value)


def assert_same_fit(one, other):
    """Every fitted attribute is equal, on the CPU to the last bit."""
    if DEVICE != "cpu":
        np.testing.assert_array_equal(one.labels_, other.labels_)
        return
    pairs = list(zip(fitted_arrays(one), fitted_arrays(other), strict=True))
    assert len(pairs) > 10
    for (name, left), (again, right) in pairs:
        assert name == again
        np.testing.assert_array_equal(left, right, err_msg=name)


def assert_all_finite(model):
    """No fitted attribute holds NaN or infinity."""
    for name, value in fitted_arrays(model):
        if value.dtype.kind == "f":
            assert np.isfinite(value).all(), name
