"""Arrays and plain values in one file, from which nothing is ever executed.

The file is one of safetensors: any reader of these finds the arrays by name. Its header
has one entry of ours: a SHA-256, which tells whether a bit has changed, and all else as
JSON. What is saved twice gives the same bytes.
"""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from sklearn_sprites.exceptions import ModelFileError

FORMAT = 1  # of the files; older ones must stay readable
ENTRY = "sklearn_sprites"  # in the header of safetensors
NAMES = 8  # bytes before the header of safetensors, which tell its length


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds: the name of its kind, who wrote it, values, and arrays."""

    kind: str
    version: str
    values: dict[str, Any]
    arrays: dict[str, NDArray]


def write(path: str | os.PathLike, checkpoint: Checkpoint) -> None:
    """Write a file, or leave the one that was there as it was."""
    arrays = {name: _in_order(value) for name, value in checkpoint.arrays.items()}
    header = {
        "format": FORMAT,
        "kind": checkpoint.kind,
        "version": checkpoint.version,
        "values": checkpoint.values,
    }
    text = json.dumps(header, allow_nan=False)
    entry = f"{_digest(text, arrays)} {text}"
    _replace(_as_path(path), safetensors.numpy.save(arrays, {ENTRY: entry}))


def read(path: str | os.PathLike) -> Checkpoint:
    """What :func:`write` wrote, or ModelFileError, which says what is wrong."""
    data = _as_path(path).read_bytes()
    try:
        arrays = safetensors.numpy.load(data)
        size = int.from_bytes(data[:NAMES], "little")
        metadata = json.loads(data[NAMES : NAMES + size]).get("__metadata__", {})
        digest, _, text = metadata[ENTRY].partition(" ")
    except (safetensors.SafetensorError, ValueError, RecursionError) as error:
        raise unreadable(path, f"no safetensors can be read ({error})") from error
    except KeyError as error:
        raise unreadable(path, f"its header has no entry {error}") from error
    try:
        header = json.loads(text)
        version, number = str(header["version"]), int(header["format"])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise unreadable(path, f"its header makes no sense ({error!r})") from error
    if number > FORMAT:
        raise unreadable(
            path,
            f"sklearn_sprites {version} saved it, in a format of files ({number}) "
            f"that is newer than this version's ({FORMAT})",
            "install that version",
        )
    if _digest(text, arrays) != digest:
        raise unreadable(
            path, "its checksum is wrong, so that it has changed since it was saved"
        )
    kind, values = header.get("kind"), header.get("values")
    if not (isinstance(kind, str) and isinstance(values, dict)):
        raise unreadable(path, "its header tells no kind of model, or no values")
    return Checkpoint(kind, version, values, arrays)


def unreadable(
    path: str | os.PathLike,
    reason: str,
    remedy: str = "save the model again, or get the file anew",
) -> ModelFileError:
    """The error to raise for a file."""
    return ModelFileError(
        f"{os.fspath(path)} holds no model that can be read: {reason}; {remedy}."
    )


def _as_path(path: str | os.PathLike) -> Path:
    try:
        return Path(path)
    except TypeError as error:
        raise TypeError(
            "path must be the name of a file, as text or path-like, got "
            f"{type(path).__name__}."
        ) from error


def _in_order(array: NDArray) -> NDArray:
    """The same numbers, row by row and as this machine writes them."""
    return np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")


def _digest(text: str, arrays: Mapping[str, NDArray]) -> str:
    """SHA-256 of the header and of all arrays with their names and forms."""
    total = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        form = json.dumps([name, str(array.dtype), list(array.shape)])
        total.update(form.encode())
        total.update(array.tobytes())
    return total.hexdigest()


def _replace(path: Path, data: bytes) -> None:
    """Put a file into its place at once, so that nobody ever finds a part of it."""
    path = Path(os.path.realpath(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"There is no folder {path.parent}; make it first, or give another path."
        )
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a directory; give the path of a file.")
    if path.exists() and not os.access(path, os.W_OK):
        raise PermissionError(f"{path} may not be written; choose another path.")
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with open(part, "xb") as file:
            file.write(data)
        if path.exists():
            shutil.copymode(path, part)
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
