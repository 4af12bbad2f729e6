"""Compatibility with stores that were written in earlier formats.

Commit 460692cc wrote the stores in `formats/3`: `by_hand` has the arrays of `LAYOUT`, and `swept`
is a sweep of a digit network over two batch sizes. `bits.json` has a hash of each variable that
`open_dataset` returned there.
"""

import hashlib
import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import xarray
from small_store import stamps

import gdjax as gd
from gdjax.errors import StoreError
from gdjax.stores import Coordinate, Layout, Store, Tiles, Variable, open_dataset, verify
from gdjax.stores.schema import seal

FORMATS = Path(__file__).parent / "formats"
COST = np.array([[3, 1], [2, np.inf]], np.float32)
LAYOUT = Layout(
    {"learning_rate": 3, "step": 2},
    {"learning_rate": 2},
    {"cost": Variable(("learning_rate", "step"), "float32", {"long_name": "cost", "units": "1"})},
    {"learning_rate": Coordinate(("learning_rate",), np.array([0.1, 0.2, 0.4]), {"units": "1"})},
)
AT = {"batch_size": 8, "learning_rate": 0.5, "seed": 0}


@pytest.fixture
def copy_of(tmp_path):
    """Return a function that copies a store, since writers change an opened store."""
    return lambda name: Path(shutil.copytree(FORMATS / "3" / name, tmp_path / name))


def begin(path, steps=10):
    return Store(path, LAYOUT, identity={"steps": steps}, writer={"device": "cpu"})


def bits_of(dataset) -> dict[str, str]:
    """Return a hash of the dimensions, dtype and values of each variable."""
    result = {}
    for name, variable in sorted(dataset.variables.items()):
        values = np.ascontiguousarray(variable.values)
        text = f"{variable.dims} {values.dtype} {values.shape}".encode()
        result[str(name)] = hashlib.sha256(text + values.tobytes()).hexdigest()[:16]
    return result


@pytest.mark.parametrize("version", [1, 2, 5])
def test_a_store_of_another_format_is_rejected_and_not_changed(copy_of, version):
    path = copy_of("by_hand")
    root = json.loads((path / "zarr.json").read_text())
    root["attributes"] |= {n: json.loads(root["attributes"][n]) for n in ("identity", "writers")}
    root["attributes"]["gdjax_format"] = version
    (path / "zarr.json").write_bytes(seal(root))
    before = stamps(path)
    for opened in (partial(begin, steps=11), open_dataset, verify, gd.resume):
        with pytest.raises(StoreError) as caught:
            opened(path)
        assert str(caught.value) == (
            f"{path}: the store has format {version}, but this version of gdjax writes format 4 "
            f"and reads formats 3 and 4; open it with the version of gdjax that wrote it, or run "
            f"its sweep again in a new store"
        )
    assert stamps(path) == before


def test_a_store_of_format_3_is_valid_and_has_bitwise_unchanged_values(copy_of):
    path = copy_of("swept")
    before = stamps(path)
    assert sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) < 100_000
    assert verify(path) == []
    with xarray.open_zarr(path) as plain, open_dataset(path) as dataset:
        assert bits_of(dataset) == json.loads((FORMATS / "3" / "bits.json").read_text())
        assert dataset.attrs["tiles_finished"] == dataset.attrs["tiles"] == 2
        assert [len(entry) for entry in json.loads(dataset.attrs["writers"])] == [1, 1]
        for name in dataset.data_vars:
            np.testing.assert_array_equal(plain[name], dataset[name])
    assert stamps(path) == before


def test_damage_of_a_store_of_format_3_is_found(copy_of):
    path = copy_of("swept")
    for number, name in enumerate(["finished/c.0.0.0", "checksums/c.1.0.0.0", "cost/c.1.0.0.0"]):
        raw = (path / name).read_bytes()
        (path / name).write_bytes(bytes([raw[0] ^ 1]) + raw[1:])
        assert [damage.tile for damage in verify(path)] == [(min(number, 1), 0, 0)]
        with open_dataset(path, skip_damaged=True) as dataset:
            assert dataset.attrs["tiles_finished"] == 1
        (path / name).write_bytes(raw)
    (path / "cost/c.0.0.0.0").write_bytes(raw)
    assert [damage.file for damage in verify(path)] == ["cost/c.0.0.0.0"]


def test_a_store_of_format_3_is_not_continued_or_changed(copy_of, tmp_path):
    path = copy_of("by_hand")
    with open_dataset(path) as dataset:
        np.testing.assert_array_equal(dataset.cost, [*COST, [np.nan, np.nan]])
        assert dataset.finished.values.tolist() == [1, 1, 0]
    swept, before = copy_of("swept"), stamps(tmp_path)
    for refused in (
        lambda: begin(path),
        lambda: Tiles(path, {}),
        lambda: gd.resume(swept),
        lambda: gd.replay(swept, AT),
        lambda: gd.extend(swept, to=tmp_path / "new"),
        lambda: gd.branch(swept, AT, gd.axes(branch_step=[2])),
        lambda: gd.sweeps.run_of(swept, AT),
    ):
        with pytest.raises(
            StoreError, match="has format 3, which this version of gdjax can read but not"
        ):
            refused()
    assert stamps(tmp_path) == before
