"""Images drawn by hand from the published attributes alone, as documented."""

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from tests import oracles
from tests.pictures import QUICK, make_model, make_pictures

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
SIZE = (9, 13)  # no powers of two, not square


def matrix_of(name, p, aspect):
    """The 2 x 3 matrix that a warp adds to the identity, by the documented table."""
    if name == "affine":
        return p.reshape(2, 3)
    if name == "translation":
        return np.array([[0, 0, p[0]], [0, 0, p[1]]])
    if name == "position":
        grow = np.exp(p[0]) - 1
        return np.array([[grow, 0, p[1]], [0, grow, p[2]]])
    if name == "rotation":
        a, b, shift = np.cos(p[0]) - 1, np.sin(p[0]), (0, 0)
    else:
        a, b, *shift = p
    return np.array([[a, -b / aspect, shift[0]], [b * aspect, a, shift[1]]])


def warped(sprite, matrix, mode):
    """A sprite (H, W, D) as seen through an affine map of the image's points."""
    height, width = sprite.shape[:2]
    y, x = np.indices((height, width)) + 0.5
    points = np.stack([2 * x / width - 1, 2 * y / height - 1, np.ones_like(x)])
    looks = np.tensordot(matrix + np.eye(2, 3), points, axes=1)
    at = [(looks[1] + 1) * height / 2 - 0.5, (looks[0] + 1) * width / 2 - 0.5]
    planes = np.moveaxis(sprite, -1, 0)
    drawn = [map_coordinates(plane, at, order=1, mode=mode) for plane in planes]
    return np.stack(drawn, -1)


def redraw(model, i, scale):
    """Image i of the training set, in the units of X, from attributes alone."""
    channels = model.image_shape_[-1]
    params = {name: p[i] for name, p in model.transformation_params_.items()}
    layered = len(model.backgrounds_) > 0
    mode = "grid-constant" if layered else "nearest"
    sprite = place(
        model.sprites_[model.labels_[i]], model.transformations, params, mode
    )
    front = recolored(sprite[..., :channels], color_among(params), scale)
    if not layered:
        return front
    behind = {n.removeprefix("background_"): p for n, p in params.items() if "_" in n}
    back = model.backgrounds_[params["background"][0]]
    back = place(back, model.background_transformations, behind, "nearest")
    back = recolored(back, color_among(behind), scale)
    alpha = sprite[..., channels:]
    return alpha * front + (1 - alpha) * back


def place(image, names, params, mode):
    """An image after its warps."""
    for name in names:
        if name not in ("color", "light"):
            aspect = image.shape[1] / image.shape[0]
            image = warped(image, matrix_of(name, params[name], aspect), mode)
    return image


def color_among(params):
    return params.get("color", params.get("light"))


def recolored(image, params, scale):
    if params is None:
        return image
    gain, bias = params.reshape(-1, 2).T
    return (1 + gain) * image + bias * scale


@pytest.mark.parametrize("n_backgrounds", [0, 1])
@pytest.mark.parametrize(
    "transformations",
    [
        ("affine",),
        ("translation",),
        ("position",),
        ("rotation",),
        ("similarity",),
        ("color", "affine"),
        ("light", "affine"),
    ],
)
def test_an_image_is_redrawn_from_its_parameters(transformations, n_backgrounds):
    X, _ = make_pictures(height=SIZE[0], width=SIZE[1], channels=3)
    model = make_model(
        **{**QUICK, "max_epochs": 3, "learning_rate": 1e-2},
        curriculum="all_at_once",
        transformations=transformations,
        background_transformations=transformations,
        n_backgrounds=n_backgrounds,
    ).fit(X)
    params = model.transformation_params_[transformations[-1]]
    i = np.abs(params).max(1).argmax()
    assert np.abs(params[i]).max() > 1e-3
    drawn = model.reconstruct(X[i][None])[0]
    np.testing.assert_allclose(redraw(model, i, 1), drawn, atol=1e-4)


@pytest.mark.parametrize("color", ["solve", "predict"])
def test_colors_act_last_wherever_their_name_stands(color):
    X, _ = make_pictures(height=SIZE[0], width=SIZE[1])
    model = make_model(
        **{**QUICK, "max_epochs": 3, "learning_rate": 1e-2},
        curriculum="all_at_once",
        transformations=("color", "morphological"),
        color=color,
    ).fit(X)
    params = {name: p[:1] for name, p in model.transformation_params_.items()}
    assert np.abs(params["morphological"]).max() > 1e-3
    sprite = torch.tensor(model.sprites_[model.labels_[:1]]).movedim(-1, 1)
    bent = oracles.morphological(sprite, torch.tensor(params["morphological"]), 7)
    drawn = recolored(bent.movedim(1, -1)[0].numpy(), params["color"][0], 1)
    np.testing.assert_allclose(drawn, model.reconstruct(X[:1])[0], atol=1e-4)


