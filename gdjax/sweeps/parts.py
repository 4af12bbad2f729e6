"""A sweep of several parts, each a sweep of one program: static axes, and stores that grow.

    store = a sweep, parts/1, parts/2, ...;   its runs = those of all parts, its steps likewise

A part is a sweep in a store of its own, which nothing changes any more once it is finished. What is
asked for is cut into parts: one for each value of a static axis, and in a store that has some of it
already, boxes of the grid that cover the rest and continuations of what ended too early.
"""

import dataclasses
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from gdjax import slabs
from gdjax.errors import InputError, StoreError
from gdjax.stores.joining import NUM_PARTS, part_path
from gdjax.stores.reading import Stored, local, open_dataset, read_attributes
from gdjax.stores.writing import annotate
from gdjax.sweeps import computing, sizing
from gdjax.sweeps.arrays import named_leaves
from gdjax.sweeps.collected import as_numbers
from gdjax.sweeps.drafting import draft, fit
from gdjax.sweeps.grids import arranged, missing, places, same
from gdjax.sweeps.keywords import check_effect
from gdjax.sweeps.recorded import Recorded, parts_of
from gdjax.sweeps.specification import Request, Specification
from gdjax.sweeps.tiles import Work


def wanted(what: Specification, stored: Sequence[Recorded]) -> list[Specification]:
    """The parts that a grown store consists of: those that are there, then what they lack.

    Args:
        what: the whole sweep.
        stored: the parts that are there.

    Raises:
        InputError: the store has runs or steps that are not asked for.
    """
    parts, ends = [], {}
    for number, part in enumerate(stored):
        said, grid = part.said, part.axes
        places(what.axes, grid)
        kept = {"steps": said["steps"], "first": 0, "continuable": False}
        kept |= {name: said[name] for name in kept if name in said}
        if kept["steps"] > what.steps:
            raise InputError(
                f"steps = {what.steps}, and the store has runs of {kept['steps']}; give at least "
                f"as many"
            )
        parts.append(dataclasses.replace(what, axes=grid, **kept))
        ends[str(said["axes"])] = number  # a continuation comes after what it continues
    covered = [part.axes for part in parts if part.first == 0]
    for box in missing(what.axes, covered):
        parts += dataclasses.replace(what, axes=box).parts
    for number in ends.values():
        early = parts[number]
        if early.steps < what.steps:
            parts.append(dataclasses.replace(what, axes=early.axes, first=early.steps))
    return parts


@dataclasses.dataclass(frozen=True)
class Ends:
    """What the runs of a finished part were left with, by their places in its grid."""

    path: Path

    def __call__(self, like: PyTree, positions: tuple[np.ndarray, ...]) -> list[np.ndarray]:
        """Carries of some runs, as leaves.

        Args:
            like: shapes of one run's carry.
            positions: of the runs, one array a dimension.

        Raises:
            StoreError: the part has not been finished, or has kept nothing of the kind.
        """
        import xarray as xr

        with Stored(self.path).dataset() as dataset:
            grid = dataset["finished"].dims
            at = {d: xr.DataArray(i, dims="run") for d, i in zip(grid, positions, strict=True)}
            if not dataset["finished"].isel(at).values.all():
                raise StoreError(f"{self.path}: a run is not finished; go on with its sweep first")
            kept = {name: dataset[name].isel(at).values for name in named_leaves("carry", like)}
        leaves = jax.tree.leaves(jax.eval_shape(partial(jax.tree.map, as_numbers), like))
        return [a.astype(leaf.dtype) for a, leaf in zip(kept.values(), leaves, strict=True)]


def planned(asked: Request, devices: tuple[jax.Device, ...]) -> Callable[[], Any]:
    """A sweep in a store that has been checked and only has to be run.

    Raises:
        InputError, StoreError: as for `sweep`.
    """
    assert asked.store is not None
    stored = parts_of(asked.store, skip_lost=not asked.extend)
    what = asked.specification
    parts = wanted(what, stored) if asked.extend and stored else list(what.parts)
    run = prepared(asked, parts, stored, devices)
    return lambda: arranged(run(), what.axes)


