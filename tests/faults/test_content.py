"""Bad and unusual values, rows I of the list of faults."""

import io
import pickle
import warnings
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning

from sklearn_sprites._validation import Scaling
from sklearn_sprites.exceptions import UnitsWarning
from tests.estimators import trained
from tests.marks import quiet
from tests.pictures import (
    KMEANS,
    QUICK,
    assert_all_finite,
    assert_same_fit,
    make_model,
    make_pictures,
)
from tests.scenes import make_decomposition

stopped_early_is_fine = pytest.mark.filterwarnings("ignore:SpriteClustering stopped")
METHODS = ("predict", "transform", "score", "reconstruct", "align")


def told_in_fit(model):
    """What `predict` should say of the images of `fit`."""
    if hasattr(model, "labels_"):
        return model.labels_
    return model.render(model.decomposition_, "instances")


def poisoned(pictures, value, flat):
    X = pictures.copy()
    X[1, 2, 3] = value
    return X.reshape(len(X), -1) if flat else X


@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        pytest.param(np.nan, "Input X contains NaN", id="i1-nan"),
        pytest.param(np.inf, "contains infinity", id="i2-inf"),
        pytest.param(-np.inf, "contains infinity", id="i2-minus-inf"),
    ],
)
def test_i1_i2_values_that_are_not_finite_are_refused(pictures, value, message, flat):
    bad = poisoned(pictures, value, flat)
    with pytest.raises(ValueError, match=message):
        make_model(**KMEANS).fit(bad)
    model = make_model(**KMEANS).fit(pictures)
    before = pickle.dumps(model)
    for method in METHODS:
        with pytest.raises(ValueError, match=message):
            getattr(model, method)(bad)
    assert pickle.dumps(model) == before


@pytest.mark.filterwarnings("error")
def test_i1_infinities_of_both_signs_are_refused_without_a_numpy_warning():
    bad = np.array([[-np.inf, np.inf]], np.float16)
    with pytest.raises(ValueError, match="infinity"):
        make_model(**KMEANS).fit(bad)


@pytest.mark.parametrize("shape", [(0, 3), (0, 8, 8), (0, 8, 8, 3)])
def test_i3_no_images(shape):
    message = r"Found array with 0 sample\(s\) \(shape=\(0, \d+\)\) while a minimum of"
    with pytest.raises(ValueError, match=message):
        make_model(**KMEANS).fit(np.empty(shape))


@pytest.mark.parametrize(
    "shape",
    [(5, 0), (5, 0, 28), (5, 28, 28, 0), (5, 0, 8, 8), (5, 3, 0, 8), (5, 8, 0, 0)],
)
def test_i4_no_pixels(shape, fitted):
    for call in (make_model(**KMEANS).fit, fitted.predict):
        with pytest.raises(ValueError, match=r"0 feature\(s\)"):
            call(np.empty(shape))


@pytest.mark.parametrize("params", [KMEANS, QUICK])
def test_i5_one_image_is_its_own_sprite(pictures, params):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = make_model(1, **params).fit(pictures[:1])
    assert model.labels_.tolist() == [0]
    np.testing.assert_allclose(model.sprites_[0, :, :, 0], pictures[0], atol=0.1)


def test_i6_fewer_images_than_clusters(pictures):
    message = "n_samples=3 should be >= n_clusters=5."
    with pytest.raises(ValueError, match=message):
        make_model(5).fit(pictures[:3])


@stopped_early_is_fine
@pytest.mark.timeout(10)
@pytest.mark.parametrize("params", [KMEANS, QUICK])
def test_i7_fewer_distinct_images_than_clusters(pictures, params):
    X = np.repeat(pictures[:2], 10, axis=0)
    message = r"distinct clusters \([12]\) found smaller than n_clusters \(5\)"
    with pytest.warns(ConvergenceWarning, match=message):
        model = make_model(5, **params).fit(X)
    used = np.unique(model.labels_)
    np.testing.assert_array_equal(used, np.arange(len(used)))
    assert_all_finite(model)


