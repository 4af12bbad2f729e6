"""Killed processes and full disks, after which finished tiles are intact."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from small_store import (
    ENVIRONMENT,
    HERE,
    TILES,
    equals_all_values,
    files_of,
    fill,
    open_store,
    part,
    python,
    stamps,
)

from gdjax.errors import StoreError
from gdjax.stores.location import Folder
from gdjax.stores.reader import Stored, read_attributes, verify


@contextlib.contextmanager
def start_process(*arguments):
    """Start a Python process with text pipes."""
    command = [sys.executable, *map(str, arguments)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=ENVIRONMENT, stdin=pipe, stdout=pipe, text=True) as process:
        yield process


def write_line(process: subprocess.Popen, line) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()


def read_line(process: subprocess.Popen) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


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
    with start_process("-c", code, path) as first:
        assert read_line(first) == "open"
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
        assert python(code, path).returncode == 0
        first.kill()
    missing = fill(path)
    assert set(np.ndindex(TILES)) - set(missing) == {(0, 0), (2, 1)}
    assert equals_all_values(path)


def test_finished_tiles_are_intact_after_kills(tmp_path):
    """Half of the kills occur while a tile is written, the others at any time."""
    path = tmp_path / "s"
    moments = random.Random(3)
    written: dict[str, tuple[int, int]] = {}
    created, num_partial, stores = 0, 0, 0
    with start_process(HERE / "small_store.py") as server:
        write_line(server, tmp_path / "first")  # the first start takes longer, because of imports
        while not (answer := read_line(server)).endswith("ended 0"):
            assert answer
        for number in range(12):
            write_line(server, path)
            while not (answer := read_line(server)).isdecimal():  # "writing" may be printed first
                pass
            child = int(answer)
            answer = ""
            if number % 2:
                for _ in range(moments.randrange(1, 4)):
                    answer = read_line(server)  # the start of a tile
                    if answer.startswith("ended"):  # no tile was missing
                        break
                time.sleep(moments.uniform(0, 0.002))
            else:
                time.sleep(moments.uniform(0, 0.2))
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            while not answer.startswith("ended"):
                answer = read_line(server)
                assert answer
            assert answer in ("ended 0", f"ended {signal.SIGKILL:d}")
            if not path.exists() or read_attributes(path) is None:
                continue
            created += 1
            assert verify(path) == []
            finished = Stored(path).finished()
            current = stamps(path)
            for tile in map(tuple, np.argwhere(finished)):
                for file in files_of(tile):
                    assert (
                        written.setdefault(file, current[file]) == current[file]
                    )  # each chunk is written once
            if finished.all():
                assert equals_all_values(path)
                written.clear()
                stores += 1
                path = tmp_path / f"s{stores}"
            else:
                num_partial += any(
                    file.split("/")[0] != "finished" and "/c." in file for file in current
                )
    assert created > 0
    assert num_partial > 0, "no process was killed while it wrote a tile"
    fill(path)
    assert equals_all_values(path)
    assert verify(path) == []
    assert not list(path.rglob("*.partial"))


def test_an_interrupted_creation_is_repeated(tmp_path, monkeypatch):
    path = tmp_path / "s"

    written = Folder.write

    def killed(self, key, *arguments, **options):
        if key == "zarr.json":
            raise SystemExit
        written(self, key, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "write", killed)
        with pytest.raises(SystemExit):
            open_store(path)
    assert (path / "cost" / "zarr.json").exists()
    assert read_attributes(path) is None
    (path / "cost" / "zarr.json").write_text("half of")
    fill(path)
    assert equals_all_values(path)


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


def test_a_path_that_cannot_be_created_raises_a_store_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be written"):
        open_store(tmp_path / "file" / "s")
