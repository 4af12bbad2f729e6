"""Killed processes and full disks, after which finished tiles are intact."""

import contextlib
import os
import random
import signal
import subprocess
import sys

import numpy as np
import pytest
from small_store import (
    ENVIRONMENT,
    TILES,
    equals_all_values,
    files_of,
    fill,
    open_store,
    part,
    stamps,
)

from gdjax.base.errors import StoreError
from gdjax.stores.location import Folder
from gdjax.stores.reader import Stored, read_root, verify
from gdjax.stores.schema import FLAGS, OWN, ROOT
from tests.processes import python

# Several processes


def test_a_second_process_is_rejected_and_killing_the_first_releases_the_store(tmp_path):
    path = tmp_path / "s"
    code = """
import sys, small_store
store = small_store.open_store(sys.argv[1])
store.write((0, 0), small_store.part(store, (0, 0)))
print("open", flush=True)
sys.stdin.read()
"""
    command, pipe = [sys.executable, "-c", code, str(path)], subprocess.PIPE
    with subprocess.Popen(command, env=ENVIRONMENT, stdin=pipe, stdout=pipe) as first:
        assert first.stdout.readline() == b"open\n"
        before = stamps(path)
        with pytest.raises(StoreError, match=f"being written by process {first.pid} on"):
            open_store(path)
        assert verify(path) == []  # reading needs no lock
        assert stamps(path) == before
        # workers of the process that holds the lock need no lock
        code = """
import sys, small_store
from gdjax.stores.writer import Tiles
store = Tiles(sys.argv[1], small_store.WRITER)
store.write((2, 1), small_store.part(store, (2, 1)))
"""
        python("-W", "error", "-c", code, path, env=ENVIRONMENT)
        first.kill()
    missing = fill(path)
    assert set(np.ndindex(TILES)) - set(missing) == {(0, 0), (2, 1)}
    assert equals_all_values(path)


FILL_UNTIL_KILLED = """
import os, signal, sys
from pathlib import Path
import small_store

renames, replace = 0, Path.replace

def replace_or_die(self, target):
    global renames
    renames += 1
    if renames == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(self, target)

Path.replace = replace_or_die
small_store.fill(sys.argv[1])
"""
"""Program that fills a store, and is killed when it has written, but not renamed, its n-th file."""


def test_finished_tiles_are_intact_after_kills(tmp_path):
    path = tmp_path / "s"
    moments = random.Random(3)
    written: dict[str, tuple[int, int]] = {}
    kills = 0
    command = ("-W", "error", "-c", FILL_UNTIL_KILLED, path)
    options = {"status": None, "env": ENVIRONMENT}
    while status := python(*command, moments.randrange(1, 12), **options).returncode:
        assert status == -signal.SIGKILL
        kills += 1
        if read_root(Folder(path)) is None:
            continue
        assert verify(path) == []
        current = stamps(path)
        for tile in map(tuple, np.argwhere(Stored(path).finished())):
            for file in files_of(tile):  # each chunk of a finished tile is written once
                assert written.setdefault(file, current[file]) == current[file]
    assert kills > 5
    assert len(written) > 5
    assert equals_all_values(path)
    assert verify(path) == []
    assert not list(path.rglob("*.partial"))


def test_a_writer_killed_at_the_metadata_of_its_flags_starts_again(tmp_path):
    """Its unfinished file is not taken for a tile of an unknown sweep."""
    folder = tmp_path / "s" / FLAGS
    folder.mkdir(parents=True)
    (tmp_path / "s" / OWN).mkdir()
    (folder / f"{ROOT}.{'0' * 32}.partial").write_bytes(b"{")
    assert read_root(Folder(tmp_path / "s")) is None
    assert fill(tmp_path / "s") == list(np.ndindex(TILES))
    assert verify(tmp_path / "s") == []
    assert not list(tmp_path.rglob("*.partial"))


# A full disk


@pytest.fixture
def small_disk(tmp_path):
    """Return the mount point of a file system of one megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this process may not mount a file system")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_store_on_a_full_file_system_can_be_completed_later(small_disk):
    ballast = small_disk / "ballast"

    def occupy():
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))

    path = small_disk / "s"
    occupy()
    with pytest.raises(StoreError, match="No space left on device"):
        fill(path)
    ballast.unlink()
    with open_store(path) as store:
        store.write((0, 0), part(store, (0, 0)))
        occupy()
        os.truncate(ballast, ballast.stat().st_size - 2 * 4096)  # space for two of five chunks
        with pytest.raises(StoreError, match=r"No space left on device.*free some space"):
            store.write((0, 1), part(store, (0, 1)))
        with pytest.raises(StoreError, match="No space left on device"):
            store.save_checkpoint([(0, 1)], {"w": np.zeros(10_000)}, {})
    ballast.unlink()
    assert verify(path) == []
    assert fill(path) == [tile for tile in np.ndindex(TILES) if tile != (0, 0)]
    assert equals_all_values(path)
