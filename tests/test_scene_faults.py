"""Bad input and bad luck: decompositions refuse in words, or go on politely.

Numbers of rows are those of `test_faults_input` and `test_faults_training`.
"""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from sklearn_sprites import Attention, Distilled, Regression, Search
from sklearn_sprites._validation import InvalidParameterError
from sklearn_sprites.exceptions import ClusterCollapseWarning, TrainingDivergedError
from sklearn_sprites.metrics import segmentation_adjusted_rand_score
from tests.pictures import assert_all_finite
from tests.scenes import (
    BRIEF,
    QUICK,
    SETTLED,
    assert_same_scenes,
    make_decomposition,
    make_scenes,
)

quiet = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X, INSTANCES, _, _ = make_scenes()
BACKGROUNDS = [0, 1]


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


# ------------------------------------------------------------- images


@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, "contains NaN"), (np.inf, "contains infinity")]
)
def test_i1_i2_values_that_are_not_finite_are_refused(value, message):
    bad = X.copy()
    bad[3, 2, 2, 1] = value
    with pytest.raises(ValueError, match=message):
        make_decomposition().fit(bad)


@pytest.mark.parametrize(
    ("shape", "message"),
    [((0, 8, 8), "0 sample"), ((4, 8, 0), "0 feature"), ((2, 2, 4, 4, 1), "dim 5")],
)
def test_i3_i4_s2_arrays_without_images(shape, message):
    with pytest.raises(ValueError, match=message):
        make_decomposition().fit(np.zeros(shape))


@quiet
@pytest.mark.parametrize("n_backgrounds", BACKGROUNDS)
def test_i5_one_image(n_backgrounds):
    model = make_decomposition(n_backgrounds=n_backgrounds, **QUICK).fit(X[:1])
    assert_sound(model, X[:1])


@quiet
def test_i5_one_image_of_one_object_is_drawn_again():
    one, instances, _, _ = make_scenes(1, n_objects=1)
    model = make_decomposition(1, n_layers=1, max_rounds=5).fit(one)
    np.testing.assert_allclose(model.reconstruct(one), one, atol=0.1)
    np.testing.assert_array_equal(model.predict(one), instances)


@pytest.mark.parametrize("n_backgrounds", BACKGROUNDS)
@pytest.mark.parametrize("value", [0, 0.5, 1])
def test_i8_constant_images(value, n_backgrounds):
    """An all-black set has nothing in it: no layer is shown, and a warning tells."""
    constant = np.full((10, 12, 12, 3), float(value))
    model = make_decomposition(n_backgrounds=n_backgrounds, sprite_size=5)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        model.fit(constant)
    assert_sound(model, constant)
    if value == 0 or n_backgrounds:
        assert any(w.category is ClusterCollapseWarning for w in told)
        assert model.counts_.tolist() == [0, 0, 0]
        assert model.layer_counts_.tolist() == [0, 0]
        assert (model.predict(constant) == 0).all()
        np.testing.assert_allclose(model.reconstruct(constant), constant, atol=1e-3)


@quiet
def test_i9_empty_images_among_others():
    mixed = np.concatenate([X, np.zeros_like(X[:5])])
    model = make_decomposition(**SETTLED).fit(mixed)
    assert_sound(model, mixed)
    assert (model.predict(mixed)[-5:] == 0).all()
    assert (model.decompose(mixed).sprite[-5:] == -1).all()
    assert segmentation_adjusted_rand_score(INSTANCES, model.predict(X)) > 0.9


@quiet
@pytest.mark.parametrize("factor", [1e-300, 1e-12, 1e30, 1e300])
def test_i10_huge_and_tiny_values_are_scaled(factor):
    model = make_decomposition(**QUICK).fit(factor * X)
    assert_sound(model, factor * X)
    assert segmentation_adjusted_rand_score(INSTANCES, model.predict(factor * X)) > 0.7


LEVELS = np.rint(255 * X / X.max())


