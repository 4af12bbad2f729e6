"""A sweep's tiles on the workers of a Dask cluster, each on its own devices.

    client: holds the store, hands out tiles;   worker: computes a tile, writes it, says so

Dask starts a lost worker's tiles again elsewhere, and a tile that is finished already is not
computed again, so nothing here retries or elects. Workers need the same file system, the same
gdjax and JAX, and equally many devices. On this machine:

    cluster = LocalCluster(n_workers=2, threads_per_worker=1)
    gd.sweep(problem, axes, 1000, store="runs.zarr", client=Client(cluster))
"""

import contextlib
import dataclasses
import threading
import time
import uuid
from collections.abc import Generator
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
from gdjax.stores.layout import Layout, plain
from gdjax.stores.reading import local, open_dataset
from gdjax.stores.writing import Store, Tiles, require_same
from gdjax.sweeps import computing, provenance
from gdjax.sweeps.drafting import fit
from gdjax.sweeps.tiles import Work


class Shape(NamedTuple):
    """How a worker computes a tile: runs a device, devices, the tile's box in the grid."""

    width: int
    devices: int
    box: tuple[int, ...]


class Fitted(NamedTuple):
    """A sweep in the slab that suits a worker's devices, which the client need not have."""

    shape: Shape
    layout: Layout
    identity: dict[str, Any]
    information: dict[str, Any]


class Answer(NamedTuple):
    """What became of a tile; with `newcomer`, nothing yet: its worker is not known to the store."""

    finished: bool
    newcomer: dict[str, Any] | None = None


class Plugin(WorkerPlugin):
    """A sweep with its data: sent to every worker once, also to those that come later.

    Args:
        name: differs from sweep to sweep.
        work: pickled, its arrays NumPy's and its slab empty.
    """

    def __init__(self, name: str, work: bytes):
        self.name = name
        self.pickled = work
        self.x64 = jnp.result_type(float) == jnp.float64  # a worker has not its client's setting
        self._lock: threading.Lock | None = None
        self._work: Work | None = None
        self._compared = False

    def setup(self, worker: Any) -> None:
        self._lock = threading.Lock()

    @property
    def lock(self) -> threading.Lock:
        """One tile at a time: it has all the devices, however many threads a worker has."""
        assert self._lock is not None
        return self._lock

    def work(self, devices: int | None) -> Work:
        """The sweep on this worker's first devices, as many as asked for, or all."""
        here = jax.local_devices()
        if devices is not None and len(here) < devices:
            raise InputError(
                f"client: a worker has {len(here)} devices, and the sweep's slabs are for "
                f"{devices}; start workers with equally many (on CPUs JAX_NUM_CPU_DEVICES)"
            )
        work = cloudpickle.loads(self.pickled)
        return dataclasses.replace(work, slab=slabs.Slab(1, tuple(here[:devices])))

    def fitted(self, shape: Shape) -> Work:
        """The sweep in the slab that was fitted, kept from tile to tile with its program."""
        if self._work is None:
            work = self.work(shape.devices)
            slab = work.slab._replace(width=shape.width)
            self._work = dataclasses.replace(work, slab=slab, box=shape.box)
        return self._work

    def compare(self, tiles: Tiles, work: Work) -> None:
        """Make sure, once, that this worker computes what the store is of."""
        if not self._compared:
            stored = {k: v for k, v in tiles.attributes["identity"].items() if k != "layout"}
            require_same(tiles.path, stored, plain(provenance.identity(work), "identity"))
        self._compared = True


def run(
    work: Work,
    store: str | Path,
    client: Client,
    *,
    width: int | None,
    stored: dict[str, Any] | None,
) -> Any:
    """Compute a sweep's missing tiles on a cluster.

    Args:
        work: a draft, its slab still open.
        store: a folder that all workers reach by the same path.
        client: of the cluster.
        width: runs a device computes at a time, or None.
        stored: width and number of devices that the store was begun with, if it was.

    Returns:
        The sweep's Dataset.

    Raises:
        InputError: a worker has too few devices, or too little memory.
        StoreError: as for `sweep`, or a worker computes something else than the store is of.
        GdjaxError: workers die, one after another, on the same tile, or the scheduler does.
        KeyboardInterrupt: on Ctrl-C, after all workers have saved their state.
    """
    path = local(store).absolute()
    stored = stored or {"width": None, "devices": None}
    plugin = Plugin(f"gdjax-{uuid.uuid4().hex}", cloudpickle.dumps(_portable(work)))
    with _reached(client), _registered(client, plugin):
        fitted = client.submit(
            _fit,
            plugin.name,
            stored["width"] if width is None else width,
            stored["devices"],
            pure=False,
        ).result()
        computing.complete(
            path,
            fitted.layout,
            fitted.identity,
            fitted.information,
            partial(_hand_out, client, plugin.name, fitted.shape),
        )
    return open_dataset(store)


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


def _portable(work: Work) -> Work:
    """A sweep that another process can read: host arrays, no devices."""
    host = partial(jax.tree.map, np.asarray)
    what = work.sweep
    measures = {
        name: dataclasses.replace(measure, data=host(measure.data))
        for name, measure in what.watched.items()
    }
    problem = dataclasses.replace(what.problem, data=host(what.problem.data), measures={})
    what = dataclasses.replace(what, problem=problem, measures=measures)
    return Work(what, slabs.Slab(1, ()), work.box, work.ends)


def _hand_out(client: Client, name: str, shape: Shape, held: Store) -> int:
    """Have all missing tiles computed; returns how many."""
    missing = [tuple(tile) for tile in np.argwhere(~held.finished()).tolist()]
    stopping = Event(f"{name}-stop", client=client)
    submitted: dict[Any, tuple[tuple[int, ...], Future]] = {}
    answers = as_completed()
    failure: BaseException | None = None

    def submit(tile):
        future = client.submit(
            _compute, name, shape, str(held.path), tile, stopping.name, pure=False
        )
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
                    held.add_origin(answer.newcomer)
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


def _fit(name: str, width: int | None, devices: int | None) -> Fitted:
    """On a worker: decide on the slab, as `sweep` does on its own devices."""
    plugin = _plugin(name)
    with plugin.lock, jax.enable_x64(plugin.x64):
        work = fit(plugin.work(devices), width)
        return Fitted(
            shape=Shape(work.slab.width, len(work.slab.devices), work.box),
            layout=work.layout(),
            identity=provenance.identity(work),
            information=provenance.information(work),
        )


def _compute(name: str, shape: Shape, path: str, tile: tuple[int, ...], stopping: str) -> Answer:
    """On a worker: compute one tile and write it, unless it is there."""
    plugin, stop = _plugin(name), Event(stopping, client=get_client())
    with plugin.lock, jax.enable_x64(plugin.x64):
        tiles = Tiles(path)
        if tiles.finished_tile(tile):
            return Answer(True)
        if stop.is_set():
            return Answer(False)
        work = plugin.fitted(shape)
        information = plain(provenance.information(work), "information")
        if information not in tiles.attributes["origins"]:
            return Answer(False, information)
        tiles.origin = tiles.attributes["origins"].index(information) + 1
        plugin.compare(tiles, work)
        arrays = work.compute(
            tile,
            load=partial(tiles.load_checkpoint, tile),
            save=partial(tiles.save_checkpoint, tile),
            stop=stop.is_set,
        )
        if arrays is None:
            return Answer(False)
        # Dask may have given up a worker that was only slow: the tile has the same bits, once.
        if not tiles.finished_tile(tile):
            tiles.write(tile, arrays)
        return Answer(True)
