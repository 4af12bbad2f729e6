"""Whether a store is what was written: a digest over its metadata, a checksum in every chunk.

    digest = SHA-256 of the root's zarr.json with the digest left empty

The root's `zarr.json` holds the metadata of every array, so this one digest covers them all. A
copy of it, `.gdjax/record.json`, is what a damaged one is restored from. Chunks end with the
CRC32C of what comes before. A chunk that is missing reads as the fill value, so every chunk of a
finished tile must exist.

What has to survive is kill -9: files are renamed into place, and a tile's flag comes last. After a
loss of power `verify` finds what did not reach the disk.
"""

import contextlib
import hashlib
import json
import os
import uuid
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gdjax.errors import InputError, StoreError
from gdjax.stores.layout import FLAGS, ChunkedArray, Contents, contents

FORMAT = 1
"""Version of the store's format; a store of another one is not opened."""

OWN = ".gdjax"
"""Folder in a store for what is no array: the lock, the record, states of unfinished tiles."""

ROOT = "zarr.json"
RECORD = f"{OWN}/record.json"
MISSING = "missing"


class Damage(NamedTuple):
    """One damaged file of a store.

    Args:
        file: its path in the store.
        problem: what is wrong with it.
        tile: the tile that has to be computed again; None for metadata and coordinates, which are
            restored when the sweep goes on.
    """

    file: str
    problem: str
    tile: tuple[int, ...] | None = None

    def __str__(self) -> str:
        again = "" if self.tile is None else f"; tile {self.tile} has to be computed again"
        return f"{self.file}: {self.problem}{again}"


def verify(path: str | Path) -> list[Damage]:
    """Read every file of a store and say which are damaged; change nothing.

    Args:
        path: folder of the store. It may be in use by a sweep.

    Returns:
        The damaged files, an empty list where all is well. Tiles that are not finished cannot be
        damaged.

    Raises:
        StoreError: there is no store, or it cannot be understood at all.
    """
    path = local(path)
    root = require_root(path)
    return damaged_frame(path, root) + damaged_tiles(path, contents(root))


def local(path: str | Path) -> Path:
    """Turn the name of a store into a path.

    Raises:
        InputError: it is a URL. Renaming and locking need a file system.
    """
    if "://" in str(path):
        raise InputError(f"store = {path!s} is a URL; expected a folder of a file system")
    return Path(path)


def serialise(document: dict[str, Any]) -> bytes:
    """The one way in which metadata are written: equal documents are equal bytes."""
    return json.dumps(document, indent=1, allow_nan=False).encode() + b"\n"


def seal(root: dict[str, Any]) -> bytes:
    """Write a root with its digest in the attributes."""
    blank = {**root, "attributes": {**root["attributes"], "digest": ""}}
    blank["attributes"]["digest"] = hashlib.sha256(serialise(blank)).hexdigest()
    return serialise(blank)


def write_file(file: Path, data: bytes | memoryview) -> None:
    """Write a file that is there as a whole or, after a kill or a loss of power, not at all."""
    partial = file.with_name(f"{file.name}.{uuid.uuid4().hex}.partial")
    try:
        with partial.open("wb") as f:
            f.write(data)
            f.flush()
            os.fsync(f.fileno())
        partial.replace(file)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def read_file(file: Path) -> bytes | None:
    """Read a file; None where there is none."""
    try:
        return file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def write_root(path: Path, root: dict[str, Any]) -> None:
    """Write the record, then the root: if a kill comes between, the record is newer, and holds."""
    raw = seal(root)
    write_file(path / RECORD, raw)
    write_file(path / ROOT, raw)


def read_root(path: Path) -> dict[str, Any] | None:
    """Read the root of a store, from its record where that is sound.

    Returns:
        The root's metadata; None where there is no store, or one whose creation was cut off.

    Raises:
        StoreError: the folder holds something else, a store of another format, or one of which
            neither the root nor the record is sound.
    """
    if path.exists() and not path.is_dir():
        raise StoreError(f"{path} is a file; expected a folder. Choose another store")
    copies = {file: read_file(path / file) for file in (RECORD, ROOT)}
    for raw in copies.values():
        if (root := _sound(raw)) is not None:
            return root
    for raw in copies.values():
        if (found := _format(raw)) not in (None, FORMAT):
            raise StoreError(
                f"{path} has format {found}, this gdjax reads and writes {FORMAT}; open it with "
                f"the gdjax that wrote it, or choose another store"
            )
    names = {child.name for child in path.iterdir()} if path.exists() else set()
    if names and OWN not in names:
        raise StoreError(
            f"{path} is a folder that holds something else than a store of gdjax; choose another"
        )
    if any(raw is not None for raw in copies.values()) or any(path.glob(f"{FLAGS}/c.*")):
        raise StoreError(
            f"{path}: {ROOT} and {RECORD} are both damaged, so nothing says what the arrays are "
            f"of. Restore one of them from a backup, or choose another store"
        )
    return None


