"""Decompositions by regression: what they learn, and that they keep the contract."""

import pickle
import warnings
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import clone

from sklearn_sprites import ConstantSprites, LayeredSpriteDecomposition, Regression
from sklearn_sprites.exceptions import TrainingDivergedError
from sklearn_sprites.metrics import segmentation_adjusted_rand_score
from tests.pictures import assert_all_finite
from tests.scenes import assert_same_layers, assert_same_scenes, make_scenes

quiet = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning",
    "ignore::sklearn_sprites.exceptions.ClusterCollapseWarning",
)
X, INSTANCES, _, _ = make_scenes(96, side=14)
NEW = make_scenes(21, side=14, seed=3)[0]
ON_BLACK = {"localizer": Regression(batch_size=16)}
OVER_A_PICTURE = {
    "n_backgrounds": 1,
    "background": "image",
    "transformations": ("similarity",),
    "color": "gain",
    "order": "predict",
    "init": ConstantSprites(0.9, 2.0),
    "localizer": Regression(
        color="predict", per_sprite=True, joins=1, background="mean", batch_size=16
    ),
}
PROJECTIVE = {**OVER_A_PICTURE, "transformations": ("projective",)}
BENT = {**ON_BLACK, "transformations": ("scale", "thin_plate_spline")}
OWN_BENDS = {**OVER_A_PICTURE, "transformations": ("affine", "thin_plate_spline")}
MOVED = {
    **OVER_A_PICTURE,
    "background_transformations": ("projective", "thin_plate_spline"),
}
WAYS = {
    "black": ON_BLACK,
    "all": OVER_A_PICTURE,
    "projective": PROJECTIVE,
    "splines": BENT,
    "splines of sprites": OWN_BENDS,
    "background": MOVED,
}


def make_regression(n_sprites=3, **params):
    params = {"n_layers": 2, "sprite_size": 7, "random_state": 0, **params}
    return LayeredSpriteDecomposition(n_sprites, **params)


@pytest.fixture(scope="module", params=WAYS.values(), ids=list(WAYS))
def fitted(request):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make_regression(**request.param, max_rounds=2).fit(X[:40])


@quiet
def test_scenes_are_learned_in_seconds():
    localizer = Regression(batch_size=8)
    untrained = make_regression(localizer=localizer, max_rounds=1).fit(X)
    model = clone(untrained).set_params(max_rounds=40).fit(X)
    assert model.loss_curve_[-1] < 0.7 * model.loss_curve_[0]
    assert model.inertia_ < 0.7 * untrained.inertia_
    scores = [
        segmentation_adjusted_rand_score(INSTANCES, each.predict(X))
        for each in (untrained, model)
    ]
    assert scores[1] > scores[0] + 0.2


@quiet
def test_fitting_again_gives_the_same_bits(fitted):
    assert_same_scenes(clone(fitted).fit(X[:40]), fitted)


def test_what_was_found_in_training_is_what_is_predicted(fitted):
    assert_same_layers(fitted.decompose(X[:40]), fitted.decomposition_)


def test_an_image_is_found_the_same_in_any_company(fitted):
    whole = fitted.decompose(NEW)
    for rows in (np.arange(21)[::-1], np.array([5]), np.arange(3, 20)):
        assert_same_layers(fitted.decompose(NEW[rows]), whole[rows])


def test_errors_are_those_of_what_is_drawn(fitted):
    found = fitted.decompose(NEW)
    left = np.square(fitted.render(found) - NEW).sum((1, 2, 3))
    np.testing.assert_allclose(found.error, left, rtol=1e-4)
    assert fitted.score(NEW) == pytest.approx(-left.sum(), rel=1e-4)


def test_layers_save_what_their_absence_costs(fitted):
    found = fitted.decompose(NEW)
    first = found.shown[:, 0]
    without = np.square(fitted.render(found.drop(0)) - NEW).sum((1, 2, 3))
    np.testing.assert_allclose(
        found.saves[first, 0], (without - found.error)[first], rtol=1e-3, atol=1e-4
    )


def test_a_pickle_predicts_the_same_and_holds_no_torch(fitted):
    data = pickle.dumps(fitted)
    assert b"torch" not in data
    assert_same_layers(pickle.loads(data).decompose(NEW), fitted.decompose(NEW))


