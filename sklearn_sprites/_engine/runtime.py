"""Device, seeded generators, and a process that is left as it was found."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch


def resolve_device(device: str) -> str:
    """The torch device that `device` stands for on this machine.

    Parameters
    ----------
    device : str
        "auto" (CUDA where available, else the CPU), "cpu", "cuda" or "cuda:<index>".

    Returns
    -------
    str
        The name of a device that exists here.

    Raises
    ------
    ValueError
        If `device` names no device that the engine knows.
    RuntimeError
        If `device` asks for CUDA, or for a CUDA device, that is not available.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, colon, index = device.partition(":")
    known = kind in ("cpu", "cuda") and (not colon or index.isdecimal())
    if not known or device.startswith("cpu:"):
        raise ValueError(
            f"device={device!r} is unknown; use 'auto', 'cpu', 'cuda' or 'cuda:<index>'"
        )
    if kind == "cuda" and not torch.cuda.is_available():
        raise RuntimeError(
            f"device={device!r} was requested but CUDA is not available; "
            "use device='auto'"
        )
    if colon and int(index) >= torch.cuda.device_count():
        raise RuntimeError(
            f"device={device!r} was requested but only {torch.cuda.device_count()} "
            "CUDA device(s) are available; use device='auto'"
        )
    return device


def generator(seed: np.random.SeedSequence, device: str) -> torch.Generator:
    """A random number generator of its own on `device`, decided by `seed` alone."""
    return torch.Generator(device).manual_seed(_as_integer(seed))


@contextmanager
def isolated(
    *, grad: bool, seed: np.random.SeedSequence | None = None
) -> Iterator[None]:
    """Run the block in torch's plain state, and leave the caller's state untouched.

    Inside: no inference mode, no autocast, gradients recorded as `grad` says, float32
    and the CPU as defaults. torch's global generators are restored afterwards, also
    after an exception; a user's module may draw from them (dropout). Thread counts,
    cudnn flags and the environment are never changed.

    Parameters
    ----------
    grad : bool
        Whether operations inside are recorded for differentiation.
    seed : SeedSequence, optional
        What the global generators start from inside, so that what a user's module
        draws depends on `seed` alone. By default they start where they are.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        for kind in ("cpu", "cuda"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        stack.enter_context(torch.set_grad_enabled(grad))
        stack.enter_context(_float32_default())
        # The mode costs a Python call per operation, so only where there is need.
        if torch.empty(0).device.type != "cpu":
            stack.enter_context(torch.device("cpu"))
        stack.enter_context(_global_generators_kept())
        if seed is not None:
            for each in (torch.default_generator, *torch.cuda.default_generators):
                each.manual_seed(_as_integer(seed))
        yield


def _as_integer(seed: np.random.SeedSequence) -> int:
    return int(seed.generate_state(1, np.uint64)[0])


@contextmanager
def _float32_default() -> Iterator[None]:
    before = torch.get_default_dtype()
    if before is torch.float32:
        yield
        return
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def _global_generators_kept() -> Iterator[None]:
    cuda = tuple(torch.cuda.default_generators)  # empty until CUDA is initialized
    before = [each.get_state() for each in (torch.default_generator, *cuda)]
    try:
        yield
    finally:
        for each, state in zip((torch.default_generator, *cuda), before, strict=True):
            each.set_state(state)
        if not cuda:
            for each in torch.cuda.default_generators:  # initialized inside the block
                each.set_offset(0)
