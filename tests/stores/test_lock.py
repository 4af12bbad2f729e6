"""Lock of a store, which allows one writer at a time."""

import contextlib
import json
import os

import filelock
import pytest
from small_store import open_store

from gdjax.base.errors import StoreError
from gdjax.stores import lock
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
    first.close()
    lock.acquire(folder).close()


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
    lock.acquire(folder).close()
    assert folder.sizes(OWN) == {"locks": -1}
