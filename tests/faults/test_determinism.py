"""What a seed decides, and what a fit leaves alone; rows D of the list of faults."""

import os
import random
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone

import sklearn_sprites
from sklearn_sprites._engine.training.adam import Adam
from tests.pictures import (
    KMEANS,
    QUICK,
    assert_same_fit,
    fitted_arrays,
    make_model,
    make_pictures,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
LAYERED = {**QUICK, "n_backgrounds": 1}
CPU = {"device": "cpu"}  # to the last bit is promised there
ROOT = Path(sklearn_sprites.__file__).parents[1]
FIT_AND_HASH = """
import hashlib, warnings
warnings.simplefilter("ignore")
from tests.pictures import QUICK, fitted_arrays, make_model, make_pictures
for params in (QUICK, {**QUICK, "n_backgrounds": 1}):
    model = make_model(**params, device="cpu").fit(make_pictures()[0])
    digest = hashlib.sha256()
    for name, array in fitted_arrays(model):
        digest.update(name.encode() + array.tobytes())
    print(digest.hexdigest())
"""


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(0).uniform(size=(40, 8, 8))


@pytest.fixture(scope="module", params=[KMEANS, QUICK, LAYERED])
def fitted(request, pictures):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make_model(**request.param, **CPU).fit(pictures)


def test_d1_two_processes_fit_the_same_bits():
    def run(hash_seed):
        command = [sys.executable, "-c", FIT_AND_HASH]
        env = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            command, env=env, capture_output=True, text=True, check=True, cwd=ROOT
        ).stdout

    first = run("1")
    assert len(set(first.split())) == 2
    assert run("2") == first


@pytest.mark.parametrize("params", [KMEANS, QUICK, LAYERED])
def test_d1_fitting_again_gives_the_same_bits(pictures, params):
    model = make_model(**params, **CPU).fit(pictures)
    assert_same_fit(clone(model).fit(pictures), model)


@pytest.mark.parametrize("params", [{**KMEANS, "init": "k-means++"}, QUICK])
def test_d4_more_restarts_do_not_change_the_first_ones(noise, params):
    three = make_model(6, **params, **CPU, n_init=3).fit(noise)
    five = make_model(6, **params, **CPU, n_init=5).fit(noise)
    np.testing.assert_array_equal(five.restarts_["loss"][:3], three.restarts_["loss"])
    assert len(five.restarts_["loss"]) == 5
    assert len(set(five.restarts_["loss"])) > 1


@pytest.mark.parametrize("size", [1, 7, 64])
def test_d5_batches_of_any_size_give_the_same_bits(fitted, size):
    X = make_pictures(n=100 if size > 1 else 12, seed=3)[0]
    parts = [X[i : i + size] for i in range(0, len(X), size)]
    for method in (fitted.predict, fitted.transform, fitted.reconstruct, fitted.align):
        together = np.concatenate([method(part) for part in parts])
        np.testing.assert_array_equal(together, method(X))


def test_d5_order_duplicates_and_subsets_change_no_bit(fitted):
    X = make_pictures(n=100, seed=3)[0]
    order = np.random.default_rng(0).permutation(100)
    index = np.concatenate([order, order[:30], [5, 5, 5]])
    for method in (fitted.predict, fitted.transform, fitted.reconstruct):
        np.testing.assert_array_equal(method(X[index]), method(X)[index])


@pytest.fixture
def thread_counts():
    """Sets torch's threads to one, then to two, and back at the end."""
    before = torch.get_num_threads()

    def counts():
        for n_threads in (1, 2):
            torch.set_num_threads(n_threads)
            yield n_threads

    yield counts()
    torch.set_num_threads(before)


@pytest.mark.parametrize("params", [QUICK, LAYERED])
def test_d3_cores_change_no_bit_of_fits_of_little_images(params, thread_counts):
    X = make_pictures(n=200, height=16, width=16)[0]
    model = make_model(**params, **CPU)
    fits = [(n, clone(model).fit(X), torch.get_num_threads()) for n in thread_counts]
    assert [(n, after) for n, _, after in fits] == [(1, 1), (2, 2)]
    assert_same_fit(fits[0][1], fits[1][1])


@pytest.mark.parametrize("params", [KMEANS, QUICK])
def test_d5_cores_change_no_bit_of_predictions(params, thread_counts):
    X = make_pictures(n=200, height=28, width=28)[0]  # products so long can be shared
    model = make_model(**params, **CPU).fit(X)
    found = []
    for _ in thread_counts:
        found += [model.transform(X)[:5], model.transform(X[:5])]
    for distances in found:
        np.testing.assert_array_equal(distances, found[0])