@quiet
def test_i11_i12_shifted_and_scaled_values_give_the_same_maps():
    expected = make_decomposition(**QUICK).fit(LEVELS)
    maps = expected.predict(LEVELS)
    assert segmentation_adjusted_rand_score(INSTANCES, maps) > 0.7
    as_bytes = LEVELS.astype(np.uint8)
    for other in (as_bytes, as_bytes / 255, 2 * LEVELS, LEVELS + 1, 4 * LEVELS - 512):
        model = make_decomposition(**QUICK).fit(other)
        np.testing.assert_array_equal(model.predict(other), maps)
    assert other.min() < 0
    colors = expected.sprites_[..., :-1]
    np.testing.assert_allclose(model.sprites_[..., :-1], 4 * colors - 512, atol=1e-3)
    np.testing.assert_allclose(model.inertia_, 16 * expected.inertia_, rtol=1e-3)


@quiet
def test_i12_doubled_values_double_the_sprites_bitwise():
    one, two = (make_decomposition(**QUICK).fit(n * LEVELS) for n in (1, 2))
    scale = [2, 2, 2, 1]  # opacity has no unit
    np.testing.assert_array_equal(two.sprites_, scale * one.sprites_)


@quiet
def test_i18_i19_dtypes_and_memory_layouts_change_no_map():
    levels = np.rint(4 * X / X.max())
    model = make_decomposition(**QUICK).fit(levels)
    maps = model.predict(levels)
    for other in (levels.astype(np.int16), levels.astype(">f8"), levels.tolist()):
        again = make_decomposition(**QUICK).fit(other)
        np.testing.assert_array_equal(again.predict(other), maps)
    for layout in (np.asfortranarray(levels), levels[::-1].copy()[::-1]):
        assert_same_scenes(make_decomposition(**QUICK).fit(layout), model)


@quiet
def test_i21_images_are_never_changed():
    images, before = X.copy(), X.copy()
    model = make_decomposition(**QUICK).fit(images)
    images.flags.writeable = False
    for method in (model.predict, model.transform, model.reconstruct, model.decompose):
        method(images)
    np.testing.assert_array_equal(images, before)


@quiet
def test_i22_i23_i24_tensors_frames_and_pictures():
    as_bytes = np.rint(255 * X).clip(0, 255).astype(np.uint8)
    maps = make_decomposition(**QUICK).fit(as_bytes).predict(as_bytes)
    pictures = [Image.fromarray(each) for each in as_bytes]
    frame = pd.DataFrame(as_bytes.reshape(len(X), -1)).add_prefix("pixel")
    for other in (torch.from_numpy(as_bytes), pictures, frame):
        model = make_decomposition(**QUICK, image_shape=(16, 16, 3))
        np.testing.assert_array_equal(model.fit(other).predict(other), maps)
    assert model.feature_names_in_[1] == "pixel1"


@quiet
def test_s6_all_ways_to_write_gray_images_agree():
    gray = X[..., :1]
    maps = make_decomposition(**QUICK).fit_predict(gray)
    for other in (gray[..., 0], gray.reshape(len(gray), -1)):
        np.testing.assert_array_equal(
            make_decomposition(**QUICK).fit_predict(other), maps
        )


def test_s7_channels_first_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r"np\.moveaxis"):
        make_decomposition().fit(np.moveaxis(X, -1, 1))


@quiet
def test_s8_other_sizes_are_refused_after_fit():
    model = make_decomposition(**QUICK).fit(X)
    with pytest.raises(ValueError, match="features"):
        model.predict(X[:, :10])
    with pytest.raises(ValueError, match=r"images of shape \(8, 32, 3\)"):
        model.predict(X.reshape(-1, 8, 32, 3))


@quiet
@pytest.mark.parametrize("n_backgrounds", BACKGROUNDS)
@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 7), (2, 2), (3, 3), (4, 4), (5, 4), (3, 20), (9, 31)]
)
def test_s10_s11_tiny_images_and_strips(shape, n_backgrounds):
    images = np.random.default_rng(0).uniform(size=(12, *shape, 1))
    model = make_decomposition(
        n_backgrounds=n_backgrounds, sprite_size="auto", **QUICK
    ).fit(images)
    assert_sound(model, images)
    height, width = model.sprites_.shape[1:3]
    assert height <= shape[0]
    assert width <= shape[1]
    assert len(model.backgrounds_) == (n_backgrounds if min(shape) >= 4 else 0)


