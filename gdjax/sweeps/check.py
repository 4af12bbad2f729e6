"""Checks of a sweep before any computation.

check(plan) -> plan     errors of arguments, functions, axes and memory
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache, partial

import jax
import numpy as np
from jaxtyping import PyTree

from gdjax.base import keys, machine, slabs
from gdjax.base.arguments import check_flag, check_whole
from gdjax.base.errors import InputError, warn
from gdjax.base.machine import format_bytes
from gdjax.descent.batches import Order
from gdjax.descent.functions import name_of, one_update
from gdjax.descent.step import cost_type
from gdjax.descent.validation import check_eval_params_fn
from gdjax.problems.keywords import declared
from gdjax.problems.validation import check_can_run, check_problem, check_shapes
from gdjax.stores.reader import read_root_of_sweep
from gdjax.stores.writer import check_continuable
from gdjax.sweeps.binding import check_effect, trace_axes
from gdjax.sweeps.identity import identity_of
from gdjax.sweeps.plans import Plan
from gdjax.sweeps.program import Program, programs_of, remembered, tree_nbytes


def check(plan: Plan) -> Plan:
    """Check whether a sweep can be computed, and complete its plan except for programs."""
    sweep, store, client = plan.sweep, plan.store, plan.client
    _check_place(plan)
    if jax.process_count() > 1:
        raise InputError(
            f"sweep: this is one of {jax.process_count()} processes of jax.distributed, all of "
            f"which would compute the same runs; start one process, and use the others as Dask "
            f"workers: client=dask.distributed.Client(...)"
        )
    check_can_run("sweep", sweep.problem.data)
    if client is None:
        mention_cores()
    devices = tuple(jax.local_devices() if plan.devices is None else plan.devices)
    programs = programs_of(sweep, devices)
    for program in programs:
        check_program(program)
    stored = plan.stored
    if stored is None and store is not None:
        root = read_root_of_sweep(plan.location)
        if root is not None:
            attributes = root.document["attributes"]
            check_continuable(plan.location, attributes["gdjax_format"])
            stored = identity_of(attributes, store)
    keeps_carry = store is not None and sweep.continuable  # only a store can be extended
    if keeps_carry is None and stored is not None:
        keeps_carry = stored.get("continuable") is True
    elif keeps_carry is None:
        keeps_carry = all(map(_is_carry_small, programs))
    start = plan.start or sweep.start()
    return replace(plan, devices=devices, start=start, keeps_carry=keeps_carry, stored=stored)


def _check_place(plan):
    """Check where a sweep is to be computed and stored."""
    check_flag("allow_unverified", plan.allow_unverified)
    if plan.store is not None:
        plan.location  # noqa: B018 (raises an error unless it is a path, a URL or a location)
    remedy = ", in bytes, such as 2**30"
    check_whole("max_param_bytes", plan.max_param_bytes, 0, math.inf, remedy=remedy)
    if plan.client is not None and (plan.store is None or plan.devices is not None):
        raise InputError(
            "client: requires a store that all workers can access (store=...) and uses the "
            "devices of the workers; leave devices out"
        )
    if plan.client is not None and not hasattr(plan.client, "submit"):
        raise InputError(f"client = {plan.client!r:.80}, expected a dask.distributed.Client")
    devices = plan.devices
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
    check_effect(program.initial.idle, "init")
    check_params_fit(program.params, min(map(slabs.memory_limit, program.devices)))
    _check_functions(program)


@remembered
def _check_functions(program: Program) -> None:
    """Check the functions of the user, once for all equal programs of a problem."""
    problem, grid, roles = program.problem, program.axes, program.roles
    params, model_state, root_seed = program.params, program.model_state, program.sweep.root_seed
    if program.batch_size is not None:
        Order((keys.run_keys(root_seed).order,), problem.samples, program.batch_size)
    settings = program.settings
    # Whether the cost is a mean over samples is checked at random parameters, which need no
    # additional program. If the cost is not finite there, the initial parameters are used below.
    check_mean = check_shapes(problem, params, settings["cost"], model_state=model_state)
    inputs = params, problem.data, program.supplied
    idle = trace_axes(program.cost, "cost", roles, grid, *inputs).idle
    evaluations = [metric.function for metric in problem.metrics.values()]
    evaluations += [] if problem.evaluation is None else [problem.evaluation]
    used = {keyword for function in evaluations for keyword in declared(function)}
    check_effect(tuple(axis for axis in idle if roles[axis].keyword not in used), "the cost")
    one_step = partial(one_update, program.make_optimizer)
    idle = trace_axes(one_step, "optimizer", roles, grid, params).idle
    check_effect(idle, name_of(program.make_optimizer))
    check_eval_params_fn(program.eval_params_fn, program.opt_state, params)
    program.array_metrics  # noqa: B018 (raises if a metric is invalid)
    if not check_mean():
        begin = jax.jit(partial(problem.begin, **settings["init"]))
        start, model_state = begin(keys.run_keys(root_seed).init)
        check_problem(problem, start, settings["cost"], model_state=model_state)


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
