"""Validation of metadata, which must equal the metadata that gdjax would write."""

import copy
import json
import zlib

import google_crc32c
import numpy as np
import pytest
import zarr
from zarr.codecs import Crc32cCodec

from gdjax.base.arrays import Array, Schema, check_distinct
from gdjax.base.errors import InputError
from gdjax.stores.schema import Files, Root, parse_root, seal

SCHEMA = Schema(
    {"seed": 5, "step": 3}, {"seed": 2}, {"cost": Array("", ("seed", "step"), dtype="f4")}
)
FILES = Files(SCHEMA)
COST = FILES.variables["cost"]


def test_metadata_that_do_not_match_the_array_are_rejected():
    root = Root(FILES.record({}), FILES)
    parsed = parse_root(root.to_bytes())
    assert parsed.identity == root.identity
    assert parsed.files.documents() == FILES.documents()

    def refused(change):
        changed = copy.deepcopy(root.document())
        change(changed["consolidated_metadata"]["metadata"]["cost"])
        with pytest.raises(InputError, match=r"^zarr.json is damaged \("):
            parse_root(seal(changed))

    for change in (
        {"codecs": []},
        {"zarr_format": 2},
        {"shape": [5.0, 3]},
        {"shape": [True, 3]},
        {"fill_value": 0},
        {"data_type": "complex64"},
        {"data_type": ["float32"]},
        {"dimension_names": ["seed", "seed"]},
        {"attributes": {"scale_factor": 2}},
        {"more": 1},
    ):
        refused(lambda document, change=change: document.update(change))
    for key in COST.document():
        refused(lambda document, key=key: document.pop(key))


def test_an_encoded_chunk_contains_padded_values_and_their_crc32c_checksum():
    values = np.arange(3, dtype="f4")[None]
    raw = COST.encode(values)
    assert len(raw) == COST.nbytes == 2 * 3 * 4 + 4
    np.testing.assert_array_equal(COST.decode(raw), [[0, 1, 2], [np.nan] * 3])
    assert COST.problem(raw) is None
    assert COST.problem(raw[:-1]) == "27 bytes, expected 28"
    for at in range(len(raw)):
        assert COST.problem(raw[:at] + bytes([raw[at] ^ 4]) + raw[at + 1 :])
    assert raw[-4:] == google_crc32c.value(raw[:-4]).to_bytes(4, "little")
    assert raw[-4:] != zlib.crc32(raw[:-4]).to_bytes(4, "little")  # CRC-32 and CRC-32C differ


def test_names_that_share_a_file_name_are_rejected():
    check_distinct(["a", "b", "a"], "x")
    for pair in (["W", "w"], ["Stra\u00dfe", "STRASSE"], ["\u00e9", "e\u0301"]):
        with pytest.raises(InputError, match=r"x: .* are the same file on systems that ignore"):
            check_distinct(pair, "x")


def test_metadata_and_chunks_equal_those_written_by_zarr_python(tmp_path):
    """The library writes metadata and chunks itself, in the format of zarr-python."""
    array = zarr.create_array(
        tmp_path / "cost",
        shape=COST.shape,
        chunks=COST.chunk,
        dtype="float32",
        fill_value=np.nan,
        compressors=Crc32cCodec(),
        chunk_key_encoding={"name": "default", "separator": "."},
        dimension_names=COST.array.dims,
        attributes=COST.array.attributes,
        config={"write_empty_chunks": True},
    )
    values = np.arange(15, dtype="f4").reshape(5, 3)
    array[:] = values
    written = json.loads((tmp_path / "cost" / "zarr.json").read_bytes())
    document = COST.document()
    assert {k: v for k, v in written.items() if k != "codecs"} == {
        k: v for k, v in document.items() if k != "codecs"
    }
    assert [c["name"] for c in written["codecs"]] == [c["name"] for c in document["codecs"]]
    for tile in range(3):
        raw = (tmp_path / COST.key((tile,))).read_bytes()
        assert raw == COST.encode(values[2 * tile : 2 * tile + 2])
