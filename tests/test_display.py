import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError

from sklearn_sprites import (
    DecompositionDisplay,
    ReconstructionDisplay,
    SpriteClustering,
    SpriteDisplay,
)
from sklearn_sprites.exceptions import UnitsWarning
from tests import scenes
from tests.pictures import QUICK, make_model, make_pictures

DIGITS = load_digits().images[:80]
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def opaque():
    return make_model(4, transformations=("affine",), **QUICK).fit(DIGITS)


@pytest.fixture(scope="module")
def layered():
    images, _ = make_pictures(24, channels=3)
    params = {"n_backgrounds": 1, "transformations": ("color",), **QUICK}
    return make_model(2, **params).fit(images), images


def test_sprite_display_holds_sprites_and_counts(opaque):
    display = SpriteDisplay.from_estimator(opaque, DIGITS)
    assert np.array_equal(display.counts, opaque.counts_)
    assert display.masks is None
    expected = (opaque.sprites_ / DIGITS.max()).clip(0, 1)
    assert np.allclose(display.sprites, expected)


def relative_errors(model, X):
    """Squared errors for the images' own variance, a hundredth of the mean added."""
    errors = model.transform(X).min(axis=1) ** 2
    variances = X.reshape(len(X), -1).var(axis=1) * X[0].size
    blank = variances.mean() / 100
    return (errors + blank) / (variances + blank)


