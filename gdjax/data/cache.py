"""Prepared sets are decoded once: their arrays are kept in one file.

Decoding 70,000 images takes 14 s, reading them from one file 0.02 to 0.4. The file is beside the
prepared set, or in the user's cache folder where that is read-only; it counts only as long as the
set's files have the sizes and times they had.
"""

import hashlib
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gdjax._runtime.array_file import pack, remove_partial, unpack, write_file
from gdjax._runtime.folders import cache_folder
from gdjax.data.tfds import decode


def writable(folder: Path) -> bool:
    """Whether files can be made in a folder, or in the nearest one above that exists.

    The mode counts even for the superuser, who could write all the same: a folder without write
    permission was meant to stay as it is.
    """
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return bool(folder.stat().st_mode & 0o222) and os.access(folder, os.W_OK)


def content_hash(arrays: Sequence[np.ndarray]) -> str:
    """16 hex digits of the SHA-256 of the arrays' shapes and bytes."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(str(array.shape).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


def decoded(folder: Path) -> tuple[list[np.ndarray], int, str]:
    """Arrays of a prepared set, as they were kept or else decoded now.

    Args:
        folder: `<data folder>/<name>/<version>`.

    Returns:
        Training images and labels, test images and labels; the number of classes; their hash.

    Raises:
        DataError: the set is damaged, or no image classification.
    """
    places = _places(folder)
    for file in places:
        if (kept := _read(file, folder)) is not None:
            return kept
    arrays, classes = decode(folder)
    content = arrays, classes, content_hash(arrays)
    _keep(content, folder)
    return content


def _places(folder: Path) -> tuple[Path, Path]:
    """Where decoded arrays may be: beside the prepared set, or in the user's cache folder."""
    place = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    return folder / ".gdjax_arrays", cache_folder() / "datasets" / f"{folder.parent.name}-{place}"


def _key(folder: Path) -> dict[str, Any]:
    """What identifies a prepared set: its place, and its files' sizes and times."""
    files = sorted(file for file in folder.iterdir() if not file.name.startswith("."))
    stats = [(file.name, file.stat()) for file in files]
    return {
        "folder": str(folder.resolve()),
        "files": [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats],
    }


def _keep(content: tuple[list[np.ndarray], int, str], folder: Path) -> None:
    """Write decoded arrays where they can be written; warn where they cannot."""
    failures = []
    for file in _places(folder):
        if writable(file.parent):
            try:
                return _write(file, content, _key(folder))
            except OSError as error:
                failures.append(f"{file}: {error.strerror or error}")
        else:
            failures.append(f"{file.parent} is read-only")
    warnings.warn(
        f"decoded images of {folder.parent.name} could not be kept, so the next load takes as long "
        f"as this one ({'; '.join(failures)})",
        RuntimeWarning,
        stacklevel=4,
    )


def _write(file: Path, content: tuple[list[np.ndarray], int, str], key: dict[str, Any]) -> None:
    """Write arrays and their description, as a whole or not at all."""
    arrays, classes, digest = content
    file.parent.mkdir(parents=True, exist_ok=True)
    remove_partial(file.parent.glob(f"{file.name}.*"), older_than=3600)
    named = {str(number): array for number, array in enumerate(arrays)}
    write_file(file, pack(named, {"key": key, "classes": classes, "hash": digest}))


def _read(file: Path, folder: Path) -> tuple[list[np.ndarray], int, str] | None:
    """Return the arrays of a file; None if there is none, it is damaged, or of other data."""
    try:
        unpacked = unpack(file.read_bytes())
    except OSError:
        return None
    if unpacked is None or unpacked[1].get("key") != _key(folder):
        return None
    arrays, meta = unpacked
    return list(arrays.values()), meta["classes"], meta["hash"]
