"""Many descents as one program: the one way in.

    runs = product of axes;   tiles of runs -> slabs -> an xarray.Dataset over axes and steps

>>> import numpy as np, optax
>>> from gdjax.sweeps.axes import axes
>>> bowl = Problem(init=lambda key: jnp.ones(2), cost=lambda w: jnp.sum(w**2))
>>> runs = sweep(bowl, axes(learning_rate=[0.25, 0.5, 2.0]), 3, optimizer=optax.sgd)
>>> runs.cost.isel(step=-1).values.tolist()
[0.03125, 0.0, 1458.0]
"""

import concurrent.futures
import dataclasses
import inspect
import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import PyTree
from tqdm import tqdm

from gdjax import runs
from gdjax.errors import InputError
from gdjax.interrupts import interruptible
from gdjax.problems.problem import Measure, Problem
from gdjax.stores.layout import Layout
from gdjax.stores.reading import read_attributes
from gdjax.stores.writing import Store
from gdjax.sweeps import record
from gdjax.sweeps.arrays import HEAVY, named_leaves, nbytes
from gdjax.sweeps.axes import Axes
from gdjax.sweeps.plan import draft, fit, mention_cores
from gdjax.sweeps.tiles import Work

KEEP = 2**30  # bytes of parameters kept in memory without a store


def sweep(
    problem: Problem,
    axes: Axes,
    steps: int,
    *,
    optimizer: Callable[..., optax.GradientTransformation] = optax.sgd,
    batch_size: int | None = None,
    record_every: int = 1,
    snapshot_every: int | None = None,
    measures: Mapping[str, Measure] | None = None,
    root: int = 0,
    store: str | Path | None = None,
    bound: float = 1e12,
    tolerance: float = 1e-5,
    until_settled: bool = False,
    width: int | None = None,
    devices: Sequence[jax.Device] | None = None,
    keep: int = KEEP,
    client: Any = None,
) -> Any:
    """Descend from every point of a grid of settings, as one compiled program.

    Args:
        problem: what to minimise.
        axes: the grid: `gd.axes(learning_rate=[...], seed=range(8))`. An axis is `seed`,
            `data_seed`, or a keyword of the problem's `init`, its `cost` or the optimizer factory.
        steps: how many steps each run takes.
        optimizer: called inside the program with the axes it names. Fix other arguments with
            `functools.partial(optax.sgd, momentum=0.9)`.
        batch_size: samples a step; None takes the whole training set. All runs see the same order
            of mini-batches unless `data_seed` is an axis.
        record_every: steps from one record to the next.
        snapshot_every: steps from one kept copy of the parameters to the next, a multiple of
            `record_every`; None keeps the final ones only.
        measures: what to watch besides the cost; the problem's own if None.
        root: seed of the whole study.
        store: folder of a Zarr store. What it already holds of this sweep is not computed again.
        bound: a cost above it counts as diverged.
        tolerance: gradient norms up to it count as zero in the outcome.
        until_settled: a whole-set run whose gradient counts as zero at a record stops there, and
            the sweep ends when every run has stopped or diverged; records after it repeat the last.
        width: runs a device computes at a time. None takes the store's, or chooses by memory.
        devices: what to compute on; None takes all local devices.
        keep: bytes of parameters and snapshots that are kept in memory without a store; more are
            left out, with a warning.
        client: a Dask client, whose workers then compute the tiles of `store`.

    Returns:
        An `xarray.Dataset` with the axes and `step` as dimensions: cost, batch_cost (mini-batches),
        gradient_norm, the measures, outcome, diverged_at, params.* and snapshots.*. A diverged
        run's costs are +inf from then on; NaN means not recorded.

    Raises:
        InputError: arguments that cannot work; before any work is done.
        StoreError: the store is in use, damaged beyond repair, or holds another sweep.
        KeyboardInterrupt: on Ctrl-C, after the state has been saved in the store.
    """
    return _planned(
        problem,
        axes,
        steps,
        optimizer=optimizer,
        batch_size=batch_size,
        record_every=record_every,
        snapshot_every=snapshot_every,
        measures=measures,
        root=root,
        store=store,
        bound=bound,
        tolerance=tolerance,
        until_settled=until_settled,
        width=width,
        devices=devices,
        keep=keep,
        client=client,
    )()


