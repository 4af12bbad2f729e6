"""Stores that were written with the format as it once was: one of each, as they lay on the disk."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from small_store import stamps

from gdjax.errors import StoreError
from gdjax.stores import Coordinate, Layout, Store, Variable, open_dataset, verify

FORMATS = Path(__file__).parent / "formats"
COST = np.array([[3, 1], [2, np.inf]], np.float32)
LAYOUT = Layout(
    {"learning_rate": 3, "step": 2},
    {"learning_rate": 2},
    {"cost": Variable(("learning_rate", "step"), "float32", {"long_name": "cost", "units": "1"})},
    {"learning_rate": Coordinate(("learning_rate",), np.array([0.1, 0.2, 0.4]), {"units": "1"})},
)


def begin(path):
    return Store(path, LAYOUT, identity={"steps": 10}, information={"device": "cpu"})


def contents(path):
    files = (file for file in path.rglob("*") if file.is_file() and file.name != "lock")
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


def test_format_1_is_refused_in_one_line_and_left_as_it_is(tmp_path):
    path = tmp_path / "s"
    shutil.copytree(FORMATS / "1", path)
    before = stamps(path)
    for opened in (begin, open_dataset, verify):
        with pytest.raises(StoreError) as caught:
            opened(path)
        assert str(caught.value) == (
            f"{path}: has format 1, this gdjax reads and writes 2; open it with the gdjax that "
            f"wrote it, or run its sweep again on a new store"
        )
    assert stamps(path) == before


def test_format_2_is_read_and_goes_on(tmp_path):
    path = tmp_path / "s"
    shutil.copytree(FORMATS / "2", path)
    assert verify(path) == []
    with open_dataset(path) as dataset:
        np.testing.assert_array_equal(dataset.cost, [*COST, [np.nan, np.nan]])
        assert dataset.learning_rate.values.tolist() == [0.1, 0.2, 0.4]
        assert dataset.finished.values.tolist() == [1, 1, 0]
    with begin(path) as store:
        arrays, meta = store.load_checkpoint((1,))
        assert (arrays["w"].tolist(), meta) == ([0, 1, 2], {"step": 5})
        store.write((1,), {"cost": COST[:1]})
        assert store.finished().all()


def test_format_2_is_written_byte_for_byte(tmp_path):
    path = tmp_path / "s"
    with begin(path) as store:
        store.write((0,), {"cost": COST})
        store.save_checkpoint((1,), {"w": np.arange(3.0)}, {"step": 5})
    assert contents(path) == contents(FORMATS / "2")
