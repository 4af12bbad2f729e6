"""What a store says about its sweep: enough to explain it, to go on with it and to run it again.

    identity = specification + hashes of data and program + slab;   specification_of(store): back

*Identity* is what makes two sweeps the same; *information* is what else explains their numbers.
"""

import dataclasses
import hashlib
import math
import os
import platform
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import fields
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import optax.contrib
from jaxtyping import PyTree

from gdjax import machine
from gdjax.errors import InputError, StoreError
from gdjax.problems.problem import Measure, Problem
from gdjax.sweeps.axes import Axes, axes, together
from gdjax.sweeps.factories import describe, optimizer_from, problem_from
from gdjax.sweeps.specification import Specification
from gdjax.sweeps.tiles import Work


def identity(work: Work) -> dict[str, Any]:
    """What must be equal for two sweeps to be the same."""
    what = work.sweep
    written = {
        "problem": dict(what.problem.provenance) if what.problem.provenance else "user's own",
        "axes": {
            dim: {axis: values.tolist() for axis, values in along.items()}
            for dim, along in what.axes.dimensions.items()
        },
        "optimizer": describe(what.optimizer),
        "readout": what.readout and _place(what.readout),
        "measures": {
            name: {"every": measure.every, "data_hash": hash_of(measure.data)}
            for name, measure in what.watched.items()
        },
    }
    return {
        **{f.name: written.get(f.name, getattr(what, f.name)) for f in fields(what)},
        "samples": what.problem.samples,
        "baseline": what.problem.baseline,
        "slab": {"width": work.slab.width, "devices": len(work.slab.devices)},
        "data_hash": hash_of(what.problem.data),
        "program_hash": work.program_hash(),
    }


# What a record may name besides what `factories` lists.
READOUTS = {
    f"{made.__module__}.{made.__qualname__}": made
    for made in (optax.contrib.schedule_free_eval_params,)
}


def _place(function):
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return f"{getattr(function, '__module__', '')}.{name}"


def _readout(said, where):
    if said is None or (isinstance(said, str) and said in READOUTS):
        return said and READOUTS[said]
    raise StoreError(
        f"{where}: its sweep looked at parameters through {said!r:.80}, which no record may name; "
        f"call gdjax.sweep with the arguments and the store of then to go on"
    )


def identity_of(attributes: Mapping[str, Any], where: Any) -> dict[str, Any]:
    """What a store says its sweep is.

    Args:
        attributes: the store's.
        where: of which store, for messages.

    Raises:
        StoreError: it is none of a sweep.
    """
    said = attributes.get("identity")
    if not isinstance(said, dict) or not {"axes", "slab", "program_hash"} <= set(said):
        raise StoreError(f"{where}: was not written by a sweep")
    wrong = [name for name, right in _EXPECTED.items() if not right(said.get(name))]
    if wrong:
        raise StoreError(
            f"{where}: its record says {wrong[0]} = {said.get(wrong[0])!r:.80}, which no sweep "
            f"has; take the store from where it was written"
        )
    _check_names(said, where)
    return said


def _check_names(said, where):
    """Make sure that a store has the axes that its record speaks of."""
    layout = said.get("layout")
    if layout is None:  # of a sweep in memory, whose arrays were made from its axes
        return
    alongs = said["axes"].values()
    named = {axis for along in alongs if isinstance(along, dict) for axis in along}
    strange = (set(said["axes"]) ^ set(layout["tile"])) | (named - set(layout["coordinates"]))
    if strange:
        raise StoreError(
            f"{where}: its record speaks of {min(strange)!r:.80}, which is no axis of its arrays; "
            f"take the store from where it was written"
        )


