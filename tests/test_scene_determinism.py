"""The same scenes, the same bits: in any process, batch, order, and as a file."""

import copy
import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone

import sklearn_sprites
from tests.faults.test_determinism import global_state
from tests.scenes import (
    QUICK,
    assert_same_layers,
    assert_same_scenes,
    make_decomposition,
    make_scenes,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
ROOT = Path(sklearn_sprites.__file__).parents[1]
X = make_scenes()[0]
NEW = make_scenes(21, seed=3)[0]
ON_BLACK = {"max_rounds": 3}
OVER_A_LEVEL = {"max_rounds": 1, "n_backgrounds": 1}
METHODS = ("predict", "predict_semantic", "transform", "reconstruct")


def on_ground(images, seed=0):
    """Black becomes a level of each image's own."""
    level = np.random.default_rng(seed).uniform(0, 0.3, (len(images), 1, 1, 1))
    return np.where(images.max(-1, keepdims=True) > 0, images, level)


@pytest.fixture(scope="module", params=[ON_BLACK, OVER_A_LEVEL], ids=["black", "level"])
def fitted(request):
    images = on_ground(X) if "n_backgrounds" in request.param else X
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make_decomposition(**request.param, device="cpu").fit(images)


@pytest.fixture
def new(fitted):
    return on_ground(NEW, 1) if fitted.n_backgrounds else NEW


def test_d1_fitting_again_gives_the_same_bits(fitted):
    images = on_ground(X) if fitted.n_backgrounds else X
    assert_same_scenes(clone(fitted).fit(images), fitted)


FIT_AND_HASH = """
import warnings; warnings.simplefilter("ignore")
import joblib
from tests.scenes import make_decomposition, make_scenes
from tests.pictures import fitted_arrays
model = make_decomposition(max_rounds=2).fit(make_scenes()[0])
print(joblib.hash(list(fitted_arrays(model))))
"""


def test_d1_two_processes_fit_the_same_bits():
    def run(hash_seed):
        env = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", FIT_AND_HASH]
        return subprocess.run(
            command, env=env, capture_output=True, text=True, check=True, cwd=ROOT
        ).stdout

    first = run("1")
    assert len(first.strip()) == 32
    assert run("2") == first


def test_d4_more_restarts_do_not_change_the_first_ones():
    two = make_decomposition(5, n_init=2, **QUICK).fit(X)
    three = make_decomposition(5, n_init=3, **QUICK).fit(X)
    for name, column in two.restarts_.items():
        np.testing.assert_array_equal(three.restarts_[name][:2], column)


@pytest.mark.parametrize("size", [1, 7, 16])
def test_d5_batches_of_any_size_give_the_same_bits(fitted, new, size):
    images = new if size > 1 else new[:4]
    parts = [images[i : i + size] for i in range(0, len(images), size)]
    for name in METHODS:
        method = getattr(fitted, name)
        together = np.concatenate([method(part) for part in parts])
        np.testing.assert_array_equal(together, method(images), err_msg=name)


def test_d5_order_duplicates_and_subsets_change_no_bit(fitted, new):
    order = np.random.default_rng(0).permutation(len(new))
    index = np.concatenate([order, order[:6], [5, 5, 5]])
    assert_same_layers(fitted.decompose(new[index]), fitted.decompose(new)[index])
    for name in METHODS:
        method = getattr(fitted, name)
        np.testing.assert_array_equal(method(new[index]), method(new)[index])


def test_d5_a_record_is_drawn_the_same_alone(fitted, new):
    found = fitted.decompose(new)
    drawn = fitted.render(found)
    for i in (0, 16, 20):
        np.testing.assert_array_equal(fitted.render(found[i])[0], drawn[i])


def test_d7_global_state_is_left_alone():
    make_decomposition(**QUICK).fit(X)  # imports and first calls happen here
    before = global_state()
    model = make_decomposition(**QUICK, n_init=2, random_state=None).fit(X)
    model.predict(X)
    model.render(model.decomposition_.drop(0))
    with pytest.raises(ValueError, match="NaN"):
        model.fit(np.full((9, 8, 8), np.nan))
    assert global_state() == before


def test_d8_the_users_torch_seed_has_no_influence():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        one = make_decomposition(**QUICK).fit(X)
        torch.manual_seed(2)
        assert_same_scenes(make_decomposition(**QUICK).fit(X), one)


def test_d9_a_random_state_instance_moves_on():
    state = np.random.RandomState(0)
    pair = [make_decomposition(5, random_state=state, **QUICK).fit(X) for _ in "ab"]
    state = np.random.RandomState(0)
    again = [make_decomposition(5, random_state=state, **QUICK).fit(X) for _ in "ab"]
    assert_same_scenes(pair[0], again[0])
    assert_same_scenes(pair[1], again[1])
    assert not np.array_equal(pair[0].sprites_, pair[1].sprites_)


def test_d11_torch_modes_around_a_fit_change_nothing():
    plain = make_decomposition(**ON_BLACK).fit(X)
    with torch.inference_mode(), torch.autocast("cpu"):
        inside = make_decomposition(**ON_BLACK).fit(X)
        assert_same_layers(inside.decompose(X), plain.decomposition_)
    assert_same_scenes(inside, plain)


def test_d11_a_default_dtype_changes_nothing():
    plain = make_decomposition(**ON_BLACK).fit(X)
    torch.set_default_dtype(torch.float64)
    try:
        assert_same_scenes(make_decomposition(**ON_BLACK).fit(X), plain)
    finally:
        torch.set_default_dtype(torch.float32)


# ------------------------------------------------------------- files


def through_pickle(model, folder):
    return pickle.loads(pickle.dumps(model))


def through_memory_maps(model, folder):
    joblib.dump(model, folder / "model.joblib")
    return joblib.load(folder / "model.joblib", mmap_mode="r")


def through_deepcopy(model, folder):
    return copy.deepcopy(model)


@pytest.mark.parametrize("way", [through_pickle, through_memory_maps, through_deepcopy])
def test_f2_a_copy_predicts_the_same_bits(fitted, new, tmp_path, way):
    model = way(fitted, tmp_path)
    assert model is not fitted
    assert_same_scenes(model, fitted)
    for name in METHODS:
        expected = getattr(fitted, name)(new)
        np.testing.assert_array_equal(getattr(model, name)(new), expected)


def test_f2_a_pickle_holds_no_torch(fitted, new):
    fitted.predict(new)
    assert b"torch" not in pickle.dumps(fitted)


def test_f2_a_pickle_opens_without_torch(fitted, tmp_path):
    path = tmp_path / "model.pickle"
    path.write_bytes(pickle.dumps(fitted))
    code = (
        f"import pickle, sys; model = pickle.load(open({str(path)!r}, 'rb'));"
        "found = model.decomposition_.move(0, dx=1);"
        "print(found.n_images if 'torch' not in sys.modules else 'torch')"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    found = subprocess.run(
        command, env=env, capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert found.stdout == f"{len(X)}\n"


def test_threads_of_a_user_predict_the_same_bits(fitted, new):
    parts = joblib.Parallel(n_jobs=2, backend="threading")(
        joblib.delayed(fitted.predict)(part) for part in np.array_split(new, 4)
    )
    np.testing.assert_array_equal(np.concatenate(parts), fitted.predict(new))
