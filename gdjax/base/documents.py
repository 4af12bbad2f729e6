"""Values as JSON, and their hashes.

>>> plain({"widths": (16, 16), "threshold": math.inf})
{'widths': [16, 16], 'threshold': 'inf'}
>>> digest({"widths": [16, 16]}) == digest({"widths": [16, 16.0]})
False
"""

import dataclasses
import hashlib
import json
import math
import numbers
import os
from collections.abc import Callable, Mapping
from typing import Any

from gdjax.base.errors import InputError


def plain(value: Any, where: str = "value", *, other: Callable | None = None) -> Any:
    """Return a value as a JSON value; infinities and NaN become text.

    Args:
        value: nested dataclasses, mappings and sequences of arrays, numbers, text, paths, booleans
            and None.
        where: name of the value, for the message.
        other: conversion of other values; by default they raise an error.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    elif hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(k): plain(item, f"{where}.{k}", other=other) for k, item in value.items()}
    if isinstance(value, list | tuple | range):
        return [plain(item, f"{where}[{i}]", other=other) for i, item in enumerate(value)]
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value) if math.isfinite(value) else str(float(value))
    if other is not None:
        return other(value)
    raise InputError(
        f"{where} = {value!r} cannot be recorded; expected numbers, text, None, or lists and "
        f"mappings of them"
    )


def serialize(document: Mapping[str, Any]) -> bytes:
    """Return a JSON value as bytes; equal documents give equal bytes."""
    return json.dumps(document, indent=1, allow_nan=False).encode() + b"\n"


def digest(document: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a document as text, 64 hex digits."""
    return sha256(serialize(document))


def sha256(*parts: bytes | memoryview) -> str:
    """Return the SHA-256 of bytes as text, 64 hex digits."""
    hashed = hashlib.sha256()
    for part in parts:
        hashed.update(part)
    return hashed.hexdigest()


def recorded_identity(runs: Any) -> dict[str, Any]:
    """Return what the attributes of a Dataset record of its sweep; nothing if they have none."""
    return json.loads(runs.attrs.get("identity", "{}"))
