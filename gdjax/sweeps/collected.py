"""What a slab of runs has brought so far, in a form that outlives the process.

records, snapshots: [runs, steps so far, ...];   carry: all that the next step needs
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from gdjax.descent import driving
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
        self._records: list[dict[str, np.ndarray]] = []
        self._snapshots: list[dict[str, np.ndarray]] = []
        if kept is not None:
            found, meta = kept
            self.step = meta["step"]
            self.saved = [found[f"carry.{i}"] for i in range(meta["leaves"])], meta["step"]
            for name, into in (("records", self._records), ("snapshots", self._snapshots)):
                if meta[name]:
                    into.append({key: found[f"{name}.{key}"] for key in meta[name]})

    def add(self, piece: driving.Piece) -> None:
        fields = piece.records._asdict()
        named = {**fields.pop("measures"), **fields}
        late = piece.steps >= self.since
        self._records.append({name: a[:, late] for name, a in named.items()})
        if piece.snapshots is not None:
            late = piece.snapshot_steps >= self.since
            leaves = enumerate(jax.tree.leaves(piece.snapshots))
            self._snapshots.append({str(i): np.asarray(a)[:, late] for i, a in leaves})
        self.carry, self.step = piece.carry, piece.step

    def end(self, carry: PyTree) -> None:
        """Keep what more steps would need: the carry before the last step was evaluated."""
        self.ended = jax.tree.map(lambda a: np.asarray(arrays.storable(a)), carry)

    @property
    def records(self) -> dict[str, np.ndarray]:
        return _joined(self._records)

    @property
    def snapshots(self) -> PyTree:
        """Parameters along the way, each leaf [runs, snapshots, ...]."""
        structure = jax.tree.structure(self.carry.state.params)
        return jax.tree.unflatten(structure, list(_joined(self._snapshots).values()))

    def packed(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """What the descent can be taken up from, as `kept`."""
        leaves = [to_host(a) for a in jax.tree.leaves(self.carry)]
        found = {f"carry.{i}": a for i, a in enumerate(leaves)}
        meta: dict[str, Any] = {"step": self.step, "leaves": len(leaves)}
        for name, parts in (("records", self._records), ("snapshots", self._snapshots)):
            joined = _joined(parts)
            found |= {f"{name}.{key}": a for key, a in joined.items()}
            meta[name] = list(joined)
        return found, meta


def fits(
    kept: tuple[dict[str, np.ndarray], dict[str, Any]],
    plan: driving.Plan,
    carry: PyTree,
    records: PyTree,
    snapshots: PyTree,
    since: int = 0,
) -> bool:
    """Whether something is what `packed` gives of a descent: names, shapes, types, step.

    Args:
        kept: what a store holds, which may be anything.
        plan: of the whole descent.
        carry: its shapes, as are the next two, of one block.
        records: [runs, records, ...].
        snapshots: [runs, slots, ...].
        since: step at which records begin.
    """
    found, meta = kept
    step = meta.get("step")
    if type(step) is not int or not plan.first <= step <= plan.last:
        return False
    steps = plan.records()
    # What is due at this step is recorded by the next block.
    steps = steps[(steps >= since) & (steps < step)]
    late = int(plan.is_snapshot(steps).sum())
    fields = records._asdict()
    named = {**fields.pop("measures"), **fields}
    shots = dict(enumerate(jax.tree.leaves(snapshots))) if late else {}
    leaves = jax.tree.leaves(jax.eval_shape(partial(jax.tree.map, as_numbers), carry))
    cut = lambda a, count: ((a.shape[0], count, *a.shape[2:]), a.dtype)  # noqa: E731
    arrays = {f"carry.{i}": (a.shape, a.dtype) for i, a in enumerate(leaves)}
    arrays |= {f"records.{name}": cut(a, len(steps)) for name, a in named.items()}
    arrays |= {f"snapshots.{i}": cut(a, late) for i, a in shots.items()}
    said = {"leaves": len(leaves), "records": list(named), "snapshots": list(map(str, shots))}
    return meta == {"step": step, **said} and arrays == {
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


def _joined(parts):
    names = parts[0] if parts else ()
    return {name: np.concatenate([part[name] for part in parts], axis=1) for name in names}


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
