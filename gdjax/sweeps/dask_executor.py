"""Dask executor: tiles of a sweep are computed by workers on their devices.

    client: opens the store and submits tiles;   worker: computes a tile and writes it

Dask resubmits the tiles of a lost worker, and finished tiles are not recomputed, so this module
needs no retries. All workers must have the same versions of gdjax and JAX, the same number of
devices, and a shared file system or a store with a URL. A local example:

    cluster = LocalCluster(n_workers=2, threads_per_worker=1)
    gd.sweep(problem, axes, 1000, store="runs.zarr", client=Client(cluster))
"""

import contextlib
import dataclasses
import threading
import time
import uuid
from collections.abc import Callable, Generator, Mapping
from functools import partial
from typing import Any, NamedTuple

import cloudpickle
import jax
import jax.numpy as jnp
import numpy as np
from distributed import (
    Client,
    Event,
    Future,
    KilledWorker,
    WorkerPlugin,
    as_completed,
    get_client,
    get_worker,
)
from distributed.comm import CommClosedError

from gdjax import progress, slabs
from gdjax.errors import GdjaxError, InputError
from gdjax.interrupts import interruptible
from gdjax.stores.location import locate
from gdjax.stores.schema import Layout, plain
from gdjax.stores.writer import Store, Tiles, require_same
from gdjax.sweeps.preflight import CheckedSweep, Plan, Target, fit, make_plan
from gdjax.sweeps.slab_program import SlabProgram
from gdjax.sweeps.slab_runner import TileMonitor, run_tile

ATTEMPTS = 5  # to send the sweep to all workers, some of which may be lost meanwhile


class Slabs(NamedTuple):
    """Slab widths, device count and tile shape, chosen on a worker."""

    widths: list[int]
    devices: int
    tile_shape: tuple[int, ...]


class Fitted(NamedTuple):
    """Slabs, layout and identity of a sweep, determined on a worker."""

    slabs: Slabs
    layout: Layout
    identity: dict[str, Any]


class Task(NamedTuple):
    """Arguments shared by all tiles of a sweep.

    Args:
        plugin: name of the worker plugin.
        store: path or URL of the store.
        options: `storage_options` of the store.
        slabs: slab widths, device count and tile shape.
        stopping: name of the event that stops the sweep.
    """

    plugin: str
    store: str
    options: Mapping[str, Any] | None
    slabs: Slabs
    stopping: str


class Answer(NamedTuple):
    """Result of a task: whether the tile is finished, or a writer to add first."""

    finished: bool
    new_writer: dict[str, Any] | None = None


class Plugin(WorkerPlugin):
    """Worker plugin with a sweep and its data, sent once to every worker.

    Args:
        name: unique name of the plugin for this sweep.
        checked: pickled `CheckedSweep` with NumPy arrays.
    """

    def __init__(self, name: str, checked: bytes):
        self.name = name
        self.pickled = checked
        self.x64 = jnp.result_type(float) == jnp.float64  # workers must use the same setting
        self._lock: threading.Lock | None = None
        self._plan: Plan | None = None
        self._compared = False

    def setup(self, worker: Any) -> None:
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def alone(self) -> Generator[None]:
        """Acquire the lock of the worker, since a tile uses all of its devices."""
        assert self._lock is not None
        with self._lock, jax.enable_x64(self.x64):
            yield

    def devices(self, count: int | None) -> tuple[jax.Device, ...]:
        """Return the first `count` devices of this worker, or all if None."""
        here = jax.local_devices()
        if count is not None and len(here) < count:
            raise InputError(
                f"client: a worker has {len(here)} devices, expected {count}, the number of "
                f"devices of the slabs of the sweep; start all workers with this number of devices "
                f"(on CPUs, set JAX_NUM_CPU_DEVICES)"
            )
        return tuple(here[:count])

    def checked(self) -> CheckedSweep:
        """Return the unpickled sweep."""
        return cloudpickle.loads(self.pickled)

    def plan(self, chosen: Slabs) -> Plan:
        """Return the plan of the sweep with the chosen slabs, cached across tiles."""
        if self._plan is None:
            checked, devices = self.checked(), self.devices(chosen.devices)
            programs = [
                SlabProgram(
                    spec, slabs.Slab(width, devices), chosen.tile_shape, checked.initial_carry
                )
                for spec, width in zip(checked.spec.programs(), chosen.widths, strict=True)
            ]
            self._plan = make_plan(checked.spec, programs, checked.stored)
        return self._plan

    def compare(self, tiles: Tiles, plan: Plan) -> None:
        """Check once that this worker computes the sweep of the store."""
        if not self._compared:
            stored = {k: v for k, v in tiles.attributes["identity"].items() if k != "layout"}
            require_same(tiles.location, stored, plain(plan.identity, "identity"))
        self._compared = True


