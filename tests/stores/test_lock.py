"""Lock of a store, which allows one writer at a time."""

import concurrent.futures
import contextlib
import json
import os
import threading
import time
from hashlib import sha256

import filelock
import pytest
from small_store import open_store, part

import gdjax as gd
from gdjax.base.errors import StoreError
from gdjax.stores import location, lock
from gdjax.stores.location import Folder
from gdjax.stores.schema import OWN


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "s" / OWN).mkdir(parents=True)
    return Folder(tmp_path / "s")


@pytest.mark.parametrize("missing", [[], ["O_NOFOLLOW"]])  # such as on Windows
def test_the_error_for_a_locked_store_names_the_process_and_closing_releases_the_lock(
    folder, monkeypatch, missing
):
    for flag in missing:
        monkeypatch.delattr(os, flag)
    first = lock.acquire(folder)
    with pytest.raises(StoreError, match=f"is being written by process {os.getpid()} on "):
        lock.acquire(folder)
    monkeypatch.setattr(lock.time, "sleep", lambda _: pytest.fail("waited longer"))
    with pytest.raises(lock.InUseError):
        lock.acquire_in_turn(folder, 0.0)
    first.close()
    lock.acquire_in_turn(folder, 0.0).close()


def test_a_store_that_another_writer_is_creating_is_in_use_and_not_damaged(folder):
    """A writer that starts at the same moment finds some of the files, and no root."""
    for files in ({}, {"cost/zarr.json": b"{}"}, {f"{OWN}/sweep": b"another", "seed/c.0": b"1"}):
        for key, data in files.items():
            folder.write(key, data)
        refused = pytest.raises(StoreError, match="is being written by process")
        with contextlib.closing(lock.acquire(folder)), refused:
            open_store(folder.path)


def test_a_folder_whose_file_system_cannot_lock_has_a_lease(folder, monkeypatch):
    def refuse(*_, **__):
        raise OSError(45, "Operation not supported")

    monkeypatch.setattr(filelock, "lock_descriptor", refuse)
    with contextlib.closing(lock.acquire(folder)) as first:
        with pytest.raises(
            StoreError, match=f"is being written by process {os.getpid()} on .* UTC"
        ):
            lock.acquire(folder)
        lock.acquire(folder, f"{OWN}/locks/0").close()  # another part of the store
        first.check()
    killed = json.dumps({"holder": "a killed process", "until": 0, "id": "x"})
    folder.write(lock.LOCK, killed.encode())
    # Another process was killed while it took over this lease.
    folder.write(f"{OWN}/claim-{sha256(killed.encode()).hexdigest()}-0", b"")
    monkeypatch.setattr(location, "CLAIM_SECONDS", 0.05)
    lock.acquire(folder).close()
    assert folder.sizes(OWN) == {"locks": -1}


def test_a_clock_that_is_ahead_takes_over_no_live_lease(folder, monkeypatch):
    monkeypatch.setattr(lock, "LEASE_SECONDS", 0.8)
    with contextlib.closing(lock.Lease(folder, lock.LOCK)) as first:
        now = time.time
        monkeypatch.setattr(time, "time", lambda: now() + (0 if is_renewer() else 3600))
        with pytest.raises(StoreError, match="being written by"):
            lock.Lease(folder, lock.LOCK)
        first.check()


def is_renewer():
    return threading.current_thread() is not threading.main_thread()


def test_one_of_several_processes_takes_over_a_lease(folder, monkeypatch):
    """All of them read the expired lease before one of them replaces it."""
    folder.write(lock.LOCK, b"expired")
    read, barrier = Folder.read, threading.Barrier(8)

    def read_together(self, key, at_most):
        result = read(self, key, at_most)
        with contextlib.suppress(threading.BrokenBarrierError):
            barrier.wait(0.2)
        return result

    monkeypatch.setattr(Folder, "read", read_together)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        written = list(
            pool.map(lambda i: folder.write_if(lock.LOCK, b"%d" % i, b"expired"), range(8))
        )
    assert len(written) - written.count(None) == 1
    assert folder.sizes(OWN).keys() == {"lock"}


def test_a_store_that_was_deleted_during_a_run_is_not_said_to_be_restorable(tmp_path):
    with open_store(tmp_path / "s") as store:
        store.write((0, 0), part(store, (0, 0)))
    for name in ("zarr.json", f"{OWN}/sweep"):
        (tmp_path / "s" / name).unlink()
    with pytest.raises(StoreError, match="removed while it was written"):
        gd.open_dataset(tmp_path / "s")
