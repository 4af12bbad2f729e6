"""Checks of a sweep before any computation.

check(Asked) -> Checked     errors of arguments, functions, axes and memory
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from gdjax.base import keys, machine, progress, slabs
from gdjax.base.arguments import check_flag, check_whole
from gdjax.base.errors import InputError, warn
from gdjax.base.machine import check_bytes
from gdjax.descent.batches import Order
from gdjax.problems.checks import check_can_run
from gdjax.problems.mean_check import mean_checks
from gdjax.problems.optimizers import cost_type, name_of
from gdjax.stores.location import Bucket, Folder, StoreLike, locate
from gdjax.stores.reader import read_root_of_sweep
from gdjax.stores.schema import Root
from gdjax.sweeps import identity
from gdjax.sweeps.binding import by_role, check_effects, numeric_roles
from gdjax.sweeps.checkpoint import Start
from gdjax.sweeps.program import Program, programs_of, tree_nbytes
from gdjax.sweeps.spec import Sweep

MAX_PARAM_BYTES = 2**30  # maximum size of parameters kept in memory without a store


@dataclass(frozen=True, eq=False)
class Asked:
    """A sweep, and where it is to be computed and stored.

    The arguments from `store` to `allow_unverified` are those of `gd.sweep`.

    Args:
        sweep: the sweep.
        stored: identity of a store whose tiles and arrays are reused; None for that of `store`, if
            it exists.
        start: states from which runs start; None for those of the sweep.
        root: root of the store, if it has been read.
    """

    sweep: Sweep
    store: StoreLike | None = None
    devices: Sequence[jax.Device] | None = None
    max_param_bytes: int = MAX_PARAM_BYTES
    client: object | None = None
    allow_unverified: bool = False
    stored: Mapping[str, Any] | None = None
    start: Start | None = None
    root: Root | None = None

    @property
    def location(self) -> Folder | Bucket:
        """Location of the store."""
        return locate(self.store)


@dataclass(frozen=True, eq=False)
class Checked:
    """A sweep without errors.

    Args:
        asked: what is to be computed.
        programs: programs of the sweep, one for each combination of static values.
        devices: devices that compute them.
        stored: identity of the store, if it exists, or of one whose tiles and arrays are reused.
        keeps_carry: whether the state of runs for further steps is kept.
        root: root of the store, if it exists and has been read.
    """

    asked: Asked
    programs: tuple[Program, ...]
    devices: tuple[jax.Device, ...]
    stored: Mapping[str, Any] | None
    keeps_carry: bool
    root: Root | None = None

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Identity of the sweep, by which its stored numbers are continued."""
        return {**identity.identity(self.asked.sweep), "continuable": self.keeps_carry}


def check(asked: Asked) -> Checked:
    """Check whether a sweep can be computed, and return its programs."""
    sweep, store = asked.sweep, asked.store
    _check_place(asked)
    if jax.process_count() > 1:
        raise InputError(
            f"sweep: this is one of {jax.process_count()} processes of jax.distributed, all of "
            f"which would compute the same runs; start one process, and use the others as Dask "
            f"workers: client=dask.distributed.Client(...)"
        )
    check_can_run("sweep", sweep.problem.data)
    if asked.client is None:
        mention_cores()
    devices = tuple(jax.local_devices() if asked.devices is None else asked.devices)
    desc = f"tracing for {sweep.axes.runs:,} runs of {sweep.num_steps:,} steps"
    with progress.bar(desc, total=1, unit="sweep", delay=0):
        programs = programs_of(sweep, devices, asked.start or sweep.start())
        for program in programs:
            check_program(program)
    stored, root = asked.stored, asked.root
    if stored is None and store is not None:
        root = read_root_of_sweep(asked.location) if root is None else root
        if root is not None:
            stored = identity.checked_identity(root.identity, store)
    keeps_carry = store is not None and sweep.continuable  # only a store can be extended
    if keeps_carry is None and stored is not None:
        keeps_carry = stored.get("continuable") is True
    elif keeps_carry is None:
        keeps_carry = all(map(_is_carry_small, programs))
    programs = tuple(replace(program, keeps_carry=keeps_carry) for program in programs)
    return Checked(asked, programs, devices, stored, keeps_carry, root)


