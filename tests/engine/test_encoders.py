import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sklearn_sprites._engine.modules.encoders import build_encoder, wrap_encoder
from tests.strategies import attack

FEATURES = {"small": 256, "resnet20": 64, "resnet32": 64, "resnet18": 512}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("name", FEATURES)
@pytest.mark.parametrize("size", [(1, 4, 4), (3, 9, 17), (5, 20, 12)])
def test_images_become_finite_features(name, size):
    encoder, n_features = build_encoder(name, *size, seeded())
    images = torch.rand(3, *size, generator=seeded())
    assert n_features == FEATURES[name]
    for mode in (True, False):
        features = encoder.train(mode)(images)
        assert features.shape == (3, n_features)
        assert features.dtype is torch.float32
        assert features.isfinite().all()


@attack
@given(st.integers(4, 128), st.integers(4, 128), st.integers(1, 12))
def test_the_small_encoder_keeps_positions_at_any_size(height, width, channels):
    encoder, _ = build_encoder("small", channels, height, width, seeded())
    linear = next(m for m in encoder if isinstance(m, nn.Linear))
    assert 32 * 2 * 2 <= linear.in_features <= 32 * 10 * 10
    assert encoder[0].in_channels == channels
    assert encoder.eval()(torch.zeros(1, channels, height, width)).shape == (1, 256)


def test_the_small_encoder_sees_where_things_are():
    encoder, _ = build_encoder("small", 1, 28, 28, seeded())
    images = torch.zeros(2, 1, 28, 28)
    images[0, 0, 4:8, 4:8] = 1
    images[1, 0, 18:22, 12:16] = 1
    here, there = encoder.eval()(images)
    assert (here - there).norm() > 0.1 * here.norm()


@pytest.mark.parametrize(
    ("name", "weights"),
    # Published sizes (with 1000 or 10 classes on top): 0.27 M, 0.46 M and 11.18 M.
    [("resnet20", 0.27e6), ("resnet32", 0.46e6), ("resnet18", 11.18e6)],
)
def test_the_residual_networks_have_their_published_size(name, weights):
    encoder, _ = build_encoder(name, 3, 32, 32, seeded())
    assert count(encoder) == pytest.approx(weights, rel=0.02)


@pytest.mark.parametrize("name", FEATURES)
def test_weights_depend_on_the_generator_alone(name):
    before = torch.get_rng_state()
    size = (1, 12, 12)
    first, again, other = (
        build_encoder(name, *size, seeded(s))[0].state_dict() for s in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[key], again[key]) for key in first)
    weights = [key for key in first if first[key].ndim > 1]
    assert weights
    assert not any(torch.equal(first[key], other[key]) for key in weights)


@pytest.mark.parametrize("name", FEATURES)
def test_weights_spread_as_their_fan_demands(name):
    encoder, _ = build_encoder(name, 3, 32, 32, seeded())
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            weight = module.weight
            fan_in, fan_out = weight[0].numel(), weight[:, 0].numel()
            variance = {"small": 1 / (3 * fan_in), "resnet18": 2 / fan_out}.get(
                name, 2 / fan_in
            )
            spread = weight.detach().std().item()
            assert spread == pytest.approx(variance**0.5, rel=0.15)
        if isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all()
            assert (module.bias == 0).all()
            assert (module.running_mean == 0).all()
            assert (module.running_var == 1).all()


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="encoder='vgg' is not a known encoder"):
        build_encoder("vgg", 1, 28, 28, seeded())


@pytest.mark.parametrize("name", FEATURES)
def test_every_weight_gets_a_gradient(name):
    encoder, _ = build_encoder(name, 2, 8, 8, seeded())
    encoder(torch.rand(4, 2, 8, 8, generator=seeded())).square().sum().backward()
    assert all(
        p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters()
    )


@pytest.mark.parametrize(
    ("name", "channels"), [("small", 1), ("small", 3), ("resnet20", 1), ("resnet18", 3)]
)
def test_memory_with_channels_last_changes_no_feature_and_no_gradient(name, channels):
    encoder, _ = build_encoder(name, channels, 8, 12, seeded())
    encoder.double()
    plain = nn.Sequential(*encoder)
    images = torch.rand(4, channels, 8, 12, dtype=torch.float64, generator=seeded())
    found = []
    for network in (encoder, plain):
        images.grad = None
        encoder.zero_grad()
        features = network(images.requires_grad_())
        features.sin().sum().backward()
        found.append([features, images.grad, *(p.grad for p in encoder.parameters())])
    for ours, theirs in zip(*found, strict=True):
        assert (ours - theirs).abs().max() <= 1e-9 * theirs.abs().max()


def test_maps_in_the_small_encoder_have_channels_last():
    encoder, _ = build_encoder("small", 1, 28, 28, seeded())
    seen = []
    for module in encoder:
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda module, into, maps: seen.append(maps))
    encoder(torch.rand(4, 1, 28, 28))
    assert len(seen) == 3
    for maps in seen:
        assert maps.is_contiguous(memory_format=torch.channels_last)


class Shaped(nn.Module):
    """Returns whatever a function makes of the images."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, images):
        return self.function(images)


def test_a_users_module_is_copied_and_flattened():
    mine = nn.Sequential(nn.Conv2d(1, 3, 3, 2), nn.BatchNorm2d(3)).double()
    before = {key: value.clone() for key, value in mine.state_dict().items()}
    encoder, n_features = wrap_encoder(mine, 1, 9, 9, seeded())
    assert encoder.training
    features = encoder(torch.rand(4, 1, 9, 9, generator=seeded()))
    assert n_features == 3 * 4 * 4
    assert features.shape == (4, n_features)
    assert features.dtype is torch.float32
    features.sum().backward()
    assert mine[0].weight.grad is None
    assert mine[0].weight.dtype is torch.float64
    after = mine.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_a_lazy_module_learns_its_size():
    lazy = nn.Sequential(nn.Flatten(), nn.LazyLinear(7))
    encoder, n_features = wrap_encoder(lazy, 2, 5, 5, seeded())
    assert n_features == 7
    assert encoder(torch.zeros(3, 2, 5, 5)).shape == (3, 7)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x.sum(), "returned torch.float32 of shape"),
        (lambda x: x[:, 0, 0, 0], r"of shape \(2,\)"),
        (lambda x: x.flatten(1)[:1], r"of shape \(1, 25\)"),
        (lambda x: x.flatten(1)[:, :0], r"of shape \(2, 0\)"),
        (lambda x: (x > 0).flatten(1), "returned torch.bool"),
        (lambda x: (x, x), "returned tuple"),
        (lambda x: x.detach().numpy(), "returned ndarray"),
        (lambda x: x @ torch.zeros(3, 3), "failed on a batch of images of shape"),
        (lambda x: np.linalg.inv(np.zeros((2, 2))), "LinAlgError: Singular"),
    ],
)
def test_a_module_that_is_no_encoder_is_refused_by_name(function, message):
    with pytest.raises(ValueError, match=f"given as 'encoder' .*{message}"):
        wrap_encoder(Shaped(function), 1, 5, 5, seeded())