def test_nearest_images_are_the_nearest_and_typical_ones_are_not(opaque):
    display = SpriteDisplay.from_estimator(opaque, DIGITS, n_images=2)
    members = np.flatnonzero(opaque.labels_ == 0)
    order = members[np.argsort(relative_errors(opaque, DIGITS)[members])]
    shown = display.panels["nearest"][0][..., 0]
    assert np.allclose(shown, DIGITS[order[:2]] / DIGITS.max())
    typical = display.panels["typical"][0][..., 0]
    middle = DIGITS[order[(len(order) - 2) // 2 :][:2]] / DIGITS.max()
    assert np.allclose(typical, middle)


@pytest.mark.parametrize("contrast", [0.02, 0.0])
def test_images_of_hardly_any_contrast_are_not_the_nearest(contrast):
    X, y = make_pictures(24)
    pale = np.flatnonzero(y == 0)[:4]
    X[pale] = 0.5 + contrast * (X[pale] - 0.5)
    model = make_model(3, transformations=("color",), **QUICK).fit(X)
    assert set(pale) & set(np.argsort(model.transform(X).min(axis=1))[:4])
    display = SpriteDisplay.from_estimator(model, X, n_images=2)
    assert all(np.ptp(each) > 0.2 for each in display.panels["nearest"])


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
def test_images_that_are_all_blank_are_shown():
    X = np.full((6, 8, 8), 3.0)
    display = SpriteDisplay.from_estimator(make_model(2).fit(X), X).plot()
    assert display.counts.sum() == 6


def test_reconstructed_panel_shows_the_typical_images(opaque):
    display = SpriteDisplay.from_estimator(opaque, DIGITS, n_images=3)
    typical = display.panels["typical"][1] * DIGITS.max()
    drawn = opaque.reconstruct(typical.reshape(3, 8, 8))
    expected = (drawn / DIGITS.max()).clip(0, 1).reshape(3, 8, 8, 1)
    assert np.allclose(display.panels["reconstructed"][1], expected, atol=1e-5)


def test_sprite_display_draws_one_axis_per_panel_and_one_label_per_sprite(opaque):
    display = SpriteDisplay.from_estimator(opaque, DIGITS).plot()
    titles = [axis.get_title() for axis in display.axes_]
    assert titles == ["sprite", "nearest", "typical", "reconstructed", "aligned"]
    labels = [label.get_text() for label in display.axes_[0].get_yticklabels()]
    assert labels == [f"{k} (n={n})" for k, n in enumerate(opaque.counts_)]
    display.figure_.canvas.draw()


def test_layered_sprites_show_their_masks(layered):
    model, images = layered
    display = SpriteDisplay.from_estimator(model, images).plot()
    assert [axis.get_title() for axis in display.axes_][:2] == ["sprite", "mask"]
    assert np.allclose(display.masks, model.sprites_[..., 3].clip(0, 1))


def test_at_most_max_sprites_are_shown(opaque):
    display = SpriteDisplay.from_estimator(opaque, DIGITS, max_sprites=2).plot()
    assert len(display.sprites) == len(display.counts) == 2


@pytest.mark.parametrize(("max_sprites", "told"), [(3, "3 of 4 sprites"), (4, "")])
def test_a_line_says_that_not_all_sprites_are_shown(opaque, max_sprites, told):
    display = SpriteDisplay.from_estimator(opaque, DIGITS, max_sprites=max_sprites)
    assert display.plot().axes_[0].get_xlabel() == told


@pytest.mark.parametrize(
    ("max_sprites", "told"), [(2, "2 of 3 sprites"), (3, "sprites")]
)
def test_the_title_says_that_not_all_sprites_of_scenes_are_shown(
    decomposed, max_sprites, told
):
    X = small_bytes(decomposed)
    display = DecompositionDisplay.from_estimator(
        decomposed, X, max_sprites=max_sprites
    )
    assert display.plot().axes_[0].get_title() == f"{told} and their layers"


def test_a_sprite_without_images_has_an_empty_row(opaque):
    few = DIGITS[opaque.labels_ == 0]
    display = SpriteDisplay.from_estimator(opaque, few).plot()
    assert display.counts.tolist() == [len(few), 0, 0, 0]


def test_flat_images_give_the_same_display(opaque):
    flat = SpriteDisplay.from_estimator(opaque, DIGITS.reshape(80, -1))
    images = SpriteDisplay.from_estimator(opaque, DIGITS)
    for title, pictures in images.panels.items():
        for first, second in zip(pictures, flat.panels[title], strict=True):
            assert np.array_equal(first, second)


def test_a_model_of_a_data_frame_is_shown_without_a_warning(opaque):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(DIGITS.reshape(80, -1)).add_prefix("pixel")
    model = make_model(2, transformations=()).fit(frame)
    display = SpriteDisplay.from_estimator(model, frame)
    assert display.counts.sum() == 80


KINDS = {
    SpriteDisplay: "opaque",
    ReconstructionDisplay: "opaque",
    DecompositionDisplay: "decomposed",
}


@pytest.fixture(scope="module")
def decomposed():
    return scenes.make_decomposition(max_rounds=1).fit(scenes.make_scenes(12)[0])


def shown(display):
    """All pictures of a display, one after another."""
    parts = getattr(display, "panels", getattr(display, "columns", None))
    parts = display.rows if parts is None else parts
    return np.concatenate(
        [np.ravel(each) for rows in parts.values() for each in rows], axis=None
    )


def small_bytes(model, n=12):
    """Images of few levels, which any type of number holds exactly."""
    draws, most = np.random.default_rng(0), 16 if model.sprites_.max() > 2 else 3
    levels = draws.integers(0, most, (n, *model.image_shape_)).astype(np.uint8)
    return levels[..., 0] if levels.shape[-1] == 1 else levels


@pytest.mark.parametrize("kind", KINDS)
def test_displays_draw_on_a_given_figure_or_subfigure(kind, request):
    model = request.getfixturevalue(KINDS[kind])
    display = kind.from_estimator(model, small_bytes(model))
    figure = plt.figure()
    for place in (figure, plt.figure().subfigures(1, 2)[0]):
        assert display.plot(figure=place).figure_ is place
        assert all(axis.figure is place for axis in display.axes_)


@pytest.mark.parametrize("kind", KINDS)
def test_one_axis_is_refused_with_the_parameter_to_use(kind, request):
    model = request.getfixturevalue(KINDS[kind])
    display = kind.from_estimator(model, small_bytes(model))
    message = f"{kind.__name__} draws a whole figure, .* got ax=<Axes.*; pass figure="
    with pytest.raises(TypeError, match=message):
        display.plot(ax=plt.figure().subplots())
    assert display.plot(ax=None).figure_ is not None


@pytest.mark.filterwarnings("ignore::sklearn_sprites.exceptions.UnitsWarning")
@pytest.mark.parametrize("kind", [ReconstructionDisplay, DecompositionDisplay])
@pytest.mark.parametrize("n_images", [1, 4, 6, 12, 20])
def test_images_are_chosen_evenly_over_the_set(kind, n_images, request):
    model = request.getfixturevalue(KINDS[kind])
    X = small_bytes(model)
    X[:] = 23 * np.arange(12).reshape(12, *[1] * (X.ndim - 1))  # each its number
    display = kind.from_estimator(model, X, n_images=n_images)
    parts = display.rows if kind is ReconstructionDisplay else display.columns
    chosen = [round(255 * np.max(each) / 23) for each in parts["image"]]
    size = 12 / min(n_images, 12)
    assert [int(k // size) for k in chosen] == list(range(min(n_images, 12)))


COUNTS = [
    (SpriteDisplay, "n_images"),
    (SpriteDisplay, "max_sprites"),
    (ReconstructionDisplay, "n_images"),
    (DecompositionDisplay, "n_images"),
    (DecompositionDisplay, "max_sprites"),
    (DecompositionDisplay, "max_layers"),
]


@pytest.mark.parametrize(("kind", "name"), COUNTS)
@pytest.mark.parametrize("count", [0, -1, 2.0, "a", None])
def test_numbers_of_what_to_show_are_checked(kind, name, count, request):
    model = request.getfixturevalue(KINDS[kind])
    message = f"{name} of {kind.__name__}.* must be an int of at least 1, got {count!r}"
    with pytest.raises(ValueError, match=message):
        kind.from_estimator(model, small_bytes(model), **{name: count})


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_images_of_few_levels_are_shown_in_full_contrast(dtype, opaque):
    levels = DIGITS.astype(dtype)  # up to 16
    display = ReconstructionDisplay.from_estimator(opaque, levels)
    assert (np.min(display.rows["image"]), np.max(display.rows["image"])) == (0, 1)


def test_images_that_span_far_more_than_others_are_clipped(opaque):
    X = DIGITS.astype(float) - 1
    X[::5, 0, 0] = 1000
    with pytest.warns(UnitsWarning):
        display = ReconstructionDisplay.from_estimator(opaque, X, n_images=10)
    shown = np.array(display.rows["image"])
    assert (shown.reshape(10, -1).max(1) == 1).all()
    assert 0.2 < shown.mean() < 0.6


def rows_of(axis):
    """Where an axis with a mosaic begins and ends, in pixels from below."""
    extent = axis.get_window_extent()
    return extent.y0, extent.y1


@pytest.mark.parametrize("n_layers", [1, 4, 10])
def test_rows_of_all_columns_of_scenes_are_at_one_height(n_layers):
    X = scenes.make_scenes(8)[0]
    model = scenes.make_decomposition(n_layers=n_layers, max_rounds=1).fit(X)
    display = DecompositionDisplay.from_estimator(model, X).plot()
    display.figure_.canvas.draw()
    below = [rows_of(axis) for axis in display.axes_[1:]]
    assert np.ptp(below, axis=0).max() < 1


@pytest.mark.parametrize(("most", "title"), [(8, "layers"), (1, "1 of 2 layers")])
def test_layers_that_save_most_are_shown_and_no_empty_ones(most, title):
    X = scenes.make_scenes(8)[0]
    model = scenes.make_decomposition(n_layers=4, max_rounds=1).fit(X)
    found = model.decompose(X)
    used = int((found.sprite >= 0).sum(1).max())
    pair = model.render(found.keep(0), "masks"), model.render(found, "masks")
    np.testing.assert_array_equal(pair[0][:, 0], pair[1][:, 0])
    display = DecompositionDisplay.from_estimator(model, X, max_layers=most)
    name = list(display.columns)[-1]
    assert name == title.replace("2", str(used))
    assert len(display.columns[name][0]) == min(most, used) < 4


def test_rows_of_all_panels_of_sprites_are_at_one_height(layered):
    display = SpriteDisplay.from_estimator(*layered, n_images=8).plot()
    display.figure_.canvas.draw()
    assert np.ptp([rows_of(axis) for axis in display.axes_], axis=0).max() < 1


def test_sprites_of_scenes_are_named_by_index_and_number_of_layers(decomposed):
    X = small_bytes(decomposed)
    display = DecompositionDisplay.from_estimator(decomposed, X).plot()
    names = [text.get_text() for text in display.axes_[0].texts]
    assert names == [f"{k} (n={n})" for k, n in enumerate(decomposed.counts_)]


@pytest.mark.parametrize("kind", KINDS)
def test_tensors_are_shown_like_arrays(kind, request):
    model = request.getfixturevalue(KINDS[kind])
    X = small_bytes(model).astype(np.float32)
    expected = shown(kind.from_estimator(model, X))
    for tensor in (
        torch.from_numpy(X.copy()).requires_grad_(),
        torch.from_numpy(X).bfloat16(),
    ):
        drawn = shown(kind.from_estimator(model, tensor))
        assert np.array_equal(drawn, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_pillow_images_with_a_palette_are_shown_in_their_colors(kind):
    X = 17 * np.random.default_rng(0).integers(0, 16, (12, 16, 16, 3)).astype(np.uint8)
    pictures = [Image.fromarray(x).convert("P") for x in X]
    colors = np.stack([np.asarray(each.convert("RGB")) for each in pictures])
    make = scenes.make_decomposition if kind is DecompositionDisplay else make_model
    quick = {"max_rounds": 1} if kind is DecompositionDisplay else QUICK
    model = make(2, **quick).fit(pictures)
    expected = shown(kind.from_estimator(model, colors))
    assert np.array_equal(shown(kind.from_estimator(model, pictures)), expected)


@pytest.mark.filterwarnings("error:X does not have valid feature names")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_are_shown_without_a_warning(kind, library, request):
    frame = pytest.importorskip(library).DataFrame
    model = request.getfixturevalue(KINDS[kind])
    flat = small_bytes(model).reshape(12, -1)
    X = frame({f"p{i}": flat[:, i] for i in range(flat.shape[1])})
    named = clone(model).set_params(image_shape=model.image_shape_).fit(X)
    assert len(shown(kind.from_estimator(named, X))) > 0


@pytest.mark.parametrize("kind", KINDS)
def test_no_images_cannot_be_shown(kind, request):
    model = request.getfixturevalue(KINDS[kind])
    with pytest.raises(ValueError, match=r"Found array with 0 sample\(s\)"):
        kind.from_estimator(model, small_bytes(model)[:0])


@pytest.mark.parametrize("kind", KINDS)
def test_estimators_of_another_class_are_refused_by_name(kind, request):
    expected = "Layered" if kind is DecompositionDisplay else "SpriteClustering"
    other = "opaque" if kind is DecompositionDisplay else "decomposed"
    X = DIGITS.reshape(80, -1)
    for model in (KMeans(2, n_init=1).fit(X), request.getfixturevalue(other), None):
        message = f"must be a fitted {expected}.* class {type(model).__name__}"
        with pytest.raises(TypeError, match=message):
            kind.from_estimator(model, X)


def test_reconstruction_display_compares(opaque):
    rows = ReconstructionDisplay.from_estimator(opaque, DIGITS, n_images=5).plot().rows
    assert list(rows) == ["image", "reconstruction", "difference"]
    assert np.allclose(rows["image"][..., 0], DIGITS[8::16] / DIGITS.max())
    assert np.allclose(rows["difference"], abs(rows["image"] - rows["reconstruction"]))


def test_reconstruction_display_shows_the_foreground_over_a_background(layered):
    model, images = layered
    rows = ReconstructionDisplay.from_estimator(model, images, n_images=3).plot().rows
    assert np.allclose(rows["foreground"][..., 0], model.segment(images[4::8]))


@pytest.mark.parametrize("kind", [SpriteDisplay, ReconstructionDisplay])
def test_an_estimator_that_is_not_fitted_is_refused(kind):
    with pytest.raises(NotFittedError):
        kind.from_estimator(SpriteClustering(), DIGITS)


def test_without_matplotlib_the_error_says_what_to_install():
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "import numpy as np; from sklearn_sprites import ReconstructionDisplay\n"
        "pictures = np.zeros((1, 4, 4, 1))\n"
        "ReconstructionDisplay(rows={'image': pictures}).plot()"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[1],
    )
    assert "pip install matplotlib" in result.stderr
