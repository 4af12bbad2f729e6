"""Reading stores as labeled arrays, with gdjax and with xarray alone."""

import contextlib
import json
import shutil

import numpy as np
import pytest
import xarray as xr
from small_store import TILES, all_values, fill, open_store, part

from gdjax.base.errors import StoreError
from gdjax.stores.reader import open_dataset, verify, with_names


@pytest.mark.parametrize("opened", [open_dataset, xr.open_zarr])
def test_a_dataset_has_the_stored_values_labels_types_and_attributes(tmp_path, opened):
    fill(tmp_path)
    with opened(tmp_path) as dataset:
        for key in (np.s_[1:4, ::-1], np.s_[4, 2, 3], np.s_[:0], np.s_[-1:1:-2, 1]):
            np.testing.assert_array_equal(dataset.cost[key], all_values()["cost"][key])
        for name, values in all_values().items():
            assert dataset[name].dtype == values.dtype
            np.testing.assert_array_equal(dataset[name], values)
        np.testing.assert_array_equal(dataset.learning_rate, np.geomspace(0.1, 30, 5))
        assert dataset.learning_rate.attrs["long_name"] == "learning rate"
        assert dataset.momentum.dims == ("learning_rate",)
        assert dataset.outcome.attrs["flag_meanings"] == "not_converged diverged"
        assert dataset.cost.sel(learning_rate=30, seed=2, step=0) == all_values()["cost"][4, 2, 0]
        assert json.loads(dataset.attrs["identity"])["config"]["steps"] == 300


def test_unfinished_tiles_contain_the_fill_value(tmp_path):
    with open_store(tmp_path) as store:
        store.write((0, 0), part(store, (0, 0)))
        store.write((2, 1), part(store, (2, 1)))
    expected = {"cost": np.nan, "outcome": -1, "params.0.weights": np.nan, "params.0.used": False}
    for opened in (open_dataset, xr.open_zarr):
        with opened(tmp_path) as dataset:
            for name, fill_value in expected.items():
                values = np.full_like(all_values()[name], fill_value)
                for region in np.s_[:2, :2], np.s_[4:, 2:]:
                    values[region] = all_values()[name][region]
                np.testing.assert_array_equal(dataset[name], values)
    with open_dataset(tmp_path) as dataset:
        assert (dataset.attrs["tiles"], dataset.attrs["tiles_finished"]) == (6, 2)


def assert_one_tile_is_unfinished(dataset):
    assert np.isnan(dataset.cost[:2, 2:]).all()
    assert (dataset.outcome[:2, 2:] == -1).all()
    assert (dataset.finished[:2, 2:] == 0).all()
    np.testing.assert_array_equal(dataset.cost[:2, :2], all_values()["cost"][:2, :2])
    assert dataset.attrs["tiles_finished"] == 5


def test_damage_raises_an_error_unless_its_tile_is_skipped(tmp_path):
    fill(tmp_path)
    chunk, coordinate = tmp_path / "cost" / "c.0.1.0", tmp_path / "seed" / "c.0"
    raw = bytearray(chunk.read_bytes())
    raw[5] ^= 4
    chunk.write_bytes(raw)
    with open_dataset(tmp_path) as dataset:
        dataset.cost[2:].load()
        with pytest.raises(StoreError, match=r"cost/c.0.1.0: checksum differs; tile \(0, 1\)"):
            dataset.cost[:2].load()
    with open_dataset(tmp_path, skip_damaged=True) as dataset:
        assert_one_tile_is_unfinished(dataset)
    chunk.unlink()
    with pytest.raises(StoreError, match=r"tile \(0, 1\).*cost/c.0.1.0: missing.*skip_damaged"):
        open_dataset(tmp_path)
    with open_dataset(tmp_path, skip_damaged=True) as dataset:
        assert_one_tile_is_unfinished(dataset)
    (tmp_path / ".gdjax/tiles/0.1").unlink()  # a partially written tile is not damaged
    assert verify(tmp_path) == []
    with open_dataset(tmp_path) as dataset:
        assert_one_tile_is_unfinished(dataset)
    coordinate.write_bytes(b"?" + coordinate.read_bytes()[1:])
    with pytest.raises(StoreError, match=r"damaged: seed/c\.0: "):
        open_dataset(tmp_path, skip_damaged=True)


@pytest.mark.parametrize("code", [-1, 2])
def test_a_code_without_a_name_is_damage(code):
    attrs = {"flag_meanings": "sgd adam"}
    with pytest.raises(StoreError, match="optimizer is damaged"):
        with_names(xr.Dataset(coords={"optimizer": ("optimizer", [0, code], attrs)}))
    named = xr.Dataset(coords={"optimizer": ("optimizer", [1, 0], attrs | {"long_name": "rule"})})
    assert with_names(named).optimizer.values.tolist() == ["adam", "sgd"]
    assert with_names(named).optimizer.attrs == {"long_name": "rule"}


@pytest.mark.parametrize("name", ["cost", "params.0.used", "finished"])
@pytest.mark.parametrize(
    ("event", "message"),
    [("moved", None), ("removed", "removed or replaced"), ("replaced", "removed or replaced")],
)
def test_a_dataset_never_has_numbers_of_another_sweep(tmp_path, monkeypatch, event, message, name):
    monkeypatch.chdir(tmp_path)
    fill("s.zarr")
    read, unread = open_dataset("s.zarr"), open_dataset("s.zarr")
    expected = read.load()[name]
    if event == "moved":
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir("elsewhere")
    else:
        shutil.rmtree("s.zarr")
    if event != "removed":
        with open_store("s.zarr", root_seed=1) as store:
            for tile in np.ndindex(TILES):
                region = store.schema.region(tile)
                store.write(tile, {n: np.flip(v)[region] for n, v in all_values().items()})
    if name == "finished":  # it was read from the records when the store was opened
        message = None
    with contextlib.nullcontext() if message is None else pytest.raises(StoreError, match=message):
        xr.testing.assert_equal(unread[name].load(), expected)
        assert message is None  # else nothing is read