def require_root(path: Path) -> dict[str, Any]:
    """Read the root of a store that has to be there.

    Raises:
        StoreError: there is none.
    """
    root = read_root(path)
    if root is None:
        raise StoreError(f"{path}: there is no store here; check the path")
    return root


def require_sound_root(path: Path) -> dict[str, Any]:
    """Read the root of a store that has to be there, metadata and coordinates undamaged.

    Raises:
        StoreError: there is none, or it names the damaged files.
    """
    root = require_root(path)
    # The record is there to restore from; a copy made without hidden files can do without.
    if found := [damage for damage in damaged_frame(path, root) if damage.file != RECORD]:
        listed = "; ".join(map(str, found))
        raise StoreError(
            f"{path} is damaged: {listed}. Start its sweep again on this store: that restores it"
        )
    return root


def damaged_frame(path: Path, root: dict[str, Any]) -> list[Damage]:
    """Say which files are damaged that do not belong to a tile: metadata and coordinates."""
    # Two sound copies may differ: a kill came between them, and the record is the newer.
    found = [
        Damage(file, MISSING if raw is None else "digest differs")
        for file in (ROOT, RECORD)
        if _sound(raw := read_file(path / file)) is None
    ]
    for name, described in root["consolidated_metadata"]["metadata"].items():
        raw = read_file(path / name / ROOT)
        if raw != serialise(described):
            problem = MISSING if raw is None else "differs from the store's record"
            found.append(Damage(f"{name}/{ROOT}", problem))
    for array in contents(root).coordinates.values():
        if problem := _chunk(path, array)[1]:
            found.append(Damage(array.file(), problem))
    return found


def damaged_tiles(path: Path, arrays: Contents) -> list[Damage]:
    """Say which chunks of finished tiles are damaged, flags included."""
    flags, found = read_flags(path, arrays)
    for tile in zip(*(index.tolist() for index in np.nonzero(flags)), strict=True):
        for array in arrays.variables.values():
            if problem := _chunk(path, array, tile)[1]:
                found.append(Damage(array.file(tile), problem, tile))
    return found


def read_flags(path: Path, arrays: Contents) -> tuple[np.ndarray, list[Damage]]:
    """Read the completion flag of every tile.

    Returns:
        The number of the origin that computed each tile, 0 where none has or the flag is damaged;
        and the damaged flags. A flag is the only witness that its tile is whole, so a tile
        without it is computed again.
    """
    flags = np.zeros(arrays.tiles, arrays.flags.dtype)
    found = []
    for tile in np.ndindex(arrays.tiles):
        flags[tile], problem = _flag(path, arrays, tile)
        if problem not in (None, MISSING):
            found.append(Damage(arrays.flags.file(tile), problem, tile))
    return flags, found


def read_flag(path: Path, arrays: Contents, tile: tuple[int, ...]) -> int:
    """Read the completion flag of one tile, as `read_flags` does."""
    return _flag(path, arrays, tile)[0]


def _flag(path: Path, arrays: Contents, tile: tuple[int, ...]) -> tuple[int, str | None]:
    raw, problem = _chunk(path, arrays.flags, tile)
    return (0 if problem else int(np.frombuffer(raw, arrays.flags.dtype, 1)[0])), problem


def _chunk(path: Path, array: ChunkedArray, tile: tuple[int, ...] = ()) -> tuple[bytes, str | None]:
    """Read the file of one chunk and say what is wrong with it, None if nothing is."""
    # zarr's own checksum; through zarr an array would have to be opened and decoded.
    import google_crc32c

    try:
        raw = (path / array.file(tile)).read_bytes()
    except FileNotFoundError:
        return b"", MISSING
    except OSError as error:
        return b"", f"cannot be read ({error.strerror})"
    if len(raw) != array.nbytes:
        return raw, f"{len(raw)} bytes, expected {array.nbytes}"
    if google_crc32c.value(np.frombuffer(raw, np.uint8)[:-4]) != int.from_bytes(raw[-4:], "little"):
        return raw, "checksum differs"
    return raw, None


def _sound(raw: bytes | None) -> dict[str, Any] | None:
    """Parse a root and return it if it is of our format and its digest is right."""
    if raw is None or _format(raw) != FORMAT:
        return None
    root = json.loads(raw)
    try:
        return root if seal(root) == raw else None
    except ValueError:  # a damaged digit can make a number too large to be written again
        return None


def _format(raw: bytes | None) -> Any:
    """Return the format that a root claims, None where there is no telling."""
    try:
        return json.loads(raw or b"")["attributes"]["gdjax_format"]
    except (ValueError, KeyError, TypeError):
        return None
