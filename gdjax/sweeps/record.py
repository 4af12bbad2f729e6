"""What a store says about its sweep: enough to explain it, to go on with it and to run it again.

*Identity* is what makes two sweeps the same; *information* is what else explains their numbers.
"""

import hashlib
import importlib
import os
import platform
import re
import subprocess
from collections.abc import Callable, Mapping
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from gdjax import machine
from gdjax.errors import InputError, StoreError
from gdjax.problems.problem import Problem
from gdjax.sweeps.axes import Axes
from gdjax.sweeps.tiles import Work


def identity(work: Work) -> dict[str, Any]:
    """What must be equal for two sweeps to be the same."""
    plan = work.plan
    return {
        "problem": dict(work.problem.provenance) if work.problem.provenance else "user's own",
        "optimizer": describe(work.optimizer),
        "axes": {
            dim: {axis: values.tolist() for axis, values in along.items()}
            for dim, along in work.grid.dimensions.items()
        },
        "steps": plan.steps,
        "batch_size": work.batch_size,
        "record_every": plan.record_every,
        "snapshot_every": plan.snapshot_every,
        "measures": {name: measure.every for name, measure in work.measures.items()},
        "samples": work.problem.samples,
        "baseline": work.problem.baseline,
        "root": work.root,
        "bound": work.bound,
        "tolerance": work.tolerance,
        "until_settled": work.until_settled,
        "slab": {"width": work.slab.width, "devices": len(work.slab.devices)},
        "data_hash": hash_of(
            (work.problem.data, {n: m.data for n, m in sorted(work.measures.items())})
        ),
        "program_hash": work.program_hash(),
    }


def information(work: Work) -> dict[str, Any]:
    """What explains a tile's numbers besides: versions, device, source revision."""
    device = work.slab.devices[0]
    return {
        "device": f"{len(work.slab.devices)} x {device.device_kind}",
        "platform": device.platform,
        **({"cpu_threads": cpu_threads()} if device.platform == "cpu" else {}),
        "slab_width": work.slab.width,
        "revision": revision(),
        "python": platform.python_version(),
        **{package: _version(package) for package in ("gdjax", "jax", "jaxlib", "optax", "numpy")},
    }


def cpu_threads() -> int:
    """Threads that XLA has for a process's CPU devices, all together.

    They decide how large matrix products are cut, and so the last bits, whatever the number of
    devices a sweep uses; no compiler option keeps them from it.
    """
    cores = int(os.environ.get("NPROC", "0")) or machine.cores()
    return max(cores, len(jax.local_devices(backend="cpu")))


def _version(package):
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # run from a folder, without having been installed
        return "not installed"


def hash_of(tree: PyTree) -> str:
    """Content hash of arrays: their places, shapes, types and bytes; 16 hex digits."""
    found = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.asarray(leaf)
        found.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}\n".encode())
        found.update(np.ascontiguousarray(array).view(np.uint8).data if array.size else b"")
    return found.hexdigest()[:16]


def revision() -> str:
    """Commit of the source that runs, "-dirty" if it was changed; "release" outside a checkout."""
    source = Path(__file__)
    # An installed package may lie in somebody else's checkout, untracked.
    tracked = ["git", "ls-files", "--error-unmatch", source.name]
    described = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        for command in (tracked, described):
            found = subprocess.run(
                command, cwd=source.parent, capture_output=True, text=True, timeout=5, check=True
            )
    except (OSError, subprocess.SubprocessError):
        return "release"
    return found.stdout.strip()


def describe(optimizer: Callable) -> dict[str, Any]:
    """A factory as its import path and the keywords that `functools.partial` fixed.

    Raises:
        InputError: positional arguments were fixed, which have no names.

    Examples:
        >>> import optax
        >>> describe(partial(optax.sgd, momentum=0.9))
        {'module': 'optax', 'name': 'sgd', 'keywords': {'momentum': 0.9}}
    """
    fixed: dict[str, Any] = {}
    while isinstance(optimizer, partial):
        if optimizer.args:
            raise InputError(
                "optimizer: functools.partial with positional arguments cannot be recorded; give "
                "them by keyword"
            )
        fixed = {**optimizer.keywords, **fixed}
        optimizer = optimizer.func
    return {
        "module": getattr(optimizer, "__module__", "").split("._")[0],
        "name": getattr(optimizer, "__qualname__", type(optimizer).__qualname__),
        "keywords": {k: _described(v) for k, v in fixed.items()},
    }


def _described(value):
    """A number or text as it is; what JSON lacks as text in a mapping, not to be rebuilt."""
    if value is None or isinstance(value, int | float | str | bool):
        return value
    # Addresses differ from process to process. What a function does is in the program's hash.
    return {"text": re.sub(r" at 0x[0-9a-f]+", "", repr(value))}


def optimizer_from(described: Mapping[str, Any], where: Any) -> Callable:
    """The factory that `describe` described.

    Raises:
        StoreError: it cannot be imported by name, or was given what cannot be recorded.
    """
    module, name, keywords = (described[k] for k in ("module", "name", "keywords"))
    try:
        factory = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise StoreError(
            f"{where}: its optimizer {module}.{name} cannot be imported; give it: optimizer=..."
        ) from error
    lost = [keyword for keyword, value in keywords.items() if isinstance(value, Mapping)]
    if lost:
        raise StoreError(
            f"{where}: its optimizer {name} was made with {lost[0]} = {keywords[lost[0]]['text']}, "
            f"which a record cannot hold; give it: optimizer=..."
        )
    return partial(factory, **keywords) if keywords else factory


def problem_from(described: Any, where: Any) -> Problem:
    """A problem of gdjax from its record.

    Raises:
        StoreError: it is a user's own.
    """
    if not isinstance(described, Mapping):
        raise StoreError(f"{where}: holds a sweep of a user's own problem; give it: problem=...")
    from gdjax import problems

    arguments = {k: v for k, v in described.items() if k not in ("problem", "hash")}
    return getattr(problems, described["problem"])(**arguments)


def axes_from(described: Mapping[str, Mapping[str, Any]]) -> Axes:
    """The axes of a sweep from its record."""
    return Axes(
        {
            dim: {axis: np.asarray(values) for axis, values in along.items()}
            for dim, along in described.items()
        }
    )
