"""Identity of a sweep: the record by which stored numbers are continued.

    identity = Sweep as JSON + data + texts of the user's programs + versions and flags

Stored numbers are continued only if the identities are equal (`require_same`). A writer
describes the hardware and software that computed a tile.
"""

import contextlib
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import fields, replace
from enum import Enum
from functools import lru_cache, partial
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
from jaxtyping import PyTree
from msgspec import Meta

from gdjax.base import machine, slabs
from gdjax.base.documents import sha256
from gdjax.base.errors import StoreError
from gdjax.base.internals import FLAGS_WITHOUT_EFFECT, NUMERIC_SETTINGS, setting
from gdjax.base.limits import Count, Seed, Whole, is_valid
from gdjax.problems.comparison import PACKAGES
from gdjax.problems.problem import Problem
from gdjax.problems.trace import Trace, gradient
from gdjax.sweeps.axes import Axes
from gdjax.sweeps.binding import assign_roles
from gdjax.sweeps.factories import Named, describe, qualified_name
from gdjax.sweeps.spec import Sweep, facts_of_box

OPTIONAL = ("replacement", "trunk_settings")
"""Fields of a specification that are recorded only if set."""
REMEDY = "restore the store from a copy"

_hashes: dict[Any, str] = {}  # of programs, since lowering would dominate a repeated small sweep
MAX_HASHES = 512


def described_settings(spec: Sweep) -> dict[str, Any]:
    """Return the settings and the hashes of the data of a sweep, as recorded."""
    written = {
        "problem": described_problem(spec.problem),
        "axes": {
            dim: {axis: values.tolist() for axis, values in along.items()}
            for dim, along in spec.axes.dimensions.items()
        },
        "make_optimizer": describe(spec.make_optimizer),
        "eval_params_fn": spec.eval_params_fn and qualified_name(spec.eval_params_fn),
        "metrics": {
            name: {"every": metric.every, "data_hash": hash_of(metric.data)}
            for name, metric in spec.recorded_metrics.items()
        },
    }
    names = [f.name for f in fields(spec) if f.name not in OPTIONAL or getattr(spec, f.name)]
    return {
        **{name: written.get(name, getattr(spec, name)) for name in names},
        "samples": spec.problem.samples,
        "baseline": spec.problem.baseline,
        "couples_samples": spec.problem.couples_samples,
        "data_hash": hash_of(spec.problem.data),
    }


def identity(spec: Sweep) -> dict[str, Any]:
    """Return the identity of a sweep, by which its stored numbers are continued."""
    return {**described_settings(spec), **_described_programs(spec.facts)}


def problem_identity(
    problem: Problem, grid: Axes, batch_size: int | None, record_samples: int | None
) -> dict[str, Any]:
    """Return the part of the identity of a sweep that its problem determines."""
    roles = assign_roles(problem, grid)
    bare = replace(problem, metrics={})
    facts = [
        facts_of_box(bare, box, roles, batch_size=batch_size, record_samples=record_samples)
        for box in grid.boxes()
    ]
    return {"problem": described_problem(problem), **_described_programs(facts)}


def _described_programs(facts):
    """Return the part of an identity that the functions of the user determine."""
    programs = [each.traces for each in facts]
    first = programs[0]
    nested = {name: ", ".join(t.nested_rules) for name, t in first.items() if t.nested_rules}
    return {
        "functions": {name: [_hash(functions[name]) for functions in programs] for name in first},
        "callbacks": [name for name, traced in first.items() if traced.has_callback],
        **({"nested_rules": nested} if nested else {}),
        "environment": {**versions(), **numeric_flags()},
    }


def described_problem(problem: Problem) -> dict[str, Any] | str:
    """Return the provenance of a problem, or "user's own" if it is user-defined."""
    return dict(problem.provenance) if problem.provenance else "user's own"


def checked_identity(identity: dict[str, Any], where: Any) -> dict[str, Any]:
    """Return the validated identity of the sweep in a store."""
    if not {"axes", "functions"} <= set(identity):
        raise StoreError(
            f"{where}: the store was not written by a sweep; open it with xarray.open_zarr"
        )
    for name, kind in _RECORDED.items():
        if not is_valid(identity.get(name), kind):
            raise StoreError(
                f"{where}: its record has {name} = {identity.get(name)!r:.80}, which is not valid; "
                f"{REMEDY}"
            )
    layout, named = identity["layout"], {a for of in identity["axes"].values() for a in of}
    unknown = (set(identity["axes"]) ^ set(layout["tile"])) | (named - set(layout["coordinates"]))
    if unknown:
        raise StoreError(
            f"{where}: its record names {min(unknown)!r:.80}, which is not an axis of its arrays; "
            f"{REMEDY}"
        )
    return identity


