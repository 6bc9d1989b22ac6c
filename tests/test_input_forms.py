"""Images in any form that can be turned into an array, alone and in lists."""

import numpy as np
import pytest
import torch
from PIL import Image

from sklearn_sprites import LayeredSpriteDecomposition, SpriteClustering

MODELS = [
    SpriteClustering(2, transformations=(), random_state=0),
    LayeredSpriteDecomposition(2, n_layers=1, max_rounds=1, random_state=0),
]
quiet = pytest.mark.filterwarnings(
    "ignore:LayeredSpriteDecomposition stopped after",
    "ignore:.* sprites are shown in no image",
)
each = pytest.mark.parametrize("model", MODELS, ids=["clustering", "scenes"])


class Lazy:
    """Like arrays of other libraries: NumPy can read it, and that is all."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype=dtype)


@pytest.fixture(scope="module")
def X():
    images = np.zeros((12, 8, 8, 3), np.float32)
    images[:6, 1:4, 1:4] = 1
    images[6:, 4:7, 3:7, 0] = 1
    return images


@quiet
@each
def test_whatever_numpy_can_read_is_an_array_of_images(model, X):
    expected = model.fit(X).predict(X)
    for form in (Lazy(X), [Lazy(image) for image in X], Lazy(X.reshape(12, -1))):
        np.testing.assert_array_equal(model.predict(form), expected)
    np.testing.assert_array_equal(model.fit(Lazy(X)).predict(X), expected)


@quiet
@each
def test_lists_of_tensors_are_images(model, X):
    expected = model.fit(X).predict(X)
    for change in (
        lambda t: t.requires_grad_(),
        lambda t: t.to(torch.bfloat16),
        lambda t: t,
    ):
        tensors = [change(torch.tensor(image)) for image in X]
        np.testing.assert_array_equal(model.predict(tensors), expected)


@each
def test_masked_values_are_refused_in_lists_too(model, X):
    masked = [np.ma.masked_less(image, 0.5) for image in X]
    with pytest.raises(ValueError, match=r"X has masked values.*filled"):
        model.fit(masked)


@each
def test_nested_lists_of_different_lengths_are_named(model):
    with pytest.raises(ValueError, match=r"X\[1\] is a nested list whose rows"):
        model.fit([[[0, 1], [1, 0]], [[0, 1], [1]]])


@each
@pytest.mark.parametrize("mode", ["L", "RGB", "P"])
def test_a_single_picture_is_refused_with_the_remedy(model, mode):
    with pytest.raises(ValueError, match=r"single picture.*\[X\]"):
        model.fit(Image.new(mode, (8, 8)))


@each
def test_too_many_axes_are_refused_with_the_possible_layouts(model):
    with pytest.raises(ValueError, match=r"dim 5.*\(n, H, W\) or \(n, H, W, C\)"):
        model.fit(np.zeros((2, 2, 2, 2, 2)))
