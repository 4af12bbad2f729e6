"""Cache of decoded images: one file, used only if it is valid and up to date."""

import errno
import os
import time
from pathlib import Path

import pytest
from prepared_set import assert_holds, some, store

from gdjax.data import cache as caching
from gdjax.data import load


@pytest.mark.parametrize("read_only", [False, True])
def test_the_second_load_reads_only_the_cache(tiny, monkeypatch, cache, read_only):
    data_dir, folder, splits = tiny
    before = set(folder.iterdir())
    folder.chmod(0o555 if read_only else 0o755)
    load("tiny", data_dir=data_dir)
    assert len(set(folder.iterdir()) - before) == 1 - read_only
    assert cache.exists() == read_only
    monkeypatch.setattr(caching, "decode", None)
    assert_holds(load("tiny", data_dir=data_dir), splits)


@pytest.mark.parametrize("part", [0.0, 0.01, 0.1, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("damage", ["flip", "cut"])
def test_a_damaged_cache_is_rewritten(tiny, damage, part):
    data_dir, folder, splits = tiny
    load("tiny", data_dir=data_dir)
    (file,) = (file for file in folder.iterdir() if file.name.startswith("."))
    complete = file.read_bytes()
    at = min(int(part * len(complete)), len(complete) - 1)
    flipped = complete[:at] + bytes([complete[at] ^ 1]) + complete[at + 1 :]
    file.write_bytes(flipped if damage == "flip" else complete[:at])
    assert_holds(load("tiny", data_dir=data_dir), splits)
    assert file.read_bytes() == complete


def test_changed_data_are_decoded_again(tiny):
    data_dir, folder, _ = tiny
    old = load("tiny", data_dir=data_dir)
    stored = (folder / ".gdjax_arrays").read_bytes()
    folder.rename(folder.with_name("old"))
    store(folder, some(seed=1))
    (folder / ".gdjax_arrays").write_bytes(stored)
    new = load("tiny", data_dir=data_dir)
    assert_holds(new, some(seed=1))
    assert new.hash != old.hash


def test_on_a_full_disk_data_are_loaded_without_a_cache(tiny, monkeypatch, cache):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    data_dir, folder, splits = tiny
    before = set(folder.iterdir())
    monkeypatch.setattr(Path, "replace", full)
    with pytest.warns(UserWarning, match=r"tiny could not be cached.*No space left"):
        dataset = load("tiny", data_dir=data_dir)
    assert_holds(dataset, splits)
    assert set(folder.iterdir()) == before
    assert list(cache.iterdir()) == []


def test_only_old_partial_files_of_a_killed_writer_are_removed(tiny):
    data_dir, folder, _ = tiny
    old, young = (folder / f".gdjax_arrays.{digit * 32}.partial" for digit in "12")
    for file in (old, young):
        file.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    load("tiny", data_dir=data_dir)
    assert young.exists()
    assert not old.exists()
