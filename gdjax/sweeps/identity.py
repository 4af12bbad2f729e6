"""Identity of a sweep: the record used to continue and replay a stored sweep.

    identity = SweepSpec as JSON + hashes of data and programs + numeric flags

Two sweeps are considered equal if their identities are equal. A writer describes the program,
hardware and software that computed a tile. The module `stored` reads both.
"""

import hashlib
import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import fields
from enum import Enum
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from gdjax import machine, slabs
from gdjax.problems.keywords import declared, given_to
from gdjax.problems.problem import Problem
from gdjax.sweeps.axes import Axes
from gdjax.sweeps.binding import assign_roles, by_role, numeric_roles, with_settings
from gdjax.sweeps.factories import describe
from gdjax.sweeps.slab_program import SlabProgram
from gdjax.sweeps.spec import SweepSpec

FORMAT_2_NAMES = {
    "bound": "divergence_threshold",
    "measures": "metrics",
    "optimizer": "make_optimizer",
    "readout": "eval_params_fn",
    "root": "root_seed",
    "steps": "num_steps",
    "tolerance": "gradient_tolerance",
    "until_settled": "stop_when_converged",
}
"""Names of `SweepSpec` fields, by their names in stores of format 2."""

OPTIONAL = ("replacement", "trunk_settings")
"""Fields of a specification that are recorded only if set, since older stores do not have them."""


def identity(spec: SweepSpec, programs: Sequence[SlabProgram]) -> dict[str, Any]:
    """Return the identity of a sweep, by which sweeps are compared."""
    written = {
        "problem": described_problem(spec.problem),
        "axes": {
            dim: {axis: values.tolist() for axis, values in along.items()}
            for dim, along in spec.axes.dimensions.items()
        },
        "make_optimizer": describe(spec.make_optimizer),
        "eval_params_fn": spec.eval_params_fn and _qualified_name(spec.eval_params_fn),
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
        "data_hash": hash_of(spec.problem.data),
        "problem_hash": problem_hash(spec.problem, spec.axes),
        "program_hash": [program.compiled_block.hash for program in programs],
        "flags": numeric_flags(),
    }


def described_problem(problem: Problem) -> dict[str, Any] | str:
    """Return the provenance of a problem, or "user's own" if it is user-defined."""
    return dict(problem.provenance) if problem.provenance else "user's own"


def problem_hash(problem: Problem, grid: Axes) -> str:
    """Return the hash of the programs of `init`, cost and evaluation, 16 hex digits.

    The hash is independent of the optimizer and the device, so that it can be
    computed from the problem alone when a store is read. It includes no file names or addresses.
    """
    assigned = assign_roles(problem, grid)
    first = grid.first_values
    static = {axis: first[axis] for axis, role in assigned.items() if role.is_static}
    fixed = with_settings(problem, **by_role(assigned, static))
    scalars = {
        axis: jax.ShapeDtypeStruct((), jax.dtypes.canonicalize_dtype(grid.by_name[axis].dtype))
        for axis in numeric_roles(assigned)
    }
    leaves, structure = jax.tree.flatten(slabs.shapes((fixed, by_role(assigned, scalars))))
    config = tuple(getattr(jax.config, name, None) for name in CONFIG)
    return _program_texts_hash(structure, tuple(leaves), config)


@lru_cache(maxsize=64)  # lowering would dominate the second call of a small sweep
def _program_texts_hash(structure, leaves, _config):
    """Return the hash of the programs of a problem, from shapes of its arrays."""
    problem, settings = jax.tree.unflatten(structure, leaves)
    key = jax.eval_shape(lambda: jax.random.key(0))
    text, (params, model_state) = _lowered(problem.begin, key, **settings["init"])
    texts = [text]
    sample = () if problem.data is None else (problem.data,)
    available = {"key": key, "step": jax.ShapeDtypeStruct((), np.int32), "model_state": model_state}
    for function in (problem.cost, problem.evaluation):
        if function is not None:
            names = declared(function)
            swept = {name: v for name, v in settings["cost"].items() if name in names}
            filled = {name: available[name] for name in given_to(function)}
            texts.append(_lowered(function, params, *sample, **filled, **swept)[0])
    return hashlib.sha256("".join(texts).encode()).hexdigest()[:16]


