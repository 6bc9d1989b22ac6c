"""Hypothesis strategies for the engine: sizes and seeds, from which tensors follow."""

import torch
from hypothesis import settings
from hypothesis import strategies as st

from sklearn_sprites._engine.models.build import build_model

seeds = st.integers(0, 2**32 - 1)
batches = st.integers(1, 3)
channels = st.integers(1, 3)
sides = st.integers(1, 7)
warpable_sides = st.integers(4, 9)
paddings = st.sampled_from(["border", "zeros"])

# Small tensors: the time is torch's first call, which no deadline should judge.
attack = settings(max_examples=25, deadline=None)


class Draws:
    """Float64 tensors from one seed."""

    def __init__(self, seed):
        self.generator = torch.Generator().manual_seed(seed)

    def uniform(self, *shape, low=0.0, high=1.0):
        values = torch.rand(shape, generator=self.generator, dtype=torch.float64)
        return low + (high - low) * values

    def normal(self, *shape, scale=1.0):
        return scale * torch.randn(shape, generator=self.generator, dtype=torch.float64)

    def permutation(self, n):
        return torch.randperm(n, generator=self.generator)


draws = seeds.map(Draws)


def gradients(function, *inputs):
    """The value of a function, and its gradients under a fixed random projection."""
    inputs = [value.clone().requires_grad_() for value in inputs]
    out = function(*inputs)
    weights = torch.rand(
        out.shape, generator=torch.Generator().manual_seed(0), dtype=out.dtype
    )
    found = torch.autograd.grad((out * weights).sum(), inputs)
    return out.detach(), found


def assert_twins(fast, slow, *inputs, tolerance=1e-9):
    """The same values and the same gradients, up to rounding in float64."""
    (value, grads), (expected, expected_grads) = (
        gradients(fast, *inputs),
        gradients(slow, *inputs),
    )
    torch.testing.assert_close(value, expected, rtol=tolerance, atol=tolerance)
    for grad, other in zip(grads, expected_grads, strict=True):
        torch.testing.assert_close(grad, other, rtol=tolerance, atol=tolerance)


def random_model(spec, seed, strength=0.1):
    """A clustering model whose heads already predict something, in eval mode."""
    make = Draws(seed)
    size = (spec.height, spec.width)
    model = build_model(
        spec,
        make.uniform(spec.n_sprites, spec.sprite_channels, *size).float(),
        make.uniform(spec.n_backgrounds, spec.channels, *size).float(),
        make.generator,
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.rpartition(".")[2] in ("group_weight", "group_bias"):
                parameter.copy_(make.normal(*parameter.shape, scale=strength))
        images = make.uniform(32, spec.channels, *size).float()
        model.describe(images, every_name(spec))  # batch statistics
    return model.eval()


def every_name(spec):
    """The names of all transformations of a model, as what is active."""
    return frozenset((*spec.transformations, *spec.background_transformations))
