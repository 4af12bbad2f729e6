"""What a store is made of before anything is computed: metadata and coordinates.

They are created once, compared when a sweep comes back, and restored where they are damaged.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gdjax.errors import StoreError
from gdjax.stores.format import (
    FORMAT,
    OWN,
    RECORD,
    ROOT,
    Damage,
    damaged_frame,
    read_file,
    read_root,
    seal,
    serialise,
    write_file,
    write_root,
)
from gdjax.stores.layout import Layout


def prepare(
    path: Path, layout: Layout, identity: dict[str, Any], information: dict[str, Any]
) -> tuple[list[Damage], dict[str, Any]]:
    """Create a store, or take one up again; the caller has its lock.

    Returns:
        The damaged files that have been restored, and the root's metadata.

    Raises:
        StoreError: the folder holds another sweep, or is damaged beyond repair.
    """
    root = read_root(path)
    if root is None:
        return [], create(path, layout, identity, information)
    compare(path, root["attributes"]["identity"], identity)
    found = damaged_frame(path, root)
    restore(path, root, layout, found)
    for partial in path.rglob("*.partial"):  # what a killed writer was about to rename
        partial.unlink(missing_ok=True)
    return found, root


def create(
    path: Path, layout: Layout, identity: dict[str, Any], information: dict[str, Any]
) -> dict[str, Any]:
    """Fill an empty folder, or one in which a creation was cut off; the record comes last."""
    for child in path.iterdir():
        if child.name != OWN:
            shutil.rmtree(child) if child.is_dir() else child.unlink()
    files = layout.files()
    metadata = {}
    for file, raw in files.items():
        name, _, last = file.rpartition("/")
        (path / name).mkdir(exist_ok=True)
        if last == ROOT:
            metadata[name] = json.loads(raw)
        (path / file).write_bytes(serialise(metadata[name]) if last == ROOT else raw)
    root = {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": {
            "gdjax_format": FORMAT,
            "coordinates": " ".join(layout.coordinates),
            "identity": identity,
            "origins": [information],
        },
        "consolidated_metadata": {
            "kind": "inline",
            "must_understand": False,
            "metadata": metadata,
        },
    }
    write_root(path, root)
    return root


def compare(path: Path, stored: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Raise an error that lists the differences where two sweeps are not the same."""
    old, new = dict(_flat(stored)), dict(_flat(wanted))
    differences = [
        f"  {key}: stored {old.get(key, 'nothing')!r}, wanted {new.get(key, 'nothing')!r}"
        for key in {**old, **new}
        if key not in old or key not in new or old[key] != new[key]
    ]
    if differences:
        listed = "\n".join(differences)
        raise StoreError(
            f"{path} holds another sweep:\n{listed}\nChoose another store, or set these back"
        )


def _flat(value: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        if isinstance(item, dict) and item:
            yield from _flat(item, f"{prefix}{key}.")
        else:
            yield prefix + key, item


def restore(path: Path, root: dict[str, Any], layout: Layout, found: list[Damage]) -> None:
    """Write damaged metadata again from the record, damaged coordinates from the layout."""
    metadata = root["consolidated_metadata"]["metadata"]
    files = layout.files() if found else {}
    for damage in found:
        name, _, last = damage.file.rpartition("/")
        if damage.file in (ROOT, RECORD):
            continue
        (path / name).mkdir(exist_ok=True)
        write_file(
            path / damage.file, serialise(metadata[name]) if last == ROOT else files[damage.file]
        )
    if any(read_file(path / file) != seal(root) for file in (ROOT, RECORD)):
        write_root(path, root)  # damaged, or a kill came between the two