def _whole(value: Any, least: int, most: int = 2**32 - 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


# What is used of an identity besides what `Specification` checks.
_EXPECTED: Mapping[str, Callable[[Any], bool]] = {
    "axes": lambda said: isinstance(said, dict) and len(said) > 0,
    "steps": lambda said: _whole(said, 0),
    "batch_size": lambda said: said is None or _whole(said, 1),
    "root": lambda said: _whole(said, 0),
    "optimizer": lambda said: (
        isinstance(said, dict)
        and isinstance(said.get("name"), str)
        and isinstance(said.get("keywords"), dict)
    ),
    "slab": lambda said: (
        isinstance(said, dict) and all(_whole(said.get(name), 1) for name in ("width", "devices"))
    ),
}


def axes_of(said: Mapping[str, Any], where: Any) -> Axes:
    """The axes of a sweep from its identity.

    Raises:
        StoreError: they can be of no sweep.
    """
    try:
        return axes(**{dim: together(**along) for dim, along in said["axes"].items()})
    except (InputError, TypeError, AttributeError) as error:
        raise StoreError(f"{where}: its axes cannot be those of a sweep ({error})") from error


def problem_of_identity(
    said: Mapping[str, Any], where: Any, problem: Problem | None = None
) -> Problem:
    """The problem of a sweep, with the data that it had: the one way to it from a store.

    Args:
        said: the sweep's identity.
        where: of which store, for messages.
        problem: the sweep's, where it is not made again from its record.

    Raises:
        StoreError: it has to be given, or its data are not those of the sweep.
    """
    if problem is None:
        problem = problem_from(said["problem"], where)
    elif not isinstance(problem, Problem):
        raise InputError(f"problem = {problem!r:.80}, expected a gdjax.Problem")
    here, recorded = hash_of(problem.data), said.get("data_hash")
    if here != recorded:
        raise StoreError(
            f"{where}: its sweep had other data than this problem (data_hash: stored "
            f"{recorded!r:.80}, here {here!r}); give the problem with the data that were used: "
            f"problem=..."
        )
    return problem


def specification_of(
    said: Mapping[str, Any],
    where: Any,
    problem: Problem | None = None,
    optimizer: Callable | None = None,
) -> Specification:
    """The specification of a stored sweep.

    Args:
        said: its identity.
        where: of which store, for messages.
        problem: the sweep's, where it was the user's own.
        optimizer: the sweep's, where it was.

    Raises:
        StoreError: a problem or an optimizer that has to be given, or has other data or measures;
            a record that no sweep can have.
    """
    problem = problem_of_identity(said, where, problem)
    read: dict[str, Any] = {
        "problem": problem,
        "axes": axes_of(said, where),
        "optimizer": optimizer_from(said["optimizer"], where) if optimizer is None else optimizer,
        "measures": _measures(said.get("measures", {}), problem, where),
        "readout": _readout(said.get("readout"), where),
    }
    plain = {f.name: said[f.name] for f in fields(Specification) if f.name in said}
    if plain.get("bound") == "inf":  # as JSON has it
        plain["bound"] = math.inf
    try:
        return Specification(**{**plain, **read})
    except InputError as error:
        raise StoreError(f"{where}: its record does not fit its problem: {error}") from error


def _measures(said: Any, problem: Problem, where: Any) -> dict[str, Measure]:
    measures = {}
    for name, cadence in said.items() if isinstance(said, Mapping) else ():
        if name not in problem.measures:
            raise StoreError(
                f"{where}: its sweep watched {name!r:.80}, which is no measure of the problem; "
                f"give a problem that has it: dataclasses.replace(problem, measures=...)"
            )
        every = cadence.get("every") if isinstance(cadence, Mapping) else cadence
        try:
            measures[name] = dataclasses.replace(problem.measures[name], every=every)
        except InputError as error:
            raise StoreError(f"{where}: its measure {name!r:.80}: {error}") from error
    return measures


def information(work: Work) -> dict[str, Any]:
    """What explains a tile's numbers besides: versions, device, source revision."""
    device = work.slab.devices[0]
    return {
        "device": f"{len(work.slab.devices)} x {device.device_kind}",
        "platform": device.platform,
        **({"cpu_threads": cpu_threads()} if device.platform == "cpu" else xla_flags()),
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


# What decides whether a program on an accelerator has the same bits again.
XLA_FLAGS = (
    "xla_gpu_deterministic_ops",
    "xla_gpu_exclude_nondeterministic_ops",
    "xla_gpu_autotune_level",
    "xla_gpu_load_autotune_results_from",
)


def xla_flags() -> dict[str, str]:
    """Flags of XLA on which the bits of an accelerator's results depend, as they are set.

    Without deterministic operations, sums may be taken in another order at each call; with
    autotuning, another kernel may be chosen in each process. What is not set is left out.
    """
    given = {}
    for entry in os.environ.get("XLA_FLAGS", "").split():
        name, _, value = entry.lstrip("-").partition("=")
        if name in XLA_FLAGS:
            given[name] = value or "true"
    return given


def _version(package):
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # run from a folder, without having been installed
        return "not installed"


def hash_of(tree: PyTree) -> str:
    """Content hash of arrays: their places, shapes, types and bytes; 16 hex digits."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.asarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).view(np.uint8).data if array.size else b"")
    return digest.hexdigest()[:16]


def revision() -> str:
    """Commit of the source that runs, "-dirty" if it was changed; "release" outside a checkout."""
    source = Path(__file__)
    # An installed package may lie in somebody else's checkout, untracked.
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
