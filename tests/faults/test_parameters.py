"""Bad and unusual parameters, rows P of the list of faults."""

import re
from functools import partial
from itertools import groupby

import numpy as np
import pytest
import torch
from sklearn.base import clone

import sklearn_sprites
from sklearn_sprites import LayeredSpriteDecomposition, SpriteClustering
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


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("n_clusters", [0, -1, 2.5, "a", None]),
        ("n_backgrounds", [-1, 0.5, "a"]),
        ("n_init", [0, -3, 1.5]),
        ("max_epochs", [0, -1, 1.5]),
        ("tol", [-1, np.nan, "a"]),
        ("learning_rate", [0, -1, np.nan, np.inf]),
        ("batch_size", [0, -1, 16.0]),
        ("mask_noise", [-0.1, np.nan]),
        ("padding", ["edge", None]),
        ("pixel_weights", ["middle", 3, False]),
        ("mask_penalty", [-0.1, np.nan, "none"]),
        ("random_state", [-1, 2**32, 0.5, np.random.default_rng(0)]),
        ("init", ["kmeans++", 3]),
        ("color", ["solved", None]),
        ("encoder", ["resnet50", None, object()]),
        ("curriculum", ["slow", None]),
        ("reassignment", ["swop", 1]),
        ("transformations", ["affine", None]),
        ("background_transformations", ["affine", None]),
        ("warm_start", ["yes"]),
        ("verbose", [-1, "yes"]),
        ("device", [None, 0]),
    ],
)
def test_p_bad_values_are_refused_in_fit_and_not_before(pictures, name, values):
    for value in values:
        model = SpriteClustering(**{name: value})
        message = f"The '{name}' parameter of SpriteClustering must be"
        with pytest.raises(ValueError, match=message):
            model.fit(pictures)


@pytest.mark.parametrize("name", ["transformations", "background_transformations"])
@pytest.mark.parametrize("kind", [SpriteClustering, LayeredSpriteDecomposition])
def test_p_a_bare_name_is_refused_with_the_tuple_to_pass(pictures, kind, name):
    with pytest.raises(ValueError, match=r"For one name pass \('similarity',\)\.$"):
        kind(**{name: "similarity"}).fit(pictures)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (SpriteClustering, "init"),
        (SpriteClustering, "curriculum"),
        (SpriteClustering, "reassignment"),
        (LayeredSpriteDecomposition, "init"),
        (LayeredSpriteDecomposition, "localizer"),
    ],
)
def test_p_classes_are_named_as_users_import_them(pictures, kind, name):
    with pytest.raises(ValueError, match="must be") as refused:
        kind(**{name: 3}).fit(pictures)
    named = re.findall(r"'sklearn_sprites\.([^']*)'", str(refused.value))
    assert named
    assert set(named) <= set(sklearn_sprites.__all__)


def test_p_more_clusters_than_any_data_has(pictures):
    with pytest.raises(ValueError, match="should be >= n_clusters=1000000000"):
        SpriteClustering(10**9).fit(pictures)


@pytest.mark.parametrize("name", ["transformations", "background_transformations"])
def test_p_unknown_transformations_list_the_valid_ones(pictures, name):
    params = {name: ("affine", "twist"), "n_backgrounds": 1}
    message = "'twist'.*identity, color.*thin_plate_spline, thickness, morphological"
    with pytest.raises(ValueError, match=message):
        SpriteClustering(3, **params).fit(pictures)


@pytest.mark.parametrize("n_backgrounds", [0, 1])
@pytest.mark.parametrize("name", ["transformations", "background_transformations"])
def test_p_unknown_transformations_are_refused_where_none_is_used(
    pictures, name, n_backgrounds
):
    params = {name: ("twist",), "n_backgrounds": n_backgrounds}
    message = rf"{name}=\('twist',\) contains 'twist'; valid names are"
    for images in (pictures, pictures[:, :3]):
        with pytest.raises(ValueError, match=message):
            make_model(**params).fit(images)


