"""What comes back from a file or a copy, row F2 of the list of faults."""

import copy
import io
import json
import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import cloudpickle
import joblib
import numpy as np
import pytest
from sklearn.datasets import load_digits

import sklearn_sprites
from tests.pictures import QUICK, assert_same_fit, make_model

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
ROOT = Path(sklearn_sprites.__file__).parents[1]
METHODS = ("predict", "transform", "reconstruct", "align", "segment")


def through_pickle(model, tmp_path):
    return pickle.loads(pickle.dumps(model))


def through_cloudpickle(model, tmp_path):
    return pickle.loads(cloudpickle.dumps(model))


def through_joblib(model, tmp_path):
    joblib.dump(model, tmp_path / "model.joblib")
    return joblib.load(tmp_path / "model.joblib")


def through_memory_maps(model, tmp_path):
    joblib.dump(model, tmp_path / "model.joblib")
    mapped = joblib.load(tmp_path / "model.joblib", mmap_mode="r")
    assert isinstance(mapped.sprites_, np.memmap)
    assert not mapped.sprites_.flags.writeable
    return mapped


def through_deepcopy(model, tmp_path):
    return copy.deepcopy(model)


def through_copy(model, tmp_path):
    return copy.copy(model)


WAYS = [
    through_pickle,
    through_cloudpickle,
    through_joblib,
    through_memory_maps,
    through_deepcopy,
    through_copy,
]


@pytest.fixture(scope="module")
def digits():
    return load_digits().images[:60]


@pytest.fixture(scope="module")
def fitted(digits):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make_model(**QUICK, n_backgrounds=1).fit(digits)


@pytest.mark.parametrize("way", WAYS)
def test_f2_a_copy_predicts_the_same_bits(fitted, digits, tmp_path, way):
    model = way(fitted, tmp_path)
    assert model is not fitted
    assert model.get_params() == fitted.get_params()
    assert_same_fit(model, fitted)
    for name in METHODS:
        np.testing.assert_array_equal(
            getattr(model, name)(digits), getattr(fitted, name)(digits)
        )


def test_f2_a_pickle_holds_no_torch(fitted, digits):
    fitted.predict(digits)  # builds the network
    blob = pickle.dumps(fitted)
    assert b"torch" not in blob
    assert len(blob) < 4 * sum(a.nbytes for a in fitted._arrays.values()) + 50_000


def test_f2_a_pickle_opens_without_torch(fitted, tmp_path):
    path = tmp_path / "model.pickle"
    path.write_bytes(pickle.dumps(fitted))
    code = (
        f"import pickle, sys; model = pickle.load(open({str(path)!r}, 'rb'));"
        "print(model.sprites_.sum() if 'torch' not in sys.modules else 'torch')"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    found = subprocess.run(
        [sys.executable, "-c", code],
        env=env,
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert float(found.stdout) == pytest.approx(float(fitted.sprites_.sum()))


def test_f2_an_unfitted_estimator_survives_too(tmp_path):
    model = make_model(5, transformations=("affine",))
    for way in (through_pickle, through_cloudpickle, through_joblib, through_deepcopy):
        assert way(model, tmp_path).get_params() == model.get_params()


def test_f2_a_copy_can_be_fitted_on(fitted, digits):
    model = pickle.load(io.BytesIO(pickle.dumps(fitted)))
    other = copy.deepcopy(fitted)
    for each in (model, other):
        each.set_params(warm_start=True).fit(digits)
    assert_same_fit(model, other)
    assert not np.array_equal(model.sprites_, fitted.sprites_)


def test_f2_the_state_is_arrays_and_plain_values(fitted):
    state = fitted.__getstate__()
    assert "_predictor" not in state
    assert json.loads(json.dumps(state["_spec"])) is not None
    for name, value in state["_arrays"].items():
        assert type(value) is np.ndarray, name
