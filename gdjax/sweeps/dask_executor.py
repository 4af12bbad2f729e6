"""Dask executor: tiles of a sweep are computed by workers on their devices.

    client: opens the store and submits tiles;   worker: computes a tile and writes it

Dask resubmits the tiles of a lost worker, and finished tiles are not recomputed, so this module
needs no retries. All workers must have the same versions of gdjax and JAX, devices of one kind, and
a shared file system or a store with a URL. A worker computes as many tiles at once as it has
devices and threads. A local example:

    cluster = LocalCluster(n_workers=2, threads_per_worker=1)
    gd.sweep(problem, axes, 1000, store="runs.zarr", client=Client(cluster))
"""

import contextlib
import queue
import threading
import time
import uuid
from collections.abc import Callable, Generator
from dataclasses import replace
from functools import partial
from typing import Any

import cloudpickle
import jax
import jax.numpy as jnp
import numpy as np
from distributed import Client, Event, Future, WorkerPlugin, as_completed, get_client, get_worker
from distributed.comm import CommClosedError

from gdjax.base import progress
from gdjax.base.arrays import Schema
from gdjax.base.documents import plain
from gdjax.base.errors import GdjaxError
from gdjax.base.interrupts import interruptible
from gdjax.stores.writer import Store, Tiles, require_same
from gdjax.sweeps.check import Asked, check
from gdjax.sweeps.fit import Fitted, fit
from gdjax.sweeps.slab_runner import SlabMonitor, run_tiles

ATTEMPTS = 5  # to send the sweep to all workers, some of which may be lost meanwhile


class Plugin(WorkerPlugin):
    """Worker plugin with a sweep and its data, sent once to every worker.

    Args:
        name: unique name of the plugin for this sweep.
        asked: pickled `Asked`, with NumPy arrays.
    """

    def __init__(self, name: str, asked: bytes):
        self.name = name
        self.pickled = asked
        self.x64 = jnp.result_type(float) == jnp.float64  # workers must use the same setting
        self._devices: Any = None  # a queue and a lock, which cannot be pickled
        self._fitting: Any = None
        self._fitted: Fitted | None = None

    def setup(self, worker: Any) -> None:
        self._devices, self._fitting = queue.SimpleQueue(), threading.Lock()

    @contextlib.contextmanager
    def fitted(self) -> Generator[tuple[Fitted, jax.Device]]:
        """Provide the fitted sweep, and a device of the worker that is not in use."""
        with jax.enable_x64(self.x64):
            with self._fitting:
                if self._fitted is None:
                    self._fitted = self._fit()
                    for device in self._fitted.devices:
                        self._devices.put(device)
            device = self._devices.get()
            try:
                yield self._fitted, device
            finally:
                self._devices.put(device)

    def _fit(self) -> Fitted:
        """Fit the sweep to the devices of the worker, and compare it with its store, if any.

        All workers thus use the same tiles, those of the stored schema.
        """
        asked: Asked = cloudpickle.loads(self.pickled)
        checked = check(asked)
        if checked.root is not None:
            recorded = {n: value for n, value in checked.root.identity.items() if n != "layout"}
            here = plain(checked.identity, "identity")
            require_same(asked.location, recorded, here, asked.allow_unverified)
        return fit(checked)


@contextlib.contextmanager
def on_workers(asked: Asked) -> Generator[tuple[Schema, dict[str, Any], Callable[[Store], None]]]:
    """Prepare the workers of a cluster for a sweep with a store that all of them can access.

    Yields:
        Schema and identity of the sweep on the devices of a worker; and a function that computes
        the missing tiles of a store.
    """
    client: Any = asked.client
    plugin = Plugin(f"gdjax-{uuid.uuid4().hex}", cloudpickle.dumps(_portable(asked)))
    address = getattr(client.scheduler, "address", "an unknown address")
    try:
        _register(client, plugin)
        schema, identity = client.submit(_fit, plugin.name, pure=False).result()
        yield schema, identity, partial(_hand_out, client, plugin.name)
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


def _portable(asked: Asked) -> Asked:
    """Return a sweep that can be pickled, with NumPy arrays."""
    host, sweep = partial(jax.tree.map, np.asarray), asked.sweep
    metrics = {
        name: replace(metric, data=host(metric.data))
        for name, metric in sweep.recorded_metrics.items()
    }
    problem = replace(sweep.problem, data=host(sweep.problem.data), metrics={})
    sweep = replace(sweep, problem=problem, metrics=metrics)
    return replace(asked, sweep=sweep, store=asked.location, client=None, root=None)


def _hand_out(client: Client, name: str, store: Store) -> None:
    """Compute all missing tiles on the workers."""
    missing = [tuple(tile) for tile in np.argwhere(~store.finished()).tolist()]
    stopping = Event(name, client=client)
    submitted: dict[Any, Future] = {}
    answers = as_completed()
    failure: BaseException | None = None

    try:
        with (
            interruptible() as stop,
            progress.bar(total=len(missing), unit="tile", delay=1) as bar,
        ):
            for tile in missing:
                future = client.submit(_compute, name, tile, pure=False)
                submitted[future.key] = future
                answers.add(future)
            while not answers.is_empty():
                if stop.is_set() and failure is None:
                    failure = KeyboardInterrupt()
                    stopping.set()
                if not answers.has_ready():
                    time.sleep(0.02)  # a blocking wait for Dask would delay Ctrl-C
                    continue
                future = next(answers)
                del submitted[future.key]
                try:
                    finished = future.result()
                except Exception as error:
                    # The other tasks save their state and stop, since none may write after the lock
                    # is released.
                    failure = failure or error
                    stopping.set()
                    continue
                bar.update(finished)
    finally:
        client.cancel(list(submitted.values()))
    if failure is not None:
        raise failure


def _plugin(name: str) -> Plugin:
    plugin = get_worker().plugins[name]
    assert isinstance(plugin, Plugin)
    return plugin


def _fit(name: str) -> tuple[Schema, dict[str, Any]]:
    """Compile the programs on a worker; return schema and identity of the sweep."""
    with _plugin(name).fitted() as (fitted, _):
        return fitted.schema, fitted.checked.identity


def _compute(name: str, tile: tuple[int, ...]) -> bool:
    """Compute one tile on a worker and write it; return whether it is finished."""
    plugin, stop = _plugin(name), Event(name, client=get_client())
    with plugin.fitted() as (fitted, device):
        tiles = Tiles(fitted.asked.location, fitted.writer)
        if tiles.record(tile) is not None:
            return True
        if stop.is_set():
            return False
        computed = run_tiles(fitted, [tile], device, SlabMonitor(tiles, [tile], stop.is_set))
        if computed is None:
            return False
        # Dask may have replaced a slow worker, so the same tile may have been written already.
        if tiles.record(tile) is None:
            tiles.write(tile, computed[0])
        return True
