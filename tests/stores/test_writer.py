"""Writing stores: tiles, reopening, checkpoints, and errors."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import small_store
import xarray as xr
from small_store import TILES, equals_all_values, files_of, fill, open_store, part, stamps

from gdjax.base.errors import InputError, StoreError
from gdjax.stores.reader import open_dataset, verify
from gdjax.stores.writer import Store, Tiles

# Writing and reopening


def test_a_finished_tile_is_not_written_again(tmp_path):
    with open_store(tmp_path) as store:
        store.write((0, 0), part(store, (0, 0)))
        before = stamps(tmp_path)
        with pytest.raises(StoreError, match=r"tile \(0, 0\) is already finished"):
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
    ],
)
def test_an_invalid_tile_is_rejected_before_anything_is_written(tmp_path, tile, change, message):
    with open_store(tmp_path) as store:
        before = stamps(tmp_path)
        inside = tile if len(tile) == 2 and tile < TILES and min(tile) >= 0 else (0, 0)
        with pytest.raises(InputError, match=message):
            store.write(tile, {**part(store, inside), **change})
    assert stamps(tmp_path) == before


def test_each_run_names_its_writers(tmp_path):
    """Root metadata are written once; each writer has a file of its own."""
    open_store(tmp_path).close()
    root = (tmp_path / "zarr.json").stat().st_mtime_ns
    with open_store(tmp_path) as store:
        store.write((0, 0), part(store, (0, 0)))
        store.save_checkpoint([(0, 1)], {"w": np.arange(3)}, {"step": 5})
    other = Tiles(tmp_path, {"device": "gpu"})
    assert other.load_checkpoint([(0, 1)]) is not None  # begun by the first writer
    for tile in ((0, 1), (1, 0)):
        other.write(tile, part(other, tile))
    assert (tmp_path / "zarr.json").stat().st_mtime_ns == root
    assert len(list((tmp_path / ".gdjax/writers").iterdir())) == 2
    dataset, gpu = open_dataset(tmp_path), {"device": "gpu"}
    writers = json.loads(dataset.attrs["writers"])
    assert writers == [[small_store.WRITER], [small_store.WRITER, gpu], [gpu]]
    expected = np.zeros((5, 3))
    expected[:2, :2], expected[:2, 2:], expected[2:4, :2] = 1, 2, 3
    np.testing.assert_array_equal(dataset.finished, expected)
    with xr.open_zarr(tmp_path, chunks=None) as plain:
        np.testing.assert_array_equal(plain.finished, expected > 0)


def test_a_tile_of_another_place_or_sweep_is_not_accepted(tmp_path):
    """All files of a tile are intact, but its record is bound to its sweep and position."""
    own, other = tmp_path / "own", tmp_path / "other"
    for path, seed in ((own, 0), (other, 1)):
        with open_store(path, root_seed=seed) as store:
            for tile in ((0, 0), (1, 0)):
                store.write(tile, part(store, tile))
    for source, tile in ((other, (0, 0)), (own, (1, 0))):
        backup = {name: (own / name).read_bytes() for name in files_of((0, 0))}
        for name, moved in zip(sorted(files_of((0, 0))), sorted(files_of(tile)), strict=True):
            (own / name).write_bytes((source / moved).read_bytes())
        assert {d.tile for d in verify(own)} == {(0, 0)}
        with open_store(own) as store:
            assert not store.finished()[0, 0]
        for name, raw in backup.items():
            (own / name).write_bytes(raw)
    assert verify(own) == []
    (own / "zarr.json").write_bytes((other / "zarr.json").read_bytes())
    with pytest.raises(StoreError, match="not that of the sweep whose tiles are stored here"):
        open_dataset(own)


def test_tiles_that_one_process_computes_are_free_after_the_first_of_them_is_written(tmp_path):
    settings = {"identity": small_store.IDENTITY, "writer": small_store.WRITER, "shared": True}
    tiles = [(0, 0), (0, 1)]
    with (
        Store(tmp_path, small_store.schema(), **settings) as first,
        Store(tmp_path, small_store.schema(), **settings) as second,
    ):
        assert (first.claim(tiles), second.claim(tiles)) == (tiles, [])
        first.write(tiles[0], part(first, tiles[0]))
        assert second.claim(tiles) == tiles[1:]


# Stores of another sweep or format, and other content


def test_a_different_sweep_is_rejected_with_a_list_of_the_differences(tmp_path):
    fill(tmp_path)
    before = stamps(tmp_path)
    config = {"steps": 400, "batch_size": None, "optimizer": "a" * 78 + "b" * 50}
    with pytest.raises(StoreError) as caught:
        open_store(tmp_path, config=config, data_hash="aaaa")
    assert str(caught.value) == (
        f"{tmp_path} contains another sweep: config.steps: stored 300, expected 400; data_hash: "
        f"stored 'b5d4', expected 'aaaa'; config.optimizer: stored nothing, expected "
        f"'{'a' * 78}b ... {'b' * 39}'. Choose another store or study (gd.extend continues the "
        f"runs of a store in it), or restore these settings"
    )
    assert stamps(tmp_path).keys() == before.keys()
    assert equals_all_values(tmp_path)
    rates = np.geomspace(0.1, 30, 5)
    rates[3] = np.nextafter(rates[3], 1)
    with pytest.raises(StoreError, match=r"layout.coordinates.learning_rate: stored"):
        Store(tmp_path, small_store.schema(rates), identity=small_store.IDENTITY, writer={})


@pytest.mark.parametrize("made", [Path.touch, Path.mkdir, None])
def test_a_folder_with_other_content_is_rejected_and_not_changed(tmp_path, made):
    (tmp_path / "thesis.tex").write_text("all of it")
    (tmp_path / "cost").mkdir()
    (tmp_path / "cost" / "c.0.0.0").write_text("a draft")
    if made is not None:
        made(tmp_path / ".gdjax")
    before = stamps(tmp_path)
    with pytest.raises(StoreError, match="exists but is not a gdjax store"):
        open_store(tmp_path)
    assert stamps(tmp_path) == before
    with pytest.raises(StoreError, match="is a file"):
        open_store(tmp_path / "thesis.tex")


def test_a_lock_that_is_not_a_file_is_replaced(tmp_path):
    path, victim = tmp_path / "s", tmp_path / "victim"
    victim.write_text("precious")
    fill(path)
    lock = path / ".gdjax" / "lock"
    for make in (lambda: lock.symlink_to(victim), lambda: os.mkfifo(lock), lock.mkdir):
        lock.unlink()
        make()
        assert fill(path) == []
    assert victim.read_text() == "precious"


def test_a_value_that_cannot_be_recorded_is_rejected_before_a_store_is_created(tmp_path):
    with pytest.raises(InputError, match=r"identity.config.cost"):
        open_store(tmp_path / "s", config={"cost": np.sum})
    assert not (tmp_path / "s").exists()


# Checkpoints of unfinished tiles


def test_a_damaged_checkpoint_or_that_of_another_sweep_or_tile_is_not_used(tmp_path):
    own, other = (tmp_path / name / ".gdjax/checkpoints" for name in ("own", "other"))
    with open_store(tmp_path / "other", root_seed=1) as store:
        store.save_checkpoint([(0, 0)], {"w": np.ones(2)}, {})
    with open_store(tmp_path / "own") as store:
        for tile in ((0, 0), (1, 0)):
            store.save_checkpoint([tile], {"w": np.ones(2)}, {})
            assert store.load_checkpoint([tile]) is not None
        raw = bytearray((own / "0.0").read_bytes())
        raw[-40] ^= 1
        for content in (raw, (own / "1.0").read_bytes(), (other / "0.0").read_bytes()):
            (own / "0.0").write_bytes(content)
            assert store.load_checkpoint([(0, 0)]) is None
        assert verify(tmp_path / "own") == []  # checkpoints are not part of the results