def _planned(problem, axes, steps, *, store, width, devices, keep, client, **settings):
    """A sweep that has been checked and only has to be run."""
    if client is not None and (store is None or devices is not None):
        raise InputError(
            "client: needs a store that all workers can reach, store=..., and the workers have "
            "devices of their own: leave devices out"
        )
    local = tuple(jax.local_devices() if devices is None else devices)
    if not local:
        raise InputError("devices: none given; leave it out to take all local devices")
    work = draft(problem, axes, steps, devices=local, **settings)
    attributes = read_attributes(store) if store is not None else None
    stored = (attributes or {}).get("identity", {}).get("slab")
    if client is not None:
        from gdjax.sweeps import cluster

        return partial(cluster.run, work, store, client, width=width, stored=stored)
    if stored is not None:
        if len(local) < stored["devices"]:
            raise InputError(
                f"{store}: was computed on {stored['devices']} devices, and here are {len(local)}; "
                f"on a CPU set jax_num_cpu_devices before JAX is used"
            )
        work = dataclasses.replace(work, slab=runs.Slab(1, local[: stored["devices"]]))
        width = stored["width"] if width is None else width
    mention_cores()
    work = fit(work, width)
    return partial(_in_memory, work, keep) if store is None else partial(_in_store, work, store)


def _in_store(work: Work, store: str | Path) -> Any:
    identity, information = record.identity(work), record.information(work)
    with Store(store, work.layout(), identity=identity, information=information) as held:
        for damage in held.repair():
            warnings.warn(f"{held.path} was damaged: {damage}", stacklevel=3)
        began = time.perf_counter()
        try:
            computed = _run(work, held)
        except KeyboardInterrupt:
            add_seconds(held, began)
            raise
        if computed:
            add_seconds(held, began)
    from gdjax.stores.reading import open_dataset  # imports xarray: the first block need not wait

    return open_dataset(store)


def add_seconds(held: Store, began: float) -> None:
    """Note in a store the time that its sweep has taken, over all its starts."""
    spent = time.perf_counter() - began
    held.annotate(seconds=float(held.attributes.get("seconds", 0)) + spent)


def _run(work: Work, sink: Any) -> int:
    """Compute all tiles that `sink` lacks; returns how many.

    A tile is written while the next one is computed.
    """
    missing = [tuple(int(i) for i in tile) for tile in np.argwhere(~sink.finished())]
    per_tile = work.plan.steps * math.prod(work.box)
    written = None
    with (
        interruptible() as stop,
        concurrent.futures.ThreadPoolExecutor(1) as writer,
        tqdm(
            total=per_tile * len(missing),
            unit="run-step",
            unit_scale=True,
            delay=1,
            disable=None,
            leave=False,
        ) as bar,
    ):
        for number, tile in enumerate(missing):
            bar.set_postfix_str(f"{number}/{len(missing)} tiles", refresh=False)

            def watch(piece, number=number):
                done = number * per_tile + piece.step * math.prod(work.box)
                bar.update(max(0, done - bar.n))

            arrays = work.compute(
                tile,
                load=partial(sink.load_checkpoint, tile),
                save=partial(sink.save_checkpoint, tile),
                watch=watch,
                stop=stop.is_set,
            )
            if written is not None:
                written.result()
            if arrays is None:
                raise KeyboardInterrupt
            written = writer.submit(sink.write, tile, arrays)
            if stop.is_set():
                break
        if written is not None:
            written.result()
        if stop.is_set():
            raise KeyboardInterrupt
    return len(missing)