@quiet
def test_s3_strips_are_only_shifted():
    strips = np.random.default_rng(0).uniform(size=(9, 30))
    model = make_decomposition(
        n_backgrounds=1, sprite_size="auto", transformations=("similarity",), **QUICK
    ).fit(strips)
    found = model.decomposition_
    assert model.image_shape_ == (1, 30, 1)
    assert found.shown.any()
    np.testing.assert_array_equal(found.scale, 1)
    np.testing.assert_array_equal(found.angle, 0)


@quiet
@pytest.mark.parametrize("n_backgrounds", BACKGROUNDS)
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_s12_any_number_of_channels(channels, n_backgrounds):
    images, instances, _, _ = make_scenes(channels=channels)
    model = make_decomposition(n_backgrounds=n_backgrounds, **QUICK).fit(images)
    assert_sound(model, images)
    assert model.sprites_.shape[-1] == channels + 1
    if not n_backgrounds:
        score = segmentation_adjusted_rand_score(instances, model.predict(images))
        assert score > 0.7


# ------------------------------------------------------------- scenes


@quiet
def test_objects_cut_by_the_border_are_found():
    """An object that hangs over the border is the same sprite, partly outside."""
    images, instances, _, _ = make_scenes(60, side=22)
    inner, truth = images[:, 3:-3, 3:-3], instances[:, 3:-3, 3:-3]
    model = make_decomposition(max_rounds=12).fit(inner)
    score = segmentation_adjusted_rand_score(truth, model.predict(inner))
    assert score > 0.85
    found = model.decomposition_
    center = np.stack([found.x, found.y])[:, found.shown]
    assert ((center < 2) | (center > 14)).any()


@quiet
def test_more_objects_than_layers_leaves_some_unexplained():
    images, instances, _, _ = make_scenes(n_objects=3, side=20)
    model = make_decomposition(n_layers=2, **SETTLED).fit(images)
    assert (model.decomposition_.n_objects == 2).mean() > 0.9
    maps = model.predict(images)
    assert set(np.unique(maps)) == {0, 1, 2}
    missed = (instances > 0) & (maps == 0)
    assert 0.2 < missed.sum() / (instances > 0).sum() < 0.5
    enough = make_decomposition(n_layers=3, **SETTLED).fit(images)
    assert enough.inertia_ < 0.5 * model.inertia_


@quiet
def test_fewer_objects_than_layers_leaves_layers_empty():
    model = make_decomposition(n_layers=4, **SETTLED).fit(X)
    found = model.decomposition_
    assert 1.5 < found.n_objects.mean() < 2.5
    np.testing.assert_array_equal(found.shown, np.sort(found.shown)[:, ::-1])
    assert model.layer_counts_[-1] < 10


def test_more_sprites_than_windows_are_reported_not_hidden():
    with pytest.warns(ConvergenceWarning) as told:
        model = make_decomposition(30, **QUICK).fit(X[:3])
    assert any("of 30 sprites are shown in no image" in str(w.message) for w in told)
    assert (model.counts_ > 0).sum() <= 6
    assert_sound(model, X[:3])


# ------------------------------------------------------------- parameters


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_sprites", 0),
        ("n_layers", 0),
        ("n_layers", 1.5),
        ("n_backgrounds", -1),
        ("n_backgrounds", 0.5),
        ("background", "color"),
        ("sprite_size", 0),
        ("sprite_size", (3,)),
        ("sprite_size", (3, 0)),
        ("sprite_size", "large"),
        ("transformations", "affine"),
        ("color", "predict"),
        ("order", "predicted"),
        ("localizer", "attend"),
        ("localizer", None),
        ("penalty", -1.0),
        ("init", "random"),
        ("max_rounds", 0),
        ("images_per_round", 0),
        ("tol", -1),
        ("image_shape", (16,)),
    ],
)
def test_p_bad_values_are_refused_in_fit_and_not_before(name, value):
    model = make_decomposition(**{name: value})
    with pytest.raises(InvalidParameterError, match=name):
        model.fit(X)
    assert not hasattr(model, "sprites_")