@quiet
@pytest.mark.parametrize("params", [BENT, OWN_BENDS])
def test_edits_keep_how_sprites_are_bent(params):
    model = make_regression(**params, max_rounds=1).fit(X[:40])
    found = model.decompose(NEW)
    draws = np.random.default_rng(0)
    spline = draws.normal(0, 0.2, found.spline.shape)
    assert spline.shape == (21, 2, 16, 2)
    bent = found.replace(spline=spline)
    plain, drawn = model.render(found.replace(spline=0)), model.render(bent)
    changed = np.abs(drawn - plain).max((1, 2, 3)) > 1e-3
    assert changed[found.shown.any(1)].all()
    for edited in (bent.move(0, 1, 2), bent.turn(0, 1.0), bent.swap_sprite(0, 1)):
        np.testing.assert_array_equal(edited.spline, spline)
    alone = model.render(bent.keep(0), "layers")[:, 0]
    alone *= model.render(bent, "masks")[:, 0, ..., None]
    black = bent.keep(0).replace(background_gain=0, background_bias=0)
    off, stiff_off = (
        np.abs(alone - model.render(each)).mean()
        for each in (black, black.replace(spline=0))
    )
    assert off < 0.1 * stiff_off
    there = bent.replace(x=7.0, y=7.0).keep(0)
    moved = model.render(there.move(0, 1, 2), "masks")[:, 0, 2:, 1:]
    still = model.render(there, "masks")[:, 0, :-2, :-1]
    np.testing.assert_allclose(moved, still, atol=1e-5)


@quiet
def test_edits_move_the_background():
    model = make_regression(**MOVED, max_rounds=1).fit(X[:40])
    found = model.decompose(NEW).drop([0, 1])
    assert found.background_pose.shape == (21, 8)
    assert found.background_spline.shape == (21, 16, 2)
    np.testing.assert_allclose(
        found.background_pose, np.tile([7, 7, 1, 0, 1, 0, 0, 0], (21, 1)), atol=0.3
    )
    middle = np.array([7.0, 7, 1, 0, 1, 0, 0, 0])
    plain = found.replace(background_pose=middle, background_spline=0)
    still = model.render(plain)
    gain, bias = found.background_gain, found.background_bias
    lit = model.backgrounds_[0] * gain[:, None, None] + bias[:, None, None]
    np.testing.assert_allclose(still, lit, atol=1e-5)
    there = np.array([9.0, 8, 1, 0, 1, 0, 0, 0])
    moved = model.render(plain.replace(background_pose=there))
    np.testing.assert_allclose(moved[:, 1:, 2:], still[:, :-1, :-2], atol=1e-5)
    for place, message in ((2, "with scale that is not pos"), (6, "tilt_y that turn")):
        wrong = middle.copy()
        wrong[place] = -1.5
        with pytest.raises(ValueError, match=message):
            model.render(found.replace(background_pose=wrong))


@quiet
def test_position_is_a_shift_and_a_scale_of_layers_and_backgrounds():
    names, given = ("transformations", "background_transformations"), {}
    for pose in (("position",), ("translation", "scale")):
        params = {**OVER_A_PICTURE, **dict.fromkeys(names, pose), "max_rounds": 1}
        given[pose] = make_regression(**params).fit(X[:40])
    assert_same_scenes(*given.values())


@quiet
@pytest.mark.parametrize("color", ["solve", "predict"])
def test_layers_in_flat_colors_have_one_whatever_sprites_were_given(color):
    init = np.random.default_rng(0).uniform(size=(3, 7, 7, 4))
    masks = np.concatenate([np.ones_like(init[..., :3]), init[..., 3:]], axis=-1)
    params = {"color": "flat", "max_rounds": 2}
    params["localizer"] = Regression(color=color, batch_size=16)
    model = make_regression(**params, init=init).fit(X[:40])
    assert np.ptp(model.sprites_[..., :3], axis=(1, 2)).max() == 0
    assert_same_scenes(clone(model).set_params(init=masks).fit(X[:40]), model)


@quiet
def test_records_with_and_without_splines_do_not_mix():
    bent = make_regression(**BENT, max_rounds=1).fit(X[:40])
    plain = make_regression(**ON_BLACK, max_rounds=1).fit(X[:40])
    message = (
        r"spline of shape \(21, 2, 16, 2\), but the estimator needs \(21, 2, 0, 2\)"
    )
    with pytest.raises(ValueError, match=message):
        plain.render(bent.decompose(NEW))
    with pytest.raises(ValueError, match="spline that is not finite"):
        bent.render(bent.decompose(NEW).replace(spline=np.nan))


