"""Images from a folder of the user's own, with a report of what was left out."""

import os
import stat
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ImageColor
from sklearn.utils import Bunch

from sklearn_sprites.datasets._conversion import composite, rescale, stack
from sklearn_sprites.datasets._decoding import (
    decode,
    n_frames_left_out,
    open_image,
    upright_shape,
)
from sklearn_sprites.exceptions import ImageSkippedWarning

__all__ = ["load_image_folder"]

SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .apng .tif .tiff .bmp .dib .gif .webp".split()
)
CHOICES = {
    "fit": ("stretch", "crop"),
    "mode": ("auto", "L", "RGB"),
    "frames": ("first", "all"),
    "on_error": ("warn", "raise", "ignore"),
}
LISTED = 20  # files named in a warning; the report has them all


@dataclass(frozen=True)
class _Reading:
    """How one file becomes arrays."""

    size: tuple[int, int] | None
    fit: str
    background: tuple[int, int, int] | None
    frames: str
    max_pixels: int


class _Report:
    """What was left out and why; raises at once if asked to."""

    def __init__(self, on_error: str) -> None:
        self.on_error = on_error
        self.skipped: list[tuple[str, str]] = []

    def add(self, name: str, reason: str) -> None:
        self.skipped.append((name, reason))

    def fail(self, name: str, path: Path, error: Exception) -> None:
        reason = str(error) or type(error).__name__
        if self.on_error == "raise":
            raise ValueError(f"{path} cannot be read: {reason}") from error
        self.add(name, reason)

    def text(self) -> str:
        lines = [f"  {name}: {reason}" for name, reason in self.skipped[:LISTED]]
        if len(self.skipped) > LISTED:
            lines.append(f"  and {len(self.skipped) - LISTED} more (see `skipped`)")
        return "\n".join(lines)