@stopped_early_is_fine
@pytest.mark.parametrize("params", [KMEANS, QUICK])
@pytest.mark.parametrize("value", [0, 0.5, 255, -3.25, np.uint8(7)])
def test_i8_constant_images(value, params):
    X = np.full((12, 8, 8), value)
    with pytest.warns(ConvergenceWarning, match="Number of distinct clusters"):
        model = make_model(**params).fit(X)
    assert model.inertia_ == pytest.approx(0, abs=1e-3 * max(1, float(value) ** 2))
    assert_all_finite(model)


@quiet
@pytest.mark.parametrize("params", [KMEANS, QUICK])
def test_i9_a_constant_channel_and_an_empty_image(params):
    X, _ = make_pictures(channels=3)
    X[..., 1] = 0.25
    X[4] = 0
    model = make_model(**params).fit(X)
    assert_all_finite(model)


@pytest.mark.parametrize("factor", [1e30, 1e300, 1e-300])
def test_i10_huge_and_tiny_values_give_the_labels_of_rescaled_ones(pictures, factor):
    model = make_model(**KMEANS).fit(pictures * factor)
    expected = make_model(**KMEANS).fit(pictures)
    np.testing.assert_array_equal(model.labels_, expected.labels_)
    assert_all_finite(model)
    assert np.isfinite(model.transform(pictures * factor)).all()


def test_i10_a_narrow_range_far_from_zero(pictures):
    wide = np.round(pictures * 1024)  # steps that survive the addition
    far = 2.0**30 + wide * 2.0**-20
    model = make_model(**KMEANS).fit(far)
    np.testing.assert_array_equal(model.labels_, make_model(**KMEANS).fit(wide).labels_)
    assert_all_finite(model)


def test_i10_a_range_that_overflows_is_refused(pictures):
    X = pictures.copy()
    X[0, 0, :2] = 1.7e308, -1.7e308
    message = r"X has a value range too large .* as 1e\+300; clip X, or divide"
    with pytest.raises(ValueError, match=message):
        make_model(**KMEANS).fit(X)


def test_i10_a_value_out_of_all_proportion_is_refused_in_predict(fitted, pictures):
    X = pictures.copy()
    X[0, 0, 0] = 1e300
    message = "X has a value range too large: .* seen in fit; clip X to that, or"
    with pytest.raises(ValueError, match=message):
        fitted.predict(X)


@pytest.mark.parametrize(("make", "side"), [(make_model, 8), (make_decomposition, 7)])
def test_i10_given_sprites_out_of_all_proportion_are_refused(pictures, make, side):
    message = "init has a value range too large: .* seen in fit; clip init to that"
    with pytest.raises(ValueError, match=message):
        make(init=np.full((3, side, side, 1), 1e300)).fit(pictures)


def test_i11_negative_and_standardized_values(pictures):
    y = make_pictures()[1]
    X = (pictures - pictures.mean(0)) / pictures.std(0)
    model = make_model(**KMEANS, n_init=5).fit(X)
    assert X.min() < 0
    assert all(len(set(y[model.labels_ == k])) == 1 for k in range(3))
    np.testing.assert_allclose(model.sprites_.mean(), X.mean(), atol=0.2)


def test_i12_scaling_values_changes_no_label(pictures):
    X = np.rint(pictures * 255).astype(np.uint8)
    labels = make_model(**KMEANS).fit(X).labels_
    wide = 2.0 * X
    for other in (X / 255, wide, wide + 1, 2.0 * wide):
        np.testing.assert_array_equal(make_model(**KMEANS).fit(other).labels_, labels)


def test_i12_doubled_values_double_the_sprites_bitwise(pictures):
    one = make_model(**KMEANS).fit(pictures * 3)
    two = make_model(**KMEANS).fit(pictures * 6)
    np.testing.assert_array_equal(two.sprites_, 2 * one.sprites_)


@quiet
def test_i13_numbers_as_objects_are_accepted(either, make, pictures):
    model = make().fit(pictures.astype(object))
    assert_same_fit(model, either)


