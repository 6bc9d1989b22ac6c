import os

import numpy as np
import pytest
import torch

from sklearn_sprites._engine.runtime import generator, isolated, resolve_device

no_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is available")


def test_auto_is_a_device_that_exists():
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert resolve_device("auto") == expected
    assert resolve_device("cpu") == "cpu"


@no_cuda
@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:99"])
def test_cuda_without_cuda_is_refused_with_the_remedy(device):
    message = f"device='{device}' was requested but CUDA is not available; use device="
    with pytest.raises(RuntimeError, match=message):
        resolve_device(device)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_cuda_device_that_does_not_exist_is_refused():
    assert resolve_device("cuda:0") == "cuda:0"
    with pytest.raises(RuntimeError, match="device='cuda:99' was requested but only"):
        resolve_device("cuda:99")


@pytest.mark.parametrize(
    "device", ["gpu", "", "cuda:", "cuda:x", "cpu:1", "mps", "meta"]
)
def test_unknown_devices_are_refused(device):
    with pytest.raises(ValueError, match="is unknown; use 'auto', 'cpu'"):
        resolve_device(device)


def test_a_generator_depends_on_its_seed_alone():
    seed = np.random.SeedSequence(7)
    first = torch.rand(5, generator=generator(seed, "cpu"))
    torch.rand(3)
    again = torch.rand(5, generator=generator(np.random.SeedSequence(7), "cpu"))
    child = torch.rand(5, generator=generator(seed.spawn(1)[0], "cpu"))
    assert torch.equal(first, again)
    assert not torch.equal(first, child)


def state():
    """Everything that is global in torch, as comparable values."""
    return {
        "rng": torch.get_rng_state().tolist(),
        "cuda rng": [g.get_state().tolist() for g in torch.cuda.default_generators],
        "dtype": torch.get_default_dtype(),
        "device": torch.empty(0).device,
        "grad": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "autocast dtype": torch.get_autocast_dtype("cpu"),
        "threads": torch.get_num_threads(),
        "cudnn": (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "numpy": np.random.get_state()[1].tolist(),  # noqa: NPY002
        "environment": dict(os.environ),
    }


def disturb():
    """What a user's module may do."""
    torch.rand(10)
    torch.nn.functional.dropout(torch.ones(10), 0.5)
    torch.set_default_dtype(torch.float16)


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def meta():
    torch.set_default_device("meta")
    yield
    torch.set_default_device(None)


AROUND = {
    "nothing": lambda: torch.enable_grad(),
    "no_grad": lambda: torch.no_grad(),
    "inference_mode": lambda: torch.inference_mode(),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "device": lambda: torch.device("meta"),
}


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("around", AROUND)
def test_d7_the_callers_state_is_restored(around, grad, float64):
    with AROUND[around]():
        before = state()
        with isolated(grad=grad, seed=np.random.SeedSequence(0)):
            disturb()
        assert state() == before


def test_d7_the_callers_state_is_restored_after_an_exception(float64, meta):
    def interrupted():
        with isolated(grad=True):
            disturb()
            raise KeyboardInterrupt

    before = state()
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert state() == before


@pytest.mark.parametrize("around", AROUND)
def test_d11_training_works_inside_any_state(around, float64):
    with AROUND[around](), isolated(grad=True):
        layer = torch.nn.Linear(3, 2)
        out = layer(torch.ones(4, 3))
        out.square().sum().backward()
        assert out.dtype is torch.float32
        assert out.device.type == "cpu"
        assert layer.weight.grad.isfinite().all()


def test_d11_a_default_device_of_the_caller_is_not_used(meta):
    with isolated(grad=False):
        assert torch.zeros(2).device.type == "cpu"


def test_gradients_are_not_recorded_unless_asked_for():
    with torch.enable_grad(), isolated(grad=False):
        assert not torch.nn.Linear(2, 2)(torch.ones(1, 2)).requires_grad


def test_d8_the_callers_seed_does_not_reach_a_seeded_block():
    def draw(users_seed, seed):
        with torch.random.fork_rng():
            torch.manual_seed(users_seed)
            with isolated(grad=False, seed=seed):
                return torch.rand(4)

    seed = np.random.SeedSequence(3)
    assert torch.equal(draw(0, seed), draw(1, seed))
    assert not torch.equal(draw(0, None), draw(1, None))
    assert not torch.equal(draw(0, seed), draw(0, np.random.SeedSequence(4)))