def test_p_sprites_larger_than_the_images_are_refused():
    with pytest.raises(ValueError, match="sprite_size=17 is larger than the images"):
        make_decomposition(sprite_size=17).fit(X)
    with pytest.raises(ValueError, match="larger than the images, 16 x 16"):
        make_decomposition(sprite_size=(3, 20)).fit(X)


def test_p_unknown_transformations_list_the_valid_ones():
    with pytest.raises(ValueError, match="'spline'; valid names are translation"):
        make_decomposition(transformations=("spline",)).fit(X)


@pytest.mark.parametrize("name", ["transformations", "background_transformations"])
def test_p_unknown_transformations_are_refused_where_none_is_used(name):
    message = rf"{name}=\('spline',\) contains 'spline'; valid names"
    for images in (X, X[:, :3]):
        with pytest.raises(ValueError, match=message):
            make_decomposition(**{name: ("spline",)}, sprite_size=2).fit(images)


@pytest.mark.parametrize("localizer", ["regression", "attention", "distilled"])
def test_p_biases_without_search_are_refused(localizer):
    message = f"color='gain_bias' .* localizer='{localizer}' .* use localizer='search'"
    with pytest.raises(ValueError, match=message):
        make_decomposition(color="gain_bias", localizer=localizer).fit(X)


@pytest.mark.parametrize("shape", [(2, 7, 7, 3), (3, 7, 7), (3, 6, 7, 4), (3, 147)])
def test_p_given_sprites_of_another_shape(shape):
    with pytest.raises(ValueError, match=r"expects one of \(3, 7, 7, 3\)"):
        make_decomposition(init=np.ones(shape)).fit(X)


def test_p_given_sprites_that_are_not_finite():
    init = np.full((3, 7, 7, 3), np.nan)
    with pytest.raises(ValueError, match="init contains NaN"):
        make_decomposition(init=init).fit(X)


def test_p_devices_that_do_not_exist():
    with pytest.raises(ValueError, match="device='tpu' is unknown"):
        make_decomposition(device="tpu").fit(X)


def test_what_needs_a_fit_says_so():
    model = make_decomposition()
    record = make_decomposition()  # anything: the fit is missed first
    for call in (
        lambda: model.predict(X),
        lambda: model.predict_semantic(X),
        lambda: model.decompose(X),
        lambda: model.transform(X),
        lambda: model.render(record),
        model.get_feature_names_out,
    ):
        with pytest.raises(NotFittedError):
            call()


# ------------------------------------------------------------- fits


def failing(error, after=1):
    """A stand-in for learning that fails in the second fit of a row."""
    from sklearn_sprites._engine.training import rounds

    real, calls = rounds.fit_scenes, []

    def fit_scenes(*args, **kwargs):
        calls.append(1)
        if len(calls) >= after:
            raise error
        return real(*args, **kwargs)

    return fit_scenes


LEARNING = "sklearn_sprites._engine.training.rounds.fit_scenes"


@quiet
@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError()])
def test_r10_what_interrupts_a_fit_comes_out_and_changes_nothing(monkeypatch, error):
    model = make_decomposition(**QUICK).fit(X)
    before = dict(vars(model))
    monkeypatch.setattr(LEARNING, failing(error))
    with pytest.raises(type(error)):
        model.fit(X[:, 1:])
    assert vars(model) == before


@quiet
def test_r1_a_restart_that_diverges_does_not_stop_the_others(monkeypatch):
    monkeypatch.setattr(LEARNING, failing(TrainingDivergedError("no"), after=2))
    model = make_decomposition(n_init=2, **QUICK)
    with pytest.warns(ConvergenceWarning, match="1 of 2 restarts diverged"):
        model.fit(X)
    assert model.restarts_["diverged"].tolist() == [False, True]
    assert np.isfinite(model.restarts_["loss"]).tolist() == [True, False]
    assert model.predict(X).shape == INSTANCES.shape


