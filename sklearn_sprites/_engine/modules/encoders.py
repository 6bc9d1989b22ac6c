"""Encoders: images (B, C, H, W) to features (B, F).

Every weight is drawn from an explicit generator: modules are built without storage
and filled afterwards, so that torch's global generator is never used.
"""

import math
from collections.abc import Callable
from copy import deepcopy
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SMALL_FEATURES = 256
SMALL_MAPS = 16  # channels that are flattened

Module = TypeVar("Module", bound=nn.Module)
Weighted = nn.Conv2d | nn.ConvTranspose2d | nn.Linear
_Draw = Callable[[Weighted, torch.Generator], None]


def build_encoder(
    name: str,
    channels: int,
    height: int,
    width: int,
    generator: torch.Generator,
    pool: int = 1,
) -> tuple[nn.Module, int]:
    """An encoder by name, and its number of features F.

    Parameters
    ----------
    name : str
        "small" keeps positions: strided convolutions, flattened. "resnet20",
        "resnet32" (the papers' small ResNets) and "resnet18" pool over the image.
    channels, height, width : int
        The images' C, H and W, at least 1, 4 and 4.
    generator : torch.Generator
        A generator on the CPU; decides the weights.
    pool : int, default=1
        The ResNets average over pool x pool parts of the image.

    Returns
    -------
    encoder : nn.Module
        Maps (B, C, H, W) to (B, F); float32, on the CPU, in training mode.
    n_features : int
        F.
    """
    draw: _Draw
    with torch.device("meta"):
        if name == "small":
            encoder, draw = _small(channels, height, width), _draw_default
            n_features = SMALL_FEATURES
        elif name in ("resnet20", "resnet32"):
            blocks = {"resnet20": 3, "resnet32": 5}[name]
            encoder, draw = _mini_resnet(channels, blocks, pool), _draw_fan_in
            n_features = 64 * pool**2
        elif name == "resnet18":
            encoder, draw = _resnet18(channels, pool), _draw_fan_out
            n_features = 512 * pool**2
        else:
            raise ValueError(f"encoder={name!r} is not a known encoder")
    _fill(encoder, draw, generator)
    return encoder, n_features


def build_module(make: Callable[[], Module], generator: torch.Generator) -> Module:
    """A module whose weights are those that torch's own constructors would draw.

    `make` is called without storage, so it must only put layers together.
    """
    with torch.device("meta"):
        module = make()
    _fill(module, _draw_default, generator)
    return module


def wrap_encoder(
    module: nn.Module,
    channels: int,
    height: int,
    width: int,
    generator: torch.Generator,
) -> tuple[nn.Module, int]:
    """A user's module as an encoder, and its number of features F.

    The module is copied, never changed. It must map (B, C, H, W) float32 images to a
    float tensor (B, ...) of the same shape per image; further axes are flattened.

    Raises
    ------
    ValueError
        If the module fails on a batch of two images, or returns anything else.
    """
    shape = (2, channels, height, width)
    probe = torch.rand(shape, generator=generator, dtype=torch.float32)
    try:
        copy = deepcopy(module).to("cpu", torch.float32).eval()
        with torch.no_grad():
            out = copy(probe)
    except Exception as error:
        raise ValueError(
            f"The module given as 'encoder' failed on a batch of images of shape "
            f"{shape}: {type(error).__name__}: {error}"
        ) from error
    expected = "expected a float tensor of shape (2, ...), one row per image"
    if not isinstance(out, Tensor):
        raise ValueError(
            f"The module given as 'encoder' returned {type(out).__name__} for images "
            f"of shape {shape}; {expected}"
        )
    rows = out.ndim >= 2 and len(out) == 2 and out.numel() > 0
    if not (rows and out.is_floating_point()):
        raise ValueError(
            f"The module given as 'encoder' returned {out.dtype} of shape "
            f"{tuple(out.shape)} for images of shape {shape}; {expected}"
        )
    return nn.Sequential(copy, nn.Flatten()).train(), out[0].numel()


class _ChannelsLast(nn.Sequential):
    """Layers that see images with channels last in memory, where convolutions are fast.

    Most images come so; here they do, whatever was done to them before.
    """

    def forward(self, images: Tensor) -> Tensor:
        seen: Tensor = super().forward(images.to(memory_format=torch.channels_last))
        return seen


def _stride(size: int, stage: int) -> int:
    """Halve an axis while 4 positions remain, later stages only where it is long."""
    return 2 if size >= (7 if stage < 2 else 11) else 1


