"""A store keeps what is written, is taken up again, and takes nothing that is not its own."""

import json

import numpy as np
import pytest
import small_store
import xarray as xr
from small_store import TILES, equals_whole, files_of, fill, open_store, part, python, stamps

from gdjax.errors import InputError, StoreError
from gdjax.stores import format
from gdjax.stores.format import verify
from gdjax.stores.layout import Layout, Variable
from gdjax.stores.writing import Store, Tiles, read_attributes

# Writing and taking up again


def test_what_is_written_is_read_back_to_the_last_bit(tmp_path):
    assert len(fill(tmp_path / "s")) == 6
    assert equals_whole(tmp_path / "s")


def test_a_second_start_computes_nothing_and_writes_nothing(tmp_path):
    fill(tmp_path)
    before = stamps(tmp_path)
    assert fill(tmp_path) == []
    after = stamps(tmp_path)
    assert {f for f in after if after[f] != before.get(f)} <= {".gdjax/lock"}


def test_only_missing_tiles_are_written(tmp_path):
    with open_store(tmp_path) as store:
        store.write((1, 1), part(store, (1, 1)))
    before = stamps(tmp_path)
    assert (1, 1) not in fill(tmp_path)
    after = stamps(tmp_path)
    assert all(after[file] == before[file] for file in files_of((1, 1)))
    assert equals_whole(tmp_path)


def test_tiles_padded_beyond_the_edge_are_cropped(tmp_path):
    with open_store(tmp_path) as store:
        assert store.shape == TILES
        for tile in np.ndindex(TILES):
            padded = {}
            for name, values in part(store, tile).items():
                chunk = store.contents.variables[name].chunk
                widths = [(0, m - n) for m, n in zip(chunk, values.shape, strict=True)]
                padded[name] = np.pad(values, widths, constant_values=1)
            store.write(tile, padded)
        assert store.finished().all()
    assert equals_whole(tmp_path)
    assert verify(tmp_path) == []


def test_a_finished_tile_is_not_written_again(tmp_path):
    with open_store(tmp_path) as store:
        store.write((0, 0), part(store, (0, 0)))
        before = stamps(tmp_path)
        with pytest.raises(StoreError, match=r"tile \(0, 0\) is finished already"):
            store.write((0, 0), part(store, (0, 0)))
    assert stamps(tmp_path) == before


@pytest.mark.parametrize(
    ("tile", "change", "message"),
    [
        ((3, 0), {}, r"tile = \(3, 0\)"),
        ((0,), {}, r"tile = \(0,\)"),
        ((0, -1), {}, r"tile = \(0, -1\)"),
        ((0, 0), {"cost": np.zeros((2, 2, 4))}, "cost is float64"),
        ((0, 0), {"cost": np.zeros((2, 2, 5), np.float32)}, r"\(2, 2, 5\), expected"),
        ((2, 1), {"cost": np.zeros((2, 1, 4), np.float32)}, r"\(1, 1, 4\)"),
        ((0, 0), {"costs": np.zeros((2, 2))}, "costs"),
    ],
)
def test_a_tile_that_does_not_fit_is_refused_before_anything_is_written(
    tmp_path, tile, change, message
):
    with open_store(tmp_path) as store:
        before = stamps(tmp_path)
        inside = tile if len(tile) == 2 and tile < TILES and min(tile) >= 0 else (0, 0)
        with pytest.raises(InputError, match=message):
            store.write(tile, {**part(store, inside), **change})
    assert stamps(tmp_path) == before


def test_annotations_and_origins(tmp_path):
    with open_store(tmp_path) as store:
        store.write((0, 0), part(store, (0, 0)))
        assert store.add_origin({"device": "gpu"}) == 2
        store.annotate(seconds=1.5, bound=np.inf)
        with pytest.raises(InputError, match="digest"):
            store.annotate(digest="mine")
    Tiles(tmp_path, origin=2).write((0, 1), part(store, (0, 1)))
    with open_store(tmp_path) as store:  # the same device again is no new origin
        assert store.origin == 1
    attributes = read_attributes(tmp_path)
    assert attributes is not None
    assert attributes["origins"] == [small_store.INFORMATION, {"device": "gpu"}]
    assert attributes["identity"]["config"] == {"steps": 300, "batch_size": None}
    assert (attributes["seconds"], attributes["bound"]) == (1.5, "inf")
    with xr.open_zarr(tmp_path, chunks=None) as dataset:
        expected = np.zeros((5, 3))
        expected[:2, :2], expected[:2, 2:] = 1, 2
        np.testing.assert_array_equal(dataset.finished, expected)


