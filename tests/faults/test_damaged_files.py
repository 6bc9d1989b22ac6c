"""Files that are not, or not quite, what was saved, rows F5 to F9 of the faults."""

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_sprites import SpriteClustering, load
from sklearn_sprites._engine import checkpoint
from sklearn_sprites.exceptions import ModelFileError
from tests.saved import fit


def rewritten(path, change=None, arrays=None):
    """A file whose checksum is right, after a change of its header and its arrays."""
    found = checkpoint.read(path)
    kept = {"kind": found.kind, "values": found.values, "arrays": dict(found.arrays)}
    if arrays is not None:
        arrays(kept["arrays"])
    if change is not None:
        change(kept)
    made = checkpoint.Checkpoint(version=found.version, **kept)
    checkpoint.write(path, made)


DAMAGES = {
    "empty": lambda data: b"",
    "cut off": lambda data: data[: len(data) // 2],
    "in the header": lambda data: data[:40],
    "trailing bytes": lambda data: data + b"\0",
    "random": lambda data: np.random.default_rng(0).bytes(500),
    "enormous header": lambda data: (200_000_000).to_bytes(8, "little") + data[8:],
    "text": lambda data: b"<!DOCTYPE html><html></html>",
    "an archive of numpy": lambda data: _saved_by_numpy(),
    "other safetensors": lambda data: safetensors.numpy.save({"a": np.ones(3)}),
    "no JSON": lambda data: _with_entry("0123 {"),
    "no header": lambda data: _with_entry("0123 [1]"),
    "no end": lambda data: _with_entry("0123 " + "[" * 100_000),
    "nothing": lambda data: _with_entry(""),
    "another checksum": lambda data: _with_entry('0123 {"version": "1", "format": 1}'),
}


def _with_entry(text):
    return safetensors.numpy.save({}, {checkpoint.ENTRY: text})


def _saved_by_numpy():
    file = io.BytesIO()
    np.savez(file, sprites_=np.ones(3))
    return file.getvalue()


@pytest.mark.parametrize("damage", DAMAGES)
def test_f5_no_model_in_it(model_file, damage):
    model_file.write_bytes(DAMAGES[damage](model_file.read_bytes()))
    with pytest.raises(ModelFileError, match=r"model\.safetensors holds no model"):
        load(model_file)


CONTRADICTIONS = {
    "missing": (lambda a: a.pop("sprites_"), "'sprites_' is missing"),
    "extra": (lambda a: a.update(more=np.ones(2)), "refers to its array 'more'"),
    "shape": (
        lambda a: a.update(sprites_=a["sprites_"][:2]),
        "sprites_ is 2, but the model says 3",
    ),
    "features": (lambda a: a.update(counts_=a["counts_"][:1]), "counts_"),
    "labels": (lambda a: a.update(labels_=a["labels_"][::-1] * 0), "labels_ and"),
    "nan": (lambda a: a.update(sprites_=a["sprites_"] * np.nan), "not finite"),
    "weights": (
        lambda a: a.update({"_arrays.sprites": a["_arrays.sprites"][:, :, :4]}),
        "sprites_ are not those",
    ),
    "dtype": (
        lambda a: a.update({"_arrays.sprites": a["_arrays.sprites"].astype("uint8")}),
        "'sprites' is not of float32",
    ),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_f5_arrays_that_contradict_the_rest(model_file, name):
    change, reason = CONTRADICTIONS[name]
    rewritten(model_file, arrays=change)
    with pytest.raises(ModelFileError, match=reason):
        load(model_file)


WEIGHT = "_arrays.encoder.0.weight"


@pytest.mark.parametrize(
    "change",
    [lambda a: a.pop(WEIGHT), lambda a: a.update({WEIGHT: a[WEIGHT][:1]})],
    ids=["missing", "of another shape"],
)
def test_f5_weights_that_are_not_those_of_the_network(tmp_path, change):
    path = tmp_path / "model.safetensors"
    fit("background")[0].save(path)

    def changed(kept):
        change(kept["arrays"])
        weights = kept["values"]["state"]["_arrays"]
        if WEIGHT not in kept["arrays"]:
            weights.pop(WEIGHT.removeprefix("_arrays."))

    rewritten(path, changed)
    with pytest.raises(ModelFileError, match=r"fit together.*encoder\.0\.weight"):
        load(path)


def params(**changed):
    return lambda kept: kept["values"]["params"].update(changed)


def state(**changed):
    return lambda kept: kept["values"]["state"].update(changed)


HEADERS = {
    "unknown parameter": (params(speed=3), "unexpected keyword argument 'speed'"),
    "invalid parameter": (params(n_clusters=-1), "'n_clusters' parameter"),
    "invalid setting": (
        params(
            reassignment={
                "!": "record",
                "name": "Swap",
                "fields": {"every": -1, "spares": 0, "until": 2, "n_images": 1},
            }
        ),
        "every",
    ),
    "no setting of ours": (
        params(init={"!": "record", "name": "Popen", "fields": {"args": "ls"}}),
        "Popen",
    ),
    "no kind of value": (params(init={"!": "code", "is": "1"}), "'code' is no kind"),
    "a method": (state(predict="no"), "'predict', which no fit leaves"),
    "another class": (state(__class__="no"), "'__class__', which no fit leaves"),
    "a parameter among attributes": (state(tol=1), "'tol', which no fit leaves"),
    "another size": (state(n_features_in_=9), "n_features_in_ is 9"),
    "another description": (state(_spec={}), "does not fit together"),
    "nothing": (lambda kept: kept.update(values={}), "'params'"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_f5_a_header_that_makes_no_sense(model_file, name):
    change, reason = HEADERS[name]
    rewritten(model_file, change)
    with pytest.raises(ModelFileError, match=reason):
        load(model_file)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_f6_a_flipped_bit_is_seen(fitted, tmp_path_factory, data):
    path = tmp_path_factory.mktemp("flipped") / "model.safetensors"
    fitted.save(path)
    blob = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(blob) - 1))
    blob[at] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(blob)
    end = 8 + int.from_bytes(blob[:8], "little")
    if at < end and bytes(blob[at:end]).strip() == b"":
        return  # another white space behind the header
    with pytest.raises(ModelFileError):
        load(path)


def test_f6_the_payload_has_a_checksum(model_file):
    blob = bytearray(model_file.read_bytes())
    blob[-1] ^= 1
    model_file.write_bytes(blob)
    assert safetensors.numpy.load_file(model_file)  # which sees nothing
    with pytest.raises(ModelFileError, match="checksum"):
        load(model_file)


class Attack:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def pickled(attack, path):
    path.write_bytes(pickle.dumps(attack))


def saved_by_torch(attack, path):
    torch.save({"sprites_": attack}, path)


def saved_by_numpy(attack, path):
    with open(path, "wb") as file:
        np.savez(file, sprites_=np.array([attack], dtype=object))


@pytest.mark.parametrize("write", [pickled, saved_by_torch, saved_by_numpy])
def test_f7_no_code_in_a_file_is_run(tmp_path, write):
    path, sentinel = tmp_path / "model.safetensors", tmp_path / "sentinel"
    write(Attack(sentinel), path)
    with pytest.raises(ModelFileError):
        load(path)
    assert not sentinel.exists()


@pytest.mark.parametrize("name", ["os.system", "sklearn.svm.SVC", "Swap", ""])
def test_f8_a_file_can_name_only_our_estimators(model_file, name):
    rewritten(model_file, lambda kept: kept.update(kind=name))
    with pytest.raises(ModelFileError, match="SpriteClustering or LayeredSprite"):
        load(model_file)


def test_f8_one_estimator_is_not_taken_for_the_other(model_file):
    rewritten(model_file, lambda kept: kept.update(kind="LayeredSpriteDecomposition"))
    with pytest.raises(ModelFileError, match="unexpected keyword"):
        load(model_file)


def test_f9_a_newer_format_tells_who_saved_it(model_file, monkeypatch):
    found = checkpoint.read(model_file)
    newer = checkpoint.Checkpoint(found.kind, "9.8.7", found.values, found.arrays)
    with monkeypatch.context() as later:
        later.setattr(checkpoint, "FORMAT", checkpoint.FORMAT + 1)
        checkpoint.write(model_file, newer)
    with pytest.raises(ModelFileError, match=r"sklearn_sprites 9\.8\.7 saved it"):
        load(model_file)


def test_f9_parameters_that_came_later_have_their_defaults(model_file):
    rewritten(model_file, lambda kept: kept["values"]["params"].pop("padding"))
    assert load(model_file).padding == SpriteClustering().padding
