"""Damage of any file is found and named, and only what is damaged is written again."""

import random

import numpy as np
import pytest
from small_store import equals_whole, files_of, fill, open_store, part, stamps, whole

from gdjax.errors import StoreError
from gdjax.stores.format import verify, write_file
from gdjax.stores.reading import open_dataset
from gdjax.stores.writing import Tiles, read_attributes


def contents(path) -> dict[str, bytes]:
    """Every file of a store but the lock, which holds nothing of the sweep."""
    files = {str(f.relative_to(path)): f.read_bytes() for f in path.rglob("*") if f.is_file()}
    del files[".gdjax/lock"]
    return files


def flip(raw: bytes, bit: int) -> bytes:
    flipped = bytearray(raw)
    flipped[bit // 8] ^= 1 << bit % 8
    return bytes(flipped)


def bits(raw: bytes) -> list[int]:
    """The first bit of a file, its last, and one between."""
    return [0, random.Random(len(raw)).randrange(8 * len(raw)), 8 * len(raw) - 1]


DAMAGES = {
    "first bit": lambda raw: flip(raw, bits(raw)[0]),
    "any bit": lambda raw: flip(raw, bits(raw)[1]),
    "last bit": lambda raw: flip(raw, bits(raw)[2]),
    "cut off": lambda raw: raw[: len(raw) // 2],
    "emptied": lambda _: b"",
    "longer": lambda raw: raw + b"\0",
    "deleted": None,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_damage_of_any_file_is_found_named_and_repaired(tmp_path, damage):
    fill(tmp_path)
    sound = contents(tmp_path)
    assert len(sound) == 2 + 9 + 4 + 6 * 5  # root and record, metadata, coordinates, chunks
    tiles = {file: tile for tile in np.ndindex(3, 2) for file in files_of(tile)}
    for name, raw in sound.items():
        file = tmp_path / name
        if damage is None:
            file.unlink()
        else:
            file.write_bytes(damage(raw))
        before = stamps(tmp_path)
        found = verify(tmp_path)
        if damage is None and name.startswith("finished/c."):
            assert found == []  # a tile without a flag is one that has not been written
        else:
            assert [(d.file, d.tile) for d in found] == [(name, tiles.get(name))]
            assert name in str(found[0])
        assert stamps(tmp_path) == before

        with open_store(tmp_path) as store:
            assert store.repair() == found
            missing = [tuple(tile) for tile in np.argwhere(~store.finished()).tolist()]
            assert missing == ([tiles[name]] if name in tiles else [])
            for tile in missing:
                store.write(tile, part(store, tile))
        assert contents(tmp_path) == sound
        changed = {f for f, stamp in stamps(tmp_path).items() if stamp != before.get(f)}
        allowed = files_of(tiles[name]) if name in tiles else {name}
        if name in ("zarr.json", ".gdjax/record.json"):
            allowed = {"zarr.json", ".gdjax/record.json"}
        assert changed <= allowed | {".gdjax/lock"}
    assert equals_whole(tmp_path)


def test_several_damaged_files_at_once(tmp_path):
    fill(tmp_path)
    sound = contents(tmp_path)
    damaged = ["cost/c.0.0.0", "cost/c.2.1.0", "outcome/c.2.1", "seed/c.0", "seed/zarr.json"]
    for name in damaged:
        (tmp_path / name).write_bytes(flip(sound[name], 11))
    assert sorted(d.file for d in verify(tmp_path)) == damaged
    assert fill(tmp_path) == [(0, 0), (2, 1)]
    assert contents(tmp_path) == sound


def test_every_bit_of_the_root_counts(tmp_path):
    open_store(tmp_path).close()
    raw = (tmp_path / "zarr.json").read_bytes()
    random_bits = random.Random(5).sample(range(8 * len(raw)), 400)
    for bit in random_bits:
        (tmp_path / "zarr.json").write_bytes(flip(raw, bit))
        assert [d.file for d in verify(tmp_path)] == ["zarr.json"]


def test_a_chunk_of_nothing_but_nan_is_not_taken_for_a_deleted_one(tmp_path):
    assert np.isnan(whole()["cost"][2:4, 0:2]).all()
    fill(tmp_path)
    assert (tmp_path / "cost" / "c.1.0.0").exists()
    assert verify(tmp_path) == []
    (tmp_path / "cost" / "c.1.0.0").unlink()
    assert [(d.file, d.problem, d.tile) for d in verify(tmp_path)] == [
        ("cost/c.1.0.0", "missing", (1, 0))
    ]


def test_chunks_of_unfinished_tiles_are_no_damage(tmp_path):
    with open_store(tmp_path) as store:
        store.write((0, 0), part(store, (0, 0)))
        (tmp_path / "finished" / "c.0.0").unlink()
        (tmp_path / "cost" / "c.0.0.0").write_bytes(b"half of")
        assert verify(tmp_path) == []
        assert not store.finished().any()
        store.write((0, 0), part(store, (0, 0)))
    assert verify(tmp_path) == []


def test_damaged_metadata_stop_those_who_cannot_restore_them(tmp_path):
    fill(tmp_path)
    file = tmp_path / "learning_rate" / "c.0"
    file.write_bytes(flip(file.read_bytes(), 3))
    with pytest.raises(StoreError, match=r"damaged: learning_rate/c.0: checksum differs"):
        Tiles(tmp_path)


def test_root_and_record_both_damaged_cannot_be_understood(tmp_path):
    fill(tmp_path)
    before = contents(tmp_path)
    for name in ("zarr.json", ".gdjax/record.json"):
        (tmp_path / name).write_bytes(flip(before[name], 77))
    for opened in (open_store, verify, read_attributes):
        with pytest.raises(StoreError, match=r"zarr.json and .gdjax/record.json are both damaged"):
            opened(tmp_path)
    for name in ("zarr.json", ".gdjax/record.json"):
        (tmp_path / name).unlink()
    with pytest.raises(StoreError, match="both damaged"):  # never taken for a new store
        open_store(tmp_path)
    (tmp_path / "zarr.json").write_bytes(before["zarr.json"])
    assert fill(tmp_path) == []
    assert contents(tmp_path) == before


def test_a_kill_between_record_and_root_loses_nothing(tmp_path, monkeypatch):
    fill(tmp_path)
    written = []

    def killed_at_the_second(file, data):
        if written:
            raise SystemExit
        written.append(file)
        write_file(file, data)

    with open_store(tmp_path) as store, monkeypatch.context() as patch:
        patch.setattr("gdjax.stores.format.write_file", killed_at_the_second)
        with pytest.raises(SystemExit):
            store.annotate(seconds=2.0)
    assert verify(tmp_path) == []
    for _ in range(2):
        attributes = read_attributes(tmp_path)
        assert attributes is not None
        assert attributes["seconds"] == 2.0
        open_store(tmp_path).close()
    assert (tmp_path / "zarr.json").read_bytes() == (tmp_path / ".gdjax/record.json").read_bytes()


def test_what_a_killed_writer_left_half_written_is_removed(tmp_path):
    fill(tmp_path)
    sound = contents(tmp_path)
    for name in ("cost/c.0.0.5f.partial", "zarr.json.5f.partial", ".gdjax/states.5f.partial"):
        (tmp_path / name).write_bytes(b"half of")
    assert verify(tmp_path) == []
    assert fill(tmp_path) == []
    assert contents(tmp_path) == sound


def test_a_copy_without_hidden_files_is_a_store(tmp_path):
    fill(tmp_path / "s")
    copy = tmp_path / "copy"
    (tmp_path / "s").rename(copy)
    for file in (copy / ".gdjax").iterdir():
        file.unlink()
    (copy / ".gdjax").rmdir()
    assert [d.file for d in verify(copy)] == [".gdjax/record.json"]
    with open_dataset(copy) as dataset:
        np.testing.assert_array_equal(dataset.cost, whole()["cost"])
    assert fill(copy) == []
    assert verify(copy) == []
