"""Records of a slab in progress, and checkpoints of unfinished tiles.

    SlabCheckpoint: step, carry, records, arrays       TileCheckpoint: finished slabs, current slab

Both are stored as named arrays and numbers. Since stores are untrusted input, the names, shapes
and types of a checkpoint are compared with the expected ones.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from gdjax.descent.block import Records
from gdjax.descent.block_loop import BlockResult
from gdjax.sweeps.dataset import as_numbers, storable

Stored = tuple[dict[str, np.ndarray], dict[str, Any]]
"""Stored form of a checkpoint: arrays by name, and numbers by name."""


class SlabCheckpoint(NamedTuple):
    """State of a slab of runs at a step.

    Args:
        step: number of steps taken.
        carry: leaves of the carry at that step, on the host.
        records: scalars of earlier records by name, [runs, records].
        arrays: leaves of snapshots and array metrics of earlier records by name, [runs, ...].
    """

    step: int
    carry: list[np.ndarray]
    records: dict[str, np.ndarray]
    arrays: dict[str, list[np.ndarray]]

    def described(self) -> PyTree:
        """Return the shape and type of each array, for comparison of checkpoints."""
        arrays = (self.carry, self.records, self.arrays)
        return jax.tree.map(lambda a: (tuple(a.shape), np.dtype(a.dtype)), arrays)


class TileCheckpoint(NamedTuple):
    """State of an unfinished tile.

    Args:
        done: variables of each finished slab.
        slab: state of the next slab; None before its first checkpoint.
    """

    done: list[dict[str, np.ndarray]]
    slab: SlabCheckpoint | None = None

    def to_stored(self) -> Stored:
        """Return the checkpoint as named arrays and numbers."""
        meta: dict[str, Any] = {"slabs": len(self.done)}
        arrays = {f"done.{name}": a for name, a in join_slabs(self.done).items()}
        if self.slab is not None:
            meta |= {"step": self.slab.step, "leaves": len(self.slab.carry)}
            arrays |= {f"carry.{i}": leaf for i, leaf in enumerate(self.slab.carry)}
            arrays |= {f"records.{name}": a for name, a in self.slab.records.items()}
            for name, leaves in self.slab.arrays.items():
                arrays |= {f"kept.{name}.{i}": leaf for i, leaf in enumerate(leaves)}
        return arrays, meta

    @classmethod
    def from_stored(
        cls,
        stored: Stored | None,
        run_shapes: Mapping[str, tuple[tuple[int, ...], np.dtype]],
        runs: int,
        slabs: int,
    ) -> "TileCheckpoint":
        """Return the stored checkpoint, or an empty one if none matches."""
        arrays, meta = stored or ({}, {})
        count = meta.get("slabs", 0)
        if type(count) is not int or not 0 <= count <= slabs:
            return cls([])
        done = {n.removeprefix("done."): a for n, a in arrays.items() if n.startswith("done.")}
        expected = {name: ((count * runs, *s), d) for name, (s, d) in run_shapes.items() if count}
        if {name: (a.shape, a.dtype) for name, a in done.items()} != expected:
            return cls([])
        parts = [
            {name: a[i * runs : (i + 1) * runs] for name, a in done.items()} for i in range(count)
        ]
        return cls(parts, _slab_from_stored(arrays, meta))


def _slab_from_stored(arrays, meta):
    """Return the state of the current slab; None if absent or invalid."""
    step, count = meta.get("step"), meta.get("leaves")
    if type(step) is not int or type(count) is not int or not 0 <= count <= len(arrays):
        return None
    carry = [arrays.get(f"carry.{i}") for i in range(count)]
    if any(leaf is None for leaf in carry):
        return None
    records, leaves_of = {}, defaultdict(dict)
    for name, array in arrays.items():
        kind, _, rest = name.partition(".")
        if kind == "records":
            records[rest] = array
        elif kind == "kept":
            metric, _, number = rest.rpartition(".")
            leaves_of[metric][number] = array
    recorded = {name: [by.get(str(i)) for i in range(len(by))] for name, by in leaves_of.items()}
    if any(leaf is None for leaves in recorded.values() for leaf in leaves):
        return None
    return SlabCheckpoint(step, carry, records, recorded)


class SlabRecords:
    """Records of a slab of runs in progress.

    Args:
        start: checkpoint from which the slab continues; None for its initial state.
        first_record: step before which records and arrays are dropped.
    """

    def __init__(self, start: SlabCheckpoint | None = None, *, first_record: int = 0):
        self.first_record = first_record
        self.carry: Any = None
        self.carry_before_last: PyTree = None
        self.step = 0 if start is None else start.step
        self._records: defaultdict[str, list[np.ndarray]] = defaultdict(list)
        self._arrays: defaultdict[str, list[list[np.ndarray]]] = defaultdict(list)
        if start is not None:
            for name, array in start.records.items():
                self._records[name].append(array)
            for name, leaves in start.arrays.items():
                self._arrays[name].append(leaves)

    def add(self, result: BlockResult) -> None:
        """Add the records of a block."""
        late = result.recorded_steps >= self.first_record
        for name, array in named_records(result.records).items():
            self._records[name].append(array[:, late])
        for name, (steps, values) in result.arrays.items():
            late = steps >= self.first_record
            if late.any():
                self._arrays[name].append(
                    [np.asarray(leaf)[:, late] for leaf in jax.tree.leaves(values)]
                )
        self.carry, self.step = result.carry, result.num_steps

    def keep_before_last(self, carry: PyTree) -> None:
        """Keep the carry before the last evaluation, from which a run can continue."""
        self.carry_before_last = jax.tree.map(storable, carry)

    @property
    def records(self) -> dict[str, np.ndarray]:
        """Scalars of the records by name, [runs, records]."""
        return {name: np.concatenate(parts, axis=1) for name, parts in self._records.items()}

    def arrays(self, name: str, like: PyTree) -> PyTree:
        """Return snapshots or an array metric, [runs, steps, ...], structured as `like`."""
        return jax.tree.unflatten(jax.tree.structure(like), self._leaves(name))

    def _leaves(self, name):
        return [np.concatenate(leaves, axis=1) for leaves in zip(*self._arrays[name], strict=True)]

    def checkpoint(self) -> SlabCheckpoint:
        """Return the state from which the slab can continue."""
        return SlabCheckpoint(
            self.step,
            [to_host(leaf) for leaf in jax.tree.leaves(self.carry)],
            self.records,
            {name: self._leaves(name) for name in self._arrays},
        )


def named_records(records: Records) -> dict[str, Any]:
    """Return the scalars of records by name."""
    fields = records._asdict()
    return {**fields.pop("metrics"), **fields}


def join_slabs(slabs: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the variables of several slabs, concatenated."""
    names = slabs[0] if slabs else ()
    return {name: np.concatenate([slab[name] for slab in slabs]) for name in names}


def to_host(array: Any) -> np.ndarray:
    """Return an array in host memory, or the key data of a random key."""
    return np.asarray(as_numbers(array))


def from_host(array: np.ndarray, like: Any) -> Any:
    """Invert `to_host`; `like` is an array of the original type."""
    if jnp.issubdtype(like.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(jnp.asarray(array), impl=jax.random.key_impl(like))
    return array