@pytest.mark.parametrize("curriculum", [(), [], (1, 2), ("affine",), ((1,),), ({},)])
def test_p_curricula_that_are_no_lists_of_stages(pictures, curriculum):
    model = make_model(transformations=("affine",), curriculum=curriculum)
    message = (
        f"curriculum={re.escape(repr(curriculum))} should list one stage or more, each "
        r".* tuple of names of transformations; use curriculum=\(\('affine',\),\) for"
    )
    with pytest.raises(ValueError, match=message):
        model.fit(pictures)


@pytest.mark.parametrize("has", [("affine",), ()])
@pytest.mark.parametrize("name", ["rotation", "bogus"])
def test_p_stages_with_transformations_that_the_model_lacks(pictures, has, name):
    model = make_model(transformations=has, curriculum=[(name,)])
    message = rf"curriculum=.*'{name}'.* transformations={re.escape(repr(has))}"
    with pytest.raises(ValueError, match=message):
        model.fit(pictures)


def test_p_stages_of_images_too_small_to_be_transformed_name_what_exists(pictures):
    model = make_model(curriculum=[("affine",)]).fit(pictures[:, :2, :2])
    assert model.transformation_params_ == {}
    with pytest.raises(ValueError, match=r"contains 'bogus'.*valid names are identity"):
        model.set_params(curriculum=[("bogus",)]).fit(pictures[:, :2, :2])


@pytest.mark.parametrize(
    ("curriculum", "missing"),
    [
        (((),), "'color', 'affine'"),
        ([("color", "affine"), ["color"]], "'affine'"),
        ((("affine", "identity"),), "'color'"),
    ],
)
def test_p_stages_that_end_without_what_is_used_to_predict(
    pictures, curriculum, missing
):
    model = make_model(transformations=("color", "affine"), curriculum=curriculum)
    message = rf"ends without {missing}, .* let \('color', 'affine'\) be the last stage"
    with pytest.raises(ValueError, match=message):
        model.fit(pictures)


def test_p_stages_that_end_without_what_is_done_to_backgrounds(pictures):
    model = make_model(
        n_backgrounds=1,
        transformations=("affine",),
        background_transformations=("color",),
        curriculum=(("affine",),),
    )
    with pytest.raises(ValueError, match="ends without 'color'"):
        model.fit(pictures)


@quiet
def test_every_stage_of_a_list_is_trained(pictures, capsys):
    stages = ((), ("color",), ("affine", "color"), (), ("color", "affine"))
    model = make_model(
        transformations=("color", "affine"),
        curriculum=stages,
        max_epochs=16,
        tol=0,
        verbose=1,
    ).fit(pictures)
    told = re.findall(r"\((.*)\): loss", capsys.readouterr().out)
    names = ["identity", "color", "affine+color", "identity", "color+affine", "settle"]
    assert [name for name, _ in groupby(told)] == names
    assert len(told) == model.n_iter_


@pytest.mark.parametrize(
    "init", [np.zeros((2, 8, 8)), np.zeros((3, 8, 9)), np.zeros((3, 65)), [1.0, 2.0]]
)
def test_p_given_sprites_of_another_shape(pictures, init):
    message = r"init of shape .* expects one of \(3, 8, 8\)"
    with pytest.raises(ValueError, match=message):
        make_model(init=init).fit(pictures)


def test_p_given_sprites_that_are_not_finite(pictures):
    message = "init contains NaN .* SpriteClustering needs finite sprites; replace"
    with pytest.raises(ValueError, match=message):
        make_model(init=np.full((3, 8, 8), np.nan)).fit(pictures)


