"""Many descents as one program.

    sweep -> preflight -> execute -> run_slab -> run_blocks -> block      (docs/how_a_sweep_runs.md)

>>> import jax.numpy as jnp, optax
>>> from gdjax.sweeps.axes import axes
>>> bowl = Problem(init=lambda key: jnp.ones(2), cost=lambda w: jnp.sum(w**2))
>>> runs = sweep(bowl, axes(learning_rate=[0.25, 0.5, 2.0]), 3, make_optimizer=optax.sgd)
>>> runs.cost.isel(step=-1).values.tolist()
[0.03125, 0.0, 1458.0]
"""

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import xarray as xr
from jaxtyping import PyTree

from gdjax.errors import InputError
from gdjax.problems.problem import Metric, Problem, check_problem
from gdjax.problems.validation import check_params
from gdjax.stores.location import locate
from gdjax.stores.schema import check_distinct, check_name
from gdjax.sweeps.axes import Axes, AxisValue, positions
from gdjax.sweeps.dataset import from_named
from gdjax.sweeps.executor import execute
from gdjax.sweeps.preflight import MAX_PARAM_BYTES, Target, preflight
from gdjax.sweeps.spec import SweepSpec


def sweep(
    problem: Problem,
    axes: Axes,
    num_steps: int,
    *,
    make_optimizer: Callable[..., optax.GradientTransformation] = optax.sgd,
    batch_size: int | None = None,
    record_every: int = 1,
    record_samples: int | None = None,
    snapshot_every: int | None = None,
    metrics: Mapping[str, Metric] | None = None,
    eval_params_fn: Callable[[PyTree, PyTree], PyTree] | None = None,
    root_seed: int = 0,
    divergence_threshold: float = 1e12,
    gradient_tolerance: float = 1e-5,
    stop_when_converged: bool = False,
    continuable: bool = False,
    store: str | Path | None = None,
    storage_options: Mapping[str, Any] | None = None,
    width: int | None = None,
    devices: Sequence[jax.Device] | None = None,
    max_param_bytes: int = MAX_PARAM_BYTES,
    client: Any = None,
) -> xr.Dataset:
    """Descend from every point of a grid of settings, as one compiled program.

    Args:
        problem: what is minimized.
        axes: the grid: `gd.axes(learning_rate=[...], seed=range(8))`. An axis is `seed`,
            `data_seed`, `noise_seed`, `batch_size`, or a keyword of the problem's `init`, its
            `cost` or the optimizer factory. For truth values, names and batch sizes, one program
            is compiled per value.
        num_steps: number of steps of each run.
        make_optimizer: factory of the optimizer, called inside the program with the axes it names.
            Fix other arguments with `functools.partial(optax.sgd, momentum=0.9)`.
        batch_size: samples per step; None takes the whole training set. All runs see the same
            order of mini-batches unless `data_seed` is an axis.
        record_every: steps from one record to the next.
        record_samples: samples per record, always the same ones; None takes all.
        snapshot_every: steps from one snapshot of the parameters to the next, a multiple of
            `record_every`; None keeps the final parameters only.
        metrics: what is recorded besides the cost, by name; None takes the problem's.
        eval_params_fn: `eval_params_fn(opt_state, params) -> params`, the parameters at which to
            record, for an optimizer that keeps two points. None takes
            `optax.contrib.schedule_free_eval_params` where the optimizer's state has a
            `ScheduleFreeState`, and otherwise the parameters of the run.
        root_seed: seed of the whole study, in [0, 2^32).
        divergence_threshold: cost above which a run counts as diverged.
        gradient_tolerance: gradient norm up to which a gradient counts as zero in the outcome.
        stop_when_converged: whether a whole-set run stops at a record where its gradient counts as
            zero, and the sweep once every run has stopped or diverged; later records repeat the
            last.
        continuable: whether to keep what each run needs for more steps besides its parameters (the
            optimizer's state and the like), as `carry.*`; see `extend`. Without it, more steps
            begin again at the start.
        store: path or URL of a Zarr store (`s3://bucket/runs.zarr`, `gs://`, `az://`). What it has
            of this sweep already is not computed again. None keeps the result in memory.
        storage_options: of a URL: keywords of `obstore.store.from_url`, such as `region`.
        width: runs that a device computes at a time. None takes the store's, or chooses by memory.
        devices: what to compute on; None takes all local devices.
        max_param_bytes: bytes of parameters and snapshots that are kept in memory without a store;
            more are left out, with a warning.
        client: a Dask client, whose workers then compute the tiles of `store`.

    Returns:
        Dataset with the axes and `step` as dimensions: cost, batch_cost (mini-batches),
        gradient_norm, the metrics, outcome, diverged_at, params.* and snapshots.*. A diverged
        run's costs are +inf from then on; NaN means not recorded.

    Raises:
        InputError: an argument of a wrong type or value, or too little memory or disk; before any
            work is done.
        StoreError: the store is in use, damaged beyond repair, or holds another sweep.
        KeyboardInterrupt: on Ctrl-C, after the state has been saved in the store.
    """
    spec = SweepSpec(
        problem,
        axes,
        num_steps,
        make_optimizer=make_optimizer,
        batch_size=batch_size,
        record_every=record_every,
        record_samples=record_samples,
        snapshot_every=snapshot_every,
        metrics=metrics,
        eval_params_fn=eval_params_fn,
        root_seed=root_seed,
        divergence_threshold=divergence_threshold,
        gradient_tolerance=gradient_tolerance,
        stop_when_converged=stop_when_converged,
        continuable=continuable,
    )
    target = Target(store, storage_options, width, devices, max_param_bytes, client)
    return execute(preflight(spec, target), target)


