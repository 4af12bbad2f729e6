"""How far an unfinished tile has come, as bytes that are either right or recognised as damaged.

    file = header (JSON, one line), arrays one after another, SHA-256 of all that

>>> arrays, meta = unpack(pack({"w": np.arange(3)}, {"step": 500}))
>>> arrays["w"].tolist(), meta
([0, 1, 2], {'step': 500})
>>> unpack(b"cut off") is None
True
"""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from gdjax.errors import InputError

_DIGEST = hashlib.sha256().digest_size


def pack(arrays: Mapping[str, Any], meta: Mapping[str, Any]) -> bytes:
    """Join named arrays of numbers and what belongs to them.

    Args:
        arrays: by name.
        meta: JSON: numbers, text, lists and mappings of them.

    Raises:
        InputError: an array holds something else than numbers.
    """
    arrays = {name: np.asarray(values) for name, values in arrays.items()}
    for name, values in arrays.items():
        if values.dtype.kind not in "biufcV":  # V: the short floats that NumPy lacks
            raise InputError(f"state: {name} has dtype {values.dtype}, expected numbers")
    described = {name: [values.dtype.name, values.shape] for name, values in arrays.items()}
    header = json.dumps({"arrays": described, "meta": meta}).encode() + b"\n"
    body = b"".join([header, *(values.tobytes() for values in arrays.values())])
    return body + hashlib.sha256(body).digest()


def unpack(raw: bytes) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
    """Split what `pack` joined; None where it is damaged."""
    view = memoryview(raw)
    body = view[:-_DIGEST]
    if len(raw) < _DIGEST or hashlib.sha256(body).digest() != view[-_DIGEST:]:
        return None
    at = raw.index(b"\n") + 1
    header = json.loads(raw[:at])
    arrays = {}
    for name, (dtype, shape) in header["arrays"].items():
        count = math.prod(shape)
        values = np.frombuffer(body, np.dtype(dtype), count, at)
        arrays[name] = values.reshape(shape).copy()  # aligned, and free to be written to
        at += values.nbytes
    return arrays, header["meta"]
