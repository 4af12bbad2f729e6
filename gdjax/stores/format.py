"""Format 2 of a store: what it says about itself, checked before it is believed.

    store = zarr.json (all that is known of the sweep, with a digest), name/c.i.j (chunks)

A store is one Zarr v3 group. The root's `zarr.json` holds the metadata of every array, so that one
digest covers them all: SHA-256 of the file with the digest left empty. A digest says that nothing
was damaged, not that nobody meant harm, so what it covers is checked besides.

Foreseen, without another format: sweeps that are parts of a larger one, named in `parts`.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from gdjax.errors import InputError, StoreError
from gdjax.stores.contents import (
    FLAGS,
    MOST,
    ROOT,
    Contents,
    array_from,
    serialise,
    within,
)
from gdjax.stores.files import MISSING, Folder

FORMAT = 2
"""Version of the store's format; a store of another one is not opened."""

OWN = ".gdjax"
"""Folder in a store for what is no array: the lock, checkpoints of unfinished tiles."""

RESERVED = ("gdjax_format", "coordinates", "parts", "identity", "origins", "digest")
"""Attributes that every store has; others are annotations."""


class OtherFormat(InputError):
    """A store of another format than this module's."""


class Root(NamedTuple):
    """What is known of a store before any of its chunks is read.

    Args:
        document: the group's metadata.
        contents: the arrays that they describe.
    """

    document: dict[str, Any]
    contents: Contents


def _contents_of(root):
    found = root["consolidated_metadata"]["metadata"]
    arrays = {name: array_from(name, described) for name, described in found.items()}
    flags = arrays.pop(FLAGS)
    coordinates = {name: arrays.pop(name) for name in root["attributes"]["coordinates"].split()}
    return Contents(arrays, coordinates, flags)


def root_of(
    arrays: Contents, identity: Mapping[str, Any], origins: list[dict[str, Any]]
) -> dict[str, Any]:
    """The root of a store that holds some arrays."""
    return {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": {
            "gdjax_format": FORMAT,
            "coordinates": " ".join(arrays.coordinates),
            "parts": [],
            "identity": identity,
            "origins": origins,
        },
        "consolidated_metadata": {
            "kind": "inline",
            "must_understand": False,
            "metadata": {name: array.document() for name, array in arrays.arrays.items()},
        },
    }


def seal(root: Mapping[str, Any]) -> bytes:
    """Write a root with its digest in the attributes.

    Raises:
        InputError: it is longer than a reader would take.
    """
    blank = {**root, "attributes": {**root["attributes"], "digest": ""}}
    blank["attributes"]["digest"] = hashlib.sha256(serialise(blank)).hexdigest()
    raw = serialise(blank)
    within("bytes of zarr.json", len(raw), "what is recorded of the sweep")
    return raw


def parse_root(raw: bytes) -> Root:
    """The root of a store from the bytes of its `zarr.json`, digest and all checked.

    Raises:
        InputError: what is wrong with it.
    """
    try:
        root = json.loads(
            raw, object_pairs_hook=_unique, parse_constant=_number, parse_float=_number
        )
        found = root["attributes"]["gdjax_format"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{ROOT} is damaged") from error
    if found != FORMAT or type(found) is not int:
        raise OtherFormat(
            f"has format {found!r:.20}, this gdjax reads and writes {FORMAT}; open it with the "
            f"gdjax that wrote it, or run its sweep again on a new store"
        )
    if not _is_sealed(raw, root["attributes"].get("digest")):
        raise InputError(f"{ROOT} is damaged: its digest differs")
    _check_depth(root)
    try:
        return Root(root, _checked(root))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{ROOT} is not of this format ({type(error).__name__})") from error


def read_root(folder: Folder) -> Root | None:
    """Read the root of a store, checked.

    Returns:
        The root; None where there is no store.

    Raises:
        StoreError: the folder holds something else, a store of another format, or one whose root
            is damaged.
    """
    path = folder.path
    if path.exists() and not path.is_dir():
        raise StoreError(f"{path} is a file; expected a folder. Choose another store")
    raw, problem = folder.read(ROOT, MOST["bytes of zarr.json"])
    if problem == MISSING:
        if folder.names() and not begun(folder):
            raise StoreError(
                f"{path} is a folder that holds something else than a store of gdjax; choose "
                f"another"
            )
        if folder.names(FLAGS) - {ROOT}:
            raise StoreError(
                f"{path}: {ROOT} is missing; start its sweep again on this store: that restores it"
            )
        return None
    try:
        if problem:
            raise InputError(f"{ROOT} {problem}")
        return parse_root(raw)
    except OtherFormat as error:
        raise StoreError(f"{path}: {error}") from error
    except InputError as error:
        raise StoreError(
            f"{path}: {error}. Start its sweep again on this store, with the arguments it had: "
            f"that restores it"
        ) from error


def begun(folder: Folder) -> bool:
    """Whether a folder without a root has the look of a store whose creation was cut off."""
    own = folder.path / OWN
    return own.is_dir() and not own.is_symlink()


def _is_sealed(raw, digest):
    """Whether a digest is that of the file that it stands in."""
    # Written again, the root would be the same bytes; that takes ten times as long.
    written = b'"digest": "%s"' % str(digest).encode(errors="replace")
    blank = raw.replace(written, b'"digest": ""', 1)
    return hashlib.sha256(blank).hexdigest() == digest


def _unique(pairs):
    """An object whose keys differ, so that all readers see the same."""
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _number(text):
    """A float that JSON has: no NaN, and none that is too large."""
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text} is no number")
    return number


def _checked(root):
    """The arrays of a root that is one of ours."""
    consolidated, attributes = root["consolidated_metadata"], root["attributes"]
    expected = {"kind": "inline", "must_understand": False}
    if (
        root.keys() != {"zarr_format", "node_type", "attributes", "consolidated_metadata"}
        or (root["zarr_format"], root["node_type"]) != (3, "group")
        or {k: v for k, v in consolidated.items() if k != "metadata"} != expected
    ):
        raise InputError(f"{ROOT} is no group of ours")
    for name, kind in zip(RESERVED, (int, str, list, dict, list, str), strict=True):
        if not isinstance(attributes[name], kind):
            raise InputError(f"attribute {name} is no {kind.__name__}")
    if attributes["parts"]:
        raise InputError("is made of parts, which this gdjax cannot read; take a newer one")
    origins = attributes["origins"]
    within("origins", len(origins), "origins")
    if not origins or not all(isinstance(origin, dict) for origin in origins):
        raise InputError("attribute origins is no list of what computed the tiles")
    arrays = _contents_of(root)
    arrays.check()
    described = attributes["identity"].get("layout", {})
    if {k: v for k, v in described.items() if k != "coordinates"} != arrays.identity():
        raise InputError("its arrays are not those of its sweep")
    if list(described["coordinates"]) != list(arrays.coordinates):
        raise InputError("its coordinates are not those of its sweep")
    return arrays


def _check_depth(value):
    """Refuse what is nested too deeply, without recursion."""
    level = [value]
    for _ in range(MOST["levels of nesting"]):
        level = [
            item
            for container in level
            for item in (container.values() if isinstance(container, dict) else container)
            if isinstance(item, dict | list)
        ]
        if not level:
            return
    within("levels of nesting", MOST["levels of nesting"] + 1, ROOT)