def compare(
    problems: Mapping[str, Problem | tuple[Problem, Mapping[str, Any]]],
    axes: Axes,
    num_steps: int,
    *,
    make_optimizer: Callable[..., optax.GradientTransformation] = optax.sgd,
    batch_size: int | None = None,
    record_every: int = 1,
    record_samples: int | None = None,
    snapshot_every: int | None = None,
    metrics: Mapping[str, Metric] | None = None,
    eval_params_fn: Callable[[PyTree, PyTree], PyTree] | None = None,
    root_seed: int = 0,
    divergence_threshold: float = 1e12,
    gradient_tolerance: float = 1e-5,
    stop_when_converged: bool = False,
    continuable: bool = False,
    store: str | Path | None = None,
    storage_options: Mapping[str, Any] | None = None,
    width: int | None = None,
    devices: Sequence[jax.Device] | None = None,
    max_param_bytes: int = MAX_PARAM_BYTES,
    client: Any = None,
) -> xr.DataTree:
    """Sweep several problems over the same axes, such as networks of different shapes.

    Args:
        problems: by name, a Problem, or `(Problem, {keyword of sweep: value})` where more than the
            problem differs, such as `batch_size`.
        axes: the grid, as for `sweep`.
        num_steps: number of steps of each run.
        make_optimizer: factory of the optimizer, as for `sweep`.
        batch_size: samples per step; None takes the whole training set.
        record_every: steps from one record to the next.
        record_samples: samples per record; None takes all.
        snapshot_every: steps from one snapshot to the next; None keeps the final parameters only.
        metrics: what is recorded besides the cost; None takes each problem's.
        eval_params_fn: the parameters at which to record, as for `sweep`.
        root_seed: seed of the whole study.
        divergence_threshold: cost above which a run counts as diverged.
        gradient_tolerance: gradient norm up to which a gradient counts as zero in the outcome.
        stop_when_converged: whether whole-set runs stop once their gradient counts as zero.
        continuable: whether to keep what each run needs for more steps, as for `sweep`.
        store: folder or URL under which each problem has its own store; None keeps all in memory.
        storage_options: of a URL, as for `sweep`.
        width: runs that a device computes at a time; None takes the store's, or chooses by memory.
        devices: what to compute on; None takes all local devices.
        max_param_bytes: bytes of parameters per problem that are kept in memory without a store.
        client: a Dask client, as for `sweep`.

    Returns:
        DataTree with a Dataset for each name.

    Raises:
        InputError: as for `sweep`, for any of them, before any work is done; a name that cannot be
            that of a folder.
    """
    shared = {name: value for name, value in locals().items() if name not in ("problems", "store")}
    planned = {}
    if store is not None:
        locate(store, storage_options)  # refuses what is neither a path nor a URL
    if not isinstance(problems, Mapping) or not problems:
        raise InputError(
            f"problems = {problems!r:.80}, expected a mapping of names to problems, such as "
            f"{{'narrow': problem, 'wide': other}}"
        )
    for name, value in problems.items():
        problem, own = value if isinstance(value, tuple) and len(value) == 2 else (value, {})
        check_problem(problem, f"problems[{name!r}]")
        check_name(name, "compare")
        check_distinct(problems, "compare")
        if not isinstance(own, Mapping):
            raise InputError(
                f"problems[{name!r}]: settings = {own!r:.80}, expected keywords of sweep by name, "
                f"such as {{'batch_size': 32}}"
            )
        check_keywords(own)
        settings: dict[str, Any] = {"problem": problem, **shared, **own}
        if store is not None:
            settings["store"] = f"{str(store).rstrip('/')}/{name}"
        targeted = {n: settings.pop(n) for n in Target.__dataclass_fields__ if n in settings}
        target = Target(**targeted)
        planned[name] = preflight(SweepSpec(**settings), target), target
    return xr.DataTree.from_dict({name: execute(*plan) for name, plan in planned.items()})


def check_keywords(settings: Mapping[str, Any]) -> None:
    """Check that settings are keywords of `sweep`.

    Raises:
        InputError: one is not; the message lists the valid ones.
    """
    known = list(inspect.signature(sweep).parameters)
    for name in settings:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise InputError(
                f"sweep: unexpected keyword {name!r}; expected one of {', '.join(known)}.{hint}"
            )


def params_of(dataset: xr.Dataset, like: PyTree, at: Mapping[str, AxisValue]) -> PyTree:
    """Return final parameters of a sweep, or the minima of a census, as a pytree.

    Args:
        dataset: result of `sweep` or of `minima.census`.
        like: parameters of the same structure (arrays, or their shapes), such as
            `problem.init(key)`.
        at: which run: values by axis, those of the grid within rounding. Dimensions without a
            value stay, as leading axes of the arrays.

    Raises:
        InputError: parameters that the sweep has not kept, or of another structure than `like`; a
            value that the grid does not have.
    """
    if not isinstance(dataset, xr.Dataset):
        raise InputError(
            f"dataset = {dataset!r:.80}, expected a Dataset of gd.sweep, or of a census"
        )
    check_params(like, "like: ")
    dims = dataset["outcome"].dims if "outcome" in dataset else ("minimum",)
    grid: dict[Any, Any] = {}
    for dim in dims:
        coords = {name: c for name, c in dataset.coords.items() if c.dims == (dim,)}
        values = {name: np.asarray(coord.values.tolist()) for name, coord in coords.items()}
        grid[dim] = values or {dim: np.arange(dataset.sizes[dim])}
    return from_named("params", like, dataset.isel(positions(Axes(grid), at)))
