"""Faults during training, rows R of the list of faults."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

import sklearn_sprites
from sklearn_sprites import Swap
from sklearn_sprites._engine.training import fit as engine
from sklearn_sprites._engine.training import run
from sklearn_sprites._engine.training.adam import Adam
from sklearn_sprites.exceptions import ClusterCollapseWarning, TrainingDivergedError
from tests.marks import quiet
from tests.pictures import (
    KMEANS,
    QUICK,
    assert_all_finite,
    assert_same_fit,
    make_model,
    make_pictures,
)
from tests.scenes import make_small_decomposition

ROOT = Path(sklearn_sprites.__file__).parents[1]


@pytest.fixture
def diverging(monkeypatch):
    """Let chosen restarts diverge; the others train."""
    real = engine.fit_clustering

    def install(*chosen):
        count = iter(range(100))

        def fit_clustering(*args, **kwargs):
            if next(count) in chosen:
                raise TrainingDivergedError("as the test wants it")
            return real(*args, **kwargs)

        monkeypatch.setattr(engine, "fit_clustering", fit_clustering)

    return install


def test_r1_a_restart_that_diverges_does_not_stop_the_others(pictures, diverging):
    expected = make_model(**KMEANS, n_init=5).fit(pictures)
    diverging(0, 3)
    with pytest.warns(ConvergenceWarning, match="2 of 5 restarts diverged"):
        model = make_model(**KMEANS, n_init=5).fit(pictures)
    table = model.restarts_
    assert table["diverged"].tolist() == [True, False, False, True, False]
    assert np.isinf(table["loss"]).tolist() == table["diverged"].tolist()
    kept = ~table["diverged"]
    np.testing.assert_array_equal(table["loss"][kept], expected.restarts_["loss"][kept])
    assert (table["n_iter"][kept] >= 1).all()


def test_r2_when_all_restarts_diverge_the_error_says_why(pictures, monkeypatch):
    losses, real = [], run.run_epoch

    def run_epoch(*args):  # once two epochs went well, none does
        losses.append(real(*args) if len(losses) % 4 < 2 else np.nan)
        return losses[-1]

    monkeypatch.setattr(run, "run_epoch", run_epoch)
    model = make_model(n_init=2, init="kmeans", learning_rate=2e-3)
    with pytest.raises(TrainingDivergedError) as raised:
        model.fit(pictures)
    assert np.isnan(losses).tolist() == 2 * [False, False, True, True]
    for told in (
        "not finite in epoch 3 ",
        "with learning_rate=0.002; ",
        f"the last finite loss was {losses[1]:g}. ",
        "Lower learning_rate, or scale",
    ):
        assert told in str(raised.value)
    with pytest.raises(NotFittedError):
        model.predict(pictures)
    assert not [name for name in vars(model) if name.endswith("_")]


@quiet
def test_r2_an_absurd_learning_rate_leaves_no_nan(pictures):
    model = make_model(**QUICK, learning_rate=1e30)
    with pytest.raises(TrainingDivergedError, match="learning_rate"):
        model.fit(pictures)
    assert not hasattr(model, "sprites_")


@pytest.mark.parametrize("learning_rate", [1e6, 1e12])
def test_r3_a_loss_that_explodes_leaves_what_was_there_before(pictures, learning_rate):
    still = make_model(max_epochs=1, init="kmeans", learning_rate=1e-30)
    wild = make_model(max_epochs=4, init="kmeans", learning_rate=learning_rate)
    with pytest.warns(ConvergenceWarning, match="its share of max_epochs=1"):
        still.fit(pictures)
    with pytest.warns(ConvergenceWarning, match="; lower learning_rate") as told:
        wild.fit(pictures)
    first = f"stopped after 1 epochs: the loss exploded with {learning_rate=}, "
    assert [first in str(warning.message) for warning in told] == [True]
    np.testing.assert_allclose(wild.sprites_, still.sprites_, rtol=1e-6)
    assert wild.restarts_["loss"][0] < 1.1 * still.restarts_["loss"][0]
    assert len(wild.loss_curve_) >= 1
    assert np.isfinite(wild.sprites_).all()


def test_r4_too_few_steps_of_k_means_are_told():
    images = np.random.default_rng(0).random((200, 8, 8))
    model = make_model(transformations=(), n_clusters=20, max_epochs=1)
    with pytest.warns(ConvergenceWarning, match="centers have not settled; increase"):
        model.fit(images)


def test_r4_too_few_epochs_are_told(pictures):
    with pytest.warns(ConvergenceWarning, match=r"stopped after \d+ epochs"):
        model = make_model(max_epochs=1, tol=0, init="sample").fit(pictures)
    assert model.n_iter_ >= 1
    assert len(model.loss_curve_) == model.n_iter_


@quiet
@pytest.mark.parametrize(
    ("reassignment", "survives"),
    [(None, False), ("swap", True), ("clone", True), (Swap(every=1), True)],
)
def test_r5_a_start_far_from_all_images_collapses_unless_sprites_are_reassigned(
    reassignment, survives
):
    X = make_pictures(n=60)[0]
    init = np.concatenate([X[:1], np.full((2, 8, 8), 5.0)])
    params = {"max_epochs": 6, "batch_size": 16, "learning_rate": 3e-3}
    model = make_model(**params, init=init, reassignment=reassignment).fit(X)
    n_used = (model.counts_ > 0).sum()
    assert n_used >= 2 if survives else n_used == 1


def test_r5_a_collapse_that_persists_is_told(pictures):
    init = np.concatenate([pictures[:2], np.full((1, 8, 8), 500.0)])
    far = np.concatenate([pictures, pictures])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = make_model(
            max_epochs=1,
            transformations=("translation",),
            init=init,
            reassignment=None,
        ).fit(far)
    told = [w for w in caught if issubclass(w.category, ClusterCollapseWarning)]
    assert [str(w.message)[:13] for w in told] == ["1 of 3 sprite"]
    assert model.restarts_["n_used"].tolist() == [2]


def test_r6_a_sprite_without_images_is_last_and_finite(pictures):
    X = np.repeat(pictures[:2], 10, axis=0)
    with pytest.warns(ConvergenceWarning):
        model = make_model(4, **KMEANS).fit(X)
    assert (np.diff(model.counts_) <= 0).all()
    assert model.counts_[-1] == 0
    assert_all_finite(model)


class Stop(Exception):
    pass


def interrupted(error, after=2):
    count = iter(range(1000))
    real = Adam.step

    def step(self, *args, **kwargs):
        if next(count) >= after:
            raise error
        return real(self, *args, **kwargs)

    return step


@quiet
@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError(), Stop()])
def test_r10_r11_what_interrupts_a_fit_comes_out_and_changes_nothing(
    pictures, monkeypatch, error
):
    model = make_model(**QUICK).fit(pictures)
    before = dict(vars(model))
    monkeypatch.setattr(Adam, "step", interrupted(error))
    with pytest.raises(type(error)):
        model.fit(make_pictures(seed=5, height=9)[0])
    assert vars(model) == before
    fresh = make_model(**QUICK)
    with pytest.raises(type(error)):
        fresh.fit(pictures)
    assert set(vars(fresh)) == set(fresh.get_params())


@pytest.mark.skipif(os.name == "nt", reason="signals are sent differently there")
@quiet
def test_r10_ctrl_c_ends_a_fit_at_once(pictures):
    make_model(**QUICK).fit(pictures)  # whatever is imported late
    model = make_model(max_epochs=10_000, tol=0, batch_size=16, init="kmeans")
    main = threading.main_thread().ident
    timer = threading.Timer(1.0, signal.pthread_kill, (main, signal.SIGINT))
    # A shell ignores the signal in what it starts in the background.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    start = time.monotonic()
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            model.fit(pictures)
    finally:
        timer.cancel()
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - start < 20
    assert not hasattr(model, "sprites_")


@quiet
def test_r10_an_interrupt_in_a_thread_comes_out(pictures, monkeypatch):
    monkeypatch.setattr(Adam, "step", interrupted(KeyboardInterrupt()))
    models = [make_model(**QUICK) for _ in range(2)]
    with pytest.raises(KeyboardInterrupt):
        joblib.Parallel(n_jobs=2, backend="threading")(
            joblib.delayed(model.fit)(pictures) for model in models
        )
    assert not any(hasattr(model, "sprites_") for model in models)


def fit_and_interrupt(X):
    """Fit, with Ctrl-C in the third step; in a process that goes on living."""
    before, real = signal.getsignal(signal.SIGINT), Adam.step
    count = iter(range(1000))

    def step(self, *args, **kwargs):
        if next(count) == 2:
            signal.raise_signal(signal.SIGINT)
        return real(self, *args, **kwargs)

    model = make_model(**QUICK)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    Adam.step = step
    try:
        model.fit(X)
    finally:
        Adam.step = real
        signal.signal(signal.SIGINT, before)
        assert not hasattr(model, "sprites_")


def test_r10_ctrl_c_in_a_worker_process_comes_out(pictures):
    fit = joblib.delayed(fit_and_interrupt)
    with pytest.raises(KeyboardInterrupt):
        joblib.Parallel(n_jobs=2, backend="loky")([fit(pictures)])


class Recorder:
    """A callback that notes what it is told."""

    def __init__(self, stop_after=None, error=None):
        self.events, self.fitted = [], []
        self.stop_after, self.error = stop_after, error

    def setup(self, estimator, context):
        self.events.append("setup")

    def teardown(self, estimator, context):
        self.events.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.events.append(f"begin {context.task_name}")

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        self.events.append(f"end {context.task_name}")
        if context.task_name != "epoch":
            return False
        if self.error is not None:
            raise self.error
        self.fitted.append(fitted_estimator)
        return len(self.fitted) == self.stop_after


callbacks = pytest.importorskip  # scikit-learn 1.9 and later have them


@quiet
def test_callbacks_are_told_about_every_epoch(pictures):
    callbacks("sklearn.callback")
    recorder = Recorder()
    params = {**QUICK, "max_epochs": 4}
    model = make_model(**params, n_init=2).set_callbacks(recorder).fit(pictures)
    events = recorder.events
    assert events[:4] == ["setup", "begin fit", "begin restart", "begin epoch"]
    assert events[-2:] == ["end fit", "teardown"]
    assert events.count("end restart") == 2
    assert events.count("end epoch") == model.restarts_["n_iter"].sum()
    for each in recorder.fitted:
        assert each.predict(pictures).shape == (len(pictures),)
        assert each is not model


@quiet
def test_a_callback_stops_a_fit_early(pictures):
    callbacks("sklearn.callback")
    recorder = Recorder(stop_after=2)
    model = make_model(max_epochs=50, tol=0, batch_size=16, init="kmeans")
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        model.set_callbacks(recorder).fit(pictures)
    assert model.n_iter_ == 2
    np.testing.assert_array_equal(model.predict(pictures), model.labels_)


@quiet
@pytest.mark.parametrize("error", [Stop("enough"), KeyboardInterrupt("enough")])
@pytest.mark.parametrize(
    "make", [partial(make_model, **QUICK), make_small_decomposition]
)
def test_r10_r11_what_a_callback_raises_comes_out_after_its_teardown(
    pictures, error, make
):
    callbacks("sklearn.callback")
    recorder = Recorder(error=error)
    model = make().set_callbacks(recorder)
    with pytest.raises(type(error), match="enough"):
        model.fit(pictures)
    assert recorder.events[-1] == "teardown"
    assert not [name for name in vars(model) if name.endswith("_")]


@quiet
def test_scores_are_logged_per_epoch(pictures):
    module = callbacks("sklearn.callback")
    y = make_pictures()[1]
    monitor = module.ScoringMonitor(scoring="adjusted_rand_score")
    model = make_model(**{**QUICK, "max_epochs": 3}).set_callbacks(monitor)
    model.fit(pictures, y)
    rows = [r for r in monitor.get_logs().data if r["task_name"] == "epoch"]
    assert len(rows) == model.n_iter_
    assert all(-1 <= row["adjusted_rand_score"] <= 1 for row in rows)


@quiet
def test_a_fit_is_silent_unless_asked(pictures, capsys):
    params = {**QUICK, "tol": 1.0}
    make_model(**params).fit(pictures)
    assert capsys.readouterr() == ("", "")
    make_model(**params, verbose=1).fit(pictures)
    out, err = capsys.readouterr()
    assert out.startswith("[SpriteClustering] epoch 1/1 (")
    assert err == ""


def test_scikit_learn_without_callbacks_is_enough():
    code = (
        "import sys, warnings, sklearn.cluster, sklearn.model_selection\n"
        "sys.modules['sklearn.callback'] = None\n"
        "warnings.simplefilter('ignore')\n"
        "from tests.pictures import QUICK, make_model, make_pictures\n"
        "model = make_model(**QUICK, verbose=1).fit(make_pictures()[0])\n"
        "print(hasattr(model, 'set_callbacks'), model.labels_.shape)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    found = subprocess.run(
        command, env=env, capture_output=True, text=True, check=False, cwd=ROOT
    )
    lines = found.stdout.splitlines()
    assert lines[0].startswith("[SpriteClustering] epoch 1/"), found.stderr
    assert lines[-1] == "False (36,)"


def test_verbose_goes_where_stdout_goes_now(pictures):
    with redirect_stdout(io.StringIO()) as told:
        make_model(**KMEANS, verbose=True).fit(pictures)
    assert "loss" in told.getvalue()


@quiet
def test_r21_pipelines_clones_and_parameters_set_after_fit(pictures):
    y = make_pictures()[1]
    model = make_model(**KMEANS)
    pipeline = Pipeline([("s", FunctionTransformer(np.sqrt)), ("c", model)])
    pipeline.fit(pictures)
    np.testing.assert_array_equal(
        pipeline.predict(pictures), pipeline["c"].predict(np.sqrt(pictures))
    )
    scores = cross_val_score(model, pictures, y, scoring="adjusted_rand_score", cv=3)
    assert scores.shape == (3,)
    fitted = model.fit(pictures)
    assert not hasattr(clone(fitted), "sprites_")
    labels = fitted.labels_
    fitted.set_params(n_clusters=2, transformations="auto", image_shape=(4, 16))
    np.testing.assert_array_equal(fitted.predict(pictures), labels)
    assert fitted.transform(pictures).shape == (len(pictures), 3)
    assert len(fitted.get_feature_names_out()) == 3


@quiet
def test_r22_warm_start_continues(pictures):
    params = {**QUICK, "warm_start": True}
    model = make_model(**params).fit(pictures)
    losses = [model.inertia_]
    for _ in range(3):
        losses.append(model.fit(pictures).inertia_)
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0]
    assert model.n_iter_ == 1
    assert model.score(pictures) == -model.inertia_


@quiet
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_clusters": 2}, "n_clusters was 3 and is 2 now"),
        ({"transformations": ("affine",)}, "transformations was"),
        ({"n_backgrounds": 1}, "n_backgrounds was 0 and is 1 now"),
        ({"encoder": "resnet20"}, "encoder was 'small'"),
    ],
)
def test_r22_warm_start_refuses_another_network(pictures, change, message):
    model = make_model(**QUICK, warm_start=True).fit(pictures)
    before = dict(vars(model))
    with pytest.raises(ValueError, match=message):
        model.set_params(**change).fit(pictures)
    assert {**vars(model), **{k: before[k] for k in change}} == before


@quiet
def test_r22_warm_start_refuses_an_encoder_with_other_weights(pictures):
    def encoder(width):
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, width))

    model = make_model(**QUICK, warm_start=True, encoder=encoder(8)).fit(pictures)
    labels = model.predict(pictures)
    message = r"encoder is not the network.*was \(8,\) and is \(5,\) now.*warm_start"
    with pytest.raises(ValueError, match=message):
        model.set_params(encoder=encoder(5)).fit(pictures)
    np.testing.assert_array_equal(model.predict(pictures), labels)


def test_r22_warm_start_refuses_images_of_another_size(pictures):
    model = make_model(**KMEANS, warm_start=True).fit(pictures)
    with pytest.raises(ValueError, match="height was 8 and is 9 now"):
        model.fit(make_pictures(height=9)[0])


@quiet
@pytest.mark.parametrize(
    "make", [partial(make_model, **KMEANS), make_small_decomposition]
)
def test_r23_a_fit_that_fails_leaves_the_last_one(pictures, make):
    model = make().fit(pictures)
    kept = clone(model).fit(pictures)
    before = joblib.hash(model)
    bad = pictures[:, :4].copy()
    bad[0, 0, 0] = np.nan
    for X in (bad, pictures[:0], np.zeros((4, 4, 4, 4, 4)), "nothing"):
        with pytest.raises((ValueError, TypeError)):
            model.fit(X)
        assert joblib.hash(model) == before
    assert_same_fit(model, kept)


def test_r23_a_fit_on_too_few_images_leaves_the_last_one(pictures):
    model = make_model(**KMEANS).fit(pictures)
    before = joblib.hash(model)
    with pytest.raises(ValueError, match="n_samples=2"):
        model.fit(pictures[:2])
    assert joblib.hash(model) == before


@quiet
def test_restarts_are_compared(pictures):
    model = make_model(**QUICK, n_init=3).fit(pictures)
    table = model.restarts_
    assert set(table) == {"loss", "n_iter", "diverged", "agreement", "n_used"}
    assert all(len(column) == 3 for column in table.values())
    best = table["loss"].argmin()
    assert table["agreement"][best] == 1
    assert table["n_used"][best] == (model.counts_ > 0).sum()
    assert table["n_iter"][best] == model.n_iter_
