"""Records of a slab in progress, and the state from which it continues.

    SlabCheckpoint: step, carry, records, arrays

It is stored as named arrays and numbers, which `SlabMonitor` saves and `restore_state` checks.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from gdjax.descent.block import Records
from gdjax.descent.block_loop import BlockResult
from gdjax.sweeps.dataset import as_numbers, storable

Positions = tuple[np.ndarray, ...]
"""Positions of the runs of a slab in the grid of the sweep, one array per dimension."""


class SlabCheckpoint(NamedTuple):
    """State of a slab of runs at a step, or its shapes and types.

    Args:
        step: number of steps taken.
        carry: leaves of the carry at that step, on the host.
        records: scalars of earlier records by name, [runs, records].
        arrays: leaves of snapshots and array metrics of earlier records by name, [runs, ...].
    """

    step: int
    carry: list[Any]
    records: dict[str, Any]
    arrays: dict[str, list[Any]]

    def names(self) -> PyTree:
        """Return the names under which carry, records and arrays are stored, in their structure."""
        return (
            [f"carry.{i}" for i in range(len(self.carry))],
            {name: f"records.{name}" for name in self.records},
            {name: [f"kept.{name}.{i}" for i in range(len(a))] for name, a in self.arrays.items()},
        )

    def named(self) -> dict[str, Any]:
        """Return all arrays by the names under which they are stored."""
        names, arrays = jax.tree.leaves(self.names()), jax.tree.leaves(self[1:])
        return dict(zip(names, arrays, strict=True))


@runtime_checkable
class Start(Protocol):
    """States from which runs start in place of their initial states."""

    def __call__(self, program, positions: Positions) -> SlabCheckpoint | None:
        """Return the state of runs; None for their initial state."""
        ...

    def writers(self, positions: Positions) -> list[dict[str, Any]]:
        """Return the descriptions of the writers that computed the first steps of runs."""
        ...


def described(named: Mapping[str, Any]) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Return the shape and type of each array, for comparison of checkpoints."""
    return {name: (tuple(a.shape), np.dtype(a.dtype)) for name, a in named.items()}


class SlabRecords:
    """Records of a slab of runs in progress.

    Args:
        start: checkpoint from which the slab continues; None for its initial state.
    """

    def __init__(self, start: SlabCheckpoint | None = None):
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
        for name, array in named_records(result.records).items():
            self._records[name].append(array)
        for name, (_, values) in result.arrays.items():
            self._arrays[name].append(jax.tree.leaves(values))
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
