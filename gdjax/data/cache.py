"""Prepared sets are decoded once: their arrays are kept in one file.

Decoding 70,000 images takes 14 s, reading them from one file 0.02 to 0.4. The file is beside the
prepared set, or in the user's cache folder where that is read-only; it counts only as long as the
set's files have the sizes and times they had.
"""

import hashlib
import json
import math
import os
import time
import uuid
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gdjax.data.tfds import decode

_FORMAT = b"gdjax arrays 1"


def cache_folder() -> Path:
    """The user's folder for what can be computed again: decoded data, compiled programs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gdjax"


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
    """Write arrays and their description, whole or not at all.

    One line with the format, the checksum of all that follows it and the length of the description;
    the description as JSON; the bytes of the arrays.
    """
    arrays, classes, digest = content
    description = {
        "key": key,
        "classes": classes,
        "hash": digest,
        "arrays": [[array.dtype.str, array.shape] for array in arrays],
    }
    parts = [
        json.dumps(description).encode(),
        *(np.ascontiguousarray(array).data for array in arrays),
    ]
    checksum = 0
    for part in parts:
        checksum = zlib.crc32(part, checksum)
    file.parent.mkdir(parents=True, exist_ok=True)
    for left in file.parent.glob(f"{file.name}.*.part"):  # of a process that was killed
        if time.time() - left.stat().st_mtime > 3600:
            left.unlink(missing_ok=True)
    partial = file.with_name(f"{file.name}.{uuid.uuid4().hex}.part")
    try:
        with partial.open("xb") as stream:
            stream.write(b"%s %08x %08x\n" % (_FORMAT, checksum, len(parts[0])))
            for part in parts:
                stream.write(part)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def _read(file: Path, folder: Path) -> tuple[list[np.ndarray], int, str] | None:
    """Arrays from a file, or None if there is none, it is damaged, or of other data."""
    start = len(_FORMAT) + 19
    try:
        content = np.fromfile(file, np.uint8)
        first = bytes(content[:start])
        if not first.startswith(_FORMAT) or not first.endswith(b"\n"):
            return None
        checksum, length = (int(field, 16) for field in first[len(_FORMAT) :].split())
    except (OSError, ValueError):
        return None
    if zlib.crc32(content[start:].data) != checksum:
        return None
    description = json.loads(bytes(content[start : start + length]))
    if description["key"] != _key(folder):
        return None
    arrays, begin = [], start + length
    for dtype, shape in description["arrays"]:
        end = begin + np.dtype(dtype).itemsize * math.prod(shape)
        # Aligned, since labels of four bytes may begin anywhere.
        array = np.require(content[begin:end].view(dtype), requirements="A").reshape(shape)
        arrays.append(array)
        begin = end
    return arrays, description["classes"], description["hash"]
