"""All that computes on a GPU, on a device that pretends to be one."""

from contextlib import contextmanager
from unittest import mock

import numpy as np
import pytest
import torch

from sklearn_sprites import (
    Attention,
    Distilled,
    LayeredSpriteDecomposition,
    Regression,
    Search,
    SpriteClustering,
)
from sklearn_sprites._engine.modules import turns
from sklearn_sprites._engine.training import (
    distillation,
    loop,
    regression_steps,
    start,
)
from tests.elsewhere import Elsewhere, pretended
from tests.scenes import make_large_scenes

pytestmark = [
    pytest.mark.filterwarnings("ignore:[A-Za-z]+ stopped after"),
    pytest.mark.filterwarnings("ignore:.*shown in no image"),
]
TWO = {"n_clusters": 2, "max_epochs": 1, "random_state": 0}
SCENES = {"n_sprites": 2, "n_layers": 2, "max_rounds": 1, "random_state": 0}
WARPS = ("affine", "morphological", "thin_plate_spline")
LAYERED = {"n_backgrounds": 1, "mask_noise": 0.4, "init": "constant"}
PICTURE = {"n_backgrounds": 1, "background": "image"}
CLUSTERINGS = {
    "default": {},
    "kmeans": {"transformations": ()},
    "papers": {"transformations": WARPS, "init": "sample", "reassignment": "clone"},
    "predicted": {"color": "predict", "encoder": "resnet20", "init": "random"},
    "layered": {
        **LAYERED,
        "transformations": ("light", "thin_plate_spline", "projective"),
        "background_transformations": ("linear_color", "position", "rotation"),
    },
    "tied": {**LAYERED, "transformations": ("color", "affine")},
    "grown": {"transformations": ("color", "affine", "thickness")},
    "weighed": {
        "pixel_weights": "center",
        "transformations": ("translation",),
        "curriculum": "all_at_once",
    },
    "leveled": {"transformations": ("color", "affine", "slope")},
    "weighed kmeans": {"transformations": (), "pixel_weights": "center"},
}
DECOMPOSITIONS = {
    "shifts": {},
    "gradient": {"sprite_update": "gradient"},
    "poses": {"transformations": ("similarity",), "n_backgrounds": 1},
    "picture": {"transformations": ("similarity",), **PICTURE},
    "own colors": {"color": "own", "n_backgrounds": 1},
    "own colors on a picture": {"color": "own", **PICTURE},
    "distilled": {"localizer": Distilled(steps=2, batch_size=4)},
    "attention": {"localizer": Attention()},
    "regression": {"localizer": Regression(mask_noise=0.2)},
    "bends": {
        "localizer": Regression(),
        "transformations": ("affine", "thin_plate_spline"),
        "background_transformations": ("projective", "thin_plate_spline"),
        **PICTURE,
    },
}


def small_images(n, side, channels):
    return np.random.default_rng(0).random((n, side, side, channels))


def small_scenes(side=11, n=5):
    rng = np.random.default_rng(0)
    images = np.full((n, side, side, 3), 0.1)
    for image in images:
        for color in rng.uniform(0.3, 1, (2, 3)):
            row, column = rng.integers(0, side - 5, 2)
            image[row : row + 5, column : column + 3] = color
            image[row : row + 2, column : column + 5] = color
    return images


def test_a_gpu_is_not_the_cpu():
    here = torch.ones(3)
    with pretended() as waits:
        there = here.to("cuda")
        assert isinstance(there, Elsewhere)
        assert there.device.type == "cuda"
        with pytest.raises(RuntimeError, match="of the GPU and of the CPU"):
            there + here
        with pytest.raises(RuntimeError, match="generator is of another device"):
            torch.rand(3, device="cuda", generator=torch.Generator())
        with pytest.raises(TypeError, match="not turn to NumPy"):
            np.asarray(there)
        assert waits == ["aten::_to_copy"]
        assert float((2 * there).sum()) == 6
        assert there[there > 0].cpu().tolist() == [1, 1, 1]
        assert len(waits) == 4
    assert not torch.cuda.is_available()