def test_r2_when_all_restarts_diverge_the_error_comes_out(monkeypatch):
    monkeypatch.setattr(LEARNING, failing(TrainingDivergedError("no")))
    model = make_decomposition(n_init=2)
    with pytest.raises(TrainingDivergedError, match="no"):
        model.fit(X)
    assert not hasattr(model, "sprites_")


@pytest.mark.parametrize("learning_rate", [1.0, 1e5])
@pytest.mark.parametrize("network", [Regression, Attention])
def test_r3_a_network_that_runs_wild_is_no_worse_than_empty_images(
    network, learning_rate
):
    localizer = network(learning_rate=learning_rate, batch_size=10)
    model = make_decomposition(localizer=localizer, max_rounds=3)
    collapses = pytest.warns(ClusterCollapseWarning, match="3 of 3 sprites")
    with collapses, pytest.warns(ConvergenceWarning, match="stopped after 3"):
        model.fit(X)
    assert model.inertia_ < 1.001 * np.square(X).sum()
    assert_sound(model, X)


@quiet
@pytest.mark.parametrize("network", [Regression, Attention])
def test_r3_a_network_beyond_all_bounds_is_refused_by_its_name(network):
    model = make_decomposition(localizer=network(learning_rate=1e8), **QUICK)
    message = rf"learning_rate=1e\+08 of {network.__name__},"
    with pytest.raises(TrainingDivergedError, match=message):
        model.fit(X)
    assert not hasattr(model, "sprites_")


def test_r4_too_few_rounds_are_told():
    with pytest.warns(ConvergenceWarning, match=r"stopped after 1 round\(s\), before"):
        make_decomposition(**QUICK).fit(X)


@quiet
@pytest.mark.parametrize("n_backgrounds", BACKGROUNDS)
def test_r6_sprites_that_no_layer_shows_are_last_and_finite(n_backgrounds):
    model = make_decomposition(9, n_backgrounds=n_backgrounds, **QUICK).fit(X[:2])
    assert (np.diff(model.counts_) <= 0).all()
    assert model.counts_[0] > 0
    assert model.counts_[-1] == 0
    assert_sound(model, X[:2])


@quiet
def test_restarts_are_compared_by_the_objective():
    model = make_decomposition(n_init=3, **QUICK).fit(X)
    table = model.restarts_
    assert {len(column) for column in table.values()} == {3}
    own = (X.size, model.decomposition_.error.sum(), model._search["penalty"])
    objective = (own[1] + own[2] * model.counts_.sum()) / own[0]
    assert table["objective"].min() == pytest.approx(objective)
    assert (table["n_used"] <= 3).all()
    assert (table["n_objects"] <= 2).all()


@quiet
def test_r22_warm_start_continues():
    fresh = make_decomposition(max_rounds=1).fit(X)
    model = make_decomposition(max_rounds=2).fit(X)
    first = model.inertia_
    model.set_params(warm_start=True, max_rounds=1).fit(X)
    assert model.n_iter_ == 1
    assert model.inertia_ < 1.1 * first
    assert model.inertia_ < 0.6 * fresh.inertia_
    assert_sound(model, X)


ATTENTION = Attention(n_features=8, batch_size=12)
REGRESSION = Regression(batch_size=12)
PREDICTED = Regression(color="predict", batch_size=12)
NETWORKS = {
    "search to attention": (BRIEF, ATTENTION),
    "attention to regression": (ATTENTION, REGRESSION),
    "regression to predicted colors": (REGRESSION, PREDICTED),
    "predicted colors to attention": (PREDICTED, ATTENTION),
    "another encoder": (REGRESSION, Regression(encoder="resnet20", batch_size=12)),
    "sprites' own poses": (REGRESSION, Regression(per_sprite=True, batch_size=12)),
    "more features": (ATTENTION, Attention(n_features=16, batch_size=12)),
}


