"""Tiles on Dask workers: runs are stored once, bitwise equal to a local sweep."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time

import dask
import jax
import numpy as np
import pytest
import xarray as xr
from distributed import Client, LocalCluster, WorkerPlugin
from small_problems import network, same_bits

from gdjax.base.errors import GdjaxError
from gdjax.stores.location import locate
from gdjax.stores.reader import verify, without_carry
from gdjax.sweeps import axes, sweep
from tests.stores import servers

DEVICES = 4


@pytest.fixture(scope="module")
def client():
    class SlabsOfTwoRuns(WorkerPlugin):  # as in this folder; a local class is pickled by value
        def setup(self, worker):
            from gdjax.sweeps import fit

            fit.CPU_WIDTHS = ((2, 2**60),)

    environment = {
        "JAX_NUM_CPU_DEVICES": str(DEVICES),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    with (
        # On a busy machine, a killed worker restarts after more than the default of 15 s.
        dask.config.set({"distributed.deploy.lost-worker-timeout": "2 minutes"}),
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0", env=environment
        ) as cluster,
        Client(cluster) as client,
    ):
        client.register_plugin(SlabsOfTwoRuns())
        yield client


def run(path, steps=400, client=None):
    grid = axes(learning_rate=[0.1, 0.2, 0.3, 0.4], seed=range(8))
    options = {"batch_size": 5, "record_every": 2, "snapshot_every": 100}
    return sweep(network(watched=True), grid, steps, store=path, client=client, **options)


def stamps(path):
    files = [file for file in path.glob("*/c.*") if file.is_file()]
    return {str(file): (file.stat().st_ino, file.stat().st_mtime_ns) for file in files}


def finished_tiles(path):
    return len(list(path.glob(".gdjax/tiles/*")))


def test_results_after_a_killed_worker_are_bitwise_equal(client, tmp_path):
    other, here = tmp_path / "there", tmp_path / "here"
    observed: dict[str, tuple[int, int]] = {}
    killed = []

    def kill():
        while finished_tiles(other) < 2:
            time.sleep(0.01)
        victim = next(iter(workers.values()))
        observed.update(stamps(other))
        killed.append(victim)
        os.kill(victim, signal.SIGKILL)

    client.wait_for_workers(2, timeout=120)
    workers = client.run(os.getpid)
    assert len(set(workers.values())) == 2
    watcher = threading.Thread(target=kill, daemon=True)
    watcher.start()
    result = run(other, client=client).load()
    watcher.join()
    assert killed
    current = stamps(other)
    finished = [file for file in observed if "/finished/" in file]
    assert finished
    assert all(current[file] == observed[file] for file in finished)  # no tile was written twice
    assert (result.finished > 0).all()
    assert result.attrs["tiles"] == result.attrs["tiles_finished"] == 16
    alone = run(here).load()
    assert same_bits(result, alone)
    assert result.identity == alone.identity
    assert len(json.loads(result.attrs["writers"])) == 1
    assert result.attrs["writers"] == alone.attrs["writers"]
    with xr.open_zarr(other, chunks=None) as dataset:
        assert same_bits(without_carry(dataset).load(), alone)
    before = stamps(other)
    run(other, client=client)  # all tiles are finished
    assert stamps(other) == before


def test_ctrl_c_stops_all_workers_and_the_sweep_resumes_without_the_cluster(client, tmp_path):
    def press():
        while finished_tiles(tmp_path) < 1:
            time.sleep(0.01)
        signal.raise_signal(signal.SIGINT)  # Python handles signals in the main thread

    threading.Thread(target=press, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, 2000, client=client)
    done = finished_tiles(tmp_path)
    assert 1 <= done < 16
    time.sleep(0.3)
    assert finished_tiles(tmp_path) == done  # the workers have stopped
    assert same_bits(run(tmp_path, 2000).drop_vars("finished").load(), run(None, 2000))


@pytest.mark.parametrize("change", ["register_plugin", "unregister_worker_plugin"])
def test_a_worker_killed_while_plugins_change_does_not_end_a_sweep(
    client, tmp_path, monkeypatch, change
):
    client.wait_for_workers(2, timeout=120)
    victims, changed = [*client.run(os.getpid).values()][:1], getattr(client, change)

    def kill_and_change(plugin):
        if victims:
            os.kill(victims.pop(), signal.SIGKILL)
        return changed(plugin)

    monkeypatch.setattr(client, change, kill_and_change)
    assert run(tmp_path / "s", client=client).attrs["tiles_finished"] == 16
    assert not victims


def test_workers_with_different_settings_are_recorded_as_different_writers(client, tmp_path):
    client.wait_for_workers(2, timeout=120)  # a killed worker may still be restarting
    one = next(iter(client.run(os.getpid)))
    client.run(lambda: os.environ.update(NPROC="9"), workers=[one])  # XLA reads NPROC at startup
    result = run(tmp_path / "there", client=client).load()
    client.run(lambda: os.environ.pop("NPROC"), workers=[one])
    entries = json.loads(result.attrs["writers"])
    assert {writer["cpu_threads"] for entry in entries for writer in entry} == {DEVICES, 9}
    assert set(np.unique(result.finished)) == set(range(1, len(entries) + 1))
    assert same_bits(result.drop_vars("finished"), run(None))


def test_workers_use_the_float64_setting_of_the_client(client, tmp_path):
    with jax.enable_x64(True):
        other, here = (run(tmp_path / str(c), 20, client=c) for c in (client, None))
    assert other["params.first.bias"].dtype == float
    assert same_bits(other.load(), here.load())


WORKER = """
import os, sys, tempfile
os.chdir(sys.argv[1])
os.environ["TMPDIR"] = tempfile.tempdir = sys.argv[1]
sys.argv = ["dask-worker", "--scheduler-file", sys.argv[2], "--name", sys.argv[3], "--nthreads",
            "1", "--no-nanny", "--no-dashboard", "--local-directory", sys.argv[1]]
