"""Sprites in their own colors: exact search at every place and depth."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.batches import take
from sklearn_sprites._engine.search.layers import Sprites
from sklearn_sprites._engine.search.painted import (
    changes,
    composed,
    first_ground,
    make_kernels,
    ordered,
    redrawn,
    search_painted,
)
from sklearn_sprites._engine.search.painted_layers import painted_layers, paying
from sklearn_sprites._engine.search.scene import make_searcher
from sklearn_sprites._engine.search_settings import SearchPlan
from sklearn_sprites._engine.training.painted import (
    Seen,
    centered,
    fitted,
    observe,
    solved,
)
from tests.oracles_scenes import hides, painted_change
from tests.strategies import attack

PENALTY = 0.05


def some_planes(draws, k=3, h=4, w=5, channels=3):
    mask = torch.rand((k, 1, h, w), generator=draws)
    ink = torch.rand((k, channels, h, w), generator=draws) * mask
    return torch.cat([ink, mask], 1)


def opaque_planes():
    """Three small things in two colors each."""
    mask = torch.zeros(3, 1, 5, 5)
    mask[0, :, :, 1:4] = 1
    mask[1, :, 1:4] = 1
    mask[2, :, 1:4, 1:4] = 1
    color = torch.zeros(3, 3, 5, 5)
    color[:, 0, :3], color[:, 2, 3:] = 1, 0.8  # red above blue
    color[1] = color[1].flip(1)  # blue above red
    color[2, 1] = 0.9
    return torch.cat([color * mask, mask], 1)


def scenes(planes, level, n=6, n_layers=2, side=16, seed=0):
    """Images of sprites over a level, those with later numbers in front."""
    draws = torch.Generator().manual_seed(seed)
    spec = spec_of(planes, side, n_layers)
    images = torch.zeros(n, 3, side, side)
    shape = (n, n_layers)
    sprite = torch.randint(len(planes), shape, generator=draws)
    row = torch.randint(0, side - 4, shape, generator=draws)
    column = torch.randint(0, side - 4, shape, generator=draws)
    for i in range(n):
        image = torch.full((3, side, side), level)
        for k, y, x in zip(sprite[i], row[i], column[i], strict=True):
            window = image[:, y : y + 5, x : x + 5]
            window *= 1 - planes[k, -1:]
            window += planes[k, :-1]
        images[i] = image
    return images, spec


def spec_of(planes, side, n_layers, n_backgrounds=1):
    return SceneSpec(
        n_sprites=len(planes),
        n_layers=n_layers,
        n_backgrounds=n_backgrounds,
        channels=planes.shape[1] - 1,
        height=side,
        width=side,
        sprite_height=planes.shape[2],
        sprite_width=planes.shape[3],
        color="own",
    )


@attack
@given(seed=st.integers(0, 1000), sides=st.sampled_from([(7, 9), (6, 6), (9, 5)]))
def test_changes_are_those_of_every_place_tried(seed, sides):
    draws = torch.Generator().manual_seed(seed)
    planes = some_planes(draws)
    free = torch.rand((1, 1, *sides), generator=draws)
    behind, image = torch.rand((2, 1, 3, *sides), generator=draws)
    front = torch.rand((1, 3, *sides), generator=draws) * (1 - free)
    left = image - (front + free * behind)
    found = changes(free, behind, left, make_kernels(planes, *sides))
    maps = (image[0], front[0], free[0], behind[0])
    wanted = painted_change(*(part.double() for part in maps), planes.double())
    torch.testing.assert_close(found[0].double(), wanted, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("level", [0.0, 0.4])
def test_layers_are_found_exactly_where_they_are(level):
    planes = opaque_planes()
    images, spec = scenes(planes, level, n=20)
    kernels = make_kernels(planes, spec.height, spec.width)
    found = search_painted(images, kernels, spec, SearchPlan(), PENALTY)
    assert (found.error < 1e-3).float().mean() >= 0.9  # all but the most hidden
    shown = redrawn(found, planes, images)
    image = composed(shown.drawn, found.over, found.ground)
    error = (images - image).square().sum((1, 2, 3))
    torch.testing.assert_close(error, found.error, atol=1e-4, rtol=1e-4)


def test_a_layer_that_is_largely_hidden_is_found_behind():
    planes = opaque_planes()
    images, spec = scenes(planes, 0.3, n=1, n_layers=1, seed=3)
    image = torch.full_like(images, 0.3)
    for k, y, x in ((0, 4, 4), (2, 6, 6)):
        window = image[0, :, y : y + 5, x : x + 5]
        window *= 1 - planes[k, -1:]
        window += planes[k, :-1]
    spec = spec_of(planes, 16, 2)
    kernels = make_kernels(planes, 16, 16)
    found = search_painted(image, kernels, spec, SearchPlan(), PENALTY)
    places = {tuple(each) for each in torch.stack(found[:3], 2)[0].tolist()}
    assert places == {(0, 4, 4), (2, 6, 6)}
    first = int((found.sprite[0] == 2).nonzero())
    assert found.over[0, first, 1 - first] == 1
    assert found.over[0, 1 - first, first] == 0


@attack
@given(seed=st.integers(0, 1000))
def test_the_objective_never_rises(seed):
    draws = torch.Generator().manual_seed(seed)
    planes = some_planes(draws, h=5, w=5)
    spec = spec_of(planes, 12, 3)
    images = torch.rand((3, 3, 12, 12), generator=draws)
    kernels = make_kernels(planes, 12, 12)
    blank = (images - first_ground(images, spec)).square().sum((1, 2, 3))
    before = blank
    for sweeps in (1, 2, 3):
        search = SearchPlan(sweeps=sweeps, poor=0)
        found = search_painted(images, kernels, spec, search, PENALTY)
        now = found.error + PENALTY * found.on.sum(1)
        assert (now <= before * (1 + 1e-5)).all()
        before = now


def test_order_is_the_one_that_explains_the_image():
    planes = opaque_planes()
    drawn = torch.zeros(1, 2, 4, 9, 9)
    drawn[0, 0, :, :5, :5], drawn[0, 1, :, 2:7, 2:7] = planes[0], planes[2]
    ground = torch.full((1, 3, 9, 9), 0.2)
    for order in ((0, 1), (1, 0)):
        over = hides(order)[None].float()
        image = composed(drawn, over, ground)
        solved, error = ordered(image, drawn, over.transpose(1, 2), ground)
        assert torch.equal(solved, over)
        assert error < 1e-9


def test_layers_that_do_not_pay_are_dropped_worst_first():
    planes = opaque_planes()
    images, spec = scenes(planes, 0.4, n=8)
    kernels = make_kernels(planes, spec.height, spec.width)
    found = search_painted(images, kernels, spec, SearchPlan(), PENALTY)
    shown = redrawn(found, planes, images)
    kept, saves, share = paying(images, shown, PENALTY)
    assert torch.equal(kept.on, found.on)  # all pay
    assert (saves[kept.on > 0] > PENALTY).all()
    assert (share[kept.on > 0] > 0.2).all()
    none, saves, _ = paying(images, shown, 1e6)
    assert not none.on.any()
    assert not saves.any()
    empty = (images - none.ground).square().sum((1, 2, 3))
    torch.testing.assert_close(none.error, empty)


def test_images_are_searched_as_if_they_were_alone():
    planes = opaque_planes()
    images, spec = scenes(planes, 0.4, n=19, n_layers=3)
    searcher = make_searcher(spec, SearchPlan(), PENALTY, Sprites(planes))
    whole = painted_layers([images], searcher)
    for rows in (torch.tensor([4]), torch.tensor([18, 3, 7])):
        part, same = painted_layers([images[rows]], searcher), take(whole, rows)
        for one, other in zip(part.layers, same.layers, strict=True):
            assert torch.equal(one, other)
        assert torch.equal(part.picture.error, same.picture.error)
        assert torch.equal(part.saves, same.saves)


def test_what_changes_behind_a_sprite_tells_its_opacity():
    """Half a pixel that shows what is behind it, and half of it that does not."""
    draws = torch.Generator().manual_seed(0)
    behind = torch.rand((40, 3, 4, 4), generator=draws)
    mask = torch.full((1, 4, 4), 1.0)
    mask[:, :, 2:] = 0.5
    ink = 0.6 * mask.expand(3, -1, -1)
    shown = ink + (1 - mask) * behind
    seen = Seen(
        shown,
        behind,
        torch.ones(40, 4, 4),
        torch.zeros(40, dtype=torch.int64),
        torch.zeros(40, 1),
    )
    found = fitted(seen, torch.cat([ink, mask]))
    torch.testing.assert_close(found[-1], mask[0], atol=0.05, rtol=0)
    torch.testing.assert_close(found[:-1], ink, atol=0.05, rtol=0)


def faded_and_scenes():
    """A thing of 8 x 8 pixels in many colors, half seen through, and scenes of it."""
    draws = torch.Generator().manual_seed(0)
    mask = torch.zeros(1, 1, 12, 12)
    mask[:, :, 2:10, 2:10] = 1
    color = torch.rand((1, 3, 12, 12), generator=draws)
    opaque = torch.cat([color * mask, mask], 1)
    images = torch.full((24, 3, 32, 32), 0.6)
    for image in images:
        row, column = torch.randint(0, 20, (2,), generator=draws).tolist()
        window = image[:, row : row + 12, column : column + 12]
        window *= 1 - mask[0]
        window += opaque[0, :-1]
    return opaque, 0.5 * opaque, images


def test_a_faint_sprite_over_a_ground_of_one_color_becomes_opaque():
    opaque, planes, images = faded_and_scenes()
    spec = spec_of(opaque, 32, 4)
    for _ in range(2):
        seen, _ = observe(images, planes, spec, SearchPlan(), PENALTY)
        planes = solved(planes, seen)
    torch.testing.assert_close(planes, opaque, atol=0.05, rtol=0)


def are_beside(sprite, places, on, pixels):
    """Pairs of layers (B, L, L) that show one sprite as close as that."""
    near = (places[:, :, None] - places[:, None]).abs().amax(3) < pixels + 0.5
    shown = (on[:, :, None] > 0) & (on[:, None] > 0)
    pairs = near & shown & (sprite[:, :, None] == sprite[:, None])
    return pairs & torch.ones_like(pairs).tril(-1)


@attack
@given(seed=st.integers(0, 1000), sides=st.sampled_from([(8, 8), (5, 6), (4, 11)]))
def test_no_two_layers_show_a_sprite_at_about_the_same_place(seed, sides):
    draws = torch.Generator().manual_seed(seed)
    planes = 0.5 * some_planes(draws, k=2, h=sides[0], w=sides[1])
    spec = spec_of(planes, 14, 5)
    images = torch.rand((3, 3, 14, 14), generator=draws)
    kernels = make_kernels(planes, 14, 14)
    found = search_painted(images, kernels, spec, SearchPlan(poor=0), 0.0, apart=True)
    places = torch.stack([found.row, found.column], 2).float()
    assert not are_beside(found.sprite, places, found.on, 1).any()


def test_small_things_may_lie_beside_each_other():
    planes = opaque_planes()
    image = torch.full((1, 3, 16, 16), 0.3)
    for row, column in ((4, 4), (6, 6)):
        window = image[0, :, row : row + 5, column : column + 5]
        window *= 1 - planes[2, -1:]
        window += planes[2, :-1]
    kernels = make_kernels(planes, 16, 16)
    spec = spec_of(planes, 16, 2)
    found = search_painted(image, kernels, spec, SearchPlan(), PENALTY, apart=True)
    places = {tuple(each) for each in torch.stack(found[:3], 2)[0].tolist()}
    assert places == {(2, 4, 4), (2, 6, 6)}


def test_centering_moves_whole_pixels():
    planes = torch.zeros(1, 4, 8, 8)
    planes[0, :, 5:8, 1:3] = 0.7
    moved = centered(planes)
    assert moved.sum() == planes.sum()
    where = (moved[0, -1] > 0).nonzero()
    assert where.min(0).values.tolist() == [2, 3]
    assert torch.equal(centered(moved), moved)
