"""Saving and loading without pickle, rows F1, F3, F10 and F12 of the list of faults."""

import io
import json
import os
import pickle
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch
from sklearn.exceptions import NotFittedError

import sklearn_sprites
from sklearn_sprites import SpriteClustering, load
from tests import golden
from tests.pictures import KMEANS, QUICK, assert_same_fit, make_model
from tests.saved import MODELS, X, assert_same_value, fit

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
ROOT = Path(sklearn_sprites.__file__).parents[1]


@pytest.mark.parametrize("name", MODELS)
def test_f1_what_was_saved_is_loaded(name, tmp_path):
    model, images = fit(name)
    model.save(tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    assert type(again) is type(model)
    assert_same_value(model.get_params(), again.get_params(), "params")
    assert_same_value(model.__getstate__(), again.__getstate__(), "state")
    for method in ("predict", "transform", "reconstruct"):
        left, right = (getattr(each, method)(images) for each in (model, again))
        np.testing.assert_array_equal(left, right)


def test_f1_a_new_process_predicts_the_same_bits(fitted, model_file, tmp_path):
    np.save(tmp_path / "images.npy", X)
    code = (
        "import sys, numpy as np; from sklearn_sprites import load;"
        f"model = load({str(model_file)!r});"
        f"np.save('found.npy', model.transform(np.load('images.npy')))"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], env=env, cwd=tmp_path, check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "found.npy"), fitted.transform(X))


def test_f1_feature_names_and_output_survive(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X.reshape(len(X), -1)).add_prefix("pixel")
    model = make_model(**KMEANS).set_output(transform="pandas").fit(frame)
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert_same_value(model.feature_names_in_, again.feature_names_in_)
    pandas.testing.assert_frame_equal(model.transform(frame), again.transform(frame))


def test_f1_a_loaded_model_goes_on_learning(tmp_path):
    model, images = fit("background")
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    for each in (model, again):
        each.set_params(warm_start=True, n_init=1).fit(images)
    assert_same_fit(model, again)


def test_f1_other_programs_find_the_arrays(fitted, model_file):
    arrays = safetensors.numpy.load_file(model_file)
    np.testing.assert_array_equal(arrays["sprites_"], fitted.sprites_)
    np.testing.assert_array_equal(arrays["labels_"], fitted.labels_)


def test_f3_the_device_is_asked_for_when_it_is_used(fitted, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    elsewhere = pickle.loads(pickle.dumps(fitted)).set_params(device="cuda")
    elsewhere.save(tmp_path / "model")
    again = load(tmp_path / "model")
    with pytest.raises(RuntimeError, match="cuda"):
        again.predict(X)
    np.testing.assert_array_equal(
        again.set_params(device="auto").predict(X), fitted.labels_
    )


def test_f10_files_that_are_not_there(fitted, tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match=r"no folder .*nothing; make it first"):
        fitted.save(tmp_path / "nothing" / "model")
    for use in (load, fitted.save):
        with pytest.raises(IsADirectoryError):
            use(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", [io.BytesIO(), b"model", 3, None])
def test_f10_what_is_no_path_is_refused_by_name(fitted, path):
    told = f"path must be the name of a file, .* got {type(path).__name__}"
    for use in (load, fitted.save):
        with pytest.raises(TypeError, match=told):
            use(path)


def test_f10_any_name_will_do(fitted, tmp_path):
    for path in (tmp_path / "модель 模型.safetensors", str(tmp_path / "no_ending")):
        fitted.save(path)
        assert_same_fit(load(path), fitted)


def test_f10_a_file_is_replaced_at_once_or_not_at_all(model_file, fitted, monkeypatch):
    before = model_file.read_bytes()
    model_file.chmod(0o640)

    def interrupted(*names):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fitted.save(model_file)
    assert [each.name for each in model_file.parent.iterdir()] == [model_file.name]
    assert model_file.read_bytes() == before
    fitted.save(model_file)
    assert model_file.read_bytes() == before
    assert stat.S_IMODE(model_file.stat().st_mode) == 0o640


def test_f10_the_same_model_gives_the_same_bytes(model_file, fitted):
    before = model_file.read_bytes()
    for _ in range(20):
        fitted.save(model_file)
        assert model_file.read_bytes() == before


def test_f10_a_link_stays_a_link(model_file, fitted):
    link = model_file.with_name("link")
    link.symlink_to(model_file)
    fitted.save(link)
    assert link.is_symlink()
    assert_same_fit(load(link), fitted)


def test_f10_what_may_not_be_written_is_left_alone(model_file, fitted, monkeypatch):
    before = model_file.read_bytes()
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(PermissionError, match=r"model\.safetensors"):
        fitted.save(model_file)
    assert model_file.read_bytes() == before


def test_only_what_is_fitted_is_saved(tmp_path):
    with pytest.raises(NotFittedError):
        make_model().save(tmp_path / "model")


def test_what_could_not_be_loaded_again_is_not_saved(tmp_path):
    model = make_model(**KMEANS).fit(X).set_params(n_clusters=-1)
    with pytest.raises(ValueError, match="'n_clusters' parameter"):
        model.save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_what_holds_code_is_refused_by_name(tmp_path):
    encoder = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 8))
    model = make_model(**QUICK, transformations=("color", "affine"), encoder=encoder)
    model.fit(X)
    with pytest.raises(TypeError, match=r"encoder is a Sequential.*pickle"):
        model.save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_a_class_of_ones_own_is_refused(tmp_path):
    class Mine(SpriteClustering):
        """Has code that no file holds."""

    model = Mine(n_clusters=3, **KMEANS).fit(X)
    with pytest.raises(TypeError, match=r"Mine is not.*pickle"):
        model.save(tmp_path / "model")


def test_callbacks_are_left_out(fitted, tmp_path):
    module = pytest.importorskip("sklearn.callback")
    monitor = module.ScoringMonitor(scoring="adjusted_rand_score")
    model = make_model(**KMEANS).set_callbacks(monitor).fit(X, np.arange(len(X)) % 3)
    model.save(tmp_path / "model")
    assert_same_fit(load(tmp_path / "model"), model)


@pytest.mark.parametrize(
    "path", golden.FILES, ids=[f"{p.parent.name}-{p.stem}" for p in golden.FILES]
)
def test_f12_files_of_every_release_can_be_read(path):
    expected = json.loads(path.with_suffix(".json").read_text())
    seen = golden.found(load(path))
    assert seen["labels"] == expected["labels"]
    assert seen["score"] == pytest.approx(expected["score"], rel=1e-2)


def test_f12_this_version_has_its_files():
    names = {path.stem for path in golden.FILES if path.parent.name == golden.RELEASE}
    assert names == set(golden.MODELS)