def test_i13_objects_that_are_no_numbers_are_refused(make):
    X = np.ones((5, 16), dtype=object)
    X[2, 3] = {"a": 1}
    message = r"argument must be a string or a real number, not 'dict'"
    with pytest.raises(TypeError, match=message):
        make(2).fit(X)


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (np.full((5, 16), "a"), ValueError, "could not convert string to float"),
        ([["a"] * 16] * 5, ValueError, "could not convert string to float|strings"),
        (np.zeros((5, 16), dtype=[("x", float)]), ValueError, "needs numbers"),
        (np.full((5, 16), "2020-01-01", "M8[D]"), TypeError, "datetime64"),
        (np.full((5, 4, 4), 3, "m8[s]"), TypeError, "timedelta64"),
        (np.full((5, 16), b"a"), ValueError, "could not convert string to float"),
    ],
    ids=["text", "list-of-text", "records", "dates", "durations", "bytes"],
)
def test_i14_text_records_and_dates(X, error, message, make):
    with pytest.raises(error, match=message):
        make(2).fit(X)


def test_i14_a_frame_of_dates_is_refused(make):
    X = pd.DataFrame(np.full((5, 16), "2020-01-01", "M8[ns]"))
    with pytest.raises(TypeError):
        make(2).fit(X)


@pytest.mark.parametrize("shape", [(5, 16), (5, 4, 4)])
def test_i15_complex_numbers(shape, make):
    with pytest.raises(ValueError, match="Complex data not supported"):
        make(2).fit(np.ones(shape, complex))


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "lil", "dok", "dia", "bsr"])
@pytest.mark.parametrize("kind", ["matrix", "array"])
def test_i16_sparse_data(form, kind, make, either):
    X = getattr(sparse, f"{form}_{kind}")(np.eye(8, 64))
    message = "Sparse data was passed.*, but dense data is required."
    with pytest.raises(TypeError, match=message):
        make(2).fit(X)
    with pytest.raises(TypeError, match=message):
        either.predict(X)


def test_i17_masked_values_are_refused(pictures, make, either):
    masked = np.ma.masked_less(pictures, 0.1)
    assert masked.mask.any()
    with pytest.raises(ValueError, match="masked values"):
        make().fit(masked)
    with pytest.raises(ValueError, match="masked values"):
        either.predict(masked)
    unmasked = np.ma.MaskedArray(pictures)
    np.testing.assert_array_equal(either.predict(unmasked), told_in_fit(either))


INTEGERS = ["uint8", "uint16", "uint32", "int16", "int32", "int64", ">i4", ">u2"]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_i18_integers_give_the_labels_of_floats(pictures, dtype):
    X = np.rint(pictures * 255).astype(dtype)
    model = make_model(**KMEANS).fit(X)
    floats = make_model(**KMEANS).fit(X.astype(np.float64))
    np.testing.assert_array_equal(model.labels_, floats.labels_)
    np.testing.assert_allclose(model.sprites_, floats.sprites_, atol=0.01)
    np.testing.assert_allclose(model.inertia_, floats.inertia_, rtol=1e-4)


@pytest.mark.parametrize("dtype", ["float16", "float32", "longdouble", ">f4", ">f8"])
def test_i18_other_floats_give_the_labels_of_float64(pictures, dtype):
    X = pictures.astype(dtype)
    model = make_model(**KMEANS).fit(X)
    floats = make_model(**KMEANS).fit(X.astype(np.float64))
    np.testing.assert_array_equal(model.labels_, floats.labels_)


def test_i18_booleans(pictures):
    X = pictures > 0.5
    model = make_model(**KMEANS).fit(X)
    floats = make_model(**KMEANS).fit(X.astype(np.float64))
    np.testing.assert_array_equal(model.labels_, floats.labels_)


def test_i18_bytes_are_scaled_by_their_dtype_and_come_back_in_their_units(pictures):
    X = np.rint(pictures * 200).astype(np.uint8)
    model = make_model(**KMEANS).fit(X)
    assert model._scaling == (0.0, 255.0)
    for k in range(3):
        mean = X[model.labels_ == k].mean(0)
        np.testing.assert_allclose(model.sprites_[k, :, :, 0], mean, atol=1e-3)


def layouts(X):
    yield "fortran", np.asfortranarray(X)
    yield "reversed", X[::-1].copy()[::-1]
    yield "strided", np.repeat(X, 2, axis=1)[:, ::2]
    yield "transposed", np.ascontiguousarray(X.T).T


@quiet
@pytest.mark.parametrize("params", [KMEANS, QUICK])
def test_i19_memory_layout_does_not_matter(pictures, params):
    expected = make_model(**params).fit(pictures)
    for _, X in layouts(pictures):
        assert not X.flags.c_contiguous or X.strides[0] < 0
        model = make_model(**params).fit(X)
        assert_same_fit(model, expected)
        np.testing.assert_array_equal(model.transform(X), expected.transform(pictures))


