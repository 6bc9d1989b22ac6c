"""Bad luck in fits of decompositions, and fits that go on from others."""

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning

from sklearn_sprites import Attention, Distilled, Regression, Search
from sklearn_sprites.exceptions import ClusterCollapseWarning, TrainingDivergedError
from tests.marks import quiet
from tests.scenes import (
    BRIEF,
    QUICK,
    assert_same_scenes,
    assert_sound,
    make_decomposition,
    make_scenes,
)

X, INSTANCES, _, _ = make_scenes()
BACKGROUNDS = [0, 1]


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
    error = TrainingDivergedError("as the test wants it")
    monkeypatch.setattr(LEARNING, failing(error))
    model = make_decomposition(n_init=2)
    with pytest.raises(TrainingDivergedError) as raised:
        model.fit(X)
    assert raised.value is error
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
    assert "[LayeredSpriteDecomposition] round 1/1: loss" in capsys.readouterr().out


@quiet
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"n_backgrounds": 1, "background": "flat", "color": "flat"},
        {"n_backgrounds": 1, "background": "image"},
        {"color": "own"},
        {"sprite_update": "gradient"},
    ],
    ids=["black", "level", "picture", "own", "gradient"],
)
def test_a_callback_sees_estimators_that_predict_and_stops_a_fit(params):
    pytest.importorskip("sklearn.callback")

    seen = []

    class Stop:
        def setup(self, estimator, context):
            pass

        def teardown(self, estimator, context):
            pass

        def on_fit_task_begin(self, estimator, context):
            pass

        def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
            if context.task_name == "epoch":
                seen.append(fitted_estimator)
                with torch.enable_grad():
                    line = torch.ones(2, requires_grad=True)
                    (line * line).sum().backward()
                assert line.grad.tolist() == [2, 2]
            return len(seen) == 2

    model = make_decomposition(**params, max_rounds=9).set_callbacks(Stop()).fit(X)
    assert model.n_iter_ == 2
    assert seen[0].predict(X).shape == INSTANCES.shape
