import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sklearn_sprites._engine.scene_spec import SceneSpec
from sklearn_sprites._engine.search.improve import improved
from sklearn_sprites._engine.search.layers import (
    Layers,
    Picture,
    Sprites,
    no_layers,
    picture,
    worth,
)
from sklearn_sprites._engine.search.patches import LITTLE, copies, unseen
from sklearn_sprites._engine.search.scene import Found, make_searcher, pruned
from sklearn_sprites._engine.search_settings import SearchPlan

SIDE = 12
GROUND = 0.2


@given(st.integers(0, 2**16))
def test_copies_are_of_one_sprite_in_one_place_and_save_less(number):
    draws = np.random.default_rng(number)
    sprite, on = draws.integers(2, size=(3, 4)), draws.integers(2, size=(3, 4))
    x, y = draws.integers(8, size=(2, 3, 4))
    saves = draws.integers(3, size=(3, 4)) * 1.0
    pose = np.stack([x, y, 0 * x, 0 * x], 2).astype(np.float32)
    layers = Layers(*map(torch.tensor, (sprite, pose, on * 1.0)), torch.zeros(3, 4, 4))
    told = copies(layers, torch.tensor(saves))
    for b, i in np.ndindex(3, 4):
        wanted = False
        for j in range(4):
            apart = max(abs(x[b, i] - x[b, j]), abs(y[b, i] - y[b, j]))
            better = (saves[b, j], -j) > (saves[b, i], -i)
            alike = sprite[b, i] == sprite[b, j] and apart <= 2
            wanted |= bool(alike and better and on[b, i] and on[b, j])
        assert bool(told[b, i]) == wanted


@pytest.mark.parametrize("color", ["flat", "gain", "gain_bias"])
@given(number=st.integers(0, 2**16))
def test_unseen_layers_would_not_pay_alone_and_save_little(color, number):
    draws = np.random.default_rng(number)
    b, n, c, penalty = 2, 3, 2, 4.0
    spec = SceneSpec(1, n, 1, c, SIDE, SIDE, 4, 4, ("translation",), color)
    drawn = draws.random((b, n, 1 if color == "flat" else 2, SIDE, SIDE))
    level = draws.random((b, 1, c))
    colors = level + draws.choice([0.0, 0.1, 0.5], (b, n, 1))
    biases = draws.normal(0, 0.3, (b, n, c)) if color == "gain_bias" else 0
    if color == "gain_bias":
        colors = draws.choice([0.0, 0.2], (b, n, 1)) * np.ones(c)
        biases = level - draws.choice([0.0, 0.1, 0.5], (b, n, 1))
    rows = [level, colors] + [biases] * (color == "gain_bias")
    saves = draws.choice([0.1, 1.0, 9.0], (b, n))
    found = Picture(
        torch.tensor(drawn),
        torch.zeros(b, n, n),
        torch.tensor(np.concatenate(rows, 1)),
        torch.zeros(b, c, SIDE, SIDE),
        torch.zeros(b),
    )
    told = unseen(found, torch.tensor(saves), penalty, spec).numpy()
    for i in range(b):
        pays = []
        for j in range(n):
            ink, alpha = drawn[i, j, 0], drawn[i, j, -1]
            behind = level[i, 0][:, None, None]
            alone = ink * colors[i, j][:, None, None] + (1 - alpha) * behind
            if color == "gain_bias":
                alone = alone + alpha * biases[i, j][:, None, None]
            pays.append(np.square(alone - behind).sum() > penalty)
        usual = saves[i][pays].mean() if any(pays) else 0
        wanted = ~np.array(pays) & (saves[i] < LITTLE * usual)
        assert told[i].tolist() == wanted.tolist()


SPEC = SceneSpec(1, 2, 1, 1, SIDE, SIDE, 8, 8, ("translation",), "flat")
PENALTY = 0.06


def trimmed(hidden: int) -> tuple[torch.Tensor, Picture]:
    """An image of a square, some of its pixels hidden by what looks like the ground."""
    square, front = np.zeros((2, SIDE, SIDE))
    square[2:10, 2:10] = 1
    front[2:10, 2:10].flat[:hidden] = 1
    image = GROUND + 0.7 * square * (1 - front)
    over = torch.tensor([[[0.0, 0.0], [1.0, 0.0]]])
    drawn = torch.tensor(np.stack([square, front])[None, :, None], dtype=torch.float32)
    images = torch.tensor(image[None, None], dtype=torch.float32)
    return images, picture(images, drawn, over, SPEC)


@pytest.mark.parametrize(("hidden", "wanted"), [(2, [False, True]), (32, [False] * 2)])
def test_what_trims_a_layer_a_little_is_no_object_what_hides_half_of_it_is(
    hidden, wanted
):
    images, found = trimmed(hidden)
    saves = worth(images, found, SPEC).saves
    assert (saves > PENALTY).all()
    assert unseen(found, saves, PENALTY, SPEC)[0].tolist() == wanted


@pytest.mark.parametrize(("hidden", "shown"), [(2, [1, 0]), (32, [1, 1])])
def test_what_nobody_sees_goes_in_the_end_only(hidden, shown):
    images, seen = trimmed(hidden)
    layers = no_layers(images, SPEC)
    layers = layers._replace(on=torch.ones_like(layers.on), over=seen.over)
    nothing = torch.zeros(1, 2)
    found = Found(layers, seen, nothing, nothing)
    sprites = Sprites(torch.ones(1, 1, 8, 8))
    search = SearchPlan(restarts=0)  # what was found stays as it is
    searcher = make_searcher(SPEC, search, PENALTY, sprites)
    assert pruned(images, found, searcher).layers.on[0].tolist() == [1, 1]
    assert improved(images, found, searcher, 1).layers.on[0].tolist() == shown


def test_on_black_nothing_is_told_by_its_color():
    spec = SceneSpec(1, 2, 0, 1, SIDE, SIDE, 4, 4)
    drawn = torch.zeros(1, 2, 2, SIDE, SIDE)
    blank = torch.zeros(1, 1, SIDE, SIDE)
    found = Picture(
        drawn, torch.zeros(1, 2, 2), torch.zeros(1, 2, 1), blank, torch.zeros(1)
    )
    assert not unseen(found, torch.zeros(1, 2), 1.0, spec).any()
