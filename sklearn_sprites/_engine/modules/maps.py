"""Maps of features that cover an image evenly, from convolutions.

Images are first padded with zeros, on the right and below, to sides that can be halved
often enough; maps are cut back to the positions that lie in the image.
"""

from abc import ABC, abstractmethod
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sklearn_sprites._engine.modules.encoders import build_module

UNET = (80, 128, 192, 256, 256, 256)  # channels of the paper's U-Net, from the top


class AbstractMaps(nn.Module, ABC):
    """From images (B, C, H, W) to maps (B, out, ceil(H / stride), ceil(W / stride)).

    A position stands for ``stride`` pixels squared.
    """

    stride: int

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Maps of images."""


def build_maps(
    name: str, channels: int, out: int, generator: torch.Generator
) -> AbstractMaps:
    """A network from images (B, channels, H, W) to maps (B, out, h, w).

    Parameters
    ----------
    name : str
        "small": a few convolutions, maps of a quarter of the image's sides. "unet":
        the U-Net of AST-Seg, maps of all pixels.
    channels, out : int
        Channels of the images and of the maps.
    generator : torch.Generator
        A generator on the CPU; decides the weights.
    """
    kinds = {"small": SmallMaps, "unet": UNet}
    if name not in kinds:
        raise ValueError(f"features={name!r} is none of {', '.join(kinds)}")
    return build_module(lambda: kinds[name](channels, out), generator)


def padded(images: Tensor, multiple: int) -> Tensor:
    """Zeros on the right and below, up to sides that are multiples."""
    height, width = images.shape[2:]
    return F.pad(images, (0, -width % multiple, 0, -height % multiple))


def convolution(into: int, out: int, kernel: int = 3, stride: int = 1) -> nn.Module:
    """A convolution, normalized over the batch, cut at zero."""
    return nn.Sequential(
        nn.Conv2d(into, out, kernel, stride, (kernel - 1) // 2, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU(),
    )


def folded(module: nn.Module) -> nn.Module:
    """The module with what :func:`convolution` normalizes by put into its weights.

    For prediction only: the same values but for rounding, in fewer passes.
    """
    for part in list(module.modules()):
        if isinstance(part, nn.Sequential) and len(part) > 1:
            one, two = part[0], part[1]
            if isinstance(one, nn.Conv2d) and isinstance(two, nn.BatchNorm2d):
                part[0], part[1] = fuse_conv_bn_eval(one, two), nn.Identity()
    return module


class SmallMaps(AbstractMaps):
    """Convolutions down to an eighth of the sides, and back up to a quarter."""

    stride = 4

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.stem = convolution(channels, 24, 4, 2)
        self.down = nn.Sequential(convolution(24, 32, 4, 2), convolution(32, 32))
        self.deep = nn.Sequential(
            convolution(32, 64, 4, 2), convolution(64, 64), convolution(64, 64)
        )
        self.up = nn.Conv2d(64, 32, 1)
        self.mix = convolution(32, 64)
        self.out = nn.Conv2d(64, out, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) to maps (B, out, ceil(H / 4), ceil(W / 4))."""
        rows, columns = (-(-side // self.stride) for side in images.shape[2:])
        fine = self.down(self.stem(padded(images, 8)))
        deep = self.up(self.deep(fine))
        both = fine + F.interpolate(deep, scale_factor=2.0, mode="nearest")
        return self.out(self.mix(both))[:, :, :rows, :columns]


class UNet(AbstractMaps):
    """The U-Net of AST-Seg's supplement: convolutions without bias, CELU."""

    stride = 1

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.first = smooth(channels, UNET[0])
        pairs = list(pairwise(UNET))
        self.down = nn.ModuleList(Down(a, b) for a, b in pairs)
        self.middle = smooth(UNET[-1], UNET[-1])
        self.up = nn.ModuleList(Up(b, a) for a, b in reversed(pairs))
        self.last = smooth(2 * UNET[0], out)
        self.residual = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.out = nn.Conv2d(out, out, 1, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) to maps (B, out, H, W)."""
        height, width = images.shape[2:]
        found = first = self.first(padded(images, 2 ** (len(UNET) - 1)))
        kept = []
        for down in self.down:
            found = down(found)
            kept.append(found)
        found = self.middle(found)
        for up in self.up:
            found = up(found, kept.pop())
        found = self.last(torch.cat([found, first], 1))
        return self.out(found + self.residual(found))[:, :, :height, :width]


def smooth(into: int, out: int) -> nn.Module:
    """A convolution, normalized over the batch, with a smooth cut."""
    return nn.Sequential(
        nn.Conv2d(into, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out), nn.CELU()
    )


class Down(nn.Module):
    """Half the sides."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.halve = nn.Sequential(
            nn.Conv2d(into, out, 4, 2, 1, bias=False), nn.BatchNorm2d(out), nn.CELU()
        )
        self.residual = smooth(out, out)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (B, into, h, w) to (B, out, h / 2, w / 2)."""
        maps = self.halve(maps)
        return maps + self.residual(maps)


class Up(nn.Module):
    """Twice the sides, seeing what there was on the way down."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.mix = smooth(2 * into, into)
        self.enlarge = nn.Sequential(
            nn.ConvTranspose2d(into, out, 4, 2, 1, bias=False),
            nn.BatchNorm2d(out),
            nn.CELU(),
        )

    def forward(self, maps: Tensor, skip: Tensor) -> Tensor:
        """Maps and skip (B, into, h, w) to (B, out, 2 h, 2 w)."""
        maps = maps + self.mix(torch.cat([maps, skip], 1))
        return self.enlarge(maps)
