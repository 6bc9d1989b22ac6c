"""Small scenes and quick decompositions for tests."""

import numpy as np

from sklearn_sprites import Decomposition, LayeredSpriteDecomposition, Search
from tests import pictures
from tests.pictures import assert_all_finite

QUICK = {"max_rounds": 1}
SETTLED = {"max_rounds": 8}
BRIEF = Search(sweeps=1, restarts=1, replacements=1, rotations=6)
SHAPES = np.zeros((3, 5, 5))
SHAPES[0, :, 1:4] = 1
SHAPES[1, 3:] = 1
SHAPES[1, :, :2] = 1
SHAPES[2, 0] = 1
SHAPES[2, :, 2] = 1


def make_scenes(n=40, n_objects=2, side=16, channels=3, seed=0):
    """Shapes that do not overlap on black: images, instances, classes, centers."""
    draws = np.random.default_rng(seed)
    images = np.zeros((n, side, side, channels))
    instances, classes = np.zeros((2, n, side, side), np.int64)
    centers = np.zeros((n, n_objects, 2))
    for i in range(n):
        for j in range(n_objects):
            while True:
                y, x = draws.integers(0, side - 4, 2)
                window = i, slice(y, y + 5), slice(x, x + 5)
                k = draws.integers(3)
                if not (instances[window] * (SHAPES[k] > 0)).any():
                    break
            color = draws.uniform(0.5, 1, channels)
            images[window] += SHAPES[k][..., None] * color
            instances[window][SHAPES[k] > 0] = j + 1
            classes[window][SHAPES[k] > 0] = k + 1
            centers[i, j] = x + 2.5, y + 2.5
    return images, instances, classes, centers


def make_large_scenes(n=36, shape=(97, 110), size=30, slope=0.0, shaded=False, seed=0):
    """A disc, a T and a cross in grays, two per image, one beside the other."""
    draws = np.random.default_rng(seed)
    y, x = (np.indices((size, size)) - (size - 1) / 2) / (size / 2)
    wedge = (y < -0.4) | (abs(x) < 0.3)
    kinds = [x**2 + y**2 < 1, wedge, np.minimum(abs(x), abs(y)) < 0.3]
    rows, columns = np.indices(shape)
    X, instances, classes = np.zeros((n, *shape)), *np.zeros((2, n, *shape), int)
    for image, instance, kind in zip(X, instances, classes, strict=True):
        light = columns / shape[1] - 0.5 if draws.integers(2) else rows / shape[0] - 0.5
        image[:] = 0.8 * (1 + slope * light)
        for number in (1, 2):
            k, half = draws.integers(3), shape[1] // 2
            row = draws.integers(0, shape[0] - size)
            column = draws.integers(0, half - size) + (number - 1) * half
            window = np.s_[row : row + size, column : column + size]
            mask = kinds[k]
            color = np.full(x.shape, draws.uniform(0, 0.3)) + 0.3 * shaded * (1 + x)
            image[window][mask] = color[mask]
            instance[window][mask], kind[window][mask] = number, k + 1
    X += 0.01 * draws.standard_normal(X.shape)
    return X, instances, classes


def make_decomposition(n_sprites=3, **params):
    """A decomposition with a fixed seed on the device under test.

    Over a background, where layers have poses, the search is brief.
    """
    params = {
        "localizer": BRIEF if params.get("n_backgrounds") else "search",
        "n_layers": 2,
        "sprite_size": 7,
        "random_state": 0,
        "device": pictures.DEVICE,
        **params,
    }
    return LayeredSpriteDecomposition(n_sprites, **params)


def make_small_decomposition(n_sprites=3, **params):
    """A decomposition of images of any size, one object in each, after one round."""
    params = {"n_layers": 1, "sprite_size": "auto", **QUICK, **params}
    return make_decomposition(n_sprites, **params)


def arrays_of(found):
    """All arrays of a record, as (name, array)."""
    return [(name, np.asarray(value)) for name, value in vars(found).items()]


def assert_same_layers(one, other):
    """Two records are equal, to the last bit."""
    for (name, left), (_, right) in zip(arrays_of(one), arrays_of(other), strict=True):
        np.testing.assert_array_equal(left, right, err_msg=name)


def assert_same_scenes(one, other):
    """Every fitted attribute of two decompositions is equal, to the last bit."""
    left, right = (dict(pictures.fitted_arrays(each)) for each in (one, other))
    assert left.keys() == right.keys()
    assert len(left) > 20
    for name in left:
        np.testing.assert_array_equal(left[name], right[name], err_msg=name)


def make_record(n=2, n_layers=3, channels=1, n_sprites=4):
    """A record that no estimator has made: layer l shows sprite l, the last none."""
    shape = (n, n_layers)
    sprite = np.tile(np.arange(n_layers), (n, 1))
    sprite[:, -1] = -1
    over = np.triu(np.ones((n_layers, n_layers), bool), 1)
    return Decomposition(
        sprite=sprite,
        x=np.full(shape, 4.0),
        y=np.full(shape, 5.0),
        scale=np.ones(shape),
        angle=np.zeros(shape),
        stretch=np.ones(shape),
        shear=np.zeros(shape),
        tilt_x=np.zeros(shape),
        tilt_y=np.zeros(shape),
        spline=np.zeros((*shape, 0, 2)),
        gain=np.full((*shape, channels), 0.5),
        bias=np.zeros((*shape, channels)),
        over=np.tile(over, (n, 1, 1)),
        saves=np.ones(shape),
        background=np.zeros(n, np.int64),
        background_gain=np.zeros((n, channels)),
        background_bias=np.zeros((n, channels)),
        background_light=np.zeros((n, channels, 5)),
        background_pose=np.zeros((n, 0)),
        background_spline=np.zeros((n, 0, 2)),
        error=np.zeros(n),
        palette=np.linspace(0.2, 0.8, n_sprites)[:, None].repeat(channels, axis=1),
        black=0.0,
    )


def assert_sound(model, images):
    """Everything is finite, and all that can be asked is answered."""
    assert_all_finite(model)
    maps = model.predict(images)
    assert maps.shape == images.shape[:3]
    assert maps.dtype == np.int64
    for name, value in vars(model.decompose(images)).items():
        assert np.isfinite(np.asarray(value, float)).all(), name
    assert np.isfinite(model.transform(images)).all()
    assert np.isfinite(model.reconstruct(images)).all()
    assert np.isfinite(model.score(images))
