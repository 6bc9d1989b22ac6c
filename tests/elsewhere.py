"""A device that computes on the CPU and says that it is a GPU.

Its tensors are refused wherever a GPU would refuse them: beside tensors of the CPU, by
generators of the CPU, by NumPy. Whatever would make the CPU wait for a GPU is counted.
So code for GPUs is tested where there is none; its speed and rounding are not.
"""

from contextlib import contextmanager, nullcontext
from unittest import mock

import torch
import torch._dynamo  # else it is imported by the first operation
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map

GPU = torch.device("cuda:0")
INSIDE = torch.device("meta")  # what torch takes it for: it looks for no GPU then
COPIES = {"aten::_to_copy", "aten::copy_"}  # may go from one device to the other
INDEXED = {"aten::index", "aten::index_put_", "aten::index_put"}
FROM_DATA = {torch.tensor, torch.as_tensor, torch.asarray}
READS = {
    getattr(torch.Tensor, name)
    for name in ("item", "tolist", "__float__", "__int__", "__bool__", "__index__")
}
WAITS = {
    "aten::_linalg_check_errors",
    "aten::_linalg_eigh",
    "aten::_linalg_svd",
    "aten::_local_scalar_dense",
    "aten::_unique2",
    "aten::bincount",
    "aten::equal",
    "aten::is_nonzero",
    "aten::masked_select",
    "aten::nonzero",
    "aten::repeat_interleave",
    "aten::unique_dim",
}


class Elsewhere(torch.Tensor):
    """A tensor of the CPU, `inner`, behind a face of the GPU."""

    device = property(lambda self: GPU)
    is_cuda = property(lambda self: True)
    is_meta = property(lambda self: False)

    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=INSIDE,
        )

    def __init__(self, inner):
        self.inner = inner

    def __repr__(self):
        return f"Elsewhere({self.inner!r})"

    def numpy(self, *args, **kwargs):
        raise TypeError("a tensor of the GPU does not turn to NumPy")

    __array__ = numpy

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {}, [])


class Generator(torch.Generator):
    """A generator of the CPU that says that it is where it was asked to be."""

    def __new__(cls, device="cpu"):
        made = super().__new__(cls)
        made.where = torch.device(device)
        return made

    @property
    def device(self):
        return self.where


class Sent(TorchFunctionMode):
    """What is made on, sent to or read from a GPU: torch would look for one first."""

    def __init__(self, waits):
        super().__init__()
        self.waits = waits

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        own = args[0] if args and isinstance(args[0], Elsewhere) else None
        if func in READS and own is not None:
            self.waits.append(func.__name__)
            return func(own.inner)
        if func in (torch.Tensor.__getitem__, torch.Tensor.__setitem__):
            args = args if own is None else (own, _index(args[1]), *args[2:])
        elif func is torch.Tensor.new_tensor and own is not None:
            kwargs = {"dtype": own.dtype, **kwargs, "device": "cpu"}
            return _sent(torch.tensor(*args[1:], **kwargs))
        elif func is torch.Tensor.cuda:
            return _sent(args[0])
        elif func is torch.Tensor.to:
            options = (*args[1:], *kwargs.values())
            dtypes = [x for x in options if isinstance(x, torch.dtype)]
            if any(map(_is_gpu, options)):
                return _sent(args[0], *dtypes)
        elif _is_gpu(kwargs.get("device")):
            _check_generator(func.__name__, kwargs, True)
            made = func(*args, **{**kwargs, "device": "cpu"})
            return _sent(made) if func in FROM_DATA else Elsewhere(made)
        return func(*args, **kwargs)


class Dispatched(TorchDispatchMode):
    """Every operation where its tensors are."""

    def __init__(self, waits):
        super().__init__()
        self.waits = waits

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {}, self.waits)


@contextmanager
def pretended():
    """Inside, there is a GPU; gives the list of what waited for it."""
    waits = []
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        with (
            mock.patch("torch.cuda.is_available", return_value=True),
            mock.patch("torch.cuda.device_count", return_value=1),
            mock.patch("torch.cuda.is_current_stream_capturing", return_value=False),
            mock.patch("torch.Generator", Generator),
            mock.patch("torch.inference_mode", _without_gradients),
            Dispatched(waits),
            Sent(waits),
        ):
            yield waits
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(before)


def _without_gradients(mode=True):
    """In inference mode torch makes no views of tensors that pretend."""
    return torch.no_grad() if mode else nullcontext()


def _run(func, args, kwargs, waits):
    """Compute on the CPU; what comes out is where a GPU would have put it."""
    name, device = func._schema.name, kwargs.get("device")
    tensors = [x for x in tree_flatten((args, kwargs))[0] if _is_tensor(x)]
    there = [x for x in tensors if isinstance(x, Elsewhere)]
    here = [x for x in tensors if x.dim() and not isinstance(x, Elsewhere)]
    is_there = bool(there) if device is None else device == INSIDE
    is_waited_for = bool(there) and name in WAITS
    if name in COPIES:
        is_there = is_there if name != "aten::copy_" else isinstance(args[0], Elsewhere)
        is_waited_for = bool(there) != is_there or bool(there and here)
    elif name in INDEXED:
        is_there = isinstance(args[0], Elsewhere)
        index = [x for x in args[1] if x is not None]
        here = [x for x in here if not any(x is i for i in index)]
        is_waited_for = is_there and not all(map(_is_plain_index, index))
    if there and here and name not in COPIES:
        raise RuntimeError(f"{name}: tensors of the GPU and of the CPU")
    _check_generator(name, kwargs, is_there)
    if is_waited_for:
        waits.append(name)
    if name == "aten::_conj" and there:  # faces do not tell that they are conjugates
        return Elsewhere(args[0].inner.conj_physical())
    if device is not None:
        kwargs = {**kwargs, "device": torch.device("cpu"), "pin_memory": None}
    if name == "aten::_to_copy":
        kwargs = {"dtype": kwargs.get("dtype")}
    out = func(*_inner(args), **_inner(kwargs))
    out = tree_map(lambda x: Elsewhere(x) if _is_tensor(x) else x, out)
    out = out if is_there else _inner(out)
    return return_and_correct_aliasing(func, args, kwargs, out)


def _is_tensor(x):
    return isinstance(x, torch.Tensor)


def _inner(tree):
    return tree_map(lambda x: x.inner if isinstance(x, Elsewhere) else x, tree)


def _is_plain_index(index):
    """Whether it is used without a look at its values."""
    return isinstance(index, Elsewhere) and index.dtype is not torch.bool


def _index(index):
    """With tensors instead of lists, which torch would make itself."""
    if isinstance(index, tuple):
        return tuple(map(_index, index))
    if not isinstance(index, list):
        return index
    return torch.tensor(index, dtype=None if index else torch.int64)


def _sent(x, dtype=None):
    if isinstance(x, Elsewhere) and dtype in (None, x.dtype):
        return x
    return torch.ops.aten._to_copy.default(x, dtype=dtype, device=INSIDE)


def _is_gpu(x):
    return isinstance(x, str | torch.device) and str(x).partition(":")[0] == "cuda"


def _check_generator(name, kwargs, is_there):
    source = kwargs.get("generator")
    if source is not None and _is_gpu(source.device) != is_there:
        raise RuntimeError(f"{name}: the generator is of another device")