def check_static(works: Sequence[Work]) -> None:
    """Refuse static axes of the cost or the optimizer that no program shows.

    Raises:
        InputError: there is one: `nesterov` without momentum, say.
    """
    roles = works[0].sweep.roles
    static = [axis for axis, role in roles.items() if role.static]
    for axis in static:
        hashes: dict[tuple, list[str]] = {}
        for work in works:
            first = work.sweep.axes.first
            others = tuple(first[other] for other in static if other != axis)
            hashes.setdefault(others, []).append(work.program_hash())
        idle = all(len(found) > 1 and len(set(found)) == 1 for found in hashes.values())
        if idle and roles[axis].role in ("cost", "optimizer"):
            check_effect((axis,), f"the {roles[axis].role}")


def prepared(
    asked: Request,
    parts: Sequence[Specification],
    stored: Sequence[Recorded],
    devices: tuple[jax.Device, ...],
) -> Callable[[], Any]:
    """Parts of a store that have been checked and only have to be run.

    Args:
        asked: where and on what.
        parts: those that are there, then new ones.
        stored: those that are there.
        devices: what they are computed on.

    Raises:
        InputError, StoreError: as for `sweep`.
    """
    assert asked.store is not None
    # New parts are computed as the last one that is there.
    slabs_of = [part.said["slab"] for part in stored]
    slabs_of += (slabs_of[-1:] or [None]) * (len(parts) - len(stored))
    works = []
    for number, part in enumerate(parts):
        new = number >= len(stored)
        work = _fitted(asked, part, devices, slabs_of[number])
        if ends := _ends(asked.store, part, parts[:number], new=new):
            work = dataclasses.replace(work, ends=ends)
        if new and asked.client is None:
            sizing.check_disk(Path(asked.store), work.layout())
        works.append(work)
    if len(stored) < len(works) and asked.client is None:
        check_static(works)
    return partial(_run, asked, works, slabs_of, len(stored))


def _ends(store, part, before, *, new):
    """Where a continuation finds what it begins with; None where it begins at the start."""
    if part.first == 0:
        return None
    for number in reversed(range(len(before))):
        early = before[number]
        if early.continuable and early.steps == part.first and same(early.axes, part.axes):
            return Ends(part_path(local(store).absolute(), number))
    if new:
        warnings.warn(
            f"{store}: its runs have not kept what more steps need (continuable=True), so that "
            f"they are run again from their start: {part.first * part.axes.runs:,} run-steps more",
            stacklevel=5,
        )
    return None


def _fitted(asked, part, devices, slab):
    """A part as wide as it was or as asked; its slab stays open where a cluster computes it."""
    work = draft(part, devices)
    if asked.client is not None:
        return work
    width = asked.width
    if slab is not None:
        if len(devices) < slab["devices"]:
            raise StoreError(
                f"{asked.store}: was computed on {slab['devices']} devices, and here are "
                f"{len(devices)}; on a CPU set jax_num_cpu_devices before JAX is used"
            )
        work = dataclasses.replace(work, slab=slabs.Slab(1, devices[: slab["devices"]]))
        width = slab["width"] if width is None else width
    return fit(work, width)


def _run(asked, works, slabs_of, begun):
    """Compute what each part lacks; returns the Dataset of all."""
    paths = [part_path(local(asked.store), number) for number in range(len(works))]
    if len(works) > 1 and asked.client is None:
        # All parts are there before any is computed, so that a store that was left says what it
        # was to be.
        for work, path in zip(works[begun:], paths[begun:], strict=True):
            computing.begin(work, path)
        _count(paths)
    for number, path in enumerate(paths):
        work, works[number] = works[number], None  # its data leave the devices after it
        if asked.client is None:
            computing.in_store(work, path)
        else:
            from gdjax.sweeps import cluster

            cluster.run(work, path, asked.client, width=asked.width, stored=slabs_of[number])
    if asked.client is not None:
        _count(paths)
    return open_dataset(asked.store)


def _count(paths):
    """Record of how many parts a store consists, so that none can be lost unnoticed."""
    recorded = (read_attributes(paths[0]) or {}).get(NUM_PARTS, 1)
    if recorded < len(paths):
        annotate(paths[0], **{NUM_PARTS: len(paths)})
