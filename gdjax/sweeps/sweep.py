"""Sweeps: many descents compiled as one program (docs/contributing/how_a_sweep_runs.md)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import optax
import xarray as xr
from jaxtyping import PyTree

from gdjax.base.errors import InputError, warn
from gdjax.problems.checks import check_params
from gdjax.problems.metrics import Metric
from gdjax.problems.problem import Problem
from gdjax.problems.run_settings import remember
from gdjax.stores.location import StoreLike
from gdjax.sweeps.axes import Axes, AxisValue, positions
from gdjax.sweeps.check import MAX_PARAM_BYTES, Asked
from gdjax.sweeps.dataset import cost_settings, from_named
from gdjax.sweeps.executor import compute
from gdjax.sweeps.spec import Sweep


def sweep(
    problem: Problem,
    axes: Axes,
    num_steps: int,
    *,
    make_optimizer: Callable[..., optax.GradientTransformation] = optax.sgd,
    batch_size: int | None = None,
    replacement: bool = False,
    record_every: int = 1,
    record_samples: int | None = None,
    snapshot_every: int | None = None,
    metrics: Mapping[str, Metric | Callable[..., Any]] | None = None,
    eval_params_fn: Callable[[PyTree, PyTree], PyTree] | None = None,
    root_seed: int = 0,
    divergence_threshold: float = 1e12,
    gradient_tolerance: float = 1e-5,
    stop_when_converged: bool = False,
    continuable: bool | None = None,
    store: StoreLike | None = None,
    devices: Sequence[jax.Device] | None = None,
    max_param_bytes: int = MAX_PARAM_BYTES,
    client: Any = None,
    allow_unverified: bool = False,
) -> xr.Dataset:
    """Run a descent for each point of a grid of settings, as one compiled program.

    Args:
        problem: problem to minimize.
        axes: grid of runs: `gd.axes(learning_rate=[...], seed=range(8))`. An axis is `seed`,
            `data_seed`, `noise_seed`, `batch_size`, or a keyword of the problem's `init`, its
            `cost` or the optimizer factory. For booleans, names and batch sizes, one program is
            compiled per value.
        num_steps: number of steps of each run.
        make_optimizer: optimizer factory, called inside the program with the values of the axes
            that set its arguments. Fix other arguments with `functools.partial(optax.sgd,
            momentum=0.9)`.
        batch_size: number of samples per step; None for the whole training set. All runs use the
            same order of mini-batches unless `data_seed` is an axis.
        replacement: whether the samples of a mini-batch are drawn independently, with replacement,
            instead of once per pass in a random order.
        record_every: number of steps between records.
        record_samples: number of samples per record, the same samples for all records; None for all
            samples.
        snapshot_every: number of steps between snapshots of the parameters, a multiple of
            `record_every`; None keeps only the final parameters.
        metrics: measurements to record besides the cost, by name: functions of a problem and
            parameters, or a `Metric`; None for those of the problem.
        eval_params_fn: function `eval_params_fn(opt_state, params) -> params` that gives the
            parameters at which to record, for optimizers with separate evaluation parameters. None
            uses `optax.contrib.schedule_free_eval_params` if the optimizer state contains a
            `ScheduleFreeState`, and otherwise the parameters of the run.
        root_seed: seed of the whole study, in [0, 2^32).
        divergence_threshold: cost above which a run counts as diverged.
        gradient_tolerance: gradient norm up to which a gradient counts as zero in the outcome.
        stop_when_converged: whether a full-batch run stops at a record where its gradient counts as
            zero, and a slab stops once each of its runs has stopped or diverged. Later records
            repeat the last one. If runs stop at very different steps,
            `gd.search.successive_halving(..., reduction_factor=None)` takes less time.
        continuable: whether the store keeps the full state of each run (such as the optimizer
            state), so that `extend` can continue it; otherwise `extend` restarts runs. None keeps
            it unless the states of the optimizer and of the metrics are larger than the parameters
            and records of a run together. Without metric states, it is kept for gradient descent
            with or without momentum, and for Adam, whose state has twice the size of the
            parameters, if the records are at least as large as the parameters. For an existing
            store, None means the value of that store.
        store: path or URL of a Zarr store (`s3://bucket/runs.zarr`, `gs://`, `az://`), or its
            location (`gd.stores.locate`). Finished tiles of this sweep are not recomputed. None
            keeps the result in memory.
        devices: devices to compute on; None for all local devices.
        max_param_bytes: maximum number of bytes of parameters and snapshots to keep in memory
            without a store; if exceeded, these are omitted with a warning.
        client: Dask client whose workers compute the tiles of `store`.
        allow_unverified: whether to go on with a store whose programs cannot be compared, as in
            `resume`.

    Returns:
        Dataset with the axes and `step` as dimensions: cost, gradient_norm, the metrics, outcome,
        diverged_at, params.*, snapshots.*, and batch_cost if a step minimizes another cost than
        that of the records, such as that of a mini-batch. The gradient norm is then recorded only
        at the last record. The cost of a run is +inf from the step of divergence on; NaN denotes
        values that were not recorded. The attribute `bits_checked` is "true" if a check of the
        compiled programs found that the bits of a run do not depend on its place among the runs
        that are computed together, "false" or "not checked".

    Raises:
        InputError: before any computation, also if memory or disk is insufficient.
        StoreError: if the store is in use, damaged beyond repair, or contains another sweep.
        KeyboardInterrupt: on Ctrl-C, after the state has been saved in the store.

    Examples:
        >>> import jax.numpy as jnp, optax
        >>> from gdjax.sweeps.axes import axes
        >>> bowl = Problem(init=lambda key: jnp.ones(2), cost=lambda w: jnp.sum(w**2))
        >>> runs = sweep(bowl, axes(learning_rate=[0.25, 0.5, 2.0]), 3, make_optimizer=optax.sgd)
        >>> runs.cost.isel(step=-1).values.tolist()
        [0.03125, 0.0, 1458.0]
    """
    given = locals().copy()
    spec = Sweep(**{name: given[name] for name in Sweep.__dataclass_fields__})
    where = (store, devices, max_param_bytes, client, allow_unverified)
    runs = compute(Asked(spec, *where))
    if np.all(runs["diverged_at"].values == 0):  # without xarray, which would import Dask
        warn(
            "sweep: the cost of every run is not finite or too large at its start; check init and "
            "cost"
        )
    return runs


def params_of(dataset: xr.Dataset, like: PyTree, at: Mapping[str, AxisValue]) -> PyTree:
    """Return the final parameters of a sweep, or those of the minima of a census.

    Args:
        dataset: result of `sweep` or `minima.count_minima`.
        like: pytree of arrays, or of their shapes, with the structure of the parameters, such as
            `problem.init(key)`.
        at: values by axis name, equal to those of the grid within rounding. Dimensions without a
            value become leading axes of the arrays.

    Returns:
        The parameters. Analyses of these arrays bind the settings of the cost that their runs have
        in common, such as a swept weight decay, as `problem.at` does. Arrays that are computed from
        them, such as their first rows, have no settings.

    Examples:
        >>> import jax.numpy as jnp
        >>> from gdjax.sweeps.axes import axes
        >>> bowl = Problem(init=lambda key: jnp.ones(2), cost=lambda w: jnp.sum(w**2))
        >>> runs = sweep(bowl, axes(learning_rate=[0.25, 0.5]), 1)
        >>> params_of(runs, jnp.ones(2), {"learning_rate": 0.25}).tolist()
        [0.5, 0.5]
    """
    is_dataset = isinstance(dataset, xr.Dataset)
    if not is_dataset or not {"outcome", "minimum"} & {*dataset.variables, *dataset.dims}:
        raise InputError(
            f"dataset = {type(dataset).__name__}, expected the Dataset of gd.sweep, or of a census"
        )
    check_params(like, "like: ")
    dims = dataset["outcome"].dims if "outcome" in dataset else ("minimum",)
    grid: dict[Any, Any] = {}
    for dim in dims:
        coords = {name: c for name, c in dataset.coords.items() if c.dims == (dim,)}
        values = {name: np.asarray(coord.values.tolist()) for name, coord in coords.items()}
        grid[dim] = values or {dim: np.arange(dataset.sizes[dim])}
    chosen = dataset.isel(positions(Axes(grid), at))
    params = from_named("params", like, chosen)
    remember(params, cost_settings(chosen))
    return params
