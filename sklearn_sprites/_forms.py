"""Whatever holds images or sprites, lists of pictures too, as plain arrays."""

from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROUNDING = 1e-6  # by which opacities may leave [0, 1]


def as_array(X: Any, owner: str) -> Any:
    """Whatever holds images as plain arrays; frames and flat input untouched."""
    items = X if isinstance(X, list | tuple) else [X]
    name = next((item for item in items if isinstance(item, str | PathLike)), None)
    if name is not None:
        raise ValueError(
            f"X holds names of files, such as {str(name)!r}, but {owner} needs the "
            "images; read those of a folder with "
            "sklearn_sprites.datasets.load_image_folder(folder, size=...).images."
        )
    if _is_picture(X):
        raise ValueError(
            f"X is a single picture, but {owner} needs several: pass a list of "
            "pictures, [X] for one."
        )
    if isinstance(X, list | tuple) and len(X) > 0:
        X = _from_list(X, owner)
    return _as_plain(X, owner)


def as_numbers(init: Any, owner: str) -> NDArray:
    """Given sprites as float64, whatever their shape."""
    try:
        sprites = np.asarray(init)
        if sprites.dtype.kind in "biufO":
            return sprites.astype(np.float64)
    except (TypeError, ValueError) as error:  # ragged, or no numbers
        raise _no_sprites(owner, str(error)) from error
    raise _no_sprites(owner, f"values of dtype {sprites.dtype}")


def as_sprites(
    init: Any, accepted: Sequence[tuple[int, ...]], channels: int, owner: str
) -> NDArray:
    """Given sprites as float64 in one of the accepted shapes, all of it in range.

    Of images of so many channels; one more, where it is accepted, is the opacity.
    """
    sprites = as_numbers(init, owner)
    if sprites.shape not in accepted:
        raise ValueError(
            f"init of shape {sprites.shape} does not fit; {owner} expects one of "
            f"{', '.join(str(shape) for shape in accepted)}."
        )
    if not np.isfinite(sprites).all():
        raise ValueError(
            f"init contains NaN or infinity, but {owner} needs finite sprites; replace "
            "such values, for example by those of X.mean(axis=0)."
        )
    if sprites.ndim == 4 and sprites.shape[-1] > channels:
        _check_opacity(sprites[..., channels:], owner)
    return sprites


def _no_sprites(owner: str, came: str) -> ValueError:
    return ValueError(
        f"init must hold numbers, in sprites of one size, but {owner} got what is no "
        f"such array: {came}. Give one array, such as np.stack of the sprites."
    )


def _check_opacity(alpha: NDArray, owner: str) -> None:
    """Refuse opacities in other units, such as those of the colors."""
    least, most = float(alpha.min()), float(alpha.max())
    if least < -ROUNDING or most > 1 + ROUNDING:
        raise ValueError(
            f"init has an opacity from {least:g} to {most:g} in its last channel, but "
            f"{owner} expects it from 0, transparent, to 1, opaque, in whatever units "
            "the colors are; divide that channel by its largest value, or clip it."
        )


def _as_plain(X: Any, owner: str) -> Any:
    """Tensors and other arrays as plain arrays, if they hold numbers; none masked."""
    if type(X).__module__.partition(".")[0] == "torch":
        X = _from_tensor(X)
    elif hasattr(X, "__array__") and not isinstance(X, np.ndarray):
        if len(getattr(X, "shape", (0,) * 3)) > 2:  # scikit-learn knows flat ones
            array = np.asarray(X)
            X = array if array.ndim > 2 else X
    if isinstance(X, np.ma.MaskedArray):
        if np.ma.getmaskarray(X).any():
            raise ValueError(
                f"X has masked values, which {owner} does not support; fill them "
                "first, for example with X.filled(0)."
            )
        X = X.data
    if isinstance(X, np.ndarray):
        check_kind(X, owner, refused="mMV")
    return X


def _from_tensor(X: Any) -> NDArray:
    X = X.detach().cpu()
    if str(X.dtype) == "torch.bfloat16":  # NumPy has none; float32 holds it exactly
        X = X.float()
    return X.numpy()


def _from_list(images: Any, owner: str) -> Any:
    """Lists of pictures or arrays as one array; lists of numbers untouched."""
    if _depth(images[0]) < 2:
        return images
    arrays = [_from_item(image, index, owner) for index, image in enumerate(images)]
    for array in arrays:
        if array.shape != arrays[0].shape:
            raise _unlike(arrays[0].shape, array.shape)
    return np.stack(arrays)


def _from_item(image: Any, index: int, owner: str) -> NDArray:
    """One picture, array or nested list as an array."""
    try:
        return np.asarray(_as_plain(_plain_mode(image), owner))
    except ValueError as error:
        if not isinstance(image, list | tuple):
            raise
        raise ValueError(
            f"X[{index}] is a nested list whose rows differ in length; {owner} needs "
            "images of one size, (n, H, W) or (n, H, W, C)."
        ) from error


def _is_picture(item: Any) -> bool:
    """Whether this is a picture of Pillow's."""
    return getattr(item, "mode", None) is not None and hasattr(item, "convert")


def _unlike(first: tuple[int, ...], other: tuple[int, ...]) -> ValueError:
    """What to say of images in a list that differ in size, or in channels alone."""
    if first[:2] == other[:2]:
        what, remedy = "channels", 'convert all of them, for example to "RGB"'
    else:
        what = "sizes"
        remedy = "bring them to one size, for example with "
        remedy += "sklearn_sprites.datasets.load_image_folder(size=...)"
    return ValueError(
        f"X is a list of images of different {what}, first {first} and {other}; "
        f"{remedy}."
    )


def _depth(item: Any) -> int:
    """Axes of a picture, an array, or nested lists; 0 for anything else."""
    if isinstance(item, list | tuple):
        return 1 + _depth(item[0]) if item else 1
    if _is_picture(item):
        return 2
    if hasattr(item, "shape"):
        return len(item.shape)
    return np.asarray(item).ndim if hasattr(item, "__array__") else 0


def _plain_mode(image: Any) -> Any:
    """Pictures with a palette or printing inks as RGB; others untouched."""
    inks = ("P", "PA", "CMYK", "YCbCr", "LAB", "HSV")
    return image.convert("RGB") if _is_picture(image) and image.mode in inks else image


def check_kind(array: NDArray, owner: str, refused: str = "mMVSUO") -> None:
    """Refuse dtypes that hold no pixel values (by `dtype.kind`)."""
    if array.dtype.kind in refused:
        error: Callable = ValueError if array.dtype.kind in "VSU" else TypeError
        raise error(f"{owner} needs numbers in X, got values of dtype {array.dtype}.")
