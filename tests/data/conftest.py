"""A small prepared set, and a cache folder of its own for every test."""

import pytest
from prepared_set import some, store


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
