"""A larger sweep from a stored one: more values of its axes, more steps, in a new store.

    extend(store, wider_axes, num_steps, to=new_store):  copy finished tiles, compute the rest

The old store stays as it is. Runs keep their tile and their place in it, so they keep their bits.

>>> import tempfile
>>> from gdjax import problems
>>> from gdjax.sweeps import axes, sweep
>>> with tempfile.TemporaryDirectory() as folder:
...     rates = axes(learning_rate=[0.1, 0.2], seed=range(2))
...     few = sweep(problems.bowl([1.0, 9.0]), rates, 5, store=f"{folder}/few", width=2).load()
...     wider = axes(learning_rate=[0.05, 0.1, 0.2], seed=range(2))
...     more = extend(f"{folder}/few", wider, to=f"{folder}/more").load()
>>> more.sizes["learning_rate"], bool((more.cost[1:] == few.cost).all())
(3, True)
"""

import itertools
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gdjax.descent.block import SNAPSHOTS
from gdjax.errors import InputError, StoreError
from gdjax.problems.problem import Problem
from gdjax.stores.location import locate
from gdjax.stores.reader import Stored, open_dataset
from gdjax.stores.writer import Store
from gdjax.sweeps import arrays, computing
from gdjax.sweeps.axes import Axes
from gdjax.sweeps.collected import KEPT, RECORDS, as_numbers
from gdjax.sweeps.grids import arranged, places
from gdjax.sweeps.programs import Programs, draft_programs, fit_stored
from gdjax.sweeps.recorded import listed, opened
from gdjax.sweeps.tiles import Work


def extend(
    store: str | Path,
    axes: Axes | None = None,
    num_steps: int | None = None,
    *,
    to: str | Path,
    problem: Problem | None = None,
    make_optimizer: Callable | None = None,
    storage_options: Mapping[str, Any] | None = None,
    to_storage_options: Mapping[str, Any] | None = None,
    client: Any = None,
) -> Any:
    """Compute a larger sweep in a new store, which takes over what a stored sweep has.

    Tiles whose runs and steps are all there are copied. Where there are more steps, runs go on from
    the state that they kept (`continuable=True`), or start again. Interrupted, it goes on when it
    is called again.

    Args:
        store: path or URL of the stored sweep; nothing is written there.
        axes: the larger grid, with all values that are stored; None keeps the stored grid.
        num_steps: steps of each run, at least as many as stored; None keeps the stored number.
        to: path or URL of the new store.
        problem: the sweep's, where it was the user's own.
        make_optimizer: the sweep's, where it is none that a record may name.
        storage_options: where `store` is a URL, keywords of `obstore.store.from_url`.
        to_storage_options: where `to` is a URL, the same; None takes `storage_options`.
        client: a Dask client, as for `sweep`.

    Returns:
        The larger sweep, an `xarray.Dataset`, its runs in the order of `axes`.

    Raises:
        InputError: axes or steps that leave out what is stored.
        StoreError: no store, or as for `sweep` and `replay`.
        KeyboardInterrupt: on Ctrl-C, after the state has been saved in the new store.
    """
    if to_storage_options is None and "://" in str(to):
        to_storage_options = storage_options
    if str(locate(to, to_storage_options)) == str(locate(store, storage_options)):
        raise InputError(f"to = {str(to)!r} is the stored sweep; give the path of a new store")
    recorded = opened(store, storage_options=storage_options)
    if len(recorded.parts) > 1:
        raise StoreError(
            f"{store}: has format 2 and several parts, which can only be read; run the larger "
            f"sweep in a new store"
        )
    what = recorded.specification(problem, make_optimizer)
    wider = what.axes if axes is None else axes
    steps = what.num_steps if num_steps is None else num_steps
    places(wider, what.axes)
    if steps < what.num_steps:
        raise InputError(
            f"num_steps = {steps}, and the store has runs of {what.num_steps}; give at least as "
            f"many"
        )
    larger = replace(what, axes=_stored_first(what.axes, wider), num_steps=steps)
    early = Early(str(store), storage_options, what.axes.shape, what.num_steps)
    programs = draft_programs(larger, tuple(jax.local_devices()))
    if steps > what.num_steps:
        if not what.continuable:
            warnings.warn(
                f"{store}: its runs have not kept what more steps need (continuable=True), so that "
                f"they are run again from their start: "
                f"{what.num_steps * what.axes.runs:,} run-steps more",
                stacklevel=2,
            )
        works = zip(programs.works, itertools.product(*larger.axes.static_groups), strict=True)
        works = (replace(work, earlier=partial(early.state, at)) for work, at in works)
        programs = Programs(larger, tuple(works))
    prepare = early.copy if steps == what.num_steps else (lambda held: None)
    slab = recorded.said["slab"]
    slab = {**slab, "width": _widths(listed(slab["width"]), what.axes, larger.axes)}
    identity = {**recorded.said, "slab": slab}
    if client is None:
        fitted = fit_stored(programs, identity, None, store)
        computing.in_store(fitted, to, to_storage_options, prepare)
    else:
        from gdjax.sweeps import cluster

        given = {"width": None, "stored": identity, "prepare": prepare}
        cluster.run(programs, to, to_storage_options, client, **given)
    return arranged(open_dataset(to, storage_options=to_storage_options), wider)


