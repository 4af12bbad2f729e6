"""Detection and repair of damaged files of a store."""

import json
import shutil
from hashlib import sha256

import numpy as np
import pytest
import xarray as xr
from mutants import as_files
from small_store import all_values, equals_all_values, files_of, fill, open_store, part, stamps

import gdjax as gd
from gdjax.base.errors import StoreError
from gdjax.stores.reader import open_dataset, verify
from gdjax.stores.schema import seal


def contents(path) -> dict[str, bytes]:
    """Return the content of every file of a store except the lock."""
    files = {str(f.relative_to(path)): f.read_bytes() for f in path.rglob("*") if f.is_file()}
    del files[".gdjax/lock"]
    return files


def flip(raw: bytes, bit: int) -> bytes:
    flipped = bytearray(raw)
    flipped[bit // 8] ^= 1 << bit % 8
    return bytes(flipped)


def replace_by_folder(file, raw):
    file.unlink()
    file.mkdir()
    (file / "within").write_bytes(raw)


def replace_by_link(file):
    """Replace a file by a link to a file with the same bytes."""
    elsewhere = file.with_name(f"{file.name}.elsewhere")
    file.rename(elsewhere)
    file.symlink_to(elsewhere)


DAMAGES = {
    "first bit": lambda file, raw: file.write_bytes(flip(raw, 0)),
    "last bit": lambda file, raw: file.write_bytes(flip(raw, 8 * len(raw) - 1)),
    "other name": lambda file, raw: file.write_bytes(
        raw.replace(b'"', b'"x', 1) if b'"' in raw else flip(raw, 0)
    ),
    "cut off": lambda file, raw: file.write_bytes(raw[: len(raw) // 2]),
    "emptied": lambda file, raw: file.write_bytes(b""),
    "longer": lambda file, raw: file.write_bytes(raw + b"\0"),
    "deleted": lambda file, raw: file.unlink(),
    "a folder": replace_by_folder,
    "a link": lambda file, raw: replace_by_link(file),
}


@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_of_any_file_is_detected_reported_and_repaired(tmp_path, damage, every):
    """Apply every kind of damage to every file; quick tests use a third of the files."""
    fill(tmp_path)
    sound = contents(tmp_path)
    # root, digest and writer; metadata; coordinates; tiles
    assert len(sound) == 3 + 9 + 4 + 6 * 6
    first = list(DAMAGES).index(damage) % every
    damaged = dict(list(sound.items())[first::every])
    tiles = {file: tile for tile in np.ndindex(3, 2) for file in files_of(tile)}
    for name, raw in damaged.items():
        file = tmp_path / name
        DAMAGES[damage](file, raw)
        before = stamps(tmp_path)
        if name == "zarr.json":
            with pytest.raises(StoreError, match=r"zarr\.json.*sweep again on this store"):
                verify(tmp_path)
        elif name == ".gdjax/sweep":
            with pytest.raises(StoreError, match="not that of the sweep whose tiles are stored"):
                verify(tmp_path)
        elif not file.exists() and name.startswith(".gdjax/tiles/"):
            assert verify(tmp_path) == []  # a tile without a record has not been written
        else:
            damages = verify(tmp_path)
            assert [(d.file, d.tile) for d in damages] == [(name, tiles.get(name))]
            assert name in str(damages[0])
        assert stamps(tmp_path) == before

        with open_store(tmp_path) as store:
            store.repair()
            missing = [tuple(tile) for tile in np.argwhere(~store.finished()).tolist()]
            assert missing == ([tiles[name]] if name in tiles else [])
            for tile in missing:
                store.write(tile, part(store, tile))
        assert verify(tmp_path) == []
        for elsewhere in tmp_path.rglob("*.elsewhere"):  # the target of a link is not changed
            assert elsewhere.read_bytes() == raw
            elsewhere.unlink()
        changed = {f for f, stamp in stamps(tmp_path).items() if stamp != before.get(f)}
        allowed = files_of(tiles[name]) if name in tiles else {name}
        assert changed <= allowed | {".gdjax/lock"}
        assert contents(tmp_path) == sound
    assert equals_all_values(tmp_path)


@pytest.mark.parametrize("before", ['"gdjax_format"', r"\"config\""])  # the identity is text
@pytest.mark.parametrize("more", ["NaN", "-Infinity", "1e999", "1.00", '1, "x": 1', "1, "])
def test_invalid_or_ambiguous_json_is_rejected(tmp_path, before, more):
    """The digest is valid, as if the file had been written with this content."""
    fill(tmp_path)
    text = (tmp_path / "zarr.json").read_text()
    digest, more = json.loads(text)["attributes"]["digest"], f'"x": {more}, '
    more = json.dumps(more)[1:-1] if "config" in before else more
    blank = text.replace(digest, "").replace(before, more + before)
    assert len(blank) == len(text) - len(digest) + len(more)
    sealed = blank.replace('"digest": ""', f'"digest": "{sha256(blank.encode()).hexdigest()}"')
    (tmp_path / "zarr.json").write_text(sealed)
    with pytest.raises(StoreError, match=r"zarr\.json is damaged"):
        verify(tmp_path)


@pytest.mark.parametrize("version", [1, 3, 5, 4.0, True])
def test_a_store_of_another_format_is_rejected_and_not_changed(tmp_path, version):
    open_store(tmp_path).close()
    root = as_files(tmp_path).root()
    root["attributes"]["gdjax_format"] = version
    (tmp_path / "zarr.json").write_bytes(seal(root))
    before = stamps(tmp_path)
    for opened in (
        lambda path: open_store(path, data_hash="another"),
        open_dataset,
        verify,
        gd.resume,
    ):
        with pytest.raises(StoreError) as caught:
            opened(tmp_path)
        assert str(caught.value) == (
            f"{tmp_path}: the store has format {version}, but this version of gdjax reads format "
            f"4; open it with the version of gdjax that wrote it, or run its sweep again in a new "
            f"store"
        )
    assert stamps(tmp_path) == before


def test_root_metadata_are_rewritten_only_by_the_same_sweep(tmp_path):
    fill(tmp_path)
    before = contents(tmp_path)
    for damaged in (flip(before["zarr.json"], 77), b""):
        (tmp_path / "zarr.json").write_bytes(damaged)
        for opened in (verify, open_dataset):
            with pytest.raises(StoreError, match=r"zarr.json is damaged.*sweep again"):
                opened(tmp_path)
        with pytest.raises(StoreError, match="the tiles cannot be attributed to a sweep"):
            open_store(tmp_path, data_hash="another")
    (tmp_path / "zarr.json").unlink()
    (tmp_path / ".gdjax/sweep").unlink()
    for opened in (open_store, verify):
        with pytest.raises(StoreError, match=r"zarr.json is missing"):  # not treated as a new store
            opened(tmp_path)
    (tmp_path / "zarr.json").write_bytes(before["zarr.json"])
    assert fill(tmp_path) == []
    assert contents(tmp_path) == before


@pytest.mark.parametrize("replace", ["file", "link"])
@pytest.mark.parametrize("name", ["cost", "finished", "seed", ".gdjax"])
def test_a_folder_replaced_by_a_file_or_link_raises_an_error(tmp_path, replace, name):
    path, elsewhere = tmp_path / "s", tmp_path / "elsewhere"
    fill(path)
    (path / name).rename(elsewhere)
    (path / name).symlink_to(elsewhere) if replace == "link" else (path / name).touch()
    before = stamps(elsewhere)
    with pytest.raises(
        StoreError, match=r"is a symbolic link, which a store must not contain|cannot be written"
    ):
        fill(path)
    assert stamps(elsewhere) == before
    (path / name).unlink()
    elsewhere.rename(path / name)
    assert fill(path) == []
    assert equals_all_values(path)


def test_swapped_chunks_of_an_array_are_detected(tmp_path):
    """Both chunks are valid, so only the records of the tiles reveal the swap."""
    fill(tmp_path)
    one, other = (tmp_path / "cost" / name for name in ("c.0.0.0", "c.2.1.0"))
    first = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(first)
    assert [damage.file for damage in verify(tmp_path)] == ["cost/c.0.0.0", "cost/c.2.1.0"]
    with open_dataset(tmp_path) as dataset:
        with pytest.raises(StoreError, match="is not the chunk that was written"):
            dataset.cost.load()
        dataset.drop_vars("cost").load()
    with open_dataset(tmp_path, skip_damaged=True) as dataset:
        assert dataset.attrs["tiles_finished"] == 4


def test_a_copy_without_hidden_files_is_read_by_xarray_only(tmp_path):
    fill(tmp_path / "s")
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path / "s", copy, ignore=shutil.ignore_patterns(".gdjax"))
    with xr.open_zarr(copy, chunks=None) as dataset:
        np.testing.assert_array_equal(dataset.cost, all_values()["cost"])
    with pytest.raises(StoreError, match=r"\.gdjax/sweep differs"):
        open_dataset(copy)