@contextlib.contextmanager
def on_workers(
    checked: CheckedSweep, target: Target
) -> Generator[tuple[Fitted, Callable[[Store], int]]]:
    """Prepare the workers of a cluster for a sweep.

    Args:
        checked: result of `preflight`.
        target: client, and a store that all workers can access by the same path or URL.

    Yields:
        Slabs, layout and identity of the sweep on the devices of a worker; and a function that
        computes the missing tiles of a store and returns their number.

    Raises:
        InputError: if a worker has too few devices or too little memory.
        StoreError: as in `sweep`, or if a worker computes a different sweep than the stored one.
        GdjaxError: if workers are killed repeatedly while computing a tile, or the scheduler is
            lost.
        KeyboardInterrupt: on Ctrl-C, after all workers have saved their state.
    """
    client, location = target.client, getattr(target.location, "path", target.location)
    plugin = Plugin(f"gdjax-{uuid.uuid4().hex}", cloudpickle.dumps(_portable(checked)))
    address = getattr(client.scheduler, "address", "an unknown address")
    try:
        _register(client, plugin)
        fitted = client.submit(_fit, plugin.name, target.width, pure=False).result()
        options, stopping = target.storage_options, f"{plugin.name}-stop"
        task = Task(plugin.name, str(location), options, fitted.slabs, stopping)
        yield fitted, partial(_hand_out, client, task)
    except Exception as error:
        if client.status == "running" and not isinstance(error, CommClosedError):
            raise
        raise GdjaxError(
            f"client: the scheduler at {address}, or a worker, does not respond; finished runs are "
            f"kept. Start a cluster, and run the sweep again with its store"
        ) from error
    finally:
        if client.status == "running":
            with contextlib.suppress(CommClosedError):  # a worker that was lost has no plugin
                client.unregister_worker_plugin(plugin.name)


def _register(client, plugin):
    """Send a plugin to all workers; repeat this if a worker is lost meanwhile."""
    for _ in range(ATTEMPTS - 1):
        with contextlib.suppress(CommClosedError):
            return client.register_plugin(plugin)
        time.sleep(1)
    return client.register_plugin(plugin)


def _portable(checked: CheckedSweep) -> CheckedSweep:
    """Return a sweep that can be pickled, with NumPy arrays."""
    host, spec = partial(jax.tree.map, np.asarray), checked.spec
    metrics = {
        name: dataclasses.replace(metric, data=host(metric.data))
        for name, metric in spec.recorded_metrics.items()
    }
    problem = dataclasses.replace(spec.problem, data=host(spec.problem.data), metrics={})
    spec = dataclasses.replace(spec, problem=problem, metrics=metrics)
    return checked._replace(spec=spec, where=str(checked.where))


def _hand_out(client: Client, task: Task, store: Store) -> int:
    """Compute all missing tiles on the workers, and return their number."""
    missing = [tuple(tile) for tile in np.argwhere(~store.finished()).tolist()]
    stopping = Event(task.stopping, client=client)
    submitted: dict[Any, tuple[tuple[int, ...], Future]] = {}
    answers = as_completed()
    failure: BaseException | None = None

    def submit(tile):
        future = client.submit(_compute, task, tile, pure=False)
        submitted[future.key] = tile, future
        answers.add(future)

    try:
        with (
            interruptible() as stop,
            progress.bar(total=len(missing), unit="tile", delay=1) as bar,
        ):
            for tile in missing:
                submit(tile)
            while not answers.is_empty():
                if stop.is_set() and failure is None:
                    failure = KeyboardInterrupt()
                    stopping.set()
                if not answers.has_ready():
                    time.sleep(0.02)  # a blocking wait for Dask would delay Ctrl-C
                    continue
                future = next(answers)
                tile, _ = submitted.pop(future.key)
                try:
                    answer = future.result()
                except Exception as error:
                    # The other tasks save their state and stop, since none may write after the lock
                    # is released.
                    failure = failure or _explained(error, tile)
                    stopping.set()
                    continue
                if answer.new_writer is not None and failure is None:
                    store.add_writer(answer.new_writer)
                    submit(tile)
                bar.update(answer.finished)
    finally:
        client.cancel([future for _, future in submitted.values()])
    if failure is not None:
        raise failure
    return len(missing)


def _explained(error: BaseException, tile: tuple[int, ...]) -> BaseException:
    if not isinstance(error, KilledWorker):
        return error
    explained = GdjaxError(
        f"client: Dask workers were killed while computing tile {tile} (last: "
        f"{error.last_worker.address}). If they ran out of memory, choose a smaller width. "
        f"Finished runs are kept; start the sweep again on its store"
    )
    explained.__cause__ = error
    return explained


def _plugin(name: str) -> Plugin:
    plugin = get_worker().plugins[name]
    assert isinstance(plugin, Plugin)
    return plugin


def _fit(name: str, width: int | None) -> Fitted:
    """Choose slabs for the devices of a worker, as `sweep` does for local devices."""
    plugin = _plugin(name)
    with plugin.alone():
        checked = plugin.checked()
        stored = checked.stored
        devices = plugin.devices(None if stored is None else stored["slab"]["devices"])
        plan = fit(checked, devices, width)
        widths = [program.slab.width for program in plan.programs]
        return Fitted(Slabs(widths, len(devices), plan.tile_shape), plan.layout, plan.identity)


def _compute(task: Task, tile: tuple[int, ...]) -> Answer:
    """Compute one tile on a worker and write it, unless it is finished."""
    plugin, stop = _plugin(task.plugin), Event(task.stopping, client=get_client())
    with plugin.alone():
        tiles = Tiles(locate(task.store, task.options))
        if tiles.is_finished(tile):
            return Answer(True)
        if stop.is_set():
            return Answer(False)
        plan = plugin.plan(task.slabs)
        number, _ = plan.program_of(tile)
        writer = plain(plan.writers[number], "writer")
        if writer not in tiles.writers:
            return Answer(False, writer)
        plugin.compare(tiles, plan)
        variables = run_tile(plan, tile, TileMonitor(tiles, tile, stop.is_set))
        if variables is None:
            return Answer(False)
        # Dask may have replaced a slow worker, so the same tile may have been written already.
        if not tiles.is_finished(tile):
            tiles.write(tile, variables, tiles.writers.index(writer) + 1)
        return Answer(True)