def load_image_folder(
    path: str | os.PathLike,
    *,
    size: int | tuple[int, int] | None = None,
    fit: str = "stretch",
    mode: str = "auto",
    background: str | tuple[int, int, int] | None = "white",
    frames: str = "first",
    on_error: str = "warn",
    follow_symlinks: bool = False,
    max_pixels: int = 64_000_000,
    return_X_y: bool = False,
) -> Any:
    """Load all images below a folder into one array.

    Files are taken by suffix (JPEG, PNG, TIFF, BMP, GIF, WebP, in either case) and
    read by content, in the order of their path below the folder, which is the same on
    every system. Hidden files and folders and other suffixes are ignored. A file that
    cannot be read is left out, reported and named in a warning.

    Parameters
    ----------
    path : str or path-like
        The folder. Sub-folders are searched, too.
    size : int, (height, width) or None, default=None
        Size to bring all images to, by antialiased bilinear resampling; an int means
        a square. ``None``: as they are, which needs images of one size.
    fit : {"stretch", "crop"}, default="stretch"
        How an image with other proportions is brought to `size`: stretched, or cut
        to the largest centered part with these proportions.
    mode : {"auto", "L", "RGB"}, default="auto"
        Gray or color. ``"auto"``: gray if all images are gray, else color.
    background : str, (red, green, blue) or None, default="white"
        Color that shows through where images are transparent, as a name that Pillow
        knows or as three integers from 0 to 255. ``None`` keeps alpha as the last
        channel (full where an image has none).
    frames : {"first", "all"}, default="first"
        Which frames of animations and pages of multi-page files to load. Frames left
        out are reported.
    on_error : {"warn", "raise", "ignore"}, default="warn"
        What to do about a file that cannot be read: leave it out with one warning
        for all, raise at the first, or leave it out silently.
    follow_symlinks : bool, default=False
        Whether to follow symbolic links; loops end either way.
    max_pixels : int, default=64_000_000
        Larger images (for ``frames="all"``: all frames together) are left out before
        they are decoded. Pillow's own limit holds besides.
    return_X_y : bool, default=False
        Whether to return ``(images, target)`` only.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        With the attributes

        images : ndarray of shape (n, H, W) or (n, H, W, C)
            Values as stored: uint8; uint16 if some images are gray with 16 bits (the
            others are spread over that range); float if some are floats or integers
            of 32 bits, which keep their values (the others are spread over [0, 1]).
            Color with 16 bits per channel is read with 8 bits. Images stand as their
            EXIF orientation says; color profiles are not applied.
        target : ndarray of shape (n,), dtype int64, or None
            Which of the immediate sub-folders an image comes from. None if some
            images lie in the folder itself.
        target_names : list of str or None
            The sub-folders, sorted.
        filenames : list of str
            Paths below the folder, with ``/``; one per image.
        skipped : list of (str, str)
            Path and reason of everything that was left out.
    (images, target) : tuple if ``return_X_y`` is True

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        If `path` is not a folder.
    ValueError
        If a parameter is none of the above, if no image can be read, if sizes differ
        and `size` is None, or at the first unreadable file if `on_error` says so.

    Warns
    -----
    ImageSkippedWarning
        If something was left out, where ``on_error="warn"``.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from PIL import Image
    >>> from sklearn_sprites.datasets import load_image_folder
    >>> with TemporaryDirectory() as folder:
    ...     for name in ("cats", "dogs"):
    ...         Path(folder, name).mkdir()
    ...         Image.new("RGB", (40, 30)).save(Path(folder, name, "1.png"))
    ...     data = load_image_folder(folder, size=(12, 16))
    >>> data.images.shape, data.target, data.target_names
    ((2, 12, 16, 3), array([0, 1]), ['cats', 'dogs'])
    """
    given = {"fit": fit, "mode": mode, "frames": frames, "on_error": on_error}
    _check_choices(given)
    reading = _Reading(
        _as_size(size), fit, _as_color(background), frames, _as_limit(max_pixels)
    )
    root, report = _as_folder(path), _Report(on_error)
    files = sorted(_find(root, follow_symlinks, report))
    if reading.size is None:
        _check_sizes(root, files, reading)
    images, names = _read_all(root, files, reading, report)
    if not images:
        raise ValueError(f"No readable images in {root}.\n{report.text()}".rstrip())
    if report.skipped and on_error == "warn":
        warnings.warn(
            f"{len(report.skipped)} entries of {root} were left out:\n{report.text()}",
            ImageSkippedWarning,
            stacklevel=2,
        )
    return _bunch(stack(images, mode), names, report.skipped, return_X_y)