@pytest.mark.parametrize(
    ("color", "n_backgrounds"), [("solve", 0), ("predict", 0), ("solve", 1)]
)
def test_growth_comes_after_warps_and_before_colors(color, n_backgrounds):
    X, _ = make_pictures(height=SIZE[0], width=SIZE[1], channels=3)
    model = make_model(
        **{**QUICK, "max_epochs": 3, "learning_rate": 1e-2},
        curriculum="all_at_once",
        transformations=("color", "thickness", "translation"),
        background_transformations=(),
        color=color,
        n_backgrounds=n_backgrounds,
    ).fit(X)
    order = ["translation", "thickness", "color", "background"]
    params = model.transformation_params_
    assert list(params) == order[: 3 + n_backgrounds]
    i = abs(params["thickness"][:, 0]).argmax()
    assert abs(params["thickness"][i, 0]) > 1e-3
    matrix = matrix_of("translation", params["translation"][i], SIZE[1] / SIZE[0])
    mode = "grid-constant" if n_backgrounds else "nearest"
    placed = warped(model.sprites_[model.labels_[i]], matrix, mode)
    slope = oracles.slopes(torch.tensor(placed).movedim(-1, 0), 1).movedim(0, -1)
    grown = placed + params["thickness"][i] * slope.numpy()
    drawn = recolored(grown[..., :3], params["color"][i], 1)
    if n_backgrounds:
        alpha = np.stack([float(oracles.softclip(a)) for a in grown[..., 3].flat])
        alpha = alpha.reshape(*SIZE, 1)
        drawn = alpha * drawn + (1 - alpha) * model.backgrounds_[0]
    np.testing.assert_allclose(drawn, model.reconstruct(X[i][None])[0], atol=1e-4)


@pytest.mark.parametrize(
    "names", [("color", "linear_color"), ("light", "color"), ("affine",) * 2]
)
def test_names_that_stand_in_each_others_way_are_refused(names):
    X, _ = make_pictures()
    for option in ("transformations", "background_transformations"):
        with pytest.raises(ValueError, match=f"{option}=.*give one of them, once"):
            make_model(**QUICK, n_backgrounds=1, **{option: names}).fit(X)


def test_parameters_act_on_scaled_images():
    X, _ = make_pictures(height=SIZE[0], width=SIZE[1], channels=3)
    X = np.rint(255 * X).astype(np.uint8)
    model = make_model(**QUICK, transformations=("color", "translation")).fit(X)
    drawn = model.reconstruct(X[:1])[0]
    np.testing.assert_allclose(redraw(model, 0, 255), drawn, atol=0.05)


@pytest.mark.parametrize("axis", [0, 1])
def test_s11_a_shift_by_one_pixel_is_one_pixel_on_both_axes(axis):
    """Images that are not square: a pixel is 2 / W wide and 2 / H high."""
    height, width = 12, 20
    y, x = np.indices((height, width))
    blob = np.exp(-((y - 5.5) ** 2 + (x - 9.5) ** 2) / 8)
    X = np.stack([np.roll(blob, s, axis) for s in (-1, 0, 1)] * 12)
    model = make_model(
        1,
        transformations=("translation",),
        max_epochs=10,
        batch_size=16,
        init=blob[None],
    ).fit(X)
    shift = model.transformation_params_["translation"][:3]
    along, across = shift[:, 1 - axis], shift[:, axis]
    pixel = 2 / (height, width)[axis]
    np.testing.assert_allclose(np.diff(along), -pixel, atol=0.25 * pixel)
    np.testing.assert_allclose(np.diff(across), 0, atol=0.25 * pixel)


def test_opacities_lie_between_nothing_and_everything():
    X, _ = make_pictures()
    params = {**QUICK, "max_epochs": 3, "learning_rate": 3e-2}
    model = make_model(**params, n_backgrounds=1).fit(X)
    alpha = model.sprites_[..., -1]
    assert (alpha.min(), alpha.max()) == (0, 1)
    segmented = make_model(**QUICK, n_backgrounds=1).fit(X).segment(X)
    assert segmented.shape == X.shape
    assert 0 <= segmented.min() < segmented.max() <= 1


def test_centered_images_are_redrawn_too():
    height, width = SIZE
    draws = np.random.default_rng(0)
    X = np.zeros((60, height, width))
    for i, (row, column) in enumerate(
        draws.integers(0, [height - 3, width - 3], (60, 2))
    ):
        X[i, row : row + 3, column : column + 3] = [[1, 1, 1], [1, 0, 0], [1, 0, i % 2]]
    model = make_model(2, transformations=("translation",), max_epochs=2).fit(X)
    params = {name: p[0] for name, p in model.transformation_params_.items()}
    right, down = np.rint(params["centering"] * [width, height] / 2).astype(int)
    assert max(abs(right), abs(down)) > 0
    matrix = matrix_of("translation", params["translation"], width / height)
    drawn = warped(model.sprites_[model.labels_[0]], matrix, "nearest")
    rows = (np.arange(height) - down).clip(0, height - 1)
    columns = (np.arange(width) - right).clip(0, width - 1)
    drawn = drawn[rows][:, columns]
    np.testing.assert_allclose(drawn, model.reconstruct(X[:1])[0], atol=1e-4)


@pytest.mark.parametrize("color", ["solve", "predict"])
def test_parameters_are_listed_in_the_order_of_application(color):
    X, _ = make_pictures(n=12, channels=3)
    model = make_model(
        2,
        n_backgrounds=1,
        transformations=("color", "thin_plate_spline", "affine"),
        background_transformations=("linear_color", "translation"),
        color=color,
        **QUICK,
    ).fit(X)
    behind = ["background", "background_translation", "background_linear_color"]
    expected = ["thin_plate_spline", "affine", "color", *behind]
    assert list(model.transformation_params_) == expected
