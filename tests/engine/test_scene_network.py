"""Networks that guess layers: shapes, gradients, the identity, independent rows."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sklearn_sprites._engine.attention_settings import Attention
from sklearn_sprites._engine.models.scene_build import (
    arrays_of,
    build_localizer,
    with_arrays,
)
from sklearn_sprites._engine.models.scene_network import SceneNetwork
from sklearn_sprites._engine.modules.attention import attention, positions
from sklearn_sprites._engine.modules.maps import build_maps
from sklearn_sprites._engine.regression_settings import Regression
from sklearn_sprites._engine.scene_spec import SceneSpec
from tests.strategies import attack

SIZES = {
    "n_sprites": 4,
    "n_layers": 3,
    "channels": 2,
    "sprite_height": 7,
    "sprite_width": 9,
}
SHIFTED = SceneSpec(n_backgrounds=0, height=17, width=22, **SIZES)
POSED = SceneSpec(
    n_backgrounds=1,
    height=17,
    width=22,
    transformations=("similarity",),
    color="flat",
    **SIZES,
)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def network_of(spec, settings, **heads):
    draws = seeded()
    return SceneNetwork(spec, build_localizer(spec, settings, draws), draws, **heads)


PLAIN = Attention(features="small", n_features=8, refines=False)
REFINED = Attention(features="small", n_features=8, refines=True)
REGRESSED = Regression(encoder="small")
NETWORKS = {
    "attention": lambda spec: network_of(spec, PLAIN),
    "refined": lambda spec: network_of(spec, REFINED, angles=6),
    "regression": lambda spec: network_of(spec, REGRESSED, chooses=False, orders=True),
}


def some_images(n, spec=POSED, seed=0):
    return torch.rand(n, spec.channels, spec.height, spec.width, generator=seeded(seed))


@pytest.mark.parametrize("spec", [SHIFTED, POSED], ids=["shifted", "posed"])
@pytest.mark.parametrize("name", NETWORKS)
def test_guesses_have_their_shapes(name, spec):
    network = NETWORKS[name](spec)
    guess = network(some_images(5))
    assert guess.pose.shape == (5, 3, 4, 4)
    assert guess.pose.isfinite().all()
    if name == "regression":
        assert guess.logits is None
        assert guess.order.shape == (5, 3, 3)
        torch.testing.assert_close(guess.order, -guess.order.transpose(1, 2))
    else:
        assert guess.logits.shape == (5, 3, 5)
        assert guess.order is None


@pytest.mark.parametrize("name", NETWORKS)
def test_the_start_is_the_identity_at_the_place(name):
    network = NETWORKS[name](POSED)
    images = some_images(2)
    latents, guess = network.eval().localizer(images), network(images)
    place = latents.place[:, :, None].expand(-1, -1, 4, -1)
    assert torch.equal(guess.pose[..., :2], place)
    assert (guess.pose[..., 2:] == 0).all()
    if name == "regression":
        middle = torch.tensor([11.0, 8.5]).expand(2, 3, 4, 2)
        assert torch.equal(guess.pose[..., :2], middle)


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_reach_every_parameter(name):
    network = NETWORKS[name](POSED)
    with torch.no_grad():  # heads are zero at first and would stop them
        for module in (network.pose.head, network.choice, network.order):
            if module is not None:
                module.group_weight.normal_(generator=seeded())
    images = some_images(4).requires_grad_()
    guess = network(images)
    parts = [guess.pose, guess.logits, guess.order]
    sum(part.square().sum() for part in parts if part is not None).backward()
    assert images.grad.abs().sum() > 0
    skipped = "pose.head" if name == "refined" else "nothing"  # the angles' choice
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        if skipped not in key:
            assert parameter.grad.abs().sum() > 0, key


@pytest.mark.parametrize("name", NETWORKS)
def test_a_row_does_not_depend_on_its_batch(name):
    network = NETWORKS[name](POSED).eval()
    images = some_images(64)
    with torch.no_grad():
        network(some_images(64, seed=1))
        guess = network(images)
        order = torch.randperm(64, generator=seeded())
        mixed = images[order].clone()
        mixed[32:] = 0.5
        other = network(mixed)
    for one, same in zip(guess, other, strict=True):
        if one is not None:
            assert torch.equal(one[order[:32]], same[:32])


@pytest.mark.parametrize("name", NETWORKS)
def test_arrays_make_the_same_network_again(name):
    network = NETWORKS[name](POSED)
    network(some_images(4))  # running statistics move
    arrays = arrays_of(network)
    assert all(isinstance(value, np.ndarray) for value in arrays.values())
    again = with_arrays(NETWORKS[name](POSED), arrays).eval()
    images = some_images(3)
    for one, other in zip(network.eval()(images), again(images), strict=True):
        assert one is other is None or torch.equal(one, other)


def test_attention_follows_what_it_attends_to():
    """Soft-argmax of a map of one high position is that position."""
    maps = torch.zeros(1, 1, 4, 5)
    maps[0, 0, 1, 3] = 50.0
    place = attention(maps) @ positions(maps, 2)
    torch.testing.assert_close(place[0, 0], torch.tensor([7.0, 3.0]))


def test_even_attention_is_the_middle():
    maps = torch.zeros(1, 2, 3, 6)
    weights = attention(maps)
    torch.testing.assert_close(weights.sum(2), torch.ones(1, 2))
    middle = torch.tensor([12.0, 6.0]).expand(1, 2, 2)
    torch.testing.assert_close(weights @ positions(maps, 4), middle)


@attack
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 4))
def test_small_maps_cover_images_of_any_size(height, width, channels):
    maps = build_maps("small", channels, 5, seeded()).eval()
    found = maps(torch.zeros(1, channels, height, width))
    assert found.shape == (1, 5, -(-height // 4), -(-width // 4))


def test_small_maps_move_with_the_image():
    maps = build_maps("small", 1, 3, seeded()).eval()
    image = torch.zeros(1, 1, 96, 96)
    image[:, :, 40:45, 42:49] = 1
    moved = image.roll((8, 16), (2, 3))
    one, other = maps(image), maps(moved)
    torch.testing.assert_close(
        one.roll((2, 4), (2, 3))[..., 6:-6, 6:-6], other[..., 6:-6, 6:-6]
    )
    assert (one - other).abs().max() > 1e-3


def test_the_papers_u_net_keeps_all_pixels():
    with torch.no_grad():
        found = build_maps("unet", 1, 2, seeded()).eval()(torch.zeros(1, 1, 9, 33))
    assert found.shape == (1, 2, 9, 33)


def test_unknown_maps_are_refused():
    with pytest.raises(ValueError, match="'segformer' is none of small, unet"):
        build_maps("segformer", 1, 2, seeded())