def test_the_store_needs_no_jax():
    code = "import sys, gdjax.stores.writing, gdjax.stores.reading; sys.exit('jax' in sys.modules)"
    assert python(code).returncode == 0


# Another sweep, another format, something else


def test_another_sweep_is_refused_and_the_differences_are_named(tmp_path):
    fill(tmp_path)
    before = stamps(tmp_path)
    config = {"steps": 400, "batch_size": None, "optimizer": "adam"}
    with pytest.raises(StoreError) as caught:
        open_store(tmp_path, config=config, data_hash="aaaa")
    lines = str(caught.value).splitlines()[1:-1]
    assert lines == [
        "  config.steps: stored 300, wanted 400",
        "  data_hash: stored 'b5d4', wanted 'aaaa'",
        "  config.optimizer: stored 'nothing', wanted 'adam'",
    ]
    assert stamps(tmp_path).keys() == before.keys()
    assert equals_whole(tmp_path)


def test_other_coordinates_are_another_sweep(tmp_path):
    fill(tmp_path)
    rates = np.geomspace(0.1, 30, 5)
    rates[3] = np.nextafter(rates[3], 1)
    with pytest.raises(StoreError, match=r"layout.coordinates.learning_rate: stored"):
        Store(tmp_path, small_store.layout(rates), identity=small_store.IDENTITY)


def test_another_format_is_refused(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("gdjax.stores.frame.FORMAT", format.FORMAT + 1)
        patch.setattr("gdjax.stores.format.FORMAT", format.FORMAT + 1)
        fill(tmp_path)
    for opened in (open_store, read_attributes, verify, Tiles):
        with pytest.raises(StoreError, match="has format 2, this gdjax reads and writes 1"):
            opened(tmp_path)
    assert equals_whole(tmp_path)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("all of it")
    with pytest.raises(StoreError, match="holds something else"):
        open_store(tmp_path)
    assert [child.name for child in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(StoreError, match="is a file"):
        open_store(tmp_path / "thesis.tex")


def test_no_store_is_no_store(tmp_path):
    assert read_attributes(tmp_path / "none") is None
    for opened in (Tiles, verify):
        with pytest.raises(StoreError, match="no store here"):
            opened(tmp_path / "none")
    assert not (tmp_path / "none").exists()
    with pytest.raises(InputError, match="is a URL"):
        open_store("s3://bucket/sweep.zarr")


def test_what_cannot_be_recorded_is_named_before_anything_is_made(tmp_path):
    with pytest.raises(InputError, match=r"identity.config.cost"):
        open_store(tmp_path / "s", config={"cost": np.sum})
    assert not (tmp_path / "s").exists()


# States of unfinished tiles


def test_a_state_is_kept_until_its_tile_is_written(tmp_path):
    w = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)
    with open_store(tmp_path) as store:
        assert store.load_state((1, 0)) is None
        store.save_state((1, 0), {"w": w}, {"step": 100})
        store.save_state((1, 0), {"w": w + 1}, {"step": 200})
    with xr.open_zarr(tmp_path, chunks=None) as dataset:  # states do not disturb a reader
        assert "w" not in dataset
    with open_store(tmp_path) as store:
        assert store.load_state((0, 0)) is None
        kept = store.load_state((1, 0))
        assert kept is not None
        arrays, meta = kept
        np.testing.assert_array_equal(arrays["w"], w + 1)
        assert meta == {"step": 200}
        store.write((1, 0), part(store, (1, 0)))
        assert store.load_state((1, 0)) is None


def test_a_damaged_state_is_no_state(tmp_path):
    with open_store(tmp_path) as store:
        store.save_state((0, 0), {"w": np.arange(4)}, {})
        (file,) = (tmp_path / ".gdjax" / "states").iterdir()
        raw = bytearray(file.read_bytes())
        raw[-40] ^= 1
        file.write_bytes(raw)
        assert store.load_state((0, 0)) is None
        assert verify(tmp_path) == []  # a state is no part of the results


# Cost


def test_the_metadata_of_a_large_grid_are_small(tmp_path):
    big = Layout({"a": 4096, "step": 100}, {"a": 64}, {"cost": Variable(("a", "step"), np.float32)})
    Store(tmp_path, big, identity={}).close()
    assert len(json.loads((tmp_path / "zarr.json").read_bytes())) == 4
    assert sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file()) < 20_000
