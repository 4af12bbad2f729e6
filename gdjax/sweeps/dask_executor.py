"""Compute the tiles of a sweep on the workers of a Dask cluster, each on its own devices.

    client: holds the store, hands out tiles;   worker: computes a tile and writes it

Dask starts a lost worker's tiles again elsewhere, and a tile that is finished already is not
computed again, so nothing here retries or elects. Workers need the same gdjax and JAX, equally many
devices, and either the same file system or a store with a URL. On this machine:

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

from gdjax import progress, slabs
from gdjax.errors import GdjaxError, InputError
from gdjax.interrupts import interruptible
from gdjax.stores.location import Folder, locate
from gdjax.stores.schema import Layout, plain
from gdjax.stores.writer import Store, Tiles, require_same
from gdjax.sweeps.preflight import CheckedSweep, Plan, Target, fit, make_plan
from gdjax.sweeps.slab_program import SlabProgram
from gdjax.sweeps.slab_runner import TileMonitor, run_tile


class Slabs(NamedTuple):
    """Slabs and tiles that suit the devices of a worker, which the client need not have."""

    widths: list[int]
    devices: int
    tile_shape: tuple[int, ...]


class Fitted(NamedTuple):
    """What a worker found out about a sweep."""

    slabs: Slabs
    layout: Layout
    identity: dict[str, Any]


class Task(NamedTuple):
    """What all tiles of a sweep have in common on a worker.

    Args:
        plugin: name of the worker's plugin.
        store: where tiles are written.
        options: `storage_options` of a URL.
        slabs: in which tiles are computed.
        stopping: name of the event that stops the sweep.
    """

    plugin: str
    store: str
    options: Mapping[str, Any] | None
    slabs: Slabs
    stopping: str


class Answer(NamedTuple):
    """Whether a tile is finished; if `new_writer`, the store has to record its worker first."""

    finished: bool
    new_writer: dict[str, Any] | None = None


class Plugin(WorkerPlugin):
    """A sweep with its data, sent to every worker once, also to those that join later.

    Args:
        name: unique to the sweep.
        checked: the pickled `CheckedSweep`, with arrays of NumPy.
    """

    def __init__(self, name: str, checked: bytes):
        self.name = name
        self.pickled = checked
        self.x64 = jnp.result_type(float) == jnp.float64  # workers do not have this setting
        self._lock: threading.Lock | None = None
        self._plan: Plan | None = None
        self._compared = False

    def setup(self, worker: Any) -> None:
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def alone(self) -> Generator[None]:
        """One tile at a time: it has all the devices, however many threads a worker has."""
        assert self._lock is not None
        with self._lock, jax.enable_x64(self.x64):
            yield

    def devices(self, count: int | None) -> tuple[jax.Device, ...]:
        """Return the first devices of this worker: as many as given, or all."""
        here = jax.local_devices()
        if count is not None and len(here) < count:
            raise InputError(
                f"client: a worker has {len(here)} devices, and the sweep's slabs are for "
                f"{count}; start workers with equally many (on CPUs JAX_NUM_CPU_DEVICES)"
            )
        return tuple(here[:count])

    def checked(self) -> CheckedSweep:
        """Return the sweep."""
        return cloudpickle.loads(self.pickled)

    def plan(self, chosen: Slabs) -> Plan:
        """Return the sweep in the slabs that were chosen, kept from tile to tile."""
        if self._plan is None:
            checked, devices = self.checked(), self.devices(chosen.devices)
            programs = [
                SlabProgram(
                    spec, slabs.Slab(width, devices), chosen.tile_shape, checked.initial_carry
                )
                for spec, width in zip(checked.spec.programs(), chosen.widths, strict=True)
            ]
            self._plan = make_plan(checked.spec, programs)
        return self._plan

    def compare(self, tiles: Tiles, plan: Plan) -> None:
        """Check, once, that this worker computes the sweep of the store."""
        if not self._compared:
            stored = {k: v for k, v in tiles.attributes["identity"].items() if k != "layout"}
            require_same(tiles.location, stored, plain(plan.identity, "identity"))
        self._compared = True


@contextlib.contextmanager
def on_workers(
    checked: CheckedSweep, target: Target
) -> Generator[tuple[Fitted, Callable[[Store], int]]]:
    """Prepare a cluster for a sweep.

    Args:
        checked: from `preflight`.
        target: a store that all workers reach, by the same path or by a URL, and the client.

    Yields:
        Layout and identity of the sweep on a worker's devices; a function that has the missing
        tiles of a store computed, and returns how many there were.

    Raises:
        InputError: a worker has too few devices, or too little memory.
        StoreError: as for `sweep`, or a worker computes another sweep than that of the store.
        GdjaxError: workers die, one after another, on the same tile, or the scheduler does.
        KeyboardInterrupt: on Ctrl-C, after all workers have saved their state.
    """
    location, client = target.location, target.client
    if isinstance(location, Folder):
        location = Folder(location.path.absolute())
    plugin = Plugin(f"gdjax-{uuid.uuid4().hex}", cloudpickle.dumps(_portable(checked)))
    address = getattr(client.scheduler, "address", "an unknown place")
    try:
        client.register_plugin(plugin)
        fitted = client.submit(_fit, plugin.name, target.width, pure=False).result()
        options, stopping = target.storage_options, f"{plugin.name}-stop"
        task = Task(plugin.name, str(location), options, fitted.slabs, stopping)
        yield fitted, partial(_hand_out, client, task)
    except Exception as error:
        if client.status == "running":
            raise
        raise GdjaxError(
            f"client: the scheduler at {address} is not reached any more; what is finished stays "
            f"finished: start a cluster, and the sweep again on its store"
        ) from error
    finally:
        if client.status == "running":
            client.unregister_worker_plugin(plugin.name)


def _portable(checked: CheckedSweep) -> CheckedSweep:
    """Return a sweep that another process can read, with arrays of NumPy."""
    host, spec = partial(jax.tree.map, np.asarray), checked.spec
    metrics = {
        name: dataclasses.replace(metric, data=host(metric.data))
        for name, metric in spec.recorded_metrics.items()
    }
    problem = dataclasses.replace(spec.problem, data=host(spec.problem.data), metrics={})
    spec = dataclasses.replace(spec, problem=problem, metrics=metrics)
    return checked._replace(spec=spec, where=str(checked.where))


def _hand_out(client: Client, task: Task, store: Store) -> int:
    """Have all missing tiles computed; return how many there were."""
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
                    time.sleep(0.02)  # waiting for Dask would not let Ctrl-C through
                    continue
                future = next(answers)
                tile, _ = submitted.pop(future.key)
                try:
                    answer = future.result()
                except Exception as error:
                    # The others save and end: a tile must not be written once the store is free.
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
        f"client: workers died on tile {tile}, the last one {error.last_worker.address}; if it was "
        f"for lack of memory, choose a smaller width. What is finished stays finished: start the "
        f"sweep again on its store"
    )
    explained.__cause__ = error
    return explained


def _plugin(name: str) -> Plugin:
    plugin = get_worker().plugins[name]
    assert isinstance(plugin, Plugin)
    return plugin


def _fit(name: str, width: int | None) -> Fitted:
    """Choose the slabs, on a worker, as `sweep` does on its own devices."""
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
        # Dask may have given up a worker that was only slow: the tile has the same bits, once.
        if not tiles.is_finished(tile):
            tiles.write(tile, variables, tiles.writers.index(writer) + 1)
        return Answer(True)