@quiet
@pytest.mark.parametrize("background", [None, "flat", "image"])
@pytest.mark.parametrize("pair", NETWORKS.values(), ids=list(NETWORKS))
def test_r22_warm_start_keeps_sprites_and_background_for_another_network(
    pair, background
):
    """Sprites are frozen in the first epoch of a network that starts anew."""
    images = X[:24] if background is None else X[:24].clip(0.25)
    ground = {"n_backgrounds": 1, "background": background} if background else {}
    init = np.random.default_rng(0).uniform(size=(3, 7, 7, 4))
    params = {"max_rounds": 1, "color": "gain", "order": "depth", **ground}
    model = make_decomposition(**params, localizer=pair[0], init=init).fit(images)
    sprites, backgrounds = np.sort(model.sprites_, 0), model.backgrounds_
    model.set_params(localizer=pair[1], init="windows", warm_start=True).fit(images)
    np.testing.assert_allclose(np.sort(model.sprites_, 0), sprites, atol=0.1)
    if background == "image":
        np.testing.assert_allclose(model.backgrounds_, backgrounds, atol=0.01)
    assert_sound(model, images)


@quiet
@pytest.mark.parametrize("after", [BRIEF, Distilled(search=BRIEF, steps=2)])
@pytest.mark.parametrize("before", [ATTENTION, PREDICTED])
def test_r22_warm_start_goes_from_a_network_to_search(before, after):
    images = X[:12].clip(0.25)
    model = make_decomposition(n_backgrounds=1, localizer=before, **QUICK).fit(images)
    model.set_params(localizer=after, warm_start=True).fit(images)
    left = np.square(images - model.reconstruct(images)).sum((1, 2, 3))
    np.testing.assert_allclose(model.decomposition_.error, left, rtol=1e-3)


@quiet
def test_r22_warm_start_ignores_init_and_n_init():
    params = {**QUICK, "warm_start": True}
    plain, other = (make_decomposition(**params).fit(X) for _ in range(2))
    other.set_params(init=np.zeros((3, 7, 7, 3)), n_init=3).fit(X)
    assert_same_scenes(other, plain.fit(X))
    assert len(other.restarts_["loss"]) == 1


@quiet
def test_kinds_of_backgrounds_change_nothing_where_there_are_none():
    plain, *others = (
        make_decomposition(**QUICK, background=kind).fit(X)
        for kind in ("auto", "flat", "image", "gain")
    )
    for other in others:
        assert_same_scenes(other, plain)


@quiet
@pytest.mark.parametrize(
    ("name", "value"),
    [("n_sprites", 4), ("n_layers", 1), ("sprite_size", 8), ("color", "flat")],
)
def test_r22_warm_start_refuses_other_scenes(name, value):
    model = make_decomposition(**QUICK, warm_start=True).fit(X)
    word = "sprite_height" if name == "sprite_size" else name
    with pytest.raises(ValueError, match=f"{word} was"):
        model.set_params(**{name: value}).fit(X)


@quiet
def test_parameters_set_after_a_fit_change_no_prediction():
    model = make_decomposition(**QUICK).fit(X)
    maps = model.predict(X)
    model.set_params(penalty=1e9, localizer=Search(sweeps=1), n_sprites=9)
    model.__setstate__(model.__getstate__())
    del model._predictor
    np.testing.assert_array_equal(model.predict(X), maps)


@quiet
def test_a_fit_is_silent_unless_asked(capsys):
    make_decomposition(**QUICK).fit(X)
    assert capsys.readouterr().out == ""
    make_decomposition(**QUICK, verbose=1).fit(X)
    assert "[LayeredSpriteDecomposition] epoch 1/1" in capsys.readouterr().out


@quiet
def test_a_callback_sees_estimators_that_predict_and_stops_a_fit():
    pytest.importorskip("sklearn.callback")

    class Stop:
        seen: list = []  # noqa: RUF012

        def setup(self, estimator, context):
            pass

        def teardown(self, estimator, context):
            pass

        def on_fit_task_begin(self, estimator, context):
            pass

        def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
            if context.task_name == "epoch":
                self.seen.append(fitted_estimator)
            return len(self.seen) == 2

    model = make_decomposition(max_rounds=9).set_callbacks(Stop()).fit(X)
    assert model.n_iter_ == 2
    assert Stop.seen[0].predict(X).shape == INSTANCES.shape
