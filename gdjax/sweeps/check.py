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

from gdjax.base import keys, machine, slabs
from gdjax.base.arguments import check_flag, check_whole
from gdjax.base.errors import InputError, warn
from gdjax.base.machine import format_bytes
from gdjax.descent.batches import Order
from gdjax.descent.functions import name_of
from gdjax.descent.step import cost_type
from gdjax.descent.validation import check_eval_params_fn
from gdjax.problems.keywords import declared, given_to
from gdjax.problems.traces import results_of
from gdjax.problems.validation import (
    check_can_run,
    check_params,
    check_problem,
    check_role,
    check_shapes,
)
from gdjax.stores.location import Bucket, Folder, StoreLike, locate
from gdjax.stores.reader import read_root_of_sweep
from gdjax.sweeps import identity
from gdjax.sweeps.binding import check_effect, require_numeric_axes, unused_axes
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
    """

    sweep: Sweep
    store: StoreLike | None = None
    devices: Sequence[jax.Device] | None = None
    max_param_bytes: int = MAX_PARAM_BYTES
    client: object | None = None
    allow_unverified: bool = False
    stored: Mapping[str, Any] | None = None
    start: Start | None = None

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
    """

    asked: Asked
    programs: tuple[Program, ...]
    devices: tuple[jax.Device, ...]
    stored: Mapping[str, Any] | None
    keeps_carry: bool

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
    programs = programs_of(sweep, devices, asked.start or sweep.start())
    for program in programs:
        check_program(program)
    stored = asked.stored
    if stored is None and store is not None:
        root = read_root_of_sweep(asked.location)
        if root is not None:
            stored = identity.checked_identity(root.identity, store)
    keeps_carry = store is not None and sweep.continuable  # only a store can be extended
    if keeps_carry is None and stored is not None:
        keeps_carry = stored.get("continuable") is True
    elif keeps_carry is None:
        keeps_carry = all(map(_is_carry_small, programs))
    programs = tuple(replace(program, keeps_carry=keeps_carry) for program in programs)
    return Checked(asked, programs, devices, stored, keeps_carry)


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
    metrics, params = program.problem.metrics, program.params
    states = [
        jax.eval_shape(metric.init, params, metric.data)
        for metric in metrics.values()
        if metric.init
    ]
    numbers = sum(not metric.is_array for metric in metrics.values()) + 2  # cost and gradient
    record = numbers * np.dtype(cost_type(params)).itemsize
    results = tree_nbytes(params) + record * len(program.schedule.recorded_steps())
    return tree_nbytes((program.opt_state, states)) <= results


def check_program(program: Program) -> None:
    """Check a program independently of its slabs."""
    problem, roles, traced, settings = (
        program.problem,
        program.roles,
        program.functions,
        program.settings,
    )
    params, model_state, root_seed = program.params, program.model_state, program.sweep.root_seed
    check_params(params, "init: ")
    check_effect(unused_axes(traced["init"], "init", roles), "init")
    check_params_fit(params, min(map(slabs.memory_limit, program.devices)))
    if program.batch_size is not None:
        Order((keys.run_keys(root_seed).order,), problem.samples, program.batch_size)
    # Whether the cost is a mean over samples is checked at random parameters, which need no
    # additional program. If the cost is not finite there, the initial parameters are used below.
    results = results_of(traced)
    options = {"model_state": model_state, "results": results}
    if "cost" not in results:
        _check_untraceable_cost(program)
    check_mean = check_shapes(problem, params, settings["cost"], **options)
    evaluations = [metric.function for metric in problem.metrics.values()]
    evaluations += [] if problem.evaluation is None else [problem.evaluation]
    used = {keyword for function in evaluations for keyword in declared(function)}
    idle = unused_axes(traced["cost"], "cost", roles)
    check_effect(tuple(axis for axis in idle if roles[axis].keyword not in used), "the cost")
    program.opt_state  # noqa: B018 (raises if the optimizer is invalid)
    idle = unused_axes(traced["optimizer"], "optimizer", roles)
    check_effect(idle, name_of(program.make_optimizer))
    point = traced["eval_params_fn"].results if "eval_params_fn" in traced else None
    check_eval_params_fn(program.eval_params_fn, program.opt_state, params, point)
    program.array_metrics  # noqa: B018 (raises if a metric is invalid)
    if not check_mean():
        begin = jax.jit(partial(problem.begin, **settings["init"]))
        start, model_state = begin(keys.run_keys(root_seed).init)
        options = {"model_state": model_state, "results": results}
        check_problem(problem, start, settings["cost"], **options)


def _check_untraceable_cost(program):
    """Check that a cost that could not be traced can be called, with numbers or with axes."""
    problem, settings = program.problem, program.settings["cost"]
    available = {
        "key": keys.run_keys(0).noise,
        "step": np.int32(0),
        "model_state": program.model_state,
    }
    supplied = {name: available[name] for name in given_to(problem.cost)}
    check_role("cost", problem, program.params, settings, program.model_state)
    data = () if problem.data is None else (problem.data,)

    def cost(params, data, supplied, /, **settings):
        return problem.cost(params, *data, **supplied, **settings)

    inputs = program.params, data, supplied
    require_numeric_axes(cost, "cost", program.roles, program.axes, *inputs)


def check_params_fit(params: PyTree, limit: int) -> None:
    """Check that parameters and gradient fit in memory."""
    leaves = jax.tree.leaves(params)
    need = 2 * sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
    if need > limit:
        raise InputError(
            f"params: {sum(leaf.size for leaf in leaves):,} numbers and their gradient need "
            f"{format_bytes(need)}, but a device has {format_bytes(limit)}; choose a "
            f"smaller problem, such as a network of smaller widths"
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