def _as_folder(path: str | os.PathLike) -> Path:
    root = Path(path)
    wanted = "load_image_folder needs the folder that holds the images"
    try:
        is_folder = stat.S_ISDIR(root.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(
            f"path={str(path)!r} does not exist, but {wanted}; look for a slip in it, "
            "or pass an absolute path."
        ) from error
    if not is_folder:
        raise NotADirectoryError(
            f"path={str(path)!r} is no folder, but {wanted}; pass the one that this "
            f"file is in, {str(root.parent)!r}."
        )
    return root


def _check_choices(given: dict[str, str]) -> None:
    for name, value in given.items():
        if value not in CHOICES[name]:
            raise ValueError(f"{name} must be one of {CHOICES[name]}, got {value!r}.")


def _as_size(size: Any) -> tuple[int, int] | None:
    if size is None:
        return None
    pair = size if isinstance(size, tuple | list | np.ndarray) else (size, size)
    if len(pair) != 2 or not all(_is_whole(side, 1) for side in pair):
        raise ValueError(
            f"size must be a positive integer, (height, width) or None, got {size!r}."
        )
    return int(pair[0]), int(pair[1])


def _as_color(background: Any) -> tuple[int, int, int] | None:
    if background is None:
        return None
    if isinstance(background, str):
        return _named_color(background)
    is_color = isinstance(background, tuple | list | np.ndarray)
    if not (
        is_color
        and len(background) == 3
        and all(_is_whole(value, 0, 255) for value in background)
    ):
        raise ValueError(
            "background must be a color name, three integers from 0 to 255 or None, "
            f"got {background!r}."
        )
    red, green, blue = (int(value) for value in background)
    return red, green, blue


def _named_color(name: str) -> tuple[int, int, int]:
    try:
        return ImageColor.getrgb(name)[:3]
    except ValueError as error:
        raise ValueError(
            f"background={name!r} is no color that Pillow knows: {error}."
        ) from error


def _as_limit(max_pixels: Any) -> int:
    if not _is_whole(max_pixels, 1):
        raise ValueError(f"max_pixels must be a positive integer, got {max_pixels!r}.")
    return int(max_pixels)


def _is_whole(value: Any, least: int, most: float = np.inf) -> bool:
    """Whether a value is an integer in a range; booleans are none."""
    is_integer = isinstance(value, Integral) and not isinstance(value, bool)
    return is_integer and least <= value <= most


def _find(root: Path, follow: bool, report: _Report) -> Iterator[str]:
    """Paths of image files below `root`, relative, with forward slashes."""
    folders, seen = [""], {os.path.realpath(root)}
    while folders:
        prefix = folders.pop()
        for entry in _entries(root, prefix, report):
            name = prefix + entry.name
            is_image = Path(entry.name).suffix.lower() in SUFFIXES
            if entry.name.startswith("."):
                continue
            if entry.is_symlink() and not follow:
                if is_image or entry.is_dir():
                    report.add(name, "symbolic link, not followed")
            elif entry.is_dir():
                if os.path.realpath(entry) not in seen:
                    seen.add(os.path.realpath(entry))
                    folders.append(name + "/")
            elif is_image and entry.is_file():
                yield name
            elif is_image:
                report.add(name, "not a regular file")


def _entries(root: Path, prefix: str, report: _Report) -> list[os.DirEntry]:
    try:
        with os.scandir(root / prefix) as entries:
            return list(entries)
    except OSError as error:
        if prefix == "":
            raise
        report.fail(prefix.rstrip("/"), root / prefix, error)
        return []


def _check_sizes(root: Path, files: list[str], reading: _Reading) -> None:
    """Refuse images of different sizes from their headers, before decoding any."""
    sizes: Counter[tuple[int, int]] = Counter()
    for name in files:
        try:
            with open_image(root / name, reading.max_pixels) as image:
                sizes[upright_shape(image)] += 1
        except Exception:  # reported when the file is read
            continue
    if len(sizes) > 1:
        common = ", ".join(f"{h} x {w} ({n})" for (h, w), n in sizes.most_common(3))
        raise ValueError(
            f"The images in {root} have {len(sizes)} different sizes, height x width "
            f"(images) {common}: pass size=(height, width) to bring them to one."
        )


def _read_all(
    root: Path, files: list[str], reading: _Reading, report: _Report
) -> tuple[list[NDArray], list[str]]:
    images: list[NDArray] = []
    names: list[str] = []
    for name in files:
        try:
            frames, left_out = _read(root / name, reading)
        except MemoryError:
            raise
        # Decoders meet arbitrary bytes and raise whatever these lead them to.
        except Exception as error:
            report.fail(name, root / name, error)
            continue
        images += frames
        names += [name] * len(frames)
        if left_out:
            report.add(name, f"first of {left_out + 1} frames read (frames='all')")
    return images, names


def _read(path: Path, reading: _Reading) -> tuple[list[NDArray], int]:
    with open_image(path, reading.max_pixels) as image:
        left_out = n_frames_left_out(image, reading.frames)
        frames = decode(image, reading.frames, reading.max_pixels)
    if reading.background is not None:
        frames = [composite(frame, reading.background) for frame in frames]
    if reading.size is not None:
        frames = [rescale(frame, reading.size, reading.fit) for frame in frames]
    return frames, left_out


def _bunch(
    images: NDArray, names: list[str], skipped: list[tuple[str, str]], pair: bool
) -> Any:
    target = target_names = None
    if all("/" in name for name in names):
        tops = [name.split("/")[0] for name in names]
        target_names = sorted(set(tops))
        target = np.searchsorted(target_names, tops).astype(np.int64)
    if pair:
        return images, target
    return Bunch(
        images=images,
        target=target,
        target_names=target_names,
        filenames=names,
        skipped=skipped,
    )
