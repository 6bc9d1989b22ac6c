"""Models of many kinds to save, and what tells whether they came back the same."""

import warnings

import numpy as np

from sklearn_sprites import (
    Attention,
    ClonePerturb,
    Decomposition,
    GaussianWindow,
    Swap,
)
from tests.pictures import KMEANS, QUICK, make_model, make_pictures
from tests.scenes import make_scenes, make_small_decomposition

X = make_pictures()[0]
SCENES = make_scenes(n=20)[0]


def clustering(**params):
    return make_model(**{**QUICK, **params}), X


def scenes(**params):
    return make_small_decomposition(**params), SCENES


MODELS = {
    "kmeans": lambda: clustering(**KMEANS),
    "background": lambda: clustering(n_backgrounds=1, n_init=2),
    "settings": lambda: clustering(
        transformations=["color", "affine"],
        curriculum=(("color",), ("color", "affine")),
        reassignment=Swap(every=2),
        pixel_weights=GaussianWindow(3.0),
        init=X[:3],
        random_state=np.random.RandomState(3),
    ),
    "slope": lambda: clustering(
        transformations=("affine", "slope"), pixel_weights=X[1], n_clusters=np.int64(3)
    ),
    "scenes": lambda: scenes(),
    "own": lambda: scenes(color="own", n_backgrounds=1),
    "distilled": lambda: scenes(localizer="distilled"),
    "attention": lambda: scenes(
        localizer=Attention(reassignment=ClonePerturb(check=7)), n_backgrounds=1
    ),
}


def fit(name):
    model, images = MODELS[name]()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(images), images


def assert_same_value(one, other, where=""):
    """Equal in value and in kind, whatever they hold."""
    assert type(one) is type(other), where
    if isinstance(one, dict):
        assert list(one) == list(other), where
        for key in one:
            assert_same_value(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for left, right in zip(one, other, strict=True):
            assert_same_value(left, right, where)
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype, where
        np.testing.assert_array_equal(one, other, err_msg=where)
    elif isinstance(one, np.random.RandomState):
        assert_same_value(one.get_state(legacy=False), other.get_state(legacy=False))
    elif isinstance(one, Decomposition):
        assert_same_value(vars(one), vars(other), where)
    else:
        assert one == other or one != one, where