from gdjax.sweeps import fit
fit.CPU_WIDTHS = ((2, 2**60),)
from distributed.cli.dask_worker import main
main()
"""


@contextlib.contextmanager
def processes_of(folder, *workers):
    """Start a scheduler and workers in separate folders; yield its file and all processes."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "JAX_NUM_CPU_DEVICES": str(DEVICES),
    }

    def start(code, *arguments):
        command = [sys.executable, "-c", code, *map(str, arguments)]
        return subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)

    file = folder / "scheduler.json"
    flags = ("--scheduler-file", file, "--port", "0", "--host", "127.0.0.1", "--no-dashboard")
    processes = [start("from distributed.cli.dask_scheduler import main; main()", *flags)]
    for name in workers:
        (folder / name).mkdir()
        processes.append(start(WORKER, folder / name, file, name))
    try:
        yield str(file), processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_a_lost_scheduler_is_reported_and_the_sweep_resumes(tmp_path):
    store = tmp_path / "s"

    def kill():
        while finished_tiles(store) < 1:
            time.sleep(0.02)
        processes[0].kill()

    with (
        processes_of(tmp_path, "one") as (file, processes),
        dask.config.set({"distributed.comm.timeouts.connect": "2s"}),
    ):
        client = Client(scheduler_file=file, timeout=10)  # also that of a new connection
        client.wait_for_workers(1, timeout=60)
        threading.Thread(target=kill, daemon=True).start()
        with pytest.raises(GdjaxError, match=r"scheduler at tcp.* does not respond; "):
            run(store, client=client)
        client.close(timeout=1)
    assert run(store).attrs["tiles_finished"] == 16


def test_workers_that_share_only_a_bucket_give_results_bitwise_equal_to_a_local_sweep(tmp_path):
    """Kill one of two workers that run in separate folders."""
    with (
        servers.serve("s3", tmp_path / "server") as server,
        processes_of(tmp_path, "one", "two") as (file, processes),
    ):
        store = f"{server.url}/runs.zarr"
        location = locate(store, **server.options)
        killed = []

        def kill():
            while len(location.sizes("finished")) < 3:  # the metadata and two tiles
                time.sleep(0.02)
            killed.append(processes[1].pid)
            processes[1].kill()

        with Client(scheduler_file=file, timeout=60) as client:
            client.wait_for_workers(2, timeout=120)
            folders = client.run(os.getcwd)
            assert len(set(folders.values())) == 2
            watcher = threading.Thread(target=kill, daemon=True)
            watcher.start()
            result = run(location, client=client).load()
            watcher.join()
        assert killed
        assert (result.finished > 0).all()
        assert verify(location) == []
        for name in ("one", "two"):  # the folders of the workers contain no part of the store
            assert not list((tmp_path / name).rglob("zarr.json"))
    alone = run(tmp_path / "here").load()
    assert same_bits(result, alone)
    assert result.identity == alone.identity
