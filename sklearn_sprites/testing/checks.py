"""Checks that only make sense for images; each raises if it fails."""

from typing import Any

import numpy as np
from numpy.testing import assert_array_equal
from numpy.typing import NDArray
from sklearn.base import clone

METHODS = ("predict", "transform", "decision_function", "predict_proba")


def check_image_shape_is_compared(name: str, estimator: Any) -> None:
    """Images with as many pixels but another shape are refused after fit."""
    images, y = _pictures(estimator)
    fitted = _clone(estimator).fit(images, y)
    turned = np.ascontiguousarray(images.transpose(0, 2, 1, 3))
    for method in _methods(fitted):
        try:
            method(turned)
        except ValueError:
            continue
        raise AssertionError(
            f"{name}.{method.__name__} accepts images of shape {turned.shape[1:]} "
            f"although it was fitted on images of shape {images.shape[1:]}."
        )


def check_memory_layout_does_not_matter(name: str, estimator: Any) -> None:
    """Fortran order, negative strides, gaps and read-only memory change nothing."""
    images, y = _pictures(estimator)
    fitted = _clone(estimator).fit(images, y)
    for copied in _layouts(images):
        again = _clone(estimator).fit(copied, y)
        for method, other in zip(_methods(fitted), _methods(again), strict=True):
            assert_array_equal(
                method(images),
                other(copied),
                err_msg=f"{name}.{method.__name__} depends on the memory layout of X.",
            )


def check_images_are_not_changed(name: str, estimator: Any) -> None:
    """Neither fit nor prediction writes into X."""
    images, y = _pictures(estimator)
    before = images.copy()
    fitted = _clone(estimator).fit(images, y)
    for method in _methods(fitted):
        method(images)
    assert_array_equal(images, before, err_msg=f"{name} changed X.")


IMAGE_CHECKS = (
    check_image_shape_is_compared,
    check_memory_layout_does_not_matter,
    check_images_are_not_changed,
)


def _pictures(estimator: Any) -> tuple[NDArray, NDArray]:
    """Thirty images of 5 x 7 pixels, of the dtype under test, and their two classes."""
    draws = np.random.default_rng(0)
    y = np.repeat([0, 1], 15)
    images = draws.uniform(size=(30, 5, 7, 1)) * 0.5
    images[y == 1, :, :3] += 0.5
    if estimator._replayed.dtype == "uint8":
        images = (255 * images).astype(np.uint8)
    return images, y


def _layouts(images: NDArray) -> list[NDArray]:
    gaps = np.repeat(images, 2, axis=2)[:, :, ::2]
    locked = images.copy()
    locked.flags.writeable = False
    return [np.asfortranarray(images), images[::-1].copy()[::-1], gaps, locked]


def _clone(estimator: Any) -> Any:
    """A copy with few clusters and a fixed seed, where it has such parameters."""
    copied, params = clone(estimator), estimator.get_params()
    wanted = {"n_clusters": 2, "n_components": 1, "random_state": 0}
    return copied.set_params(**{k: v for k, v in wanted.items() if k in params})


def _methods(fitted: Any) -> list[Any]:
    return [getattr(fitted, name) for name in METHODS if hasattr(fitted, name)]
