"""Files of named arrays, which are read back exactly or recognized as damaged.

    file = header (JSON, one line), bytes of the arrays in sequence, SHA-256 of header and arrays

Checkpoints of tiles and the cache of decoded images have this format.

>>> arrays, meta = unpack(pack({"w": np.arange(3)}, {"step": 500}))
>>> arrays["w"].tolist(), meta
([0, 1, 2], {'step': 500})
>>> unpack(b"truncated") is None
True
"""

import contextlib
import hashlib
import json
import math
import os
import time
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

PARTIAL = ".partial"
"""Suffix of the name of an unfinished file."""

_DIGEST_BYTES = hashlib.sha256().digest_size
_KINDS = "biufcV"  # V: short floats that NumPy lacks, such as bfloat16


def pack(arrays: Mapping[str, Any], meta: Mapping[str, Any]) -> bytes:
    """Serialize named arrays of numbers or booleans, and metadata that JSON can represent."""
    arrays = {name: np.asarray(values) for name, values in arrays.items()}
    described = {name: [values.dtype.name, values.shape] for name, values in arrays.items()}
    header = json.dumps({"arrays": described, "meta": meta}).encode() + b"\n"
    body = b"".join([header, *(values.tobytes() for values in arrays.values())])
    return body + hashlib.sha256(body).digest()


def unpack(raw: bytes) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
    """Return the arrays and metadata in packed bytes; None if the bytes are damaged."""
    view = memoryview(raw)
    body = view[:-_DIGEST_BYTES]
    if len(raw) < _DIGEST_BYTES or hashlib.sha256(body).digest() != view[-_DIGEST_BYTES:]:
        return None
    try:
        start = raw.index(b"\n") + 1
        header = json.loads(raw[:start])
        arrays = {}
        for name, (dtype_name, shape) in header["arrays"].items():
            dtype = np.dtype(dtype_name)
            if dtype.name != dtype_name or dtype.kind not in _KINDS or min(shape, default=0) < 0:
                return None
            values = np.frombuffer(body, dtype, math.prod(shape), start)
            arrays[name] = values.reshape(shape).copy()  # aligned and writable
            start += values.nbytes
        return (arrays, dict(header["meta"])) if start == len(body) else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None  # the file is of another kind, although its digest is correct


def write_file(path: Path, data: bytes, *, durable: bool = False) -> None:
    """Write a file atomically, so that `path` never has incomplete contents.

    If `durable`, they are flushed to disk first, so that they survive a power failure.
    """
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}{PARTIAL}")
    try:
        with partial.open("xb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def remove_partial(files: Iterable[Path], older_than: float | int = 0) -> None:
    """Remove files that killed writers left unfinished, if they are `older_than` seconds old."""
    for file in files:
        name = file.name.removesuffix(PARTIAL).rpartition(".")[2]
        if file.name.endswith(PARTIAL) and len(name) == 32 and set(name) <= set("0123456789abcdef"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - file.lstat().st_mtime >= older_than:
                    file.unlink()