def _lowered(function, /, *arguments, **keywords):
    """Return the lowered text of a function and the shapes of its outputs."""

    def program(arguments, keywords):
        return function(*arguments, **keywords)

    traced = jax.jit(program, keep_unused=True).trace(arguments, keywords)
    try:
        lowered = traced.lower(lowering_platforms=("cpu",))
    except NotImplementedError:  # a kernel for an accelerator only
        lowered = traced.lower()
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), traced.out_info)
    return lowered.as_text(), shapes


def _qualified_name(function):
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return f"{getattr(function, '__module__', '')}.{name}"


def writer(program: SlabProgram) -> dict[str, Any]:
    """Return the record of the program, hardware and software that compute a tile."""
    device = program.devices[0]
    return {
        "device": device.device_kind,
        "platform": device.platform,
        **({"cpu_threads": cpu_threads()} if device.platform == "cpu" else {}),
        "program_hash": program.compiled_block.hash,
        "revision": revision(),
        "python": platform.python_version(),
        **versions(),
    }


def versions() -> dict[str, str]:
    """Return the versions of the packages that determine a program."""
    return {package: _version(package) for package in ("gdjax", "jax", "jaxlib", "optax", "numpy")}


def cpu_threads() -> int:
    """Return the number of XLA threads for all CPU devices of this process.

    Large matrix products are split among these threads, so that their rounding depends on this
    number, independently of the number of devices. No compiler option prevents this.
    """
    nproc = os.environ.get("NPROC", "")  # XLA ignores values that are not numbers
    cores = (int(nproc) if nproc.isdecimal() else 0) or machine.cores()
    return max(cores, len(jax.local_devices(backend="cpu")))


# JAX settings that affect numerical results or compilation. Settings that only change the text of a
# program are covered by its hash.
CONFIG = (
    "jax_enable_x64",
    "jax_default_matmul_precision",
    "jax_numpy_dtype_promotion",
    "jax_default_prng_impl",
    "jax_threefry_partitionable",
    "jax_threefry_gpu_kernel_lowering",
    "jax_random_seed_offset",
    "jax_high_dynamic_range_gumbel",
    "jax_allow_f16_reductions",
    "jax_compiler_enable_remat_pass",
    "jax_disable_most_optimizations",
    "jax_exec_time_optimization_effort",
    "jax_memory_fitting_effort",
    "jax_memory_fitting_level",
    "jax_optimization_level",
)

# XLA flags that do not affect results, such as those of output and timeouts. All other flags are
# recorded.
WITHOUT_EFFECT = re.compile(
    r"_(dump|dumping|log|logging|print|warn|timeout)(_|$)"
    r"|^xla_(force_host_platform_device_count|gpu_cuda_data_dir|hlo_profile)$"
)


def numeric_flags() -> dict[str, Any]:
    """Return the JAX and XLA settings that affect rounding, by name.

    The entry `xla` contains the flags of `XLA_FLAGS`, sorted by name.
    """
    values = jax.config.values  # a new dict at each access
    config = {name: values[name] for name in CONFIG if name in values}
    plain = {
        name: value.name.lower() if isinstance(value, Enum) else value
        for name, value in config.items()
    }
    text = os.environ.get("XLA_FLAGS", "").strip()
    if text and not text.startswith("-"):  # the path of a file with flags
        text = Path(text).read_text()
    flags = {}
    for entry in text.split():
        name, _, value = entry.lstrip("-").partition("=")
        if not WITHOUT_EFFECT.search(name):
            flags[name] = value or "true"
    return {"xla": " ".join(f"{name}={flags[name]}" for name in sorted(flags)), **plain}


def flags_changed(stored: Mapping[str, Any] | None) -> dict[str, tuple[Any, Any]]:
    """Return numeric flags that differ from a store, by name: (stored, here).

    Flags that exist in only one of the two versions of JAX are omitted.
    """
    here = numeric_flags()
    stored = {} if stored is None else stored
    return {n: (stored[n], here[n]) for n in here if n in stored and stored[n] != here[n]}


@lru_cache  # reading the metadata of five packages takes 4 ms
def _version(package):
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # run from a source folder without installation
        return "not installed"


def hash_of(tree: PyTree) -> str:
    """Return the hash of the paths, shapes, types and bytes of arrays, 16 hex digits."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.asarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).view(np.uint8).data if array.size else b"")
    return digest.hexdigest()[:16]


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
