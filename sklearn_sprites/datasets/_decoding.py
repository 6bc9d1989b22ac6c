"""One image file -> arrays with the values that the file stores."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, ImageSequence

# A whitelist: other plugins start programs (EPS), unpack without limit (FITS) or are
# rarely exercised. Checked by content, whatever the file is called.
FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP")
ORIENTATION = 0x0112

# Pillow mode -> mode of the array; what is missing becomes RGB (or RGBA).
KEPT_MODES = {
    "1": "L",
    "L": "L",
    "LA": "LA",
    "La": "LA",
    "RGB": "RGB",
    "RGBA": "RGBA",
    "RGBa": "RGBA",
    "I": "I",
    "F": "F",
    "I;16": "I;16",
    "I;16B": "I;16B",
    "I;16L": "I;16L",
    "I;16N": "I;16N",
}


@contextmanager
def open_image(path: str | os.PathLike, max_pixels: int) -> Iterator[Image.Image]:
    """Read the header of an image file; nothing is decoded yet.

    Pillow's warnings about odd metadata are silenced, its limits are left alone.

    Raises
    ------
    ValueError
        If the image has more than `max_pixels` pixels.
    OSError
        If the file cannot be read or is in none of :data:`FORMATS`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # A file, not a path: Pillow maps files of known name into memory, and then
        # reads uncompressed TIFF of orientation 5 to 8 with rows of the wrong length.
        with open(path, "rb") as file, Image.open(file, formats=FORMATS) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise ValueError(
                    f"{width} x {height} pixels exceed max_pixels={max_pixels}"
                )
            yield image


def upright_shape(image: Image.Image) -> tuple[int, int]:
    """Height and width once the image stands as its EXIF orientation says."""
    width, height = image.size
    # Pillow reports the upright size of TIFF files already.
    turned = image.format != "TIFF" and image.getexif().get(ORIENTATION, 1) >= 5
    return (width, height) if turned else (height, width)


def decode(image: Image.Image, frames: str, max_pixels: int) -> list[NDArray]:
    """Frames of an open image, upright.

    Returns
    -------
    frames : list of ndarray of shape (H, W, C)
        C is 1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGB, alpha); uint8, uint16 for
        gray images of 16 bits, float64 for integers of 32 bits, float32 for floats.
    """
    if frames == "first":
        return [_array(image)]
    width, height = image.size
    n_frames = _n_frames(image)
    if width * height * n_frames > max_pixels:
        raise ValueError(
            f"{n_frames} frames of {width} x {height} pixels exceed "
            f"max_pixels={max_pixels}"
        )
    return [_array(frame) for frame in ImageSequence.Iterator(image)]


def n_frames_left_out(image: Image.Image, frames: str) -> int:
    """How many frames `decode` skips; previews inside camera files do not count."""
    if frames == "all" or image.format == "MPO":
        return 0
    return _n_frames(image) - 1


def _n_frames(image: Image.Image) -> int:
    return getattr(image, "n_frames", 1)  # only formats that may have several say so


def _array(image: Image.Image) -> NDArray:
    image = ImageOps.exif_transpose(image)
    mode = KEPT_MODES.get(image.mode, "RGB")
    if image.has_transparency_data and not mode.endswith("A"):
        mode = "LA" if mode == "L" else "RGBA"
    values = np.array(image if image.mode == mode else image.convert(mode))
    if values.dtype.kind in "iu" and values.dtype.itemsize == 4:
        values = values.astype(np.float64)
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    return values.reshape(*values.shape[:2], -1)
