"""Fixtures: a prepared data set, an unprepared one, and a cache folder per test."""

import gzip
import hashlib
import sys

import numpy as np
import pytest
from original_files import MODULE, pack
from prepared_set import some, store

from gdjax.data import preparation


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder / "gdjax" / "datasets"


@pytest.fixture
def tiny(tmp_path):
    """Return a data folder with the data set `tiny`, its version folder and splits."""
    splits = some()
    folder = tmp_path / "data" / "tiny" / "1.0.0"
    store(folder, splits)
    return folder.parents[1], folder, splits


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return {
        part: (rng.integers(0, 256, (n, 28, 28), np.uint8), rng.integers(0, 10, n).astype(np.uint8))
        for part, n in (("train", 12), ("t10k", 7))
    }


@pytest.fixture(scope="module")
def originals(images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("originals")
    for part, (pixels, labels) in images.items():
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(pack(pixels))
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(pack(labels))
    return folder


@pytest.fixture
def module(originals, tmp_path, monkeypatch):
    """Return the folder of a module that defines `tiny`, registered for `prepare`."""
    folder = tmp_path / "module"
    folder.mkdir()
    (folder / "tiny_set.py").write_text(MODULE)
    monkeypatch.setenv("ORIGINALS", str(originals))
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "tiny_set", raising=False)
    contents = {
        file.stem: hashlib.sha256(gzip.decompress(file.read_bytes())).hexdigest()
        for file in originals.iterdir()
    }
    source = preparation.Source("tiny_set", "Tiny", contents)
    monkeypatch.setitem(preparation.SOURCES, "tiny", source)
    return folder


@pytest.fixture
def data_dir(tmp_path):
    return tmp_path / "data"
