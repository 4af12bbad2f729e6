"""Several sweeps as one Dataset: the parts of a store that has grown, or of static axes.

    places of a dimension = those of all parts, each once;   v[place] = v of the last part with it

Nothing is read before it is used.

>>> import xarray as xr
>>> parts = [xr.Dataset({"cost": ("seed", [s + 0.5])}, {"seed": [s]}) for s in (1, 0)]
>>> joined(parts, {"seed": ["seed"]}).cost.values.tolist()
[0.5, 1.5]
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gdjax.errors import StoreError
from gdjax.stores.contents import FLAGS, MOST, ROOT
from gdjax.stores.files import Folder
from gdjax.stores.lazily import lazy, orthogonal
from gdjax.whole import is_whole

PARTS = "parts"
"""Folder of a store that has those of its sweeps that were added to the first."""


def with_names(dataset: Any) -> Any:
    """A Dataset whose coordinates that are numbers with `flag_meanings` are those names."""
    named = {}
    for name, coordinate in dataset.coords.items():
        meanings = str(coordinate.attrs.get("flag_meanings", "")).split()
        codes = coordinate.values
        if meanings and codes.dtype.kind in "iu":
            if codes.min() < 0 or codes.max() >= len(meanings):
                raise StoreError(f"{name}: has numbers without a meaning; the store is damaged")
            attrs = {k: v for k, v in coordinate.attrs.items() if not k.startswith("flag_")}
            # Zarr has no text of a fixed length.
            named[name] = (coordinate.dims, np.array(meanings, object)[codes], attrs)
    return dataset.assign_coords(named)


def part_path(store: str | Path, number: int) -> Path:
    """Folder of a part of a store: 0 is the sweep that it began with."""
    return Path(store) / PARTS / str(number) if number else Path(store)


NUM_PARTS = "num_parts"
"""Attribute of a store's first part: of how many it consists. Older stores lack it."""


def part_paths(store: str | Path) -> list[Path]:
    """Folders of the parts of a store, in order; the first is the store's own, there or not.

    They end before the first number without a part.

    Raises:
        StoreError: one of them is a link.
    """
    folder, paths = Folder(Path(store)), [Path(store)]
    while folder.at(f"{PARTS}/{len(paths)}/{ROOT}").is_file():
        paths.append(part_path(store, len(paths)))
    return paths


def lost_parts(store: str | Path, attributes: Mapping[str, Any]) -> list[str]:
    """Name the files of the parts that a store should have and has not.

    A store without `NUM_PARTS` has at least the parts before the last one that is there.

    Args:
        store: its folder.
        attributes: of its first part.

    Raises:
        StoreError: it says a number of parts that no store has, or one of them is a link.
    """
    recorded = attributes.get(NUM_PARTS, 1)
    if not is_whole(recorded, 1, MOST["origins"]):
        raise StoreError(
            f"{store}: {NUM_PARTS} = {recorded!r:.80}, expected a whole number of at least 1; take "
            f"the store from where it was written"
        )
    folder = Folder(Path(store))
    numbers = {int(name) for name in folder.names(PARTS) if re.fullmatch("[1-9][0-9]{0,4}", name)}
    there = {n for n in numbers if folder.at(f"{PARTS}/{n}/{ROOT}").is_file()}
    every = range(1, max([recorded - 1, *there]) + 1)
    return [f"{PARTS}/{number}/{ROOT}" for number in every if number not in there]


def of_parts(parts: Sequence[Any]) -> Any:
    """One Dataset of the parts of a sweep, each with its identity and origins as attributes."""
    if len(parts) == 1:
        return parts[0]
    origins: list[Any] = []
    numbered = []
    for part in parts:
        own = part.attrs["origins"]
        if FLAGS in part:
            flags = part[FLAGS]
            shifted = flags.where(flags == 0, flags + len(origins)).astype(flags.dtype)
            numbered.append(part.assign({FLAGS: shifted.assign_attrs(flags.attrs)}))
        else:
            numbered.append(part)
        origins += own
    said = parts[0].attrs["identity"]
    try:
        axes = {dim: list(along) for dim, along in said["axes"].items()}
        whole = joined(numbered, axes, cadences(said))
    except (KeyError, TypeError, AttributeError, ArithmeticError) as error:
        raise StoreError(f"its parts are no sweeps ({error}); take it from its origin") from error
    counts = {
        name: sum(part.attrs[name] for part in parts)
        for name in ("tiles", "tiles_finished", "seconds")
        if all(name in part.attrs for part in parts)
    }
    grid = {d: {a: whole.coords[a].values.tolist() for a in along} for d, along in axes.items()}
    return whole.assign_attrs(
        **counts, identity={**said, "axes": grid}, origins=origins, parts=len(parts)
    )


