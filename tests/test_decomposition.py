"""What decompositions find, draw and tell, on scenes whose truth is known."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import zoom
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sklearn_sprites import LayeredSpriteDecomposition, Search
from sklearn_sprites._scene_description import brightness_as_opacity
from sklearn_sprites.metrics import (
    foreground_adjusted_rand_scorer,
    mean_class_accuracy_scorer,
    mean_iou_scorer,
    segmentation_adjusted_rand_score,
    segmentation_adjusted_rand_scorer,
)
from tests import pictures
from tests.scenes import (
    QUICK,
    SETTLED,
    SHAPES,
    assert_same_layers,
    assert_same_scenes,
    make_decomposition,
    make_scenes,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
SCENES = make_scenes()
X, INSTANCES, CLASSES, CENTERS = SCENES


@pytest.fixture(scope="module")
def fitted():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make_decomposition(**SETTLED).fit(X)


# ------------------------------------------------------------- what is found


def test_objects_are_found_and_told_apart(fitted):
    assert segmentation_adjusted_rand_scorer(fitted, X, INSTANCES) > 0.9
    assert foreground_adjusted_rand_scorer(fitted, X, INSTANCES) > 0.95
    assert mean_class_accuracy_scorer(fitted, X, CLASSES) > 0.9


def test_new_images_are_decomposed_too(fitted):
    others, instances, classes, _ = make_scenes(seed=5)
    assert segmentation_adjusted_rand_scorer(fitted, others, instances) > 0.9
    assert mean_iou_scorer(fitted, others, classes) > 0.8


def test_handwriting_is_found_though_no_sprite_covers_it_exactly():
    draws = np.random.default_rng(0)
    ink = zoom(load_digits().images / 16, (1, 2, 2))
    strokes = np.clip(2.2 * ink - 1.1, 0, 1)  # thin as those of a pen
    images = np.zeros((150, 34, 36))
    instances = np.zeros(images.shape, int)
    for image, instance in zip(images, instances, strict=True):
        for j in range(2):
            row, column = draws.integers(19), draws.integers(4) + 17 * j
            frame = np.s_[row : row + 16, column : column + 16]
            image[frame] = strokes[draws.integers(len(strokes))]
            instance[frame][image[frame] > 0.3] = j + 1
    model = LayeredSpriteDecomposition(
        n_sprites=5, n_layers=2, random_state=0, device=pictures.DEVICE
    ).fit(images)
    covered = model.predict(images) > 0
    found = [covered[instances == j + 1].mean() for j in range(2)]
    assert min(found) > 0.6
    shown = model.decomposition_.sprite >= 0
    assert shown.mean() > 0.97  # .81 if half of the pixels had to be better


def test_layers_lie_where_the_objects_are(fitted):
    found = fitted.decompose(X)
    where = np.stack([found.x, found.y], axis=-1)[:, :, None]
    distances = np.abs(where - CENTERS[:, None]).max(-1)  # (n, layers, objects)
    assert np.mean(distances.min(axis=1) < 2) > 0.9


def test_layers_come_in_the_order_of_what_they_save(fitted):
    saves = fitted.decompose(X).saves
    assert (np.diff(saves, axis=1) <= 0).all()
    assert (saves >= 0).all()


def test_sprites_come_in_the_order_of_their_use(fitted):
    found = fitted.decomposition_
    counts = np.bincount(found.sprite[found.shown], minlength=3)
    np.testing.assert_array_equal(fitted.counts_, counts)
    assert (np.diff(fitted.counts_) <= 0).all()
    assert fitted.counts_.sum() == fitted.layer_counts_.sum()
    assert fitted.layer_counts_.tolist() == found.shown.sum(0).tolist()


def test_shapes_of_what_is_learned(fitted):
    assert fitted.sprites_.shape == (3, 7, 7, 4)
    assert fitted.backgrounds_.shape == (0, 16, 16, 3)
    assert fitted.image_shape_ == (16, 16, 3)
    assert fitted.n_iter_ == len(fitted.loss_curve_)
    assert fitted.sprites_[..., 3].min() >= 0
    assert fitted.sprites_[..., 3].max() <= 1


# ------------------------------------------------- one truth in several forms


def test_the_record_of_the_training_images_is_what_decompose_says(fitted):
    assert_same_layers(fitted.decompose(X), fitted.decomposition_)
    predicted = fitted.render(fitted.decomposition_, "instances")
    np.testing.assert_array_equal(fitted.predict(X), predicted)
    np.testing.assert_array_equal(clone(fitted).fit_predict(X), predicted)


def test_drawn_again_means_the_record_is_rendered(fitted):
    found = fitted.decompose(X)
    np.testing.assert_array_equal(fitted.reconstruct(X), fitted.render(found))
    semantic = fitted.render(found, "classes")
    np.testing.assert_array_equal(fitted.predict_semantic(X), semantic)


def test_errors_are_those_of_the_reconstructions(fitted):
    error = ((fitted.reconstruct(X) - X) ** 2).sum((1, 2, 3))
    np.testing.assert_allclose(fitted.decomposition_.error, error, rtol=0.02, atol=0.05)
    assert fitted.inertia_ == pytest.approx(fitted.decomposition_.error.sum())
    assert fitted.score(X) == -fitted.inertia_


def test_the_class_of_a_pixel_is_the_sprite_of_its_layer(fitted):
    instances, classes = fitted.predict(X), fitted.predict_semantic(X)
    sprite = fitted.decompose(X).sprite
    assert set(np.unique(instances)) <= {0, 1, 2}
    assert (classes[instances == 0] == 0).all()
    image, *_ = np.nonzero(instances)
    layers = instances[instances > 0] - 1
    np.testing.assert_array_equal(classes[instances > 0], sprite[image, layers] + 1)


def test_features_are_the_record_in_columns(fitted):
    found = fitted.decompose(X)
    table = pd.DataFrame(fitted.transform(X), columns=fitted.get_feature_names_out())
    assert list(table.columns) == [
        f"layer{i}_{name}"
        for i in range(2)
        for name in ("sprite", "visible", "x", "y", "color0", "color1", "color2")
    ]
    np.testing.assert_array_equal(table["layer0_sprite"], found.sprite[:, 0])
    np.testing.assert_array_equal(table["layer1_y"], found.y[:, 1] * found.shown[:, 1])
    np.testing.assert_array_equal(
        table["layer0_color2"], found.color[:, 0, 2] * found.shown[:, 0]
    )
    seen = table[["layer0_visible", "layer1_visible"]].to_numpy()
    assert ((seen >= 0) & (seen <= 1 + 1e-6)).all()
    assert (seen[found.shown] > 0.2).all()


def test_a_deformed_layer_is_drawn_wider_and_less_high(fitted):
    """Also by a model whose own layers are only moved."""
    found = fitted.decompose(X).replace(x=8.0, y=8.0)
    sides = []
    for each in (found, found.deform(0, stretch=1.5)):
        masks = fitted.render(each.keep(0), "masks")[:, 0]
        y, x = np.mgrid[:16, :16] - 7.5
        mass = masks.sum((1, 2)) + 1e-9
        sides.append([(masks * axis**2).sum((1, 2)) / mass for axis in (x, y)])
    (wide, high), (wider, lower) = np.array(sides)[:, :, found.shown[:, 0]]
    assert (wider > 1.5 * wide).all()
    assert (lower < 0.7 * high).all()


def test_features_of_empty_layers(fitted):
    one = np.zeros_like(X[:1])
    one[0, 3:8, 3:8] = X[0].max() * np.eye(5)[..., None]
    table = fitted.set_output(transform="pandas").transform(np.zeros_like(X[:2]))
    fitted.set_output(transform="default")
    assert (table.filter(like="sprite") == -1).all(axis=None)
    assert (table.drop(columns=table.filter(like="sprite").columns) == 0).all(axis=None)
    assert fitted.transform(one).shape == (1, 14)


# ------------------------------------------------------------- edits are drawn


def first_object(fitted):
    """An image with two separate objects, and its record."""
    found = fitted.decompose(X)
    apart = np.hypot(found.x[:, 0] - found.x[:, 1], found.y[:, 0] - found.y[:, 1])
    inside = (np.abs(np.stack([found.x, found.y]) - 8) < 4).all((0, 2))
    return found[int(np.argmax(apart * (found.n_objects == 2) * (0.1 + inside)))]


def test_a_dropped_layer_is_black(fitted):
    found = first_object(fitted)
    drawn = fitted.render(found.drop(0))
    there = fitted.render(found, "instances") == 1
    assert there.any()
    assert drawn[there].max() < 0.2 < fitted.render(found)[there].max()
    np.testing.assert_array_equal(fitted.render(found.drop([0, 1])), 0)


def test_a_moved_layer_is_drawn_there(fitted):
    alone = first_object(fitted).keep(0)
    step = 1 if alone.x[0, 0] < 8 else -1
    moved = fitted.render(alone.move(0, dx=step))
    np.testing.assert_allclose(
        moved, np.roll(fitted.render(alone), step, axis=2), atol=0.05
    )


def test_a_recolored_layer_has_that_color(fitted):
    alone = first_object(fitted).keep(0)
    drawn = fitted.render(alone.recolor(0, (0.0, 0.8, 0.0)))
    assert np.abs(drawn[..., [0, 2]]).max() < 1e-6
    assert 0.6 < drawn[..., 1].max() < 1.3


def test_a_swapped_sprite_is_drawn(fitted):
    alone = first_object(fitted).keep(0)
    other = (alone.sprite[0, 0] + 1) % 3
    classes = fitted.render(alone.swap_sprite(0, other), "classes")
    assert set(np.unique(classes)) == {0, other + 1}


def test_who_is_in_front_hides_the_other(fitted):
    found = first_object(fitted)
    together = found.replace(x=found.x[:, :1], y=found.y[:, :1])
    together = together.replace(sprite=together.sprite[:, :1])
    for front in (0, 1):
        record = together.bring_to_front(front)
        shown = fitted.render(record, "instances")
        assert set(np.unique(shown)) == {0, front + 1}
        seen = fitted.render(record, "visible")
        masks = fitted.render(record, "masks")
        np.testing.assert_allclose(seen[0, front], masks[0, front], atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sprite": 3}, "between -1 and 2"),
        ({"sprite": -2}, "between -1 and 2"),
        ({"background": 1}, "background must lie between 0 and 0 .* got 1"),
        ({"background": -1}, "background must lie between 0 and 0 .* got -1"),
        ({"x": np.nan}, "x that is not finite, .*; edit .* with finite numbers"),
        ({"gain": np.inf}, "gain that is not finite"),
        ({"saves": np.nan}, "saves that is not finite"),
        ({"background_gain": np.nan}, "background_gain that is not finite"),
        ({"background_bias": -np.inf}, "background_bias that is not finite"),
        ({"background_light": np.nan}, "background_light that is not finite"),
        ({"gain": 1e300}, "has gain too large"),
        ({"bias": -1e300}, "has bias too large"),
        ({"background_gain": 1e300}, "background_gain too large"),
        ({"background_bias": 1e300}, "background_bias too large"),
        ({"background_light": 1e300}, "background_light too large"),
        ({"x": 1e300}, r"x must lie between -1e\+06 and 1e\+06"),
        ({"angle": -1e300}, "angle must lie"),
        ({"shear": 1e38}, "shear must lie"),
        ({"scale": 1e-300}, "scale must lie between 1e-06 and"),
        ({"scale": 0.0}, "scale that is not positive"),
    ],
)
def test_what_cannot_be_drawn_is_refused(fitted, change, message):
    found = fitted.decomposition_.replace(**change)
    for what in ("images", "layers"):
        with pytest.raises(ValueError, match=message):
            fitted.render(found, what)


def test_a_background_that_does_not_exist_is_refused():
    model = make_decomposition(n_backgrounds=2, background="image", max_rounds=1)
    found = model.fit(X[:8]).decomposition_
    assert model.render(found.replace(background=1)).shape == X[:8].shape
    for index in (2, -1):
        message = f"background must lie between 0 and 1 .* got {index}"
        with pytest.raises(ValueError, match=message):
            model.render(found.replace(background=index))


def test_the_most_extreme_edits_that_are_drawn_are_drawn_in_finite_values(fitted):
    found = fitted.decomposition_[:2]
    for far in (1e6, 1e-6):
        bent = found.replace(scale=far, stretch=1e6, shear=-1e6, angle=1e6)
        assert np.isfinite(fitted.render(bent.replace(x=1e6, y=-1e6))).all()
    bright = found.replace(gain=1e29, bias=-1e29)
    assert np.isfinite(fitted.render(bright)).all()


DRAWN = {
    "images": (16, 16, 3),
    "instances": (16, 16),
    "classes": (16, 16),
    "masks": (2, 16, 16),
    "visible": (2, 16, 16),
    "layers": (2, 16, 16, 3),
}


@pytest.mark.parametrize("what", DRAWN)
def test_no_images_are_drawn_as_empty_arrays(fitted, what):
    found = fitted.decomposition_
    some = fitted.render(found[:1], what)
    for none in (found[:0], found[np.zeros(len(X), bool)]):
        drawn = fitted.render(none, what)
        assert drawn.shape == (0, *DRAWN[what])
        assert drawn.dtype == some.dtype


@pytest.mark.parametrize("other", [X, None, "images"])
def test_what_is_no_record_is_refused_with_the_remedy(fitted, other):
    message = r"draws a Decomposition, got .* render\(decompose\(X\)\)"
    with pytest.raises(TypeError, match=message):
        fitted.render(other)


def test_records_of_other_estimators_are_refused(fitted):
    other = make_decomposition(2, n_layers=1, max_rounds=1).fit(X[:8])
    with pytest.raises(ValueError, match=r"sprite of shape \(8, 1\)"):
        fitted.render(other.decomposition_)
    with pytest.raises(ValueError, match="is none of images, instances"):
        fitted.render(fitted.decomposition_, "scenes")


# ------------------------------------------------------------- units


def test_layers_are_drawn_alone_in_front_and_behind(fitted):
    found = fitted.decompose(X[:6])
    layers = fitted.render(found, "layers")
    assert layers.shape == (*found.sprite.shape, *X.shape[1:])
    for layer in range(found.sprite.shape[1]):
        alone = found.keep(layer)
        seen = fitted.render(alone, "masks")[:, layer] > 1 - 1e-6
        assert seen.any()
        drawn = fitted.render(alone)
        np.testing.assert_allclose(layers[:, layer][seen], drawn[seen], atol=1e-5)
    nothing = fitted.render(found.drop([0, 1]), "layers")
    np.testing.assert_allclose(nothing, found.black, atol=1e-9)


def test_bytes_come_back_in_their_units(fitted):
    as_bytes = np.rint(255 * X / X.max()).astype(np.uint8)
    model = make_decomposition(**SETTLED).fit(as_bytes)
    drawn = model.reconstruct(as_bytes)
    assert np.abs(drawn - as_bytes).mean() < 12
    assert segmentation_adjusted_rand_score(INSTANCES, model.predict(as_bytes)) > 0.9


def test_values_far_from_zero_are_scaled_and_come_back():
    shifted = 1000 * X - 300
    model = make_decomposition(**SETTLED).fit(shifted)
    assert model.decomposition_.black == shifted.min()
    drawn = model.reconstruct(shifted)
    assert np.abs(drawn - shifted).mean() < 50
    empty = model.render(model.decomposition_.drop([0, 1]))
    np.testing.assert_allclose(empty, -300, atol=1e-9)
    colors = model.decomposition_.recolor(0, (500.0, -300.0, 0.0)).color[:, 0]
    np.testing.assert_allclose(colors[0], (500.0, -300.0, 0.0), atol=1e-6)


def test_given_sprites_are_in_the_users_units():
    sprites = 255 * np.pad(SHAPES, [(0, 0), (1, 1), (1, 1)])
    init = np.stack([sprites] * 3 + [sprites / 255], axis=-1)
    as_bytes = np.rint(255 * X).clip(0, 255).astype(np.uint8)
    model = make_decomposition(init=init, max_rounds=1).fit(as_bytes)
    assert segmentation_adjusted_rand_score(INSTANCES, model.predict(as_bytes)) > 0.9
    nearest = [np.abs(model.sprites_ - each).mean((1, 2, 3)).min() for each in init]
    assert max(nearest) < 40


@pytest.mark.parametrize("color", ["gain", "flat"])
def test_given_pictures_without_opacities_are_masks_by_their_brightness(color):
    pictures = 0.5 * np.pad(SHAPES, [(0, 0), (1, 1), (1, 1)])
    white = np.ones((*pictures.shape, 3))
    same = np.concatenate([white, 2 * pictures[..., None]], axis=-1)
    given = np.stack([pictures] * 3, axis=-1)
    params = {"transformations": ("similarity",), "color": color, "max_rounds": 1}
    model, masked = [
        make_decomposition(**params, init=init).fit(X) for init in (given, same)
    ]
    np.testing.assert_array_equal(model.sprites_, masked.sprites_)


def test_pictures_look_on_black_as_they_do_with_their_brightness_as_opacity():
    pictures = np.random.default_rng(0).uniform(size=(3, 5, 4, 3))
    pictures[0, :2], pictures[1] = 0, 0
    colors, alpha = brightness_as_opacity(pictures)
    np.testing.assert_allclose(colors * alpha, pictures, rtol=1e-12)
    np.testing.assert_array_equal(alpha.max((1, 2, 3)), 1)
    assert (alpha[0, :2] == 0).all()
    assert colors.max() <= pictures.max() * (1 + 1e-12)


@pytest.mark.parametrize(
    ("short", "names"),
    [
        ("position", ("translation", "scale")),
        ("similarity", ("translation", "scale", "rotation")),
    ],
)
def test_a_name_that_stands_for_several_gives_the_same_fit(short, names):
    params = {**QUICK, "n_backgrounds": 1, "transformations": names}
    model = make_decomposition(**params).fit(X)
    again = clone(model).set_params(transformations=(short,)).fit(X)
    assert again.resolved_params_["transformations"] == names
    assert_same_scenes(again, model)


# ------------------------------------------------------------- scikit-learn's tools


def test_grid_search_with_segmentation_scorers():
    grid = {"n_layers": [1, 2], "localizer": ["search", Search(sweeps=1)]}
    search = GridSearchCV(
        make_decomposition(max_rounds=3),
        grid,
        scoring={
            "ari": segmentation_adjusted_rand_scorer,
            "macc": mean_class_accuracy_scorer,
        },
        refit="ari",
        cv=2,
    ).fit(X, INSTANCES)
    assert np.isfinite(search.cv_results_["mean_test_macc"]).all()
    assert search.best_params_["n_layers"] == 2
    assert search.predict(X).shape == INSTANCES.shape


def test_features_feed_a_pipeline():
    flat = X.reshape(len(X), -1)
    y = CENTERS[..., 0].mean(1) > 8
    pipeline = make_pipeline(
        FunctionTransformer(np.sqrt),
        make_decomposition(image_shape=(16, 16, 3), max_rounds=2),
        LogisticRegression(max_iter=10_000),
    ).fit(flat, y)
    assert pipeline.score(flat, y) > 0.9


def test_float32_features_for_float32_images(fitted):
    table = fitted.transform(X.astype(np.float32))
    assert table.dtype == np.float32
    np.testing.assert_allclose(table, fitted.transform(X), atol=1e-3)