def test_d6_labels_are_what_predict_says(fitted, pictures):
    np.testing.assert_array_equal(fitted.predict(pictures), fitted.labels_)
    again = clone(fitted)
    np.testing.assert_array_equal(again.fit_predict(pictures), fitted.labels_)
    distances = clone(fitted).fit_transform(pictures)
    np.testing.assert_array_equal(distances, fitted.transform(pictures))
    np.testing.assert_array_equal(distances.argmin(1), fitted.labels_)


def test_d6_score_is_minus_inertia(fitted, pictures):
    assert fitted.score(pictures) == -fitted.inertia_
    nearest = fitted.transform(pictures).min(1)
    assert fitted.inertia_ == pytest.approx((nearest**2).sum(), rel=1e-9)


def global_state():
    return {
        "torch": torch.get_rng_state().tolist(),
        "numpy": repr(np.random.get_state()),  # noqa: NPY002
        "random": random.getstate(),
        "cudnn": (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "dtype": torch.get_default_dtype(),
        "device": torch.empty(0).device,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "grad": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "environment": dict(os.environ),
        "warnings": list(warnings.filters),
        "errors": np.geterr(),
    }


@pytest.mark.parametrize("seed", [0, None])
def test_d7_global_state_is_left_alone(pictures, seed):
    make_model(**LAYERED).fit(pictures)  # imports and first calls happen here
    before = global_state()
    model = clone(make_model(**LAYERED, n_init=2).set_params(random_state=seed))
    model.fit(pictures).predict(pictures)
    with pytest.raises(ValueError, match="NaN"):
        model.fit(np.full((9, 8, 8), np.nan))
    assert global_state() == before


def test_d7_global_state_survives_an_interrupt(pictures, monkeypatch):
    def interrupt(*args, **kwargs):
        torch.rand(3)
        raise KeyboardInterrupt

    before = global_state()
    monkeypatch.setattr(Adam, "step", interrupt)
    with pytest.raises(KeyboardInterrupt):
        make_model(**QUICK).fit(pictures)
    assert global_state() == before


def test_d8_the_users_torch_seed_has_no_influence(pictures):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        one = make_model(**QUICK, **CPU).fit(pictures)
        torch.manual_seed(2)
        assert_same_fit(make_model(**QUICK, **CPU).fit(pictures), one)


def test_d8_without_a_seed_fits_differ(noise):
    params = {**QUICK, "random_state": None}
    one, two = (make_model(6, **params).fit(noise) for _ in range(2))
    assert not np.array_equal(one.sprites_, two.sprites_)


def test_d9_a_random_state_instance_moves_on(noise):
    def pair():
        state = np.random.RandomState(7)
        params = {**QUICK, **CPU, "random_state": state}
        return [make_model(6, **params).fit(noise) for _ in range(2)]

    first, second = pair(), pair()
    assert not np.array_equal(first[0].sprites_, first[1].sprites_)
    assert_same_fit(first[0], second[0])
    assert_same_fit(first[1], second[1])


@pytest.mark.parametrize("params", [QUICK, LAYERED])
def test_d11_torch_modes_around_a_fit_change_nothing(pictures, params):
    expected = make_model(**params, **CPU).fit(pictures)
    modes = [
        torch.inference_mode(),
        torch.no_grad(),
        torch.autocast("cpu"),
        torch.device("meta"),
    ]
    for mode in modes:
        with mode:
            model = make_model(**params, **CPU).fit(pictures)
            distances = model.transform(pictures)
        assert_same_fit(model, expected)
        np.testing.assert_array_equal(distances, expected.transform(pictures))


def test_d11_a_default_dtype_changes_nothing(pictures):
    expected = make_model(**QUICK, **CPU).fit(pictures)
    torch.set_default_dtype(torch.float64)
    try:
        model = make_model(**QUICK, **CPU).fit(pictures)
        distances = model.transform(pictures)
    finally:
        torch.set_default_dtype(torch.float32)
    assert_same_fit(model, expected)
    np.testing.assert_array_equal(distances, expected.transform(pictures))


def test_the_bits_compared_here_cover_all_of_a_fit(fitted):
    names = {name.partition(".")[0] for name, _ in fitted_arrays(fitted)}
    published = {n for n in vars(fitted) if n.endswith("_") and not n.startswith("_")}
    assert names | {"transformation_params_"} == published