def cadences(said: Mapping[str, Any]) -> dict[str, int | None]:
    """Return from one kept value to the next, for each dimension of steps of a sweep."""
    every = {"step": said["record_every"], "snapshot_step": said["snapshot_every"]}
    for name, measure in said.get("measures", {}).items():
        every[f"{name}_step"] = said["record_every"] * measure["every"]
    return every


def joined(
    parts: Sequence[Any],
    axes: Mapping[str, Iterable[str]],
    every: Mapping[str, int | None] | None = None,
) -> Any:
    """One Dataset of several, with the variables that all of them have.

    Numbers along a dimension ascend if they do in each part; other values stand in the order in
    which they first come.

    Args:
        parts: Datasets; where two have the same run and step, the later one counts.
        axes: for each dimension of the grid, the coordinates that tell its places apart.
        every: for dimensions such as `step`, the distance of the values that are kept; other ones
            are where a part ended, and are kept if nothing comes after them.

    Raises:
        StoreError: the parts do not fit together.
    """
    import xarray as xr

    first = parts[0]
    shared = [name for name in first.data_vars if all(name in part for part in parts)]
    own = [str(d) for d in first.dims if d not in axes and d in first.coords]
    keys = {d: list(axes[d]) for d in axes} | {d: [d] for d in own}
    places = {}
    for dim, names in keys.items():
        entries = [_entries(part, names) for part in parts]
        distance = (every or {}).get(dim)
        places[dim] = _union(entries, sort=dim in own, every=distance if dim in own else None)
    lookups = []
    for part in parts:
        found = {}
        for dim, names in keys.items():
            at = {entry: i for i, entry in enumerate(_entries(part, names))}
            found[dim] = np.array([at.get(entry, -1) for entry in places[dim]])
        lookups.append(found)
    variables = {}
    for name in shared:
        pieces = [part[name].variable for part in parts]
        variables[name] = _array(name, pieces, lookups)
    coordinates: dict[Any, Any] = {}
    for dim, names in keys.items():
        columns = zip(names, zip(*places[dim], strict=True), strict=True)
        for name, values in columns:
            like = first.coords[name]
            coordinates[name] = (like.dims, np.array(values, like.dtype), like.attrs)
        if dim in first.coords and dim not in coordinates:  # counts the places
            coordinates[dim] = (dim, np.arange(len(places[dim])), first.coords[dim].attrs)
    return xr.Dataset(variables, coordinates, first.attrs)


def _entries(part, names):
    return list(zip(*(part.coords[name].values.tolist() for name in names), strict=True))


def _union(entries, *, sort, every):
    """All places, each once."""
    union = list(dict.fromkeys(entry for part in entries for entry in part))
    numbers = not any(isinstance(value, str) for entry in union for value in entry)
    if sort or (numbers and all(part == sorted(part) for part in entries)):
        union.sort()
    if every is not None:
        union = [entry for entry in union if entry[0] % every == 0 or entry == union[-1]]
    return union


def _array(name, pieces, lookups):
    """An array over all places that reads from the parts."""
    first = pieces[0]
    for piece in pieces:
        others = {d: n for d, n in piece.sizes.items() if d not in lookups[0]}
        fits = piece.dims == first.dims and piece.dtype == first.dtype
        if not fits or any(first.sizes[d] != n for d, n in others.items()):
            raise StoreError(
                f"{name} is {piece.dtype} of {dict(piece.sizes)} in one part and {first.dtype} of "
                f"{dict(first.sizes)} in another; parts of one store have equal arrays"
            )
    fill = first.encoding.get("fill_value")
    if fill is None:
        fill = np.nan if first.dtype.kind == "f" else 0
    shape = [len(lookups[0][d]) if d in lookups[0] else n for d, n in first.sizes.items()]

    def read(wanted):
        found = np.full([len(places) for places in wanted], fill, first.dtype)
        for piece, lookup in zip(pieces, lookups, strict=True):
            inside = [
                lookup[d][w] if d in lookup else w for d, w in zip(piece.dims, wanted, strict=True)
            ]
            at = [np.nonzero(i >= 0)[0] for i in inside]
            if all(len(a) for a in at):
                chosen = {d: i[a] for d, i, a in zip(piece.dims, inside, at, strict=True)}
                found[orthogonal(*at)] = piece.isel(chosen).values
        return found

    return lazy(first.dims, shape, first.dtype, read, fill=fill, attrs=first.attrs)