@quiet
def test_units_of_the_images_do_not_matter():
    one = make_regression(**ON_BLACK, max_rounds=1)
    levels = np.round(255 * X[:40]).astype(np.uint8)
    as_bytes = one.fit(levels).predict(levels)
    shares = levels / np.float32(255)
    np.testing.assert_array_equal(as_bytes, one.fit(shares).predict(shares))


@quiet
@pytest.mark.parametrize("params", [ON_BLACK, BENT])
def test_warm_start_goes_on_with_the_network(params):
    model = make_regression(**params, max_rounds=8, warm_start=True).fit(X[:48])
    first, last = model.loss_curve_[[0, -1]]
    model.set_params(max_rounds=1).fit(X[:48])
    assert abs(model.loss_curve_[0] - last) < 0.5 * (first - last)


@quiet
def test_layers_that_may_not_be_empty_are_all_shown():
    localizer = Regression(empty=False, batch_size=16)
    model = make_regression(localizer=localizer, max_rounds=1).fit(X[:40])
    assert model.decomposition_.shown.all()
    assert (model.layer_counts_ == 40).all()


@quiet
def test_a_penalty_that_no_layer_pays_empties_all():
    model = make_regression(**ON_BLACK, max_rounds=2, penalty=1e6).fit(X[:40])
    assert not model.decomposition_.shown.any()


@quiet
def test_exhaustive_selection_is_no_worse():
    params = {"color": "predict", "batch_size": 16}
    greedy = make_regression(localizer=Regression(**params), max_rounds=2).fit(X[:40])
    every = clone(greedy).set_params(
        localizer=Regression(**params, selection="exhaustive")
    )
    sound = every.fit(X[:40]).decomposition_
    assert sound.error.shape == (40,)
    np.testing.assert_allclose(sound.error.sum(), greedy.inertia_, rtol=0.2)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"order": "predict"}, "order='predict' needs .*'regression' or 'attention'"),
        ({"order": "predict", "localizer": "distilled"}, "needs a network that is tra"),
        (
            {"background_transformations": ("affine",), "n_backgrounds": 1},
            "'affine'.* needs a network that is trained by gradient",
        ),
        (
            {"background_transformations": ("scale",), "localizer": "attention"},
            "'scale'.* needs a background that is a picture",
        ),
        (
            {"background_transformations": ("bend",), "localizer": "attention"},
            "background_transformations=.* contains 'bend'; valid names are trans",
        ),
        (
            {"transformations": ("thin_plate_spline",)},
            "'thin_plate_spline', which is not sought by localizer='search'",
        ),
        (
            {"transformations": ("thin_plate_spline",), "localizer": "distilled"},
            "not sought by localizer='distilled'",
        ),
        (
            {"localizer": "regression", "n_backgrounds": 2, "background": "gain"},
            "knows one background",
        ),
        (
            {
                "localizer": Regression(color="predict", selection="exhaustive"),
                "n_layers": 9,
            },
            "would try 262144 combinations",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(params, message):
    with pytest.raises(ValueError, match=message):
        make_regression(**params).fit(X)


@quiet
@pytest.mark.parametrize("rate", [1e-30, 1e4, 1e30])
@pytest.mark.parametrize("configuration", [ON_BLACK, OVER_A_PICTURE, OWN_BENDS, MOVED])
def test_an_absurd_learning_rate_leaves_no_nan(rate, configuration):
    localizer = replace(configuration["localizer"], learning_rate=rate)
    params = {**configuration, "localizer": localizer, "init": ConstantSprites()}
    model = make_regression(**params, max_rounds=2)
    with suppress(TrainingDivergedError):
        model.fit(X[:40])
    fitted = model.__sklearn_is_fitted__()
    assert fitted or rate > 1
    assert_all_finite(model)
    assert not fitted or np.isfinite(model.reconstruct(NEW)).all()
    assert not fitted or np.isfinite(model.transform(NEW)).all()


@quiet
@pytest.mark.parametrize(
    "images",
    [X[:1], np.zeros_like(X[:9]), np.ones_like(X[:9]), np.repeat(X[:1], 9, 0)],
    ids=["one image", "black", "white", "the same image"],
)
@pytest.mark.parametrize("configuration", [ON_BLACK, OVER_A_PICTURE, OWN_BENDS, MOVED])
def test_sets_without_information_end_in_finite_numbers(images, configuration):
    params = {**configuration, "init": ConstantSprites(), "max_rounds": 2}
    model = make_regression(2, **params).fit(images)
    assert_all_finite(model)
    assert np.isfinite(model.transform(NEW)).all()
    assert np.isfinite(model.reconstruct(NEW)).all()
