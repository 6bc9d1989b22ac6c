"""Scikit-learn's estimator checks, replayed on images.

:func:`sklearn.utils.estimator_checks.check_estimator` only knows tables. Estimators of
images either skip it or pass it on tables of three columns, which are no images. Here
every check is run as it is, but the estimator under test sees pictures: each number of
a table becomes a square tile of pixels, a row of d numbers an image of
``(tile, tile * d, 1)`` pixels.

The wrapper around the estimator translates in both directions and does nothing else:

- numeric two-dimensional input of every method with an argument ``X`` becomes images;
  what is no table of numbers (sparse, one-dimensional, text, ...) is passed on as it
  is;
- ``n_features_in_``, and numbers of features in error messages, count tiles instead of
  pixels;
- for ``dtype="uint8"`` values are mapped to 0 ... 255 by the range seen in fit; values
  that no integer can hold (NaN, infinity, complex numbers, objects) stay as they are,
  and the promise to keep the dtype of floats is not asked for.

After scikit-learn's checks come a few that only make sense for images.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from sklearn.utils.estimator_checks import check_estimator, estimator_checks_generator

from sklearn_sprites.testing.checks import IMAGE_CHECKS
from sklearn_sprites.testing.replay import replay_on_images

__all__ = [
    "check_image_estimator",
    "image_estimator_checks",
    "parametrize_with_image_checks",
]

DTYPES = ("float64", "uint8")


def check_image_estimator(
    estimator: Any,
    *,
    dtypes: tuple[str, ...] = DTYPES,
    tile: int = 4,
    expected_failed_checks: dict[str, str] | None = None,
    on_skip: str | None = "warn",
    on_fail: str | None = "raise",
) -> list[dict[str, Any]]:
    """Run every check of scikit-learn, and a few for images only, on images.

    Parameters
    ----------
    estimator : estimator object
        Estimator of images of shape (n_samples, H, W, C), channels last.
    dtypes : tuple of {"float64", "uint8"}, default=("float64", "uint8")
        The kinds of images; the checks are replayed once for each.
    tile : int, default=4
        Side of the square of pixels that stands for one number of a check's table.
    expected_failed_checks : dict of str to str, default=None
        Names of checks that may fail, with the reason.
    on_skip : {"warn", None}, default="warn"
        Whether skipped checks are warned about.
    on_fail : {"raise", "warn", None}, default="raise"
        What a failing check of scikit-learn does; a failing image check raises if this
        is ``"raise"`` and is only reported otherwise.

    Returns
    -------
    results : list of dict
        For each check what
        :func:`sklearn.utils.estimator_checks.check_estimator` tells, and ``"dtype"``.

    Raises
    ------
    Exception
        What the first failing check raised, if ``on_fail="raise"``.

    Examples
    --------
    An estimator that takes tables only, and thus fails on images:

    >>> from sklearn.cluster import KMeans
    >>> from sklearn_sprites.testing import check_image_estimator
    >>> check_image_estimator(KMeans())
    Traceback (most recent call last):
    ...
    ValueError: Found array with dim 4, while dim <= 2 is required by KMeans.
    """
    results = []
    for dtype in dtypes:
        replayed = replay_on_images(estimator, dtype, tile)
        found = check_estimator(
            replayed,
            expected_failed_checks=expected_failed_checks,
            on_skip=on_skip,
            on_fail=on_fail,
        )
        expected = expected_failed_checks or {}
        found += [_run(replayed, c, expected, on_fail) for c in IMAGE_CHECKS]
        results += [{**result, "dtype": dtype} for result in found]
    return results


def image_estimator_checks(
    estimator: Any, *, dtypes: tuple[str, ...] = DTYPES, tile: int = 4
) -> Iterator[tuple[Any, Callable[[Any], None]]]:
    """Generate pairs of an estimator that sees images, and a check to call with it.

    Parameters
    ----------
    estimator : estimator object
        Estimator of images of shape (n_samples, H, W, C), channels last.
    dtypes : tuple of {"float64", "uint8"}, default=("float64", "uint8")
        The kinds of images; the checks are replayed once for each.
    tile : int, default=4
        Side of the square of pixels that stands for one number of a check's table.

    Yields
    ------
    estimator : estimator object
        The estimator, translated.
    check : callable
        ``check(estimator)`` raises if the estimator does not keep the contract.

    Examples
    --------
    >>> from sklearn.cluster import KMeans
    >>> from sklearn_sprites.testing import image_estimator_checks
    >>> estimator, check = next(image_estimator_checks(KMeans()))
    >>> check(estimator)
    """
    name = type(estimator).__name__
    for dtype in dtypes:
        replayed = replay_on_images(estimator, dtype, tile)
        yield from estimator_checks_generator(replayed)
        yield from ((replayed, partial(check, name)) for check in IMAGE_CHECKS)


def parametrize_with_image_checks(
    estimators: list[Any], *, dtypes: tuple[str, ...] = DTYPES, tile: int = 4
) -> Any:
    """Decorate a test so that pytest runs it once per estimator and check.

    Parameters
    ----------
    estimators : list of estimator objects
        Estimators of images.
    dtypes : tuple of {"float64", "uint8"}, default=("float64", "uint8")
        The kinds of images; the checks are replayed once for each.
    tile : int, default=4
        Side of the square of pixels that stands for one number of a check's table.

    Returns
    -------
    decorator : pytest.mark.parametrize
        For a test function with the arguments ``estimator`` and ``check``.

    Examples
    --------
    >>> from sklearn.cluster import KMeans
    >>> from sklearn_sprites.testing import parametrize_with_image_checks
    >>> @parametrize_with_image_checks([KMeans()])
    ... def test_contract_on_images(estimator, check):
    ...     check(estimator)
    """
    import pytest

    pairs = [
        pair
        for estimator in estimators
        for pair in image_estimator_checks(estimator, dtypes=dtypes, tile=tile)
    ]
    ids = [f"{each!r}-{each._replayed.dtype}-{_name(check)}" for each, check in pairs]
    return pytest.mark.parametrize(("estimator", "check"), pairs, ids=ids)


def _name(check: Any) -> str:
    return _name(check.func) if isinstance(check, partial) else check.__name__


def _run(
    estimator: Any, check: Callable, expected: dict[str, str], on_fail: str | None
) -> dict[str, Any]:
    """One image check, with a result like those of scikit-learn."""
    name, exception = check.__name__, None
    try:
        check(type(estimator).__name__, estimator)
    except Exception as error:
        if on_fail == "raise" and name not in expected:
            raise
        exception = error
    failed = "xfail" if name in expected else "failed"
    return {
        "estimator": estimator,
        "check_name": name,
        "exception": exception,
        "status": failed if exception else "passed",
        "expected_to_fail": name in expected,
        "expected_to_fail_reason": expected.get(name, ""),
    }