@contextmanager
def steps_watched(module, name):
    """With a GPU; in the end, no gradient step has waited for it."""
    step, found = getattr(module, name), []

    def watched(*args):
        before = len(waits)
        result = step(*args)
        found.extend(waits[before:])
        return result

    with pretended() as waits, mock.patch.object(module, name, watched):
        yield
    assert not found


@pytest.mark.parametrize("params", CLUSTERINGS.values(), ids=CLUSTERINGS)
def test_clustering(params):
    X = small_images(24, 8, 1 if params.get("transformations") == WARPS else 3)
    with steps_watched(loop, "step"):
        model = SpriteClustering(**TWO, device="cuda").set_params(**params).fit(X)
        np.testing.assert_array_equal(model.predict(X), model.labels_)
        drawn = model.reconstruct(X), model.align(X), model.transform(X)
        if model.n_backgrounds:
            drawn += (model.segment(X),)
    assert all(np.isfinite(values).all() for values in drawn)
    assert len(model.set_params(device="cpu").predict(X)) == len(X)


def test_clustering_of_images_that_are_reduced_first():
    X = small_images(8, 64, 1)
    with steps_watched(loop, "step"):
        model = SpriteClustering(**TWO, device="cuda").fit(X)
        np.testing.assert_array_equal(model.predict(X), model.labels_)
    assert model.sprites_.shape[1:3] == (64, 64)


@pytest.mark.parametrize("n_backgrounds", [0, 2])
def test_clustering_of_things_whose_turns_are_searched(n_backgrounds):
    with steps_watched(loop, "step"), mock.patch.object(start, "UPRIGHT", 1):
        for side in (8, 64):
            X = small_images(12, side, 1)
            names = {"transformations": ("color", "similarity"), "device": "cuda"}
            behind = {"background_transformations": ("color",)}
            model = SpriteClustering(**TWO, **names, **behind)
            model.set_params(n_backgrounds=n_backgrounds, max_epochs=2).fit(X)
            assert model._spec["is_searched"]
            np.testing.assert_array_equal(model.predict(X), model.labels_)


def test_clustering_by_a_network_that_learns_all_turns():
    X, waited = small_images(24, 8, 1), []  # how often it was waited for, each time

    def watched(*args):
        before = len(waits)
        images = turns.turned_images(*args)
        waited.append(len(waits) - before)
        return images

    with (
        pretended() as waits,
        mock.patch.object(start, "TURNED", np.inf),  # whatever the images show
        mock.patch.object(distillation, "turned_images", watched),
        mock.patch.object(distillation, "TURNED_EPOCHS", 1),
    ):
        names = {"transformations": ("similarity",), "device": "cuda"}
        model = SpriteClustering(**TWO, **names, encoder="resnet20").fit(X)
        np.testing.assert_array_equal(model.predict(X), model.labels_)
    assert len(waited) > 0
    assert not any(waited)


@pytest.mark.parametrize("params", DECOMPOSITIONS.values(), ids=DECOMPOSITIONS)
def test_decomposition(params):
    X = small_scenes()
    X = X if params.get("n_backgrounds") else np.where(X > 0.2, X, 0)
    model = LayeredSpriteDecomposition(**SCENES).set_params(**params)
    with steps_watched(regression_steps, "scene_step"):
        found = model.set_params(device="cuda").fit(X).decompose(X)
        drawn = model.render(found), model.render(found, "layers"), model.reconstruct(X)
    assert all(np.isfinite(values).all() for values in drawn)
    assert len(model.set_params(device="cpu").predict(X)) == len(X)


def test_decomposition_of_large_scenes_in_uneven_light():
    X = make_large_scenes(shape=(96, 112), slope=0.3)[0]
    with pretended():
        names = {"n_layers": 1, "n_backgrounds": 1, "max_rounds": 1, "random_state": 0}
        names["localizer"] = Search(sweeps=1, restarts=0)
        model = LayeredSpriteDecomposition(3, **names, device="cuda").fit(X)
        spec = model._scene_spec()
        assert (spec.evens, spec.reduction) == (True, 2)
        assert np.isfinite(model.reconstruct(X[:3])).all()
    assert len(model.set_params(device="cpu").predict(X[:3])) == 3