def _small(channels: int, height: int, width: int) -> nn.Module:
    stages: list[nn.Module] = []
    size, stage = (height, width), 0
    while stage < 2 or max(size) > 10:
        stride = (_stride(size[0], stage), _stride(size[1], stage))
        size = (math.ceil(size[0] / stride[0]), math.ceil(size[1] / stride[1]))
        into = (channels, 16, 32)[min(stage, 2)]
        stages += _conv(into, 32 if stage else 16, 3 if stage else 5, stride)
        stage += 1
    stages += _conv(32, SMALL_MAPS, 3, 1)  # (B, 16, at most 10, at most 10)
    stages += [nn.Flatten(), nn.Linear(SMALL_MAPS * size[0] * size[1], SMALL_FEATURES)]
    return _ChannelsLast(*stages, nn.ReLU())


def _conv(
    into: int, out: int, kernel: int, stride: int | tuple[int, int]
) -> list[nn.Module]:
    convolution = nn.Conv2d(into, out, kernel, stride, kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(out), nn.ReLU()]


class _Residual(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut."""

    def __init__(self, into: int, out: int, stride: int, shortcut: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_conv(into, out, 3, stride),
            nn.Conv2d(out, out, 3, 1, 1, bias=False),
            nn.BatchNorm2d(out),
        )
        self.shortcut = shortcut

    def forward(self, images: Tensor) -> Tensor:
        return F.relu(self.body(images) + self.shortcut(images))


class _Subsample(nn.Module):
    """Every other pixel, and zero channels on both sides: a fixed shortcut."""

    def __init__(self, extra: int) -> None:
        super().__init__()
        self.extra = extra

    def forward(self, images: Tensor) -> Tensor:
        side = self.extra // 2
        return F.pad(images[:, :, ::2, ::2], (0, 0, 0, 0, side, self.extra - side))


def _mini_resnet(channels: int, blocks: int, pool: int) -> nn.Module:
    """The ResNets for small images (16, 32, 64 channels), pooled to a few positions."""
    stages, into = _conv(channels, 16, 3, 1), 16
    for out in (16, 32, 64):
        for _ in range(blocks):
            same = into == out
            shortcut = nn.Identity() if same else _Subsample(out - into)
            stages.append(_Residual(into, out, 1 if same else 2, shortcut))
            into = out
    return _ChannelsLast(*stages, nn.AdaptiveAvgPool2d(pool), nn.Flatten())


def _resnet18(channels: int, pool: int) -> nn.Module:
    """ResNet-18 for any number of channels, pooled to a few positions."""
    stages = [*_conv(channels, 64, 7, 2), nn.MaxPool2d(3, 2, 1)]
    into = 64
    for out in (64, 128, 256, 512):
        for _ in range(2):
            same = into == out
            stride = 1 if same else 2
            project = nn.Conv2d(into, out, 1, stride, bias=False)
            shortcut = (
                nn.Identity() if same else nn.Sequential(project, nn.BatchNorm2d(out))
            )
            stages.append(_Residual(into, out, stride, shortcut))
            into = out
    return _ChannelsLast(*stages, nn.AdaptiveAvgPool2d(pool), nn.Flatten())


def _fill(encoder: nn.Module, draw: _Draw, generator: torch.Generator) -> None:
    """Give values to the parameters and buffers of a module without storage."""
    # to_empty would load packages for torch's compiler, which takes a second
    values = {
        name: torch.empty(value.shape, dtype=value.dtype, device="cpu")
        for name, value in encoder.state_dict().items()
    }
    encoder.load_state_dict(values, assign=True)
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d | nn.LayerNorm):
            module.reset_parameters()  # constants only
        elif isinstance(module, Weighted):
            draw(module, generator)


def _draw_default(module: Weighted, generator: torch.Generator) -> None:
    """Uniform with bound 1 / sqrt(fan in), what torch's own constructors draw."""
    bound = 1 / math.sqrt(module.weight[0].numel())
    for values in (module.weight, module.bias):
        if values is not None:
            nn.init.uniform_(values, -bound, bound, generator=generator)


def _draw_fan_in(module: Weighted, generator: torch.Generator) -> None:
    nn.init.kaiming_normal_(module.weight, generator=generator)


def _draw_fan_out(module: Weighted, generator: torch.Generator) -> None:
    nn.init.kaiming_normal_(
        module.weight, mode="fan_out", nonlinearity="relu", generator=generator
    )