@quiet
@trained
@pytest.mark.parametrize("dtype", ["float64", "float32", "uint8"])
@pytest.mark.parametrize("form", ["read-only", "memmap", "joblib"])
def test_i20_i21_memory_that_cannot_be_written(pictures, tmp_path, form, dtype, make):
    X = (pictures[:9] * (255 if dtype == "uint8" else 1)).astype(dtype)
    path = tmp_path / "images"
    if form == "read-only":
        X.flags.writeable = False
    elif form == "memmap":
        X.tofile(path)
        X = np.memmap(path, dtype=dtype, mode="r", shape=X.shape)
    else:
        joblib.dump(X, path)
        X = joblib.load(path, mmap_mode="r")
    before = joblib.hash(np.array(X))
    model = make().fit(X)
    for method in METHODS:
        if hasattr(model, method):
            getattr(model, method)(X)
    assert not X.flags.writeable
    assert joblib.hash(np.array(X)) == before


@quiet
@pytest.mark.parametrize("dtype", ["float64", "float32", "uint8"])
def test_i21_images_are_never_changed(pictures, dtype):
    X = (pictures * (255 if dtype == "uint8" else 1)).astype(dtype)
    before = joblib.hash(X)
    model = make_model(**QUICK).fit(X)
    for method in METHODS:
        getattr(model, method)(X)
    assert joblib.hash(X) == before


def test_i22_tensors(pictures):
    X = pictures.astype(np.float32)
    expected = make_model(**KMEANS).fit(X)
    tensor = torch.from_numpy(X.copy()).requires_grad_()
    model = make_model(**KMEANS).fit(tensor)
    assert_same_fit(model, expected)
    assert type(model.predict(tensor)) is np.ndarray
    assert type(model.transform(tensor)) is np.ndarray
    assert tensor.requires_grad
    assert tensor.grad is None
    np.testing.assert_array_equal(tensor.detach().numpy(), X)


def test_i22_bfloat16_tensors(pictures):
    tensor = torch.from_numpy(pictures).bfloat16()
    model = make_model(**KMEANS).fit(tensor)
    expected = make_model(**KMEANS).fit(tensor.float().numpy())
    assert_same_fit(model, expected)


@pytest.mark.gpu
def test_i22_cuda_tensors(pictures):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    model = make_model(**KMEANS).fit(torch.from_numpy(pictures).cuda())
    assert_same_fit(model, make_model(**KMEANS).fit(pictures))


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_i23_data_frames_of_pixels(pictures, frame):
    names = [f"pixel{i:02}" for i in range(64)]
    flat = pictures.reshape(-1, 64)
    X = frame({name: flat[:, i] for i, name in enumerate(names)})
    model = make_model(**KMEANS).fit(X)
    assert model.feature_names_in_.tolist() == names
    np.testing.assert_array_equal(model.predict(X), model.labels_)
    np.testing.assert_array_equal(model.labels_, make_model(**KMEANS).fit(flat).labels_)
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(X[names[::-1]])


def test_i23_names_of_an_earlier_fit_are_forgotten(pictures):
    flat = pictures.reshape(-1, 64)
    frame = pd.DataFrame(flat, columns=[f"p{i}" for i in range(64)])
    model = make_model(**KMEANS).fit(frame).fit(pictures)
    assert not hasattr(model, "feature_names_in_")


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "1", "I;16"])
def test_i24_lists_of_pillow_images(pictures, mode):
    gray = np.rint(pictures * 255).astype(np.uint8)
    if mode == "I;16":
        images = [Image.fromarray(each.astype(np.uint16) * 256) for each in gray]
    else:
        images = [Image.fromarray(each).convert(mode) for each in gray]
    arrays = np.stack([np.asarray(image) for image in images])
    model = make_model(**KMEANS).fit(images)
    assert_same_fit(model, make_model(**KMEANS).fit(arrays))


