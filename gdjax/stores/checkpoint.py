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

MOST_BYTES = 2**34
"""A longer checkpoint is not read."""

_DIGEST = hashlib.sha256().digest_size
_KINDS = "biufcV"  # V: the short floats that NumPy lacks


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
        if values.dtype.kind not in _KINDS:
            raise InputError(f"checkpoint: {name} has dtype {values.dtype}, expected numbers")
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
    try:
        at = raw.index(b"\n") + 1
        header = json.loads(raw[:at])
        arrays = {}
        for name, (dtype, shape) in header["arrays"].items():
            kind = np.dtype(dtype)
            count = math.prod(shape)
            if kind.name != dtype or kind.kind not in _KINDS or min(shape, default=0) < 0:
                return None
            values = np.frombuffer(body, kind, count, at)
            arrays[name] = values.reshape(shape).copy()  # aligned, and free to be written to
            at += values.nbytes
        return (arrays, dict(header["meta"])) if at == len(body) else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None  # its digest is right: not damaged, but none of ours
