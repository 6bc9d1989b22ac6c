"""Pictures behind the layers: their light, shadows, and what they are learned from."""

import numpy as np
import pytest
import torch

from sklearn_sprites._engine.ops.ground import (
    DARKEST,
    RIDGE,
    fit_light,
    light_basis,
    lit,
    plain_light,
    shaded,
    solve_light,
)
from sklearn_sprites._engine.ops.layers import LINE
from sklearn_sprites._engine.runtime import generator
from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.ground import find_ground, make_views
from sklearn_sprites._engine.training.ground import choose_background, learn_pictures
from tests.oracles_scenes import lit_picture, shadowed, solved_light

SIDE = 24


def spec_of(m=1, kind="gain", channels=3):
    return SceneSpec(
        2, 2, m, channels, SIDE, SIDE, 8, 8, background_color=kind, color="flat"
    )


def picture_of(seed, channels=3):
    draws = torch.Generator().manual_seed(seed)
    rough = torch.rand(1, channels, 4, 4, generator=draws)
    fine = torch.nn.functional.interpolate(rough, SIDE, mode="bicubic")
    return 0.3 + 0.4 * fine[0].clamp(0, 1)


def lights(n, seed=0, channels=3, spread=0.08):
    draws = torch.Generator().manual_seed(seed)
    light = spread * torch.randn(n, channels, 6, generator=draws)
    light[..., 0] += 1
    return light


def with_objects(images, seed=0):
    """A square of another color in each image, covering a tenth of it."""
    images, draws = images.clone(), np.random.default_rng(seed)
    for image in images:
        y, x = draws.integers(0, SIDE - 8, 2)
        image[:, y : y + 8, x : x + 8] = torch.tensor(draws.random((3, 1, 1)))
    return images


def grounds(n, seeds=(0,), objects=True):
    pictures = torch.stack([picture_of(s) for s in seeds])
    which = torch.arange(n) % len(seeds)
    images = lit(pictures[which], lights(n))
    return (with_objects(images) if objects else images), pictures, which


def test_a_light_multiplies_a_picture_pixel_by_pixel():
    picture, light = picture_of(1)[None].double(), lights(1).double()
    expected = lit_picture(picture[0].numpy(), light[0].numpy())
    np.testing.assert_allclose(lit(picture, light)[0], expected, atol=1e-12)


def test_plain_light_changes_nothing():
    picture = picture_of(2)[None]
    assert torch.equal(lit(picture, plain_light(picture)), picture)
    assert torch.equal(light_basis(picture)[0], torch.ones(SIDE, SIDE))


def test_the_light_is_weighted_least_squares():
    images, pictures, _ = grounds(2)
    weight = torch.rand(2, SIDE, SIDE, generator=torch.Generator().manual_seed(3))
    terms = (pictures[:, :, None] * light_basis(images)).flatten(3).double()
    terms = terms.expand(2, -1, -1, -1)
    found = solve_light(images.double().flatten(2), terms, weight.flatten(1).double())
    for i in range(2):
        ridge = RIDGE * (float(weight[i].sum()) + LINE)
        each = images[i], pictures[0], weight[i]
        slow = solved_light(*(part.double().numpy() for part in each), ridge)
        np.testing.assert_allclose(found[i], slow, atol=1e-5)


def test_the_light_of_the_ground_is_found_beside_objects():
    images, pictures, _ = grounds(6)
    clean = grounds(6, objects=False)[0]
    every = pictures.expand(6, -1, -1, -1)
    assert (lit(every, fit_light(images, every)) - clean).abs().max() < 0.02


def test_a_ground_does_not_depend_on_other_images():
    images, pictures, _ = grounds(8)
    every = pictures.expand(8, -1, -1, -1)
    flipped = fit_light(images.flip(0), every).flip(0)
    assert torch.equal(fit_light(images, every), flipped)


