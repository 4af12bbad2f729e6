"""A sweep's tiles on the workers of a Dask cluster, each on its own devices.

    client: holds the store, hands out tiles;   worker: computes a tile, writes it, says so

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
from pathlib import Path
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
from gdjax.sweeps import computing
from gdjax.sweeps.programs import Programs, fit_programs, fit_stored
from gdjax.sweeps.specification import Specification
from gdjax.sweeps.tiles import Work


class Fitted(NamedTuple):
    """A sweep in the slabs that suit a worker's devices, which the client need not have."""

    widths: list[int]
    devices: int
    tile_shape: tuple[int, ...]
    layout: Layout
    identity: dict[str, Any]


class Stored(NamedTuple):
    """Where the tiles of a sweep are stored, and in which slabs they are computed."""

    store: str
    options: Mapping[str, Any] | None
    widths: list[int]
    devices: int
    tile_shape: tuple[int, ...]


class Answer(NamedTuple):
    """What became of a tile; with `newcomer`, nothing yet: its worker is not known to the store."""

    finished: bool
    newcomer: dict[str, Any] | None = None


class Plugin(WorkerPlugin):
    """A sweep with its data: sent to every worker once, also to those that come later.

    Args:
        name: differs from sweep to sweep.
        programs: pickled, their arrays NumPy's and their slabs empty.
    """

    def __init__(self, name: str, programs: bytes):
        self.name = name
        self.pickled = programs
        self.x64 = jnp.result_type(float) == jnp.float64  # a worker has not its client's setting
        self._lock: threading.Lock | None = None
        self._programs: Programs | None = None
        self._compared = False

    def setup(self, worker: Any) -> None:
        self._lock = threading.Lock()

    @property
    def lock(self) -> threading.Lock:
        """One tile at a time: it has all the devices, however many threads a worker has."""
        assert self._lock is not None
        return self._lock

    def drafts(self, devices: int | None) -> Programs:
        """The sweep on this worker's first devices, as many as asked for, or all."""
        here = jax.local_devices()
        if devices is not None and len(here) < devices:
            raise InputError(
                f"client: a worker has {len(here)} devices, and the sweep's slabs are for "
                f"{devices}; start workers with equally many (on CPUs JAX_NUM_CPU_DEVICES)"
            )
        programs = cloudpickle.loads(self.pickled)
        return programs.on(tuple(here[:devices]))

    def fitted(self, stored: Stored) -> Programs:
        """The sweep in the slabs that were chosen, kept from tile to tile."""
        if self._programs is None:
            drafts = self.drafts(stored.devices)
            works = [
                dataclasses.replace(
                    work, slab=work.slab._replace(width=width), box=stored.tile_shape
                )
                for work, width in zip(drafts.works, stored.widths, strict=True)
            ]
            self._programs = Programs(drafts.sweep, tuple(works))
        return self._programs

    def compare(self, tiles: Tiles, programs: Programs) -> None:
        """Check, once, that this worker computes what the store is of."""
        if not self._compared:
            stored = {k: v for k, v in tiles.attributes["identity"].items() if k != "layout"}
            require_same(tiles.location, stored, plain(programs.identity, "identity"))
        self._compared = True


def run(
    drafts: Programs,
    store: str | Path,
    options: Mapping[str, Any] | None,
    client: Client,
    *,
    width: int | None,
    stored: Mapping[str, Any] | None,
    prepare: Callable[[Store], None] = lambda held: None,
) -> None:
    """Compute a sweep's missing tiles on a cluster.

    Args:
        drafts: the checked programs, their slabs still open.
        store: a folder that all workers reach by the same path, or a URL.
        options: `storage_options` of a URL.
        client: of the cluster.
        width: runs a device computes at a time, or None.
        stored: identity of the store, or of the one that is extended, if there is one.
        prepare: as for `computing.complete`.

    Raises:
        InputError: a worker has too few devices, or too little memory.
        StoreError: as for `sweep`, or a worker computes something else than the store is of.
        GdjaxError: workers die, one after another, on the same tile, or the scheduler does.
        KeyboardInterrupt: on Ctrl-C, after all workers have saved their state.
    """
    location = locate(store, options)
    if isinstance(location, Folder):
        location = Folder(location.path.absolute())
    plugin = Plugin(f"gdjax-{uuid.uuid4().hex}", cloudpickle.dumps(_portable(drafts)))
    with _reached(client), _registered(client, plugin):
        fitted = client.submit(_fit, plugin.name, width, stored, str(store), pure=False).result()
        slabs = Stored(str(location), options, fitted.widths, fitted.devices, fitted.tile_shape)
        computing.complete(
            location,
            fitted.layout,
            fitted.identity,
            partial(_hand_out, client, plugin.name, slabs),
            prepare,
        )


