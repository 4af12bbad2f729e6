"""What a slab of runs has brought so far, in a form that outlives the process.

records, snapshots: [runs, steps so far, ...];   carry: all that the next step needs
"""

from collections import defaultdict
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from gdjax.descent.block_loop import BlockResult, RecordSchedule
from gdjax.sweeps import arrays


class Collected:
    """What a slab of runs has brought so far.

    Args:
        kept: what `packed` gave.
        since: records and snapshots of earlier steps are dropped.
    """

    def __init__(
        self,
        kept: tuple[dict[str, np.ndarray], dict[str, Any]] | None = None,
        *,
        since: int = 0,
    ):
        self.carry: Any = None
        self.ended: Any = None
        self.since = since
        self.step = 0
        self.saved: tuple[list[np.ndarray], int] | None = None
        self._parts: defaultdict[str, list[np.ndarray]] = defaultdict(list)
        if kept is not None:
            found, meta = kept
            self.step = meta["step"]
            self.saved = [found[f"carry.{i}"] for i in range(meta["leaves"])], meta["step"]
            for name, array in found.items():
                if not name.startswith("carry."):
                    self._parts[name].append(array)

    def add(self, piece: BlockResult) -> None:
        late = piece.recorded_steps >= self.since
        for name, array in _numbers(piece.records).items():
            self._parts[name].append(array[:, late])
        for name, (steps, values) in piece.arrays.items():
            late = steps >= self.since
            if late.any():
                for i, leaf in enumerate(jax.tree.leaves(values)):
                    self._parts[f"{KEPT}{name}.{i}"].append(np.asarray(leaf)[:, late])
        self.carry, self.step = piece.carry, piece.num_steps

    def end(self, carry: PyTree) -> None:
        """Keep what more steps would need: the carry before the last step was evaluated."""
        self.ended = jax.tree.map(lambda a: np.asarray(arrays.storable(a)), carry)

    @property
    def records(self) -> dict[str, np.ndarray]:
        """Numbers of the records by name, each [runs, records]."""
        names = [name for name in self._parts if name.startswith(RECORDS)]
        return {name.removeprefix(RECORDS): self._joined(name) for name in names}

    def kept(self, name: str, like: PyTree) -> PyTree:
        """Snapshots, or a metric that is an array: leaves [runs, steps, ...] of a structure."""
        leaves, structure = jax.tree.flatten(like)
        return jax.tree.unflatten(
            structure, [self._joined(f"{KEPT}{name}.{i}") for i in range(len(leaves))]
        )

    def _joined(self, name):
        return np.concatenate(self._parts[name], axis=1)

    def packed(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """What the descent can be taken up from, as `kept`."""
        leaves = [to_host(a) for a in jax.tree.leaves(self.carry)]
        found = {f"carry.{i}": a for i, a in enumerate(leaves)}
        found |= {name: self._joined(name) for name in self._parts}
        return found, {"step": self.step, "leaves": len(leaves)}


RECORDS = "records."  # how the name of a record's number begins
KEPT = "kept."  # and that of a snapshot, or of a metric that is an array


def _numbers(records):
    fields = records._asdict()
    return {RECORDS + name: a for name, a in (*fields.pop("metrics").items(), *fields.items())}


def fits(
    kept: tuple[dict[str, np.ndarray], dict[str, Any]],
    plan: RecordSchedule,
    carry: PyTree,
    records: PyTree,
    kept_arrays: PyTree,
    since: int = 0,
) -> bool:
    """Whether something is what `packed` gives of a descent: names, shapes, types, step.

    Args:
        kept: what a store holds, which may be anything.
        plan: of the whole descent.
        carry: its shapes, as are the next two, of one block.
        records: [runs, records, ...].
        kept_arrays: by name, [runs, slots, ...].
        since: step at which records begin.
    """
    found, meta = kept
    step = meta.get("step")
    if type(step) is not int or not plan.first <= step <= plan.last:
        return False
    steps = plan.recorded_steps()
    # What is due at this step is recorded by the next block.
    steps = steps[(steps >= since) & (steps < step)]
    leaves = jax.tree.leaves(jax.eval_shape(partial(jax.tree.map, as_numbers), carry))
    cut = lambda a, count: ((a.shape[0], count, *a.shape[2:]), a.dtype)  # noqa: E731
    expected = {f"carry.{i}": (a.shape, a.dtype) for i, a in enumerate(leaves)}
    expected |= {name: cut(a, len(steps)) for name, a in _numbers(records).items()}
    for name, tree in kept_arrays.items():
        if count := int(plan.is_kept(name, steps).sum()):
            shapes = enumerate(jax.tree.leaves(tree))
            expected |= {f"{KEPT}{name}.{i}": cut(a, count) for i, a in shapes}
    return meta == {"step": step, "leaves": len(leaves)} and expected == {
        name: (a.shape, a.dtype) for name, a in found.items()
    }


def joined(parts: list[dict[str, np.ndarray]], prefix: str = "done.") -> dict[str, np.ndarray]:
    """Arrays of several slabs, one after another, by prefixed names."""
    names = parts[0] if parts else ()
    return {prefix + name: np.concatenate([part[name] for part in parts]) for name in names}


def split(
    kept: tuple[dict[str, np.ndarray], dict[str, Any]] | None,
    inner: dict[str, tuple[tuple[int, ...], np.dtype]],
    runs: int,
    most: int,
) -> tuple[list[dict[str, np.ndarray]], tuple[dict[str, np.ndarray], dict[str, Any]] | None]:
    """The slabs that are done, and what there is of the next one, from a tile's checkpoint.

    Args:
        kept: arrays and numbers, which may be anything.
        inner: shape of one run and type of each variable.
        runs: of a slab.
        most: slabs of a tile.
    """
    found, meta = kept or ({}, {})
    parts = meta.get("slabs", 0)
    if type(parts) is not int or not 0 <= parts <= most:
        return [], None
    done = {name: a for name, a in found.items() if name.startswith("done.")}
    shapes = {f"done.{n}": ((parts * runs, *s), d) for n, (s, d) in inner.items() if parts}
    if {name: (a.shape, a.dtype) for name, a in done.items()} != shapes:
        return [], None
    slabs = [
        {name: done[f"done.{name}"][i * runs : (i + 1) * runs] for name in inner}
        for i in range(parts)
    ]
    rest = {name: a for name, a in found.items() if name not in done}
    return slabs, (rest, {k: v for k, v in meta.items() if k != "slabs"}) if rest else None


def to_host(array: Any) -> np.ndarray:
    """An array in host memory; a random key as its numbers."""
    return np.asarray(as_numbers(array))


def as_numbers(array: Any) -> Any:
    """An array as it is; a random key as its numbers."""
    is_key = jnp.issubdtype(array.dtype, jax.dtypes.prng_key)
    return jax.random.key_data(array) if is_key else array


def from_host(array: np.ndarray, like: Any) -> Any:
    """The inverse of `to_host`, given an array of the same kind."""
    if jnp.issubdtype(like.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(jnp.asarray(array), impl=jax.random.key_impl(like))
    return array