def test_shadows_count_as_ground_and_objects_do_not():
    ground = picture_of(4)[None]
    images = ground.clone()
    images[..., :10, :] *= 0.9  # a shadow
    images[..., 14:, :] *= torch.tensor([0.4, 1.3, 0.2])[:, None, None]
    behind = shaded(images, ground)
    close = (behind - images).abs().amax(1)[0]
    assert close[:8].max() < 0.01  # but for the shadow's edge, sharper than they are
    assert close[12:13].max() < 0.01
    assert ((behind - images)[..., 14:, :].abs().amax(1) > 0.1).all()
    assert (behind <= ground + 1e-6).all()
    assert (behind >= DARKEST * ground - 1e-6).all()
    torch.testing.assert_close(behind[0], shadowed(images[0], ground[0], DARKEST))


def test_the_outline_of_an_object_is_no_shadow():
    ground = torch.full((1, 3, SIDE, SIDE), 0.6)
    share = torch.zeros(SIDE, SIDE)
    share[8:16, 8:16] = 1
    share[8:16, 7] = 0.4  # mixed pixels
    tint = torch.tensor([0.5, 0.1, 0.1])[:, None, None]
    images = (1 - share) * ground + share * tint
    seen = (images - shaded(images, ground)).square().sum(1)
    sharp = (images - ground).square().sum(1)
    assert (seen >= 0.8 * sharp)[0, 8:16, 7].all()


def test_each_image_shows_the_picture_that_explains_most_of_it():
    images, pictures, which = grounds(8, seeds=(0, 5))
    found = find_ground(images, pictures, spec_of(2))
    assert torch.equal(found.picture, which)
    still = find_ground(images, pictures, spec_of(2, "image"))
    assert torch.equal(still.light, plain_light(images))


@pytest.mark.parametrize("seeds", [(0,), (0, 5)])
def test_pictures_are_learned_from_scenes(seeds):
    images, _, which = grounds(40, seeds)
    draws = generator(np.random.SeedSequence(0), "cpu")
    learned = learn_pictures(images, spec_of(len(seeds)), draws)
    found = find_ground(images, learned, spec_of(len(seeds)))
    clean = grounds(40, seeds, objects=False)[0]
    assert (found.drawn - clean).abs().mean() < 0.01
    groups = [set(found.picture[which == w].tolist()) for w in which.unique()]
    assert set.intersection(*groups) == set() or len(groups) == 1


def test_views_hold_the_image_and_what_lies_behind():
    images, pictures, _ = grounds(4)
    views = make_views(images, find_ground(images, pictures, spec_of()), spec_of())
    assert torch.equal(views[:, :3], images)
    clear = (views[:, 3:] - images).abs().amax(1) < 0.02
    assert clear.float().mean() > 0.8


@pytest.mark.parametrize("noise", [0.0, 0.03])
def test_the_kind_of_background_is_seen_in_images(noise):
    draws = np.random.default_rng(0)
    pictured = grounds(20)[0].numpy()
    level = with_objects(torch.rand(20, 1, 1, 1).expand(20, 3, SIDE, SIDE)).numpy()
    assert choose_background(pictured + noise * draws.normal(size=pictured.shape)) == (
        "gain"
    )
    assert choose_background(level + noise * draws.normal(size=level.shape)) == "flat"


@pytest.mark.parametrize("noise", [0.0, 0.03])
@pytest.mark.parametrize(
    ("case", "kind"),
    [
        ("lines", "gain"),
        ("lines that move", "flat"),
        ("always in the middle", "flat"),
        ("few images", "flat"),
    ],
)
def test_lines_on_a_plain_ground_are_a_picture(case, kind, noise):
    draws = np.random.default_rng(0)
    count = 8 if case == "few images" else 30
    images = with_objects(torch.full((count, 3, SIDE, SIDE), 0.8)).numpy()
    for image in images:
        if case == "always in the middle":
            image[:, SIDE // 2 - 3 : SIDE // 2 + 3, SIDE // 2 - 3 : SIDE // 2 + 3] = 0.2
            continue
        start = draws.integers(8) if case == "lines that move" else 3
        image[:, start::8] = 0.4
    assert choose_background(images + noise * draws.normal(size=images.shape)) == kind