def _stored_first(stored: Axes, wider: Axes) -> Axes:
    """Return the wider grid with the stored values first, in their order."""
    order = []
    for positions, size in zip(places(wider, stored), wider.shape, strict=True):
        new = np.setdiff1d(np.arange(size), positions)
        order.append(np.concatenate([positions, new]))
    return wider.box(tuple(order))


def _widths(widths: list[int], stored: Axes, larger: Axes) -> list[int]:
    """Return the width of each program of a larger grid: as stored, or as the last one."""
    known = [len(groups) for groups in stored.static_groups]
    numbers = itertools.product(*(range(len(groups)) for groups in larger.static_groups))
    return [
        widths[int(np.ravel_multi_index(number, known))]
        if all(i < n for i, n in zip(number, known, strict=True))
        else widths[-1]
        for number in numbers
    ]


@dataclass(frozen=True)
class Early:
    """What a stored sweep has of a larger one, whose runs it has at the same positions.

    Args:
        store: path or URL.
        options: `storage_options` of a URL.
        shape: of its grid.
        steps: of its runs.
    """

    store: str
    options: Mapping[str, Any] | None
    shape: tuple[int, ...]
    steps: int

    def copy(self, held: Store) -> None:
        """Copy the finished tiles that have the same runs in the larger sweep."""
        stored = Stored(self.store, storage_options=self.options)
        flags, missing = stored.flags()[0], ~held.finished()
        for tile in map(tuple, np.argwhere(flags > 0).tolist()):
            same = stored.schema.region(tile) == held.schema.region(tile)
            if not (same and missing[tile]):
                continue
            chunks, damages = stored.tile_chunks(tile)
            if not damages:
                writer = held.add_writer(stored.writers[flags[tile] - 1])
                held.write_chunks(tile, chunks, writer)

    def state(
        self, groups: tuple[np.ndarray, ...], work: Work, positions: tuple[np.ndarray, ...]
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """Return the state from which stored runs take more steps, as `Collected.packed` does.

        Args:
            groups: positions in the larger grid of those of the program's own grid.
            work: what computes the runs.
            positions: of the runs in the program's own grid.

        Returns:
            None where a run is not stored, not finished, or has not kept its state.
        """
        import xarray as xr

        at = [group[i] for group, i in zip(groups, positions, strict=True)]
        if any((i >= n).any() for i, n in zip(at, self.shape, strict=True)):
            return None
        plan, since = work.plan, work.sweep.since
        steps = plan.recorded_steps()
        steps = steps[(steps >= since) & (steps < self.steps)]
        with Stored(self.store, storage_options=self.options).dataset() as dataset:
            dims = dataset["finished"].dims
            runs = {d: xr.DataArray(i, dims="run") for d, i in zip(dims, at, strict=True)}
            names = arrays.named_leaves("carry", work.carry)
            if not (dataset["finished"].isel(runs) > 0).all() or not set(names) <= set(dataset):
                return None

            def read(name, count=None):
                values = dataset[name].isel(runs).values
                return values if count is None else values[:, :count]

            leaves = jax.tree.leaves(jax.eval_shape(partial(jax.tree.map, as_numbers), work.carry))
            state = {
                f"carry.{i}": read(name).astype(leaf.dtype)
                for i, (name, leaf) in enumerate(zip(names, leaves, strict=True))
            }
            records = arrays.recorded(work.sweep.watched, free=work.free)
            state |= {RECORDS + name: read(name, len(steps)) for name in records}
            if work.free:
                state[f"{RECORDS}batch_cost"] = np.full_like(state[f"{RECORDS}cost"], np.nan)
            kept = {name: {name: leaf} for name, leaf in work.sweep.form.measured.items()}
            if work.sweep.snapshot_every is not None:
                kept[SNAPSHOTS] = arrays.named_leaves(SNAPSHOTS, work.sweep.form.params)
            for name, values in kept.items():
                count = int(plan.is_kept(name, steps).sum())
                for i, (stored, leaf) in enumerate(values.items()):
                    if count:
                        state[f"{KEPT}{name}.{i}"] = read(stored, count).astype(leaf.dtype)
        found = state, {"step": self.steps, "leaves": len(leaves)}
        return found if work.fits(found) else None