def test_i24_palettes_are_read_as_colors(pictures):
    gray = np.rint(pictures * 255).astype(np.uint8)
    colored = [Image.fromarray(np.stack([a, a // 2, 255 - a], -1)) for a in gray]
    palettes = [image.convert("P") for image in colored]
    model = make_model(**KMEANS).fit(palettes)
    expected = np.stack([np.asarray(p.convert("RGB")) for p in palettes])
    assert model.image_shape_ == (8, 8, 3)
    assert_same_fit(model, make_model(**KMEANS).fit(expected))


def test_i24_files_opened_lazily(pictures):
    stored = io.BytesIO()
    Image.fromarray(np.rint(pictures[0] * 255).astype(np.uint8)).save(stored, "PNG")
    model = make_model(1, **KMEANS).fit([Image.open(stored)])
    assert model.image_shape_ == (8, 8, 1)


@pytest.mark.parametrize(
    "images",
    [
        [Image.new("L", (8, 6)), Image.new("L", (5, 7))],
        [np.zeros((6, 8)), np.zeros((7, 5))],
        [np.zeros((6, 8)).tolist(), np.zeros((7, 5)).tolist()],
        [torch.zeros(6, 8), torch.zeros(7, 5)],
    ],
    ids=["pillow", "arrays", "lists", "tensors"],
)
def test_i24_images_of_different_sizes_name_the_remedy(images):
    message = r"\(6, 8\) and \(7, 5\).*load_image_folder\(size="
    with pytest.raises(ValueError, match=message):
        make_model(1).fit(images)


@pytest.mark.parametrize("X", ["a folder", Path("a"), ["a.png", "b.png"], [Path("a")]])
def test_i24_names_of_files_are_no_images(X):
    message = "names of files, such as 'a.*load_image_folder"
    with pytest.raises(ValueError, match=message):
        make_model(1).fit(X)


@pytest.mark.parametrize(
    "images",
    [
        [Image.new("L", (8, 6)), Image.new("RGB", (8, 6))],
        [Image.new("RGBA", (8, 6)), Image.new("RGB", (8, 6))],
        [np.zeros((6, 8)), np.zeros((6, 8, 3))],
    ],
    ids=["gray-and-color", "alpha", "arrays"],
)
def test_i24_images_of_different_channels_name_the_remedy(images):
    message = r'different channels, first \(6, 8.*convert all of them, .* "RGB"'
    with pytest.raises(ValueError, match=message):
        make_model(1).fit(images)


def test_i24_nested_lists(pictures, fitted):
    np.testing.assert_array_equal(fitted.predict(pictures.tolist()), fitted.labels_)


SHAPES = hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=9)
DTYPES = st.sampled_from(["f2", "f4", "f8", "u1", "i2", "i8", "?", "c8", "O", "U3"])
LAYOUTS = st.sampled_from([np.asarray, np.asfortranarray, lambda X: X[::-1]])


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(data=st.data())
@quiet
@pytest.mark.filterwarnings("ignore:The ground of the images")
@pytest.mark.filterwarnings("ignore::sklearn_sprites.exceptions.UnitsWarning")
@trained
def test_i27_any_array_fits_or_is_refused_politely(make, data):
    dtype = data.draw(DTYPES)
    values = st.integers(-3, 3) if dtype == "O" else None
    X = data.draw(hnp.arrays(dtype, data.draw(SHAPES), elements=values))
    X = data.draw(LAYOUTS)(X)
    model = make(data.draw(st.integers(1, 3)))
    try:
        model.fit(X)
    except (ValueError, TypeError):
        assert not hasattr(model, "sprites_")
    else:
        assert_all_finite(model)
        np.testing.assert_array_equal(model.predict(X), told_in_fit(model))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("outlier", [1e6, -300.0])
def test_a_few_images_that_decide_the_scale_are_told_of(pictures, make, outlier):
    X = np.concatenate([pictures, pictures[:1]])
    X[-1, 0, 0] = outlier
    with pytest.warns(UnitsWarning, match="a few images decide the scale") as told:
        make(2).fit(X)
    assert told[0].filename == __file__


@pytest.mark.parametrize("factor", [1, 255, 3.7])
def test_blank_images_and_usual_scales_are_not_told_of(pictures, factor):
    X = factor * np.concatenate([pictures, np.zeros((300, *pictures.shape[1:]))])
    scaling = Scaling.of(X.reshape(len(X), -1), "a test")
    assert scaling.outliers(X.reshape(len(X), -1)) is None