@contextlib.contextmanager
def _registered(client: Client, plugin: Plugin) -> Generator[None]:
    """A plugin on all workers, as long as this lasts."""
    client.register_plugin(plugin)
    try:
        yield
    finally:
        if client.status == "running":
            client.unregister_worker_plugin(plugin.name)


@contextlib.contextmanager
def _reached(client: Client) -> Generator[None]:
    """Turn the loss of a cluster's scheduler into an error that says how to go on."""
    address = getattr(client.scheduler, "address", "an unknown place")
    try:
        yield
    except Exception as error:
        if client.status == "running":
            raise
        raise GdjaxError(
            f"client: the scheduler at {address} is not reached any more; what is finished stays "
            f"finished: start a cluster, and the sweep again on its store"
        ) from error


def _portable(drafts: Programs) -> Programs:
    """A sweep that another process can read: host arrays, no devices."""
    host = partial(jax.tree.map, np.asarray)

    def portable(what: Specification) -> Specification:
        metrics = {
            name: dataclasses.replace(metric, data=host(metric.data))
            for name, metric in what.watched.items()
        }
        problem = dataclasses.replace(what.problem, data=host(what.problem.data), metrics={})
        return dataclasses.replace(what, problem=problem, metrics=metrics)

    sweep = portable(drafts.sweep)
    works = tuple(
        Work(what, slabs.Slab(1, ()), work.box, work.earlier)
        for work, what in zip(drafts.works, sweep.parts, strict=True)
    )
    return Programs(sweep, works)


def _hand_out(client: Client, name: str, stored: Stored, held: Store) -> int:
    """Have all missing tiles computed; returns how many."""
    missing = [tuple(tile) for tile in np.argwhere(~held.finished()).tolist()]
    stopping = Event(f"{name}-stop", client=client)
    submitted: dict[Any, tuple[tuple[int, ...], Future]] = {}
    answers = as_completed()
    failure: BaseException | None = None

    def submit(tile):
        future = client.submit(_compute, name, stored, tile, stopping.name, pure=False)
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
                if answer.newcomer is not None and failure is None:
                    held.add_writer(answer.newcomer)
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


def _fit(name: str, width: int | None, stored: Mapping[str, Any] | None, store: str) -> Fitted:
    """On a worker: decide on the slabs, as `sweep` does on its own devices."""
    plugin = _plugin(name)
    with plugin.lock, jax.enable_x64(plugin.x64):
        drafts = plugin.drafts(None if stored is None else stored["slab"]["devices"])
        if stored is None:
            programs = fit_programs(drafts, width)
        else:
            programs = fit_stored(drafts, stored, width, store)
        works = programs.works
        return Fitted(
            widths=[work.slab.width for work in works],
            devices=len(works[0].slab.devices),
            tile_shape=programs.tile_shape,
            layout=programs.layout,
            identity=programs.identity,
        )


def _compute(name: str, stored: Stored, tile: tuple[int, ...], stopping: str) -> Answer:
    """On a worker: compute one tile and write it, unless it is there."""
    plugin, stop = _plugin(name), Event(stopping, client=get_client())
    with plugin.lock, jax.enable_x64(plugin.x64):
        tiles = Tiles(stored.store, storage_options=stored.options)
        if tiles.is_finished(tile):
            return Answer(True)
        if stop.is_set():
            return Answer(False)
        programs = plugin.fitted(stored)
        writer = plain(programs.writers[programs.program_of(tile)[0]], "writer")
        if writer not in tiles.writers:
            return Answer(False, writer)
        plugin.compare(tiles, programs)
        arrays = programs.compute(
            tile,
            load=partial(tiles.load_checkpoint, tile),
            save=partial(tiles.save_checkpoint, tile),
            stop=stop.is_set,
        )
        if arrays is None:
            return Answer(False)
        # Dask may have given up a worker that was only slow: the tile has the same bits, once.
        if not tiles.is_finished(tile):
            tiles.write(tile, arrays, tiles.writers.index(writer) + 1)
        return Answer(True)
