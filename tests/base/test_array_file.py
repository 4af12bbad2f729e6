"""Files of arrays: exact round trips, and rejection of damaged files."""

import hashlib

import ml_dtypes
import numpy as np
import pytest

from gdjax.base.array_file import pack, unpack

ARRAYS = {
    "file": np.array([[1.5, -0.0], [np.nan, np.inf]], np.float32),
    "key": np.array([7, 2**32 - 1], np.uint32),
    "step": np.array(12),
    "alive": np.array([[True, False]]),
    "none": np.zeros((0, 3)),
    "16 bits": np.arange(3, dtype=ml_dtypes.bfloat16),
    "transposed": np.arange(6.0).reshape(2, 3).T,
}


def test_a_checkpoint_is_restored_bitwise():
    arrays, meta = unpack(pack(ARRAYS, {"step": 12, "orders": [[0, 1]]}))
    assert list(arrays) == list(ARRAYS)
    for name, values in ARRAYS.items():
        assert (arrays[name].dtype, arrays[name].shape) == (values.dtype, values.shape)
        assert arrays[name].tobytes() == values.tobytes()
        assert arrays[name].flags.writeable
        assert arrays[name].flags.aligned
    assert meta == {"step": 12, "orders": [[0, 1]]}


def test_a_file_with_a_flipped_bit_or_a_missing_end_is_rejected():
    raw = pack({"w": np.arange(3)}, {"step": 1})
    for bit in range(8 * len(raw)):
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << bit % 8
        assert unpack(bytes(flipped)) is None
    for length in range(len(raw)):
        assert unpack(raw[:length]) is None


def test_only_numeric_arrays_are_restored():
    assert unpack(pack({"w": np.array([None])}, {})) is None


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"\n",
        b"[]\n",
        b'{"arrays": {}, "meta": 3}\n',
        b'{"arrays": {"w": ["O", [1]]}, "meta": {}}\n' + bytes(8),
        b'{"arrays": {"w": ["float32", [1e9]]}, "meta": {}}\n' + bytes(8),
        b'{"arrays": {"w": ["float32", [1000000000000]]}, "meta": {}}\n' + bytes(8),
        b'{"arrays": {"w": ["float32", [-1]]}, "meta": {}}\n' + bytes(8),
        b'{"arrays": {"w": ["float32", [1]]}, "meta": {}}\n' + bytes(8),
        b"[" * 100_000 + b"\n",
    ],
)
def test_invalid_content_with_a_valid_digest_is_rejected(header):
    assert unpack(header + hashlib.sha256(header).digest()) is None