# Types of the fields of an identity that are used before `Sweep` checks them.
_RECORDED: Mapping[str, Any] = {
    "axes": Annotated[dict[str, dict[str, list]], Meta(min_length=1)],
    "num_steps": Whole,
    "batch_size": Count | None,
    "replacement": bool | None,
    "root_seed": Seed,
    "make_optimizer": Named,
    "data_hash": str,
    "functions": dict[str, Any],
    "callbacks": list[str],
    "nested_rules": dict[str, Any] | None,
    "environment": dict[str, Any],
}


def _hash(traced: Trace) -> str:
    """Return the hash of the lowered program of a function of one run, 16 hex digits.

    The text has no file names or addresses, and includes the gradient where a derivative rule is
    not part of the program. Constants are added by value, since the text may leave them out.
    """
    arguments = (traced.arguments, dict(traced.keywords))
    leaves, structure = jax.tree.flatten(arguments)
    shapes = tuple((leaf.shape, leaf.dtype, leaf.weak_type) for leaf in leaves)
    key = (traced.function, structure, shapes, slabs.compiled_config())
    if key not in _hashes:
        compute = partial(traced.compute, traced.function)
        text = _lowered(compute, arguments) + " ".join(traced.constants)
        with contextlib.suppress(Exception):  # a function that is not differentiated
            for _ in range(traced.num_derivatives):
                compute = partial(gradient, compute)
                text += _lowered(compute, arguments)
        if len(_hashes) >= MAX_HASHES:
            _hashes.clear()
        _hashes[key] = sha256(text.encode())[:16]
    return _hashes[key]


def _lowered(function, arguments):
    def program(positional, keywords):
        return function(*positional, **keywords)

    traced = jax.jit(program, keep_unused=True).trace(*arguments)
    try:
        return traced.lower(lowering_platforms=("cpu",)).as_text()
    except NotImplementedError:  # a kernel for an accelerator only
        return traced.lower().as_text()


def writer(device: jax.Device) -> dict[str, Any]:
    """Return the description of the hardware and software that compute on a device."""
    on_cpu = device.platform == "cpu"
    return {
        "device": machine.processor() if on_cpu else device.device_kind,
        "platform": device.platform,
        **({"cpu_threads": cpu_threads()} if on_cpu else {}),
        "python": platform.python_version(),
        **versions(),
        "flags": numeric_flags(),
    }


def versions() -> dict[str, str]:
    """Return the versions of the packages that determine a program."""
    named = {package: _version(package) for package in ("gdjax", *PACKAGES)}
    return {**named, "revision": revision()}


def cpu_threads() -> int:
    """Return the number of XLA threads for all CPU devices of this process.

    Large matrix products are split among these threads, so that their rounding depends on this
    number, independently of the number of devices. No compiler option prevents this.
    """
    nproc = os.environ.get("NPROC", "")  # XLA ignores values that are not numbers
    cores = (int(nproc) if nproc.isdecimal() else 0) or machine.cores()
    return max(cores, len(jax.local_devices(backend="cpu")))


def numeric_flags() -> dict[str, Any]:
    """Return the JAX and XLA settings that affect rounding, by name.

    The entry `xla` contains the flags of `XLA_FLAGS`, sorted by name.
    """
    config = {name: setting(name) for name in NUMERIC_SETTINGS}
    named = {
        n: value.name.lower() if isinstance(value, Enum) else value for n, value in config.items()
    }
    return {"xla": xla_flags(), **named}


@lru_cache(maxsize=1)  # XLA reads its flags once, when JAX starts
def xla_flags() -> str:
    """Return the flags of XLA that affect rounding, as they were at the first call."""
    text = os.environ.get("XLA_FLAGS", "").strip()
    if text and not text.startswith("-"):  # the path of a file with flags
        text = Path(text).read_text()
    flags = {}
    for entry in text.split():
        name, _, value = entry.lstrip("-").partition("=")
        if not FLAGS_WITHOUT_EFFECT.search(name):
            flags[name] = value or "true"
    return " ".join(f"{name}={flags[name]}" for name in sorted(flags))


@lru_cache  # reading the metadata of ten packages takes 8 ms
def _version(package):
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # run from a source folder without installation
        return "not installed"


def hash_of(tree: PyTree) -> str:
    """Return the hash of the paths, shapes, types and bytes of arrays, 16 hex digits."""
    parts = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.asarray(leaf)
        parts.append(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}\n".encode())
        parts.append(np.ascontiguousarray(array).view(np.uint8).data if array.size else b"")
    return sha256(*parts)[:16]


@lru_cache(maxsize=1)  # the imported source remains the same if another commit is checked out
def revision() -> str:
    """Return the commit of the source, or "release"; "-dirty" marks modified source."""
    source = Path(__file__)
    # An installed package may be in an untracked folder of an unrelated checkout.
    tracked = ["git", "ls-files", "--error-unmatch", source.name]
    described = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        for command in (tracked, described):
            described_as = subprocess.run(
                command, cwd=source.parent, capture_output=True, text=True, timeout=5, check=True
            )
    except (OSError, subprocess.SubprocessError):
        return "release"
    return described_as.stdout.strip()
