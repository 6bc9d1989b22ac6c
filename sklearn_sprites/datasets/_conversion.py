"""Arrays of different sizes, channels and types -> one stack."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Box = tuple[float, float, float, float]
LUMA = np.array([299, 587, 114]) / 1000  # ITU-R 601-2, as Pillow's "L"


def rescale(image: NDArray, size: tuple[int, int], fit: str) -> NDArray:
    """Resize (H, W, C) to `size` by averaging (antialiased bilinear).

    Colors are weighted by their alpha, so that what is transparent leaves no fringe.
    """
    if image.shape[:2] == size:
        return image
    box = _crop_box(image.shape[:2], size) if fit == "crop" else None
    values = image.astype(np.float64)
    if image.shape[2] not in (2, 4):
        return _rounded(_resize(values, size, box), image.dtype)
    alpha = values[..., -1:]
    color = _resize(values[..., :-1] * alpha, size, box)
    alpha = _resize(alpha, size, box)
    color = np.divide(color, alpha, out=np.zeros_like(color), where=alpha > 0)
    return _rounded(np.concatenate([color, alpha], axis=-1), image.dtype)


def _resize(values: NDArray, size: tuple[int, int], box: Box | None) -> NDArray:
    channels = [
        Image.fromarray(np.ascontiguousarray(channel, np.float32)).resize(
            size[::-1], Image.Resampling.BILINEAR, box=box
        )
        for channel in np.moveaxis(values, -1, 0)
    ]
    return np.stack([np.asarray(channel) for channel in channels], axis=-1)


def _crop_box(shape: tuple[int, ...], size: tuple[int, int]) -> Box:
    """The largest centered part with the proportions of `size`: left, top, ..."""
    scale = min(shape[0] / size[0], shape[1] / size[1])
    height, width = scale * size[0], scale * size[1]
    top, left = (shape[0] - height) / 2, (shape[1] - width) / 2
    return left, top, left + width, top + height


def _rounded(values: NDArray, dtype: np.dtype) -> NDArray:
    if dtype.kind == "f":
        return values.astype(dtype)
    return np.rint(values).clip(0, np.iinfo(dtype).max).astype(dtype)


def composite(image: NDArray, background: tuple[int, int, int]) -> NDArray:
    """Lay an image with alpha over a color; images without alpha stay as they are."""
    if image.shape[2] not in (2, 4):
        return image
    gray = image.shape[2] == 2 and len(set(background)) == 1
    behind = np.array(background[:1] if gray else background, np.float64)
    alpha = image[..., -1:] / 255
    return _rounded(alpha * image[..., :-1] + (1 - alpha) * behind, image.dtype)


def stack(images: Sequence[NDArray], mode: str) -> NDArray:
    """Images (H, W, C) of one size -> (n, H, W), or (n, H, W, C) if C > 1.

    The type is that of the images where they agree; 8 bits are spread over 16 bits
    where both occur, and over [0, 1] where floats occur.
    """
    color = mode == "RGB" or (mode == "auto" and any(i.shape[2] > 2 for i in images))
    alpha = any(image.shape[2] in (2, 4) for image in images)
    dtype = np.result_type(*(image.dtype for image in images))
    parts = [_with_type(_with_channels(i, color, alpha), dtype) for i in images]
    stacked = np.stack(parts)
    return stacked[..., 0] if stacked.shape[-1] == 1 else stacked


def _with_channels(image: NDArray, color: bool, alpha: bool) -> NDArray:
    has_alpha = image.shape[2] in (2, 4)
    values = image[..., :-1] if has_alpha else image
    if color:
        values = np.broadcast_to(values, (*image.shape[:2], 3))
    elif values.shape[2] == 3:
        values = _rounded(values @ LUMA, image.dtype)[..., None]
    if not alpha:
        return values
    opaque = np.full((*image.shape[:2], 1), _largest(image.dtype), image.dtype)
    return np.concatenate([values, image[..., -1:] if has_alpha else opaque], axis=-1)


def _with_type(image: NDArray, dtype: np.dtype) -> NDArray:
    if image.dtype == dtype or image.dtype.kind == "f":
        return image.astype(dtype, copy=False)
    if dtype.kind == "f":
        return (image / _largest(image.dtype)).astype(dtype)
    return image.astype(dtype) * 257  # uint8 -> uint16


def _largest(dtype: np.dtype) -> float:
    return 1.0 if dtype.kind == "f" else np.iinfo(dtype).max
