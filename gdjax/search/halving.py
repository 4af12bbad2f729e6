"""Successive halving: early stopping of the worst runs of a grid.

    successive halving:  n runs to rungs[0],  n / k to rungs[1],  n / k^2 to rungs[2],  ...

Here k is the reduction factor:

>>> from gdjax import problems
>>> from gdjax.sweeps import axes
>>> rates = axes(learning_rate=[0.01 * i for i in range(1, 17)], seed=range(2))
>>> runs = successive_halving(problems.bowl([1.0, 9.0]), rates, rungs=(4, 16, 64))
>>> [int((runs.ended_at == steps).sum()) for steps in (4, 16, 64)]
[24, 6, 2]
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import xarray as xr
from jaxtyping import PyTree

from gdjax import machine
from gdjax.errors import InputError
from gdjax.problems.problem import Metric, Problem
from gdjax.search.rungs import run_rungs
from gdjax.search.spec import SEARCH_VARIABLES, SearchSpec, check_rungs
from gdjax.stores.schema import Variable
from gdjax.sweeps.axes import Axes
from gdjax.sweeps.dataset import nbytes
from gdjax.sweeps.executor import execute
from gdjax.sweeps.preflight import FEWER, MAX_PARAM_BYTES, Plan, Target, preflight, size


def successive_halving(
    problem: Problem,
    axes: Axes,
    *,
    rungs: Sequence[int] = (100, 400, 1600),
    reduction_factor: int | None = 4,
    num_brackets: int | None = 1,
    metric: str = "cost",
    direction: str = "minimize",
    make_optimizer: Callable[..., optax.GradientTransformation] = optax.sgd,
    batch_size: int | None = None,
    replacement: bool = False,
    record_every: int | None = None,
    record_samples: int | None = None,
    snapshot_every: int | None = None,
    metrics: Mapping[str, Metric] | None = None,
    eval_params_fn: Callable[[PyTree, PyTree], PyTree] | None = None,
    root_seed: int = 0,
    divergence_threshold: float = 1e12,
    gradient_tolerance: float = 1e-5,
    store: str | Path | None = None,
    storage_options: Mapping[str, Any] | None = None,
    devices: Sequence[jax.Device] | None = None,
    max_param_bytes: int = MAX_PARAM_BYTES,
    allow_unverified: bool = False,
) -> xr.Dataset:
    """Run a grid of settings, and after each rung continue only the best runs.

        n runs to rungs[0],   n / k to rungs[1],   n / k^2 to rungs[2], ...

    with k = reduction_factor. After a rung, the runs that continue are packed into as few slabs as
    possible, and continue from their state. Runs that have diverged or stalled, or whose metric is
    NaN, do not continue. Runs with equal values are ordered by their position in the grid. Runs are
    bitwise equal to those of `sweep` with the same `num_steps` and `record_every`.

    Args:
        problem: problem to minimize.
        axes: grid of runs, as in `sweep`.
        rungs: increasing numbers of steps after which runs are compared. The last one is the number
            of steps of the runs that are not ended early.
        reduction_factor: number k; the best 1/k of the runs of a rung continue. Each run is
            compared separately: the seeds of a setting are not averaged. None compares no runs: all
            continue that have not converged, diverged or stalled, so that a large grid takes no
            time for runs that have stopped.
        num_brackets: number of brackets into which the runs are divided at random (Hyperband). The
            runs of bracket b are compared for the first time at rung b, so that runs that improve
            late are not all ended early. Their number is n_b ~ k^s / (s + 1), with s rungs after
            rung b. None for as many brackets as rungs.
        metric: "cost" or a recorded metric, by which runs are compared.
        direction: "minimize" or "maximize".
        make_optimizer: optimizer factory, as in `sweep`.
        batch_size: number of samples per step; None for the whole training set.
        replacement: whether samples are drawn with replacement, as in `sweep`.
        record_every: number of steps between records, a divisor of all rungs; None for their
            greatest common divisor.
        record_samples: number of samples per record; None for all.
        snapshot_every: number of steps between snapshots; None keeps only the final parameters.
        metrics: metrics to record besides the cost; None for those of the problem.
        eval_params_fn: function that gives the parameters at which to record, as in `sweep`.
        root_seed: seed of the whole study, in [0, 2^32).
        divergence_threshold: cost above which a run counts as diverged.
        gradient_tolerance: gradient norm up to which a gradient counts as zero in the outcome.
        store: path or URL of a Zarr store, as in `sweep`; None keeps the result in memory. An
            interrupted search continues when the call is repeated. A tile is kept in memory until
            all of its runs have ended, and then written.
        storage_options: keywords of `obstore.store.from_url`, if `store` is a URL.
        devices: devices to compute on; None for all local devices.
        max_param_bytes: maximum number of bytes of parameters to keep in memory without a store, as
            in `sweep`.
        allow_unverified: whether to go on with a store whose programs cannot be compared, as in
            `resume`.

    Returns:
        Dataset as from `sweep`, with `num_steps = rungs[-1]`. Records after the end of a run are
        NaN, and its parameters and outcome are those at its end. Further variables are `ended_at`,
        the step at which each run ended, and `rung`, the number of the rung at which it ended,
        counted from 0; with several brackets, also `bracket`, that of each run.

    Raises:
        InputError: as in `sweep`. All checks precede any computation.
        StoreError: if the store is in use, damaged beyond repair, or contains another sweep.
        KeyboardInterrupt: on Ctrl-C, after the state has been saved in the store.

    References: Jamieson and Talwalkar 2016, *Non-stochastic best arm identification and
    hyperparameter optimization*. Li et al. 2018, *Hyperband: a novel bandit-based approach to
    hyperparameter optimization*.
    """
    rungs = check_rungs(rungs)
    spec = SearchSpec(
        problem=problem,
        axes=axes,
        num_steps=rungs[-1],
        make_optimizer=make_optimizer,
        batch_size=batch_size,
        replacement=replacement,
        record_every=math.gcd(*rungs) if record_every is None else record_every,
        record_samples=record_samples,
        snapshot_every=snapshot_every,
        metrics=metrics,
        eval_params_fn=eval_params_fn,
        root_seed=root_seed,
        divergence_threshold=divergence_threshold,
        gradient_tolerance=gradient_tolerance,
        continuable=False,
        rungs=rungs,
        reduction_factor=reduction_factor,
        num_brackets=len(rungs) if num_brackets is None else num_brackets,
        metric=metric,
        direction=direction,
    )
    target = Target(
        store, storage_options, devices, max_param_bytes, allow_unverified=allow_unverified
    )
    taken = {*spec.axes.names, *spec.axes.dimensions, *spec.recorded_metrics}
    for name in SEARCH_VARIABLES:
        if name in taken:
            argument = "metrics" if name in spec.recorded_metrics else "axes"
            raise InputError(
                f"{argument}: {name} is reserved in the Dataset of a search; choose another name"
            )
    plan = preflight(spec, target)
    assert isinstance(plan, Plan)  # a search has no client
    plan = _with_search_variables(plan, spec.num_brackets)
    need, limit = nbytes(plan.layout, plan.layout.variables), machine.memory()
    if need > limit:
        raise InputError(
            f"axes: a search keeps the arrays of its {spec.axes.runs:,} runs in memory, which "
            f"needs {size(need)}, but the memory has {size(limit)}; {FEWER}"
        )
    return execute(plan, target, compute_tiles=run_rungs)


def _with_search_variables(plan: Plan, num_brackets: int) -> Plan:
    """Return a plan with the variables of a search."""
    dims = tuple(plan.layout.tile)
    names = {
        "ended_at": (np.int32, "step at which the run ended"),
        "rung": (np.int16, "number of the rung at which the run ended, from 0"),
    }
    if num_brackets > 1:
        names["bracket"] = (np.int16, "number of the rung at which the run is first compared")
    own = {
        name: Variable(dims, dtype, {"long_name": long_name, "units": "1"}, fill_value=-1)
        for name, (dtype, long_name) in names.items()
    }
    layout = dataclasses.replace(plan.layout, variables={**plan.layout.variables, **own})
    return dataclasses.replace(plan, layout=layout)