@pytest.mark.parametrize(
    "make",
    [make_model, make_decomposition, partial(make_decomposition, sprite_size="auto")],
)
@pytest.mark.parametrize(
    ("init", "came"),
    [
        ([[[0.0, 1.0], [1.0]]] * 3, "inhomogeneous shape"),
        ([[["a", "b"]]] * 3, "dtype <U1"),
        (np.full((3, 8, 8), {}, dtype=object), "not 'dict'"),
        (np.zeros((3, 8, 8), dtype=complex), "dtype complex128"),
    ],
)
def test_p_given_sprites_that_are_no_array_of_numbers(pictures, make, init, came):
    message = f"init must hold numbers, .* got .*{re.escape(came)}.* Give one array"
    with pytest.raises(ValueError, match=message):
        make(init=init).fit(pictures)


@pytest.mark.parametrize(
    ("make", "side"),
    [(partial(make_model, n_backgrounds=1), 8), (make_decomposition, 7)],
)
@pytest.mark.parametrize(("low", "high"), [(0, 255), (-0.5, 1)])
def test_p_given_opacities_beyond_0_and_1(pictures, make, side, low, high):
    init = np.full((3, side, side, 2), 0.5)
    init[0, 0, 0, 1], init[-1, -1, -1, 1] = low, high
    message = (
        rf"init has an opacity from {low} to {high} in .* from 0, .* to 1, .* clip"
    )
    with pytest.raises(ValueError, match=message):
        make(init=init).fit(pictures)


@pytest.mark.parametrize("shape", [(3, 64), (3, 8, 8), (3, 8, 8, 1)])
def test_given_sprites_are_in_the_users_units(shape):
    X, y = make_pictures()
    X = 40 + 1000 * X
    init = np.stack([X[y == k].mean(0) for k in range(3)]).reshape(shape)
    given = init.copy()
    model = make_model(**KMEANS, init=init).fit(X)
    np.testing.assert_array_equal(init, given)
    np.testing.assert_allclose(
        np.sort(model.cluster_centers_.sum(1)),
        np.sort(given.reshape(3, -1).sum(1)),
        rtol=1e-5,
    )


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "", "cpu:1"])
def test_p_unknown_devices(pictures, device):
    with pytest.raises(ValueError, match="device="):
        make_model(device=device).fit(pictures)


def test_p_devices_that_are_not_here(pictures, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for device in ("cuda", "cuda:99"):
        message = (
            f"device='{device}' was requested but CUDA is not available; "
            "use device='auto'"
        )
        with pytest.raises(RuntimeError, match=message):
            make_model(device=device).fit(pictures)
    model = make_model(**KMEANS, device="auto").fit(pictures)
    with pytest.raises(RuntimeError, match="CUDA is not available"):
        model.set_params(device="cuda").predict(pictures)


@quiet
@pytest.mark.parametrize("seed", [0, 2**32 - 1, np.int64(3), np.random.RandomState(0)])
def test_p_seeds_of_all_kinds(pictures, seed):
    model = make_model(**KMEANS, random_state=seed).fit(pictures)
    assert model.labels_.shape == (len(pictures),)


@quiet
def test_p_batches_larger_than_the_data(pictures):
    model = make_model(**{**QUICK, "batch_size": 10_000}).fit(pictures)
    assert_all_finite(model)


def test_p_a_class_of_modules_is_no_encoder(pictures):
    message = "'encoder' parameter .* the class Linear; give an instance, Linear"
    with pytest.raises(ValueError, match=message):
        make_model(**QUICK, encoder=torch.nn.Linear).fit(pictures)


@quiet
def test_a_users_module_is_an_encoder_and_is_not_changed(pictures):
    module = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, stride=2), torch.nn.ReLU(), torch.nn.Flatten()
    )
    before = {k: v.clone() for k, v in module.state_dict().items()}
    model = make_model(**QUICK, encoder=module).fit(pictures)
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    np.testing.assert_array_equal(model.predict(pictures), model.labels_)
    again = clone(model).fit(pictures)
    assert_same_fit(again, model)
