"""Decompositions whose layers attend, trained by gradient."""

import math
import pickle
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone

from sklearn_sprites import Attention, ClonePerturb, LayeredSpriteDecomposition
from sklearn_sprites._engine.models.scene_build import build_localizer
from sklearn_sprites._engine.modules.attention import AttentionMaps
from sklearn_sprites._engine.training.regression_steps import pixel_entropy
from tests.engine.test_scene_network import POSED, seeded
from tests.scenes import (
    assert_same_layers,
    assert_same_scenes,
    make_decomposition,
    make_scenes,
)
from tests.test_scene_determinism import METHODS, on_ground

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X, INSTANCES, _, _ = make_scenes(24)
LITTLE = Attention(n_features=8, batch_size=12)
QUICK = {"localizer": LITTLE, "max_rounds": 2, "init": np.full((3, 7, 7, 3), 0.7)}


WAYS = {
    "black": {},
    "level": {"n_backgrounds": 1},
    "affine": {
        "n_backgrounds": 1,
        "transformations": ("affine", "thin_plate_spline"),
    },
}


@pytest.fixture(scope="module", params=WAYS.values(), ids=list(WAYS))
def fitted(request):
    images = on_ground(X) if request.param else X
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make_decomposition(**QUICK, **request.param).fit(images)


def seen(model):
    return on_ground(X) if model.n_backgrounds else X


def test_what_was_found_is_what_is_predicted(fitted):
    assert_same_layers(fitted.decompose(seen(fitted)), fitted.decomposition_)


def test_fitting_again_gives_the_same_bits(fitted):
    assert_same_scenes(clone(fitted).fit(seen(fitted)), fitted)


def test_batches_of_any_size_give_the_same_bits(fitted):
    images = seen(fitted)
    for name in METHODS:
        method = getattr(fitted, name)
        parts = [method(images[i : i + 7]) for i in range(0, len(images), 7)]
        np.testing.assert_array_equal(np.concatenate(parts), method(images))


def test_a_pickle_holds_no_torch_and_predicts_the_same_bits(fitted):
    text = pickle.dumps(fitted)
    assert b"torch" not in text
    model = pickle.loads(text)
    images = seen(fitted)
    np.testing.assert_array_equal(model.transform(images), fitted.transform(images))


def test_the_order_of_each_pair_of_layers_may_be_predicted():
    model = make_decomposition(**QUICK, order="predict").fit(X)
    assert any("order" in name for name in model._arrays)
    found = model.decompose(X)
    over = found.over[found.shown.all(axis=1)]
    assert len(over)
    assert (over[:, 0, 1] != over[:, 1, 0]).all()


def test_steps_lower_the_loss():
    settings = Attention(n_features=16, batch_size=12, reassignment=None)
    model = make_decomposition(localizer=settings, max_rounds=25).fit(X)
    assert model.loss_curve_[-1] < 0.8 * model.loss_curve_[0]


@pytest.mark.parametrize("refines", [False, True])
def test_settings_say_what_attends(refines):
    settings = Attention(n_features=6, refines=refines)
    localizer = build_localizer(POSED, settings, seeded())
    assert isinstance(localizer, AttentionMaps)
    assert (localizer.refinement is not None) == refines
    assert localizer(torch.zeros(2, 2, 17, 22)).features.shape == (2, 3, 6)


def test_the_entropy_of_pixels_is_that_of_a_loop():
    seen = 0.3 * torch.rand(2, 3, 5, generator=seeded())
    total = 0.0
    for image in seen.tolist():
        for shares in zip(*image, strict=True):
            every = [*shares, 1 - sum(shares)]
            total += sum(s * math.log(s) for s in every) ** 2
    assert float(pixel_entropy(seen)) == pytest.approx(total / 10, rel=1e-4)


def test_what_is_clear_has_no_entropy_and_a_finite_slope():
    seen = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]]).requires_grad_()
    loss = pixel_entropy(seen)
    loss.backward()
    assert loss.item() < 1e-8
    assert seen.grad.isfinite().all()


def test_the_rate_grows_in_a_square_and_drops():
    settings = Attention(warmup=3, drops=(10, 20))
    rates = [settings.rate(epoch) for epoch in (0, 1, 3, 9, 10, 20)]
    assert rates == pytest.approx([1 / 16, 1 / 4, 1, 1, 0.1, 0.01])
    assert Attention(warmup=0).rate(0) == 1
    weights = [settings.entropy_weight(epoch) for epoch in (0, 6, 50)]
    assert weights == pytest.approx([0.01 / 49, 0.01, 0.01])


def test_settings_survive_a_file():
    settings = Attention(drops=(3,), reassignment=ClonePerturb(check=7))
    assert Attention.from_dict(settings.to_dict()) == settings
    none = Attention(reassignment=None)
    assert Attention.from_dict(none.to_dict()) == none


def test_a_name_stands_for_settings():
    settings = LayeredSpriteDecomposition(localizer="attention")._settings(POSED)
    assert settings.regression == Attention()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("features", "segformer"),
        ("n_features", 0),
        ("freeze", -1),
        ("mask_noise", -0.1),
        ("sweeps", 0),
        ("entropy", -1),
        ("batch_size", 1),
        ("learning_rate", 0),
        ("warmup", -1),
        ("joins", -1),
    ],
)
def test_settings_out_of_range_are_named(name, value):
    with pytest.raises(ValueError, match=name):
        Attention(**{name: value})
