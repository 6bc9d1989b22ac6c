"""Decompositions whose sprites have colors of their own."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sklearn_sprites import (
    ConstantSprites,
    Distilled,
    LayeredSpriteDecomposition,
    Regression,
)
from sklearn_sprites._engine.modules.turns import TURNS
from sklearn_sprites._engine.training.components import Windows
from sklearn_sprites._engine.training.own_colors import recur_in_colors
from sklearn_sprites._engine.training.turned_windows import (
    few_and_small,
    in_all_turns,
    left_in_turns,
)
from sklearn_sprites.datasets import (
    make_multi_dsprites,
    make_shaded_scenes,
    make_tetrominoes,
)
from sklearn_sprites.metrics import mean_class_accuracy
from tests import pictures
from tests.scenes import BRIEF, assert_same_layers, assert_same_scenes

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
SIDE, SMALL = 24, 7
GROUNDS = {"black": 0, "plain": 1, "picture": 1}
TILES = np.array([(0.5, 0.7, 1.0), (0.5, 0.3, 0.2), (0.1, 0.3, 0.1)])  # of a map


def flags():
    """Four flags of two colors each; two pairs differ in nothing else. (4, 7, 7, 4)."""
    sprites = np.zeros((4, SMALL, SMALL, 4))
    sprites[:2, 1:6, :, 3] = 1  # wide
    sprites[2:, :, 1:6, 3] = 1  # high
    first = [(0.9, 0.2, 0.1), (0.1, 0.3, 0.9), (0.9, 0.8, 0.1), (0.2, 0.8, 0.3)]
    second = [(0.9, 0.9, 0.9), (0.9, 0.9, 0.2), (0.6, 0.1, 0.6), (0.9, 0.5, 0.1)]
    for k in range(4):
        sprites[k, :4, :, :3], sprites[k, 4:, :, :3] = first[k], second[k]
    sprites[..., :3] *= sprites[..., 3:]
    return sprites


def make_discs(n=160, side=32, seed=0):
    """Antialiased discs and squares on white, each of one color."""
    draws = np.random.default_rng(seed)
    colors = np.array([(230, 60, 60), (60, 200, 80), (70, 90, 230)]) / 255
    y, x = np.mgrid[:side, :side]
    images = np.ones((n, side, side, 3))
    for image in images:
        for half in (0, 1):  # one in each half, so that they stand alone
            row, column = draws.uniform(6, 26), draws.uniform(6, 10) + 16 * half
            far = np.abs(np.stack([y - row, x - column]))
            away = far.max(0) if draws.integers(2) else np.hypot(*far)
            alpha = (5 - away).clip(0, 1)[..., None]
            image[:] = (1 - alpha) * image + alpha * colors[draws.integers(3)]
    return images


def test_edges_of_things_in_one_color_are_no_second_color():
    model = LayeredSpriteDecomposition(2, n_layers=2, n_backgrounds=1, max_rounds=1)
    X = make_discs()
    for images in (X, (255 * X).round().astype(np.uint8)):
        found = model.fit(images).resolved_params_
        assert found["color"] == "flat"
        assert found["background"] == "flat"
        assert len(found["sprite_size"]) == 2


def cut_out(change, n=80, seed=0):
    """Windows (n, 3, 7, 7) of flags that stand alone, over tiles of three colors."""
    draws = np.random.default_rng(seed)
    sprites = flags()[draws.integers(4, size=n)]
    alpha, ink = sprites[..., 3:], change(sprites[..., :3], draws)
    above, below = TILES[draws.integers(3, size=(2, n))]
    ground = np.repeat(above[:, None, None], SMALL, 1).repeat(SMALL, 2)
    ground[:, 4:] = below[:, None, None]
    image = ground * (1 - alpha) + ink * alpha
    image += draws.normal(0, 0.01, image.shape)
    parts = (x.transpose(0, 3, 1, 2) for x in (image, ground, alpha))
    image, ground, mask = (torch.from_numpy(np.ascontiguousarray(x)) for x in parts)
    return Windows(image.float(), ground.float(), mask[:, 0].float())


def as_they_are(ink, draws):
    return ink


def tinted(ink, draws):
    return ink * draws.uniform(0.2, 1, (len(ink), 1, 1, 3))


def of_one_color(ink, draws):
    return 0 * ink + TILES[draws.integers(3, size=len(ink))][:, None, None] / 2


@pytest.mark.parametrize(
    ("change", "recurs"), [(as_they_are, True), (tinted, False), (of_one_color, False)]
)
def test_colors_are_seen_to_recur_before_a_ground_of_many_colors(change, recurs):
    spec = SimpleNamespace(channels=3, n_sprites=4)
    look = SimpleNamespace(windows=cut_out(change), spec=spec)
    assert recur_in_colors(look) == recurs


def tablets(turned, n=120, side=15):
    """Three kinds of two-colored rings, and discs of two halves, maybe turned."""
    draws = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    far = np.hypot(x, y)
    first = np.array([(0.9, 0.2, 0.1), (0.1, 0.3, 0.9), (0.2, 0.7, 0.3), (0.9, 0.5, 0)])
    second = np.array([(0.9, 0.9, 0.9), (0.9, 0.8, 0), (0.6, 0.1, 0.6), (0, 0.1, 0.4)])
    image = np.full((n, side, side, 3), 0.5)
    for picture, kind in zip(image, draws.integers(4, size=n), strict=True):
        angle = draws.uniform(0, 2 * np.pi) * turned
        half = x * np.cos(angle) + y * np.sin(angle) > 0
        inner = (half if kind == 3 else far < 3.5)[..., None]
        drawn = np.where(inner, second[kind], first[kind])
        picture[far < 6.5] = drawn[far < 6.5]
    image += draws.normal(0, 0.01, image.shape)
    image = torch.from_numpy(image.transpose(0, 3, 1, 2).copy()).float()
    mask = torch.from_numpy(far < 6.5).float().expand(n, -1, -1)
    return Windows(image, torch.full_like(image, 0.5), mask)


@pytest.mark.parametrize("turned", [False, True])
def test_colors_are_not_own_where_a_kind_is_turned(turned):
    spec = SimpleNamespace(channels=3, n_sprites=4)
    look = SimpleNamespace(windows=tablets(turned), spec=spec)
    assert recur_in_colors(look) != turned


def test_pictures_that_are_each_others_turns_leave_nothing():
    draws = torch.Generator().manual_seed(0)
    kinds = torch.rand(2, 3, 9, 9, generator=draws)
    windows = torch.cat([kinds.rot90(turn, (2, 3)) for turn in range(4)])
    left = left_in_turns(windows, 2, draws)
    torch.testing.assert_close(left, torch.zeros(8), rtol=0, atol=1e-3)
    assert left_in_turns(windows, 1, draws).sum() > 10
    wide = torch.rand(3, 1, 6, 11, generator=draws)
    first, *_, half = in_all_turns(wide)[:, : TURNS // 2 + 1].unbind(1)
    torch.testing.assert_close(first, wide, rtol=0, atol=1e-5)
    torch.testing.assert_close(half, wide.flip(2, 3), rtol=0, atol=1e-5)


def test_few_and_small_windows_tell_enough():
    image, mask = torch.rand(501, 2, 64, 40), torch.rand(501, 64, 40)
    found = few_and_small(Windows(image, image, mask))
    assert found.image.shape == found.ground.shape == (167, 2, 32, 20)
    assert found.mask.shape == (167, 32, 20)
    small = Windows(
        image[:9, :, :30, :20], image[:9, :, 30:60, :20], mask[:9, :30, :20]
    )
    for part, other in zip(few_and_small(small), small, strict=True):
        assert torch.equal(part, other)


def make_flags(ground, n=120, n_objects=3, seed=0):
    """Flags that may hide each other: images and classes."""
    draws, sprites = np.random.default_rng(seed), flags()
    behind = np.zeros((SIDE, SIDE, 3))
    if ground == "plain":
        behind += np.array([0.3, 0.35, 0.25])
    if ground in ("picture", "faint picture"):
        most = 0.7 if ground == "picture" else 0.2
        coarse = draws.uniform(0.1, most, (6, 6, 3))
        behind = np.kron(coarse, np.ones((4, 4, 1)))
    images = np.repeat(behind[None], n, 0)
    classes = np.zeros((n, SIDE, SIDE), np.int64)
    for i in range(n):
        for _ in range(draws.integers(1, n_objects + 1)):
            k = draws.integers(4)
            y, x = draws.integers(0, SIDE - SMALL + 1, 2)
            window = i, slice(y, y + SMALL), slice(x, x + SMALL)
            alpha = sprites[k, ..., 3:]
            images[window] = images[window] * (1 - alpha) + sprites[k, ..., :3]
            classes[window][alpha[..., 0] > 0] = k + 1
    return images, classes


def make_model(ground, **params):
    params = {
        "n_layers": 3,
        "n_backgrounds": GROUNDS[ground],
        "sprite_size": 9,
        "color": "own",
        "random_state": 0,
        "device": pictures.DEVICE,
        **params,
    }
    return LayeredSpriteDecomposition(4, **params)


@pytest.fixture(scope="module", params=GROUNDS)
def fitted(request):
    images, classes = make_flags(request.param)
    return make_model(request.param).fit(images), images, classes


def test_kinds_are_told_by_their_colors(fitted):
    model, images, classes = fitted
    found = model.predict_semantic(images)
    assert mean_class_accuracy(classes, found) > 0.95
    assert np.mean((images - model.reconstruct(images)) ** 2) < 5e-4


def test_sprites_are_the_things_in_their_colors(fitted):
    model, _, _ = fitted
    wanted = np.pad(flags(), ((0, 0), (1, 1), (1, 1), (0, 0)))
    inks = model.sprites_[..., :3] * model.sprites_[..., 3:]
    missed = np.abs(inks[:, None] - wanted[None, ..., :3]).mean((2, 3, 4))
    nearest = missed.argmin(1)
    assert sorted(nearest) == [0, 1, 2, 3]
    assert missed.min(1).max() < 0.02
    apart = np.abs(model.sprites_[..., 3] - wanted[nearest, ..., 3]).mean()
    assert apart < 0.03


def test_colors_are_left_as_they_are(fitted):
    model, images, _ = fitted
    found = model.decompose(images[:5])
    assert (found.gain[found.shown] == 1).all()
    assert not found.bias[found.shown].any()
    palette = model.transform(images[:5])
    named = list(model.get_feature_names_out())
    column = palette[:, named.index("layer0_color0")]
    np.testing.assert_allclose(column, found.palette[found.sprite[:, 0], 0])


def test_layers_can_be_moved_and_recolored(fitted):
    model, images, _ = fitted
    found = model.decompose(images[:4])
    drawn = model.render(found)
    np.testing.assert_allclose(drawn, model.reconstruct(images[:4]))
    error = ((drawn - images[:4]) ** 2).sum((1, 2, 3))
    np.testing.assert_allclose(error, found.error, atol=1e-4, rtol=1e-3)
    gain = found.gain.copy()
    gain[:, 0] = 0.5
    seen = model.render(found, "visible")[:, 0] > 0.99
    darker = model.render(found.replace(gain=gain))
    solid = seen & (model.render(found, "masks")[:, 0] > 0.999)
    assert solid.any()
    np.testing.assert_allclose(darker[solid], 0.5 * drawn[solid], atol=1e-3)


def test_another_sprite_shows_in_colors_of_its_own(fitted):
    model, images, _ = fitted
    found = model.decompose(images)
    other = (found.sprite[:, :1] + 1) % 4
    swapped = found.swap_sprite(0, other)
    assert (swapped.gain[found.shown] == 1).all()
    alone = swapped.drop([1, 2]).replace(x=12.5, y=12.5)[:1]
    drawn = model.render(alone)[0]
    sprite = model.sprites_[other[0, 0]]
    middle = drawn[8:17, 8:17]
    solid = sprite[..., 3] > 0.999
    np.testing.assert_allclose(middle[solid], sprite[solid][:, :3], atol=2e-3)


def test_the_same_bits_alone_and_in_any_order(fitted):
    model, images, _ = fitted
    whole = model.decompose(images)
    for rows in ([17, 3, 90], [17]):
        assert_same_layers(model.decompose(images[rows]), whole[rows])


def test_fitting_again_gives_the_same_bits():
    images, _ = make_flags("plain", n=60)
    one, other = (make_model("plain", max_rounds=3).fit(images) for _ in range(2))
    assert_same_scenes(one, other)


def test_bytes_are_as_good_as_floats():
    images, classes = make_flags("plain", n=60)
    model = make_model("plain").fit((255 * images).astype(np.uint8))
    assert model.sprites_[..., :3].max() > 200
    found = model.predict_semantic((255 * images).astype(np.uint8))
    assert mean_class_accuracy(classes, found) > 0.9


def test_a_fit_goes_on_and_begins_with_given_sprites():
    images, _ = make_flags("plain", n=60)
    given = np.pad(flags(), ((0, 0), (1, 1), (1, 1), (0, 0)))
    model = make_model("plain", init=given, max_rounds=1, warm_start=True).fit(images)
    assert model.loss_curve_[0] < 1e-3
    assert model.inertia_ < 1e-6
    model.fit(images)
    assert model.inertia_ < 1e-6


def test_gray_images_have_sprites_in_gray():
    images, classes = make_flags("plain", n=80)
    gray = images.mean(3)
    model = make_model("plain").fit(gray)
    assert model.sprites_.shape == (4, 9, 9, 2)
    assert mean_class_accuracy(classes, model.predict_semantic(gray)) > 0.9


def test_a_picture_with_a_lamp_and_shadows_can_be_decomposed():
    scenes = make_shaded_scenes(30, random_state=0)
    model = make_model("picture", max_rounds=2, sprite_size=16, n_layers=2)
    found = model.fit(scenes.images).decompose(scenes.images)
    assert np.isfinite(found.error).all()


@pytest.mark.parametrize(
    "images", [np.zeros((5, 12, 12, 3)), np.full((1, 12, 12, 3), 0.5)]
)
@pytest.mark.filterwarnings("ignore::sklearn_sprites.exceptions.ClusterCollapseWarning")
@pytest.mark.parametrize("n_backgrounds", [0, 1])
def test_images_without_anything(images, n_backgrounds):
    model = make_model("plain", n_backgrounds=n_backgrounds, max_rounds=2).fit(images)
    found = model.predict(images)
    assert found.shape == images.shape[:3]
    if n_backgrounds:
        assert not found.any()


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"transformations": ("scale",)}, "transformations="),
        ({"transformations": ("similarity",)}, "transformations="),
        ({"localizer": "regression"}, "localizer='regression'"),
        ({"localizer": Regression()}, "localizer=Regression"),
        ({"localizer": Distilled()}, "localizer=Distilled"),
        ({"sprite_update": "gradient"}, "sprite_update='gradient'"),
        ({"order": "depth"}, "order='depth'"),
    ],
)
def test_what_does_not_go_with_own_colors_is_refused(params, told):
    images, _ = make_flags("plain", n=8)
    with pytest.raises(ValueError, match="color='own'") as error:
        make_model("plain", **params).fit(images)
    assert told in str(error.value)


@pytest.mark.parametrize("ground", ["black", "plain"])
def test_own_colors_are_chosen_where_things_in_several_colors_recur(ground):
    images, classes = (twice(maps) for maps in make_flags(ground, n=100))
    model = make_model(ground, color="auto", sprite_size=18).fit(images)
    found = model.decompose(images)
    assert (found.gain[found.shown] == 1).all()
    assert mean_class_accuracy(classes, model.predict_semantic(images)) > 0.9


def twice(maps):
    """Images or maps twice as large; smaller things do not decide about colors."""
    return maps.repeat(2, 1).repeat(2, 2)


def colors_of(images, **params):
    """The colors that "auto" stands for."""
    params = {"n_layers": 2, "max_rounds": 1, "random_state": 0, **params}
    params.setdefault("localizer", BRIEF)
    model = LayeredSpriteDecomposition(3, **params).fit(images[:60])
    return model._scene_spec().color


def test_colors_are_not_own_where_they_vary_or_things_have_one():
    pieces = make_tetrominoes(60, random_state=0).images
    assert colors_of(pieces) == "gain"
    shapes = make_multi_dsprites(60, size=32, random_state=0).images
    assert colors_of(shapes, n_backgrounds=1) == "flat"
    images = twice(make_flags("plain", n_objects=1)[0])
    draws = np.random.default_rng(0)
    tinted = images * draws.uniform(0.2, 1, (len(images), 1, 1, 3))
    assert colors_of(tinted, n_backgrounds=1) == "flat"
    assert colors_of(images.mean(3), n_backgrounds=1) == "flat"  # gray
    shaded = make_shaded_scenes(60, size=32, random_state=0).images
    assert colors_of(shaded, n_backgrounds=1) == "gain"
    several = colors_of(images, n_backgrounds=2, background="image", transformations=())
    assert several == "gain"


def test_own_colors_are_chosen_over_a_picture():
    """A picture that does not look like parts of what stands before it."""
    images = twice(make_flags("faint picture", n_objects=1)[0])
    assert colors_of(images, n_backgrounds=1, background="image") == "own"


def test_noise_does_not_hide_that_things_recur():
    images = twice(make_flags("plain", n_objects=1)[0])
    noise = np.random.default_rng(0).normal(0, 0.04, images.shape)
    assert colors_of(images + noise, n_backgrounds=1) == "own"


@pytest.mark.parametrize("case", ["black and white", "between pixels"])
def test_own_colors_are_chosen_for_other_things_that_recur(case):
    images, classes = (twice(maps) for maps in make_flags("plain", n_objects=1))
    if case == "black and white":
        images = np.repeat((images.mean(3, keepdims=True) > 0.55) * 1.0, 3, 3)
        images[classes == 0] = 0.5
    else:
        half = np.random.default_rng(0).integers(2, size=len(images))
        moved = (images + np.roll(images, 1, 1)) / 2
        images = np.where(half[:, None, None, None], moved, images)
    assert colors_of(images, n_backgrounds=1) == "own"


@pytest.mark.parametrize(
    "params",
    [
        {"transformations": ("similarity",)},
        {"order": "depth"},
        {"sprite_update": "gradient"},
        {"localizer": Regression(batch_size=30), "init": ConstantSprites()},
    ],
)
def test_colors_are_not_own_where_that_does_not_go_with_the_rest(params):
    images = twice(make_flags("plain", n_objects=1)[0])
    assert colors_of(images, n_backgrounds=1, **params) == "flat"


def test_a_warm_start_keeps_the_colors_that_were_chosen():
    images = twice(make_flags("plain", n=100)[0])
    model = make_model(
        "plain", color="auto", warm_start=True, max_rounds=1, sprite_size=18
    )
    model.fit(images).fit(images[:5])  # too few to tell
    assert model._scene_spec().color == "own"