def _check_place(asked):
    """Check where a sweep is to be computed and stored."""
    check_flag("allow_unverified", asked.allow_unverified)
    if asked.store is not None:
        asked.location  # noqa: B018 (raises an error unless it is a path, a URL or a location)
    remedy = ", in bytes, such as 2**30"
    check_whole("max_param_bytes", asked.max_param_bytes, 0, math.inf, remedy=remedy)
    if asked.client is not None and (asked.store is None or asked.devices is not None):
        raise InputError(
            "client: requires a store that all workers can access (store=...) and uses the "
            "devices of the workers; leave devices out"
        )
    if asked.client is not None and not hasattr(asked.client, "submit"):
        raise InputError(f"client = {asked.client!r:.80}, expected a dask.distributed.Client")
    devices = asked.devices
    is_list = isinstance(devices, Sequence) and devices and not isinstance(devices, str)
    is_valid = is_list and all(isinstance(device, jax.Device) for device in devices)
    if devices is not None and not is_valid:
        raise InputError(
            f"devices = {devices!r:.80}, expected a list of devices, such as "
            f"jax.devices('cpu')[:1]; leave it out to use all local devices"
        )


def _is_carry_small(program: Program) -> bool:
    """Return whether the optimizer and metric states are no larger than the results of a run."""
    facts, metrics = program.facts, program.facts.problem.metrics
    states = [
        facts.traces[f"metrics.{name}.init"].results for name in metrics if metrics[name].init
    ]
    numbers = len(metrics) - len(facts.array_metrics) + 2  # cost and gradient
    record = numbers * np.dtype(cost_type(facts.params)).itemsize
    results = tree_nbytes(facts.params) + record * len(program.schedule.recorded_steps())
    return tree_nbytes((facts.opt_state, states)) <= results


def check_program(program: Program) -> None:
    """Check a program independently of its slabs."""
    facts, problem, root_seed = program.facts, program.facts.problem, program.sweep.root_seed
    check_effects(facts.traces, program.roles, name_of(facts.make_optimizer))
    check_params_fit(facts.params, min(map(slabs.memory_limit, program.devices)))
    if program.batch_size is not None:
        Order((keys.run_keys(root_seed).order,), problem.samples, program.batch_size)
    # Whether the cost is a mean over samples is checked at random parameters, which need no
    # additional program. If the cost is not finite there, the initial parameters are used below.
    first, numeric = program.axes.first_values, numeric_roles(program.roles)
    settings = by_role(program.roles, {axis: first[axis] for axis in first if axis in numeric})
    of_cost, largest = settings["cost"], program.largest_microbatch
    is_mean = mean_checks(problem, facts.params, of_cost, facts.model_state, largest)
    if not is_mean():
        begin = jax.jit(partial(problem.begin, **settings["init"]))
        start, model_state = begin(keys.run_keys(root_seed).init)
        mean_checks(problem, start, of_cost, model_state, largest)()


def check_params_fit(params: PyTree, limit: int) -> None:
    """Check that parameters and gradient fit in memory."""
    leaves = jax.tree.leaves(params)
    check_bytes(
        f"params: {sum(leaf.size for leaf in leaves):,} numbers and their gradient",
        2 * sum(leaf.size * leaf.dtype.itemsize for leaf in leaves),
        "a device",
        limit,
        "choose a smaller problem, such as a network of smaller widths",
    )


@lru_cache
def mention_cores() -> None:
    """Warn once if only one of several CPU cores is used."""
    cores = machine.cores()
    devices = jax.local_devices()
    if cores > 1 and len(devices) == 1 and devices[0].platform == "cpu":
        warn(
            f"sweep runs on one CPU device; with jax.config.update('jax_num_cpu_devices', {cores}) "
            f"before the first use of JAX it would use all {cores} cores, up to {cores} times as "
            f"fast"
        )
