"""What "auto" stands for, as images show."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, rotate

from sklearn_sprites import LayeredSpriteDecomposition
from tests.marks import quiet

pytestmark = quiet
SIDE = 32


def moved(n=50, seed=0, size=8, channels=1):
    """Two crosses and frames per image on gray, moved by whole pixels."""
    draws = np.random.default_rng(seed)
    cross, frame = np.zeros((2, size, size), bool)
    cross[size // 2 - 1 : size // 2 + 1] = cross[:, size // 2 - 1 : size // 2 + 1] = 1
    frame[:] = 1
    frame[3:-3, 3:-3] = 0
    images = np.full((n, SIDE, SIDE, channels), 0.5)
    for image in images:
        for half in (1, SIDE // 2):
            y = half + draws.integers(SIDE // 2 - size)
            x = 1 + draws.integers(SIDE - size - 1)
            shape = (cross, frame)[draws.integers(2)]
            image[y : y + size, x : x + size][shape] = 0.9
    return images


def turned(n=60, seed=0, angles=True):
    """Bars with a light half, before light from another side in each image."""
    draws = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    images = []
    for _ in range(n):
        way = draws.uniform(0, 2 * np.pi)
        slope = (np.cos(way) * (x - 16) + np.sin(way) * (y - 16)) / SIDE
        image = 0.7 * (1 + 0.3 * slope)
        for cy in (9, 23):
            cx, angle = draws.uniform(8, 24), draws.uniform(0, np.pi) * angles
            u = np.cos(angle) * (x - cx) + np.sin(angle) * (y - cy)
            v = np.cos(angle) * (y - cy) - np.sin(angle) * (x - cx)
            bar = (abs(u) < 6) & (abs(v) < 2)
            image[bar] = (draws.uniform(0.05, 0.2) + 0.3 * (u > 0))[bar]
        images.append(image)
    return np.stack(images)


def bars_on_black(angles, n=100, seed=0):
    """Two bars with a light half in each image, at angles drawn from some."""
    draws = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    images = np.zeros((n, SIDE, SIDE))
    for image in images:
        for cy in (8, 24):
            cx, angle = draws.uniform(8, 24), draws.choice(angles)
            u = np.cos(angle) * (x - cx) + np.sin(angle) * (y - cy)
            v = np.cos(angle) * (y - cy) - np.sin(angle) * (x - cx)
            bar = (6.5 - abs(u)).clip(0, 1) * (2.5 - abs(v)).clip(0, 1)
            image += bar * (0.5 + 0.4 * (u > 0))
    return images


def fitted(images, n_sprites=2, **params):
    params = {"n_layers": 2, "max_rounds": 1, "random_state": 0, **params}
    params = {"n_backgrounds": 1, "localizer": "search", **params}
    return LayeredSpriteDecomposition(n_sprites, **params).fit(images)


def test_sprites_that_are_only_moved_are_a_little_larger_than_what_recurs():
    model = fitted(moved(), transformations=("translation",))
    assert model.resolved_params_["sprite_size"] == (12, 12)
    assert model.sprites_.shape[1:3] == (12, 12)


@pytest.mark.parametrize(
    "params",
    [
        {"transformations": ("translation", "scale")},  # sizes are free
        {"transformations": ("translation",), "sprite_size": 16},
    ],
)
def test_other_sprites_have_half_the_side_of_images_or_the_size_given(params):
    model = fitted(moved(), **params)
    assert model.resolved_params_["sprite_size"] == (16, 16)


def test_on_black_sprites_have_most_of_the_side_of_images():
    model = fitted(moved(size=10) - 0.5, n_backgrounds=0)
    assert model.resolved_params_["sprite_size"] == (22, 22)


def test_on_black_sprites_are_smaller_where_all_that_recurs_is_small():
    images = moved(size=6, channels=3) - 0.5
    assert fitted(images, n_backgrounds=0).sprites_.shape[1:3] == (10, 10)


@pytest.mark.parametrize("angles", [True, False])
def test_layers_over_pictures_are_turned_where_things_lie_in_several_directions(angles):
    model = fitted(turned(angles=angles), 1)
    taken = model.resolved_params_
    assert taken["background"] == "gain"
    assert ("rotation" in taken["transformations"]) == angles


ALL_ANGLES = np.linspace(0, 2 * np.pi, 360)


@pytest.mark.parametrize("n_backgrounds", [1, 2])
@pytest.mark.parametrize("shades", [0.0, 0.4])
def test_things_of_one_color_over_pictures_are_masks(shades, n_backgrounds):
    images = moved(channels=3)
    draws = np.random.default_rng(1)
    grounds = np.kron(draws.uniform(0.1, 0.6, (2, 4, 4, 3)), np.ones((1, 8, 8, 1)))
    ground = grounds[np.arange(len(images)) % n_backgrounds]
    shown = 0.9 - shades * (np.arange(SIDE) % 4 < 2)[:, None]
    images = np.where(images == 0.5, ground, shown)
    found = fitted(images, n_backgrounds=n_backgrounds).resolved_params_
    assert found["background"] == "gain"
    assert found["color"] == ("gain" if shades else "flat")
    assert found["transformations"] == ("translation", "scale")


@pytest.mark.parametrize("is_turned", [True, False])
def test_masks_over_pictures_are_turned_unless_all_are_upright(is_turned):
    draws, side = np.random.default_rng(0), 15
    shapes = np.zeros((2, side, side), bool)
    shapes[0, 3:12, 6:9] = shapes[0, 3:6, 3:12] = True  # a T
    shapes[1, 4:11, 4:11] = shapes[1, 4:7, 11:13] = True  # a square with an ear
    ground = np.kron(draws.uniform(0.1, 0.6, (4, 4)), np.ones((10, 10)))
    images = np.repeat(ground[None], 60, 0)
    for image in images:
        for y in (2, 22):
            angle = draws.uniform(0, 360) * is_turned
            shape = rotate(shapes[draws.integers(2)] * 1.0, angle, reshape=False) > 0.5
            x = draws.integers(2, 24)
            image[y : y + side, x : x + side][shape] = draws.uniform(0.8, 1)
    found = fitted(images).resolved_params_
    assert (found["background"], found["color"]) == ("gain", "flat")
    assert ("rotation" in found["transformations"]) == is_turned


@pytest.mark.parametrize(
    ("angles", "is_turned"),
    [(ALL_ANGLES, True), (ALL_ANGLES[::90], False), ([0.0], False)],
    ids=["all", "quarters", "one"],
)
def test_layers_on_black_are_turned_where_things_lie_at_all_angles(angles, is_turned):
    model = fitted(bars_on_black(angles), n_backgrounds=0)
    assert ("rotation" in model.resolved_params_["transformations"]) == is_turned


@pytest.mark.parametrize(
    "params", [{"color": "own"}, {"transformations": ("translation",)}]
)
def test_layers_on_black_are_only_moved_where_that_is_asked_for(params):
    model = fitted(bars_on_black(ALL_ANGLES), n_backgrounds=0, **params)
    assert model.resolved_params_["transformations"] == ("translation",)


def soft_on_black(sizes, n=120, shades=0.0, seed=0):
    """Two discs or squares per image on black, of these radii, their edges soft."""
    draws = np.random.default_rng(seed)
    y, x = np.mgrid[:48, :48] + 0.5
    images = np.zeros((n, 48, 48))
    for image in images:
        for left in (12, 36):
            radius, middle = draws.uniform(*sizes), draws.uniform(11, 37)
            u, v = x - left - draws.uniform(-1, 1), y - middle
            shapes = np.hypot(u, v), np.maximum(abs(u), abs(v))
            alpha = (radius + 0.5 - shapes[draws.integers(2)]).clip(0, 1)
            image += alpha * draws.uniform(0.6, 1) * (1 - shades * (u > 0))
    return images


MOVED, SCALED = ("translation",), ("translation", "scale")


@pytest.mark.parametrize(
    ("images", "params", "poses", "color"),
    [
        (soft_on_black((7, 7)), {}, SCALED, "flat"),
        (soft_on_black((5, 9)), {}, SCALED, "flat"),
        (soft_on_black((5, 9), shades=0.5), {}, SCALED, "gain"),
        (soft_on_black((7, 7), shades=0.5), {}, MOVED, "gain"),
        (moved(size=10) - 0.5, {}, MOVED, "gain"),  # by whole pixels
        (soft_on_black((5, 9)), {"color": "gain"}, SCALED, "gain"),
        (soft_on_black((7, 7)), {"color": "flat"}, SCALED, "flat"),
        (soft_on_black((7, 7)), {"init": np.ones((2, 20, 20))}, MOVED, "gain"),
        (soft_on_black((5, 9)), {"transformations": MOVED}, MOVED, "gain"),
        (soft_on_black((5, 9)), {"transformations": ("position",)}, SCALED, "flat"),
        (soft_on_black((5, 9), n=8), {}, MOVED, "gain"),  # too few to tell
    ],
)
def test_things_on_black_are_scaled_and_masks_where_images_show_it(
    images, params, poses, color
):
    taken = fitted(images, n_backgrounds=0, **params).resolved_params_
    assert (taken["transformations"], taken["color"]) == (poses, color)


@pytest.mark.parametrize("n_kinds", [2, 160])
def test_things_on_black_that_are_never_alike_are_no_masks(n_kinds):
    draws = np.random.default_rng(0)
    fields = gaussian_filter(draws.normal(size=(n_kinds, 18, 18)), (0, 3, 3))
    y, x = np.mgrid[:18, :18] - 8.5
    fields = fields / fields.std() + 2 - np.hypot(y, x) / 3.5  # round, with soft edges
    blots = (2 * fields + 0.5).clip(0, 1)
    images = np.zeros((80, 48, 48))
    for k in range(160):
        left = 27 * (k % 2) + draws.integers(1, 3)
        images[k // 2, 15:33, left : left + 18] = 0.9 * blots[k % n_kinds]
    taken = fitted(images, n_backgrounds=0).resolved_params_
    assert taken["color"] == ("flat" if n_kinds == 2 else "gain")


def test_given_sprites_tell_their_size():
    params = {"transformations": ("translation",)}
    first = fitted(moved(size=8), **params)
    again = fitted(moved(size=12), init=first.sprites_, **params)
    assert again.resolved_params_["sprite_size"] == (12, 12)
    high = first.sprites_[:, 2:]
    model = fitted(moved(size=12), init=high, **params)
    assert model.resolved_params_["sprite_size"] == (10, 12)
    over = {"n_backgrounds": 2, "background": "image"}  # where nothing is judged
    model = fitted(moved(), init=high, **over, **params)
    assert model.resolved_params_["sprite_size"] == (10, 12)
    with pytest.raises(ValueError, match="init of shape"):
        fitted(moved(), init=np.ones((2, SIDE + 1, SIDE, 2)), **params)


def test_a_warm_start_goes_on_with_what_was_taken():
    params = {"transformations": ("translation",), "warm_start": True}
    model = fitted(moved(size=8), **params)
    taken = model.resolved_params_
    model.fit(moved(size=12, seed=1))
    again = model.resolved_params_
    assert again | {"penalty": taken["penalty"]} == taken
    assert again["penalty"] >= taken["penalty"] > 0  # sprites that fit badly: rough
    model.set_params(warm_start=False).fit(moved(size=12, seed=1))
    assert model.resolved_params_["sprite_size"] == (16, 16)


def test_a_warm_start_with_images_of_another_size_says_so():
    params = {"transformations": ("translation",), "warm_start": True}
    model = fitted(moved(size=8), **params)
    with pytest.raises(ValueError, match="height was 32 and is 8"):
        model.fit(moved()[:, :8, :8])
