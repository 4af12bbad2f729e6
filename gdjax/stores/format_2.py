"""Read-only support for stores of format 2, whose parts are joined.

A store of format 2 that was extended, or whose sweep had static axes, contains one sweep in its
root and further sweeps in `parts/1`, `parts/2` and so on, each of which is a store:

    values of a dimension = those of all parts, each once;   v[run] = v of the last part that has it

>>> import xarray as xr
>>> parts = [xr.Dataset({"cost": ("seed", [s + 0.5])}, {"seed": [s]}) for s in (1, 0)]
>>> join(parts, {"seed": ["seed"]}).cost.values.tolist()
[0.5, 1.5]
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from gdjax.arguments import is_whole
from gdjax.errors import StoreError
from gdjax.stores.location import Folder
from gdjax.stores.schema import FLAGS, MAX_WRITERS, ROOT

PARTS = "parts"

FORMER_ARRAYS = {
    "state": "model_state",
    "carry.state.memory": "carry.state.opt_state",
    "carry.state.state": "carry.state.model_state",
    "carry.measures": "carry.metric_states",
    "carry.batch_cost": "carry.batch_cost_sum",
    "carry.batches": "carry.batch_count",
    "carry.settled": "carry.stopped",
}
"""Current prefix of array names for each former prefix in format 2."""

_FORMER = re.compile(f"({'|'.join(map(re.escape, FORMER_ARRAYS))})(?=[.]|$)")


def current_array_name(name: str) -> str:
    """Return the current name of an array of format 2.

    Examples:
        >>> current_array_name("carry.state.memory.0.mu"), current_array_name("statement")
        ('carry.state.opt_state.0.mu', 'statement')
    """
    former = _FORMER.match(name)
    return name if former is None else FORMER_ARRAYS[former[0]] + name[former.end() :]


def find_parts(first: Any) -> tuple[dict[str, Folder], list[str]]:
    """Return the parts of a store after the first.

    Parts are numbered consecutively, so every part with a number below that of the last part is
    expected, even if the attribute `num_parts` is missing.

    Args:
        first: first part of the store, opened.

    Returns:
        The locations of the parts by key, in order, and the keys of the roots of missing parts.

    Raises:
        StoreError: if the number of parts is invalid, or a part is a link.
    """
    location, count = first.location, first.attributes.get("num_parts", 1)
    if first.format != 2:
        return {}, []
    if not is_whole(count, 1, MAX_WRITERS):
        raise StoreError(
            f"{location}: num_parts = {count!r:.80}, expected a whole number from 1 to "
            f"{MAX_WRITERS:,}; restore the store from a copy"
        )
    is_folder = isinstance(location, Folder)
    for path in (location.path / PARTS, *location.path.glob(f"{PARTS}/*")) if is_folder else ():
        if path.is_symlink():
            raise StoreError(
                f"{path} is a symbolic link, which a store must not contain; remove it"
            )
    names = [name for name in location.sizes(PARTS) if re.fullmatch("[1-9][0-9]{0,4}", name)]
    parts, lost = {}, []
    for number in range(1, max([count - 1, *map(int, names)]) + 1):
        key = f"{PARTS}/{number}"
        if is_folder and location.sizes(key).get(ROOT, -1) >= 0:
            parts[key] = Folder(location.path / key)
        else:
            lost.append(f"{key}/{ROOT}")
    return parts, lost


def join_parts(parts: Sequence[Any]) -> Any:
    """Return one Dataset of the parts of a sweep, unchanged if there is one part.

    Raises:
        StoreError: if the Datasets are not parts of one sweep.
    """
    if len(parts) == 1:
        return parts[0]
    writers: list[Any] = []
    numbered = []
    for part in parts:
        flags = part[FLAGS].load()
        shifted = flags.where(flags == 0, flags + len(writers)).astype(flags.dtype)
        numbered.append(part.assign({FLAGS: shifted.assign_attrs(flags.attrs)}))
        writers += json.loads(part.attrs["origins"])
    identity = json.loads(parts[0].attrs["identity"])
    try:
        axes = {dim: list(along) for dim, along in identity["axes"].items()}
        every = {"step": identity["record_every"], "snapshot_step": identity["snapshot_every"]}
        for name, measure in identity.get("measures", {}).items():
            every[f"{name}_step"] = identity["record_every"] * measure["every"]
        whole = join(numbered, axes, every)
    except (KeyError, TypeError, AttributeError, ArithmeticError, ValueError) as error:
        raise StoreError(f"its parts are not sweeps ({error}); restore it from a copy") from error
    counts = {
        name: sum(part.attrs[name] for part in parts)
        for name in ("tiles", "tiles_finished", "seconds")
        if all(name in part.attrs for part in parts)
    }
    grid = {d: {a: whole.coords[a].values.tolist() for a in along} for d, along in axes.items()}
    identity = json.dumps({**identity, "axes": grid})
    return whole.assign_attrs(**counts, identity=identity, origins=json.dumps(writers))


def join(
    parts: Sequence[Any],
    axes: Mapping[str, Iterable[str]],
    every: Mapping[str, int | None] | None = None,
) -> Any:
    """Join Datasets in memory, with the variables that all of them have.

    Numbers along a dimension are sorted if they are sorted in each part; other values keep the
    order of their first occurrence.

    Args:
        parts: Datasets to join; a later one takes precedence for the same run and step.
        axes: names of the coordinates that identify the values of each dimension of the grid.
        every: spacing of the values to keep, for dimensions such as `step`. Other values are the
            last steps of parts; they are kept only at the end of the dimension.

    Raises:
        StoreError: if the parts do not match.
    """
    import xarray as xr

    first = parts[0]
    inner = [str(d) for d in first.dims if d not in axes and d in first.coords]
    keys = {d: list(axes[d]) for d in axes} | {d: [d] for d in inner}
    values = {}
    for dim, names in keys.items():
        distance = (every or {}).get(dim) if dim in inner else None
        entries = [_entries(part, names) for part in parts]
        values[dim] = _union(entries, sort=dim in inner, every=distance)
    variables = {}
    for name in (name for name in first.data_vars if all(name in part for part in parts)):
        like = first[name].variable
        sizes = {d: len(values[d]) if d in values else n for d, n in like.sizes.items()}
        fill = like.encoding.get("fill_value", np.nan if like.dtype.kind == "f" else 0)
        joined = np.full(list(sizes.values()), fill, like.dtype)
        for part in parts:
            piece = part[name].variable
            other = {d: n for d, n in piece.sizes.items() if d not in values and n != sizes[d]}
            if piece.dims != like.dims or piece.dtype != like.dtype or other:
                raise StoreError(
                    f"{name} is {piece.dtype} of {dict(piece.sizes)} in one part and {like.dtype} "
                    f"of {dict(like.sizes)} in another; restore the store from a copy"
                )
            target, source = [], []
            for dim, size in piece.sizes.items():
                position = {entry: i for i, entry in enumerate(values.get(dim, range(sizes[dim])))}
                entries = _entries(part, keys[dim]) if dim in keys else range(size)
                pairs = [(position[e], i) for i, e in enumerate(entries) if e in position]
                target.append([i for i, _ in pairs])
                source.append([i for _, i in pairs])
            joined[np.ix_(*target)] = piece.values[np.ix_(*source)]
        variables[name] = (like.dims, joined, like.attrs)
    coordinates: dict[Any, Any] = {}
    for dim, names in keys.items():
        for name, column in zip(names, zip(*values[dim], strict=True), strict=True):
            like = first.coords[name]
            coordinates[name] = (like.dims, np.array(column, like.dtype), like.attrs)
        if dim in first.coords and dim not in coordinates:  # an index of positions
            coordinates[dim] = (dim, np.arange(len(values[dim])), first.coords[dim].attrs)
    return xr.Dataset(variables, coordinates, first.attrs)


def _entries(part, names):
    return list(zip(*(part.coords[name].values.tolist() for name in names), strict=True))


def _union(entries, *, sort, every):
    """Return the values of all parts, without repetitions."""
    union = list(dict.fromkeys(entry for part in entries for entry in part))
    numeric = not any(isinstance(value, str) for entry in union for value in entry)
    if sort or (numeric and all(part == sorted(part) for part in entries)):
        union.sort()
    if every is not None:
        union = [entry for entry in union if entry[0] % every == 0 or entry == union[-1]]
    return union