class Memory:
    """A place for a sweep's arrays without a store."""

    def __init__(self, work: Work, layout: Layout):
        self.box, self.grid = work.box, work.grid.shape
        self.tiles = layout.tiles
        self.arrays = {
            name: np.full(
                [layout.sizes[d] for d in v.dims],
                np.nan if v.fill_value is None else v.fill_value,
                v.dtype,
            )
            for name, v in layout.variables.items()
        }

    def finished(self) -> np.ndarray:
        return np.zeros(self.tiles, bool)

    def load_checkpoint(self, _tile: tuple[int, ...]) -> None:
        return None

    def save_checkpoint(self, _tile: tuple[int, ...], _arrays: Any, _meta: Any) -> None:
        """Nothing outlives the process."""

    def write(self, tile: tuple[int, ...], arrays: Mapping[str, np.ndarray]) -> None:
        box = tuple(
            slice(i * n, min((i + 1) * n, size))
            for i, n, size in zip(tile, self.box, self.grid, strict=True)
        )
        cropped = tuple(slice(s.stop - s.start) for s in box)
        for name, kept in self.arrays.items():
            kept[box] = arrays[name][cropped]


def _in_memory(work: Work, keep: int) -> Any:
    import xarray as xr

    layout = work.layout()
    heavy = tuple(name for name in layout.variables if name.split(".")[0] in HEAVY)
    size = nbytes(layout, heavy)
    if size > keep:
        warnings.warn(
            f"sweep: {size / 2**20:,.0f} MiB of parameters are more than keep = "
            f"{keep / 2**20:,.0f} MiB and are left out; give a store, or a larger keep",
            stacklevel=3,
        )
        light = {n: v for n, v in layout.variables.items() if n not in heavy}
        used = {d for v in light.values() for d in v.dims}
        layout = dataclasses.replace(
            layout,
            variables=light,
            sizes={d: n for d, n in layout.sizes.items() if d in used},
            coordinates={n: c for n, c in layout.coordinates.items() if set(c.dims) <= used},
        )
    memory = Memory(work, layout)
    began = time.perf_counter()
    _run(work, memory)
    return xr.Dataset(
        {n: (v.dims, memory.arrays[n], dict(v.attrs)) for n, v in layout.variables.items()},
        {n: (c.dims, np.asarray(c.values), dict(c.attrs)) for n, c in layout.coordinates.items()},
        {**record.information(work), "seconds": time.perf_counter() - began},
    )


def compare(problems: Mapping[str, Any], axes: Axes, steps: int, **settings: Any) -> Any:
    """Sweep several problems over the same axes: what sets shapes is compared this way.

    Args:
        problems: by name; a value is a Problem, or `(Problem, {keyword of sweep: value})` where
            something besides the problem differs, such as `batch_size`.
        axes: as for `sweep`.
        steps: as for `sweep`, unless a problem's own settings have `steps`.
        settings: as for `sweep`. A store is a folder in which each problem has its own.

    Returns:
        An `xarray.DataTree` with a Dataset for each name.

    Raises:
        InputError: as `sweep`, for any of them, before any work is done.
    """
    import xarray as xr

    store = settings.pop("store", None)
    planned = {}
    for name, given in problems.items():
        problem, own = given if isinstance(given, tuple) and len(given) == 2 else (given, {})
        if not isinstance(problem, Problem):
            raise InputError(
                f"compare: {name} = {problem!r:.80}, expected a Problem, or (Problem, settings)"
            )
        own = {"steps": steps, **settings, **own}
        if store is not None:
            own["store"] = Path(store) / name
        call = inspect.signature(sweep).bind(problem, axes, **own)
        call.apply_defaults()
        planned[name] = _planned(**call.arguments)
    return xr.DataTree.from_dict({name: run() for name, run in planned.items()})


def params_of(dataset: Any, like: PyTree, index: Mapping[str, int]) -> PyTree:
    """The final parameters of one run of a sweep, as the pytree they were.

    Args:
        dataset: what `sweep` returned.
        like: parameters of the same structure, such as `problem.init(key)`.
        index: position along each dimension of the grid.
    """
    leaves = [
        jnp.asarray(dataset[name].isel(index).values, jnp.result_type(leaf))
        for name, leaf in named_leaves("params", like).items()
    ]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)
