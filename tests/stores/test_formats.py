"""Compatibility with stores that were written in earlier formats.

Commit 460692cc wrote `formats/3/swept`, a sweep of a digit network over two batch sizes.
`bits.json` has a hash of each variable that `open_dataset` returned there.
"""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray
from small_store import open_store, stamps

import gdjax as gd
from gdjax.base.errors import StoreError
from gdjax.stores import Tiles, open_dataset, verify
from gdjax.stores.schema import seal

FORMATS = Path(__file__).parent / "formats"
AT = {"batch_size": 8, "learning_rate": 0.5, "seed": 0}


@pytest.fixture
def path(tmp_path):
    """Return the path of a copy of the store, since writers change an opened store."""
    return Path(shutil.copytree(FORMATS / "3" / "swept", tmp_path / "swept"))


def bits_of(dataset) -> dict[str, str]:
    """Return a hash of the dimensions, dtype and values of each variable."""
    result = {}
    for name, variable in sorted(dataset.variables.items()):
        values = np.ascontiguousarray(variable.values)
        text = f"{variable.dims} {values.dtype} {values.shape}".encode()
        result[str(name)] = hashlib.sha256(text + values.tobytes()).hexdigest()[:16]
    return result


@pytest.mark.parametrize("version", [1, 2, 5])
def test_a_store_of_another_format_is_rejected_and_not_changed(path, version):
    root = json.loads((path / "zarr.json").read_text())
    root["attributes"] |= {n: json.loads(root["attributes"][n]) for n in ("identity", "writers")}
    root["attributes"]["gdjax_format"] = version
    (path / "zarr.json").write_bytes(seal(root))
    before = stamps(path)
    for opened in (open_store, open_dataset, verify, gd.resume):
        with pytest.raises(StoreError) as caught:
            opened(path)
        assert str(caught.value) == (
            f"{path}: the store has format {version}, but this version of gdjax writes format 4 "
            f"and reads formats 3 and 4; open it with the version of gdjax that wrote it, or run "
            f"its sweep again in a new store"
        )
    assert stamps(path) == before


def test_a_store_of_format_3_is_valid_and_has_bitwise_unchanged_values(path):
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


def test_damage_of_a_store_of_format_3_is_found(path):
    for number, name in enumerate(["finished/c.0.0.0", "checksums/c.1.0.0.0", "cost/c.1.0.0.0"]):
        raw = (path / name).read_bytes()
        (path / name).write_bytes(bytes([raw[0] ^ 1]) + raw[1:])
        assert [damage.tile for damage in verify(path)] == [(min(number, 1), 0, 0)]
        with open_dataset(path, skip_damaged=True) as dataset:
            assert dataset.attrs["tiles_finished"] == 1
        (path / name).write_bytes(raw)
    (path / "cost/c.0.0.0.0").write_bytes(raw)
    assert [damage.file for damage in verify(path)] == ["cost/c.0.0.0.0"]
    (path / "finished/c.0.0.0").unlink()  # the tile is not finished
    with open_dataset(path) as dataset:
        assert dataset.finished.values.ravel().tolist() == [0, 0, 1, 1]
        assert np.isnan(dataset.cost[0]).all()


def test_a_store_of_format_3_is_not_continued_or_changed(path, tmp_path):
    before = stamps(tmp_path)
    for refused in (
        lambda: open_store(path),
        lambda: Tiles(path, {}),
        lambda: gd.resume(path),
        lambda: gd.replay(path, AT),
        lambda: gd.extend(path, to=tmp_path / "new"),
        lambda: gd.branch(path, AT, gd.axes(branch_step=[2])),
        lambda: gd.sweeps.run_of(path, AT),
    ):
        with pytest.raises(
            StoreError, match="has format 3, which this version of gdjax can read but not"
        ):
            refused()
    assert stamps(tmp_path) == before
