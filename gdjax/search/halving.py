"""Successive halving: early stopping of the worst runs of a grid."""

from collections.abc import Sequence

import jax
import xarray as xr

from gdjax.search.rungs import run_rungs, with_search_variables
from gdjax.search.spec import search_spec
from gdjax.stores.location import StoreLike
from gdjax.sweeps.check import MAX_PARAM_BYTES, Asked, check
from gdjax.sweeps.executor import execute
from gdjax.sweeps.fit import REMEDY, check_memory, fit
from gdjax.sweeps.spec import Sweep


def successive_halving(
    sweep: Sweep,
    rungs: Sequence[int],
    *,
    reduction_factor: int | None = 4,
    num_brackets: int | None = 1,
    metric: str = "cost",
    direction: str = "minimize",
    median_over: str | None = None,
    store: StoreLike | None = None,
    devices: Sequence[jax.Device] | None = None,
    max_param_bytes: int = MAX_PARAM_BYTES,
    allow_unverified: bool = False,
) -> xr.Dataset:
    """Run a sweep, and after each rung continue only the best runs.

        n runs to rungs[0],   n / k to rungs[1],   n / k^2 to rungs[2], ...

    with k = reduction_factor. After a rung, the runs that continue are packed into as few slabs as
    possible, and continue from their state. Runs that have diverged or stalled, or whose metric is
    NaN, do not continue. Runs with equal values are ordered by their position in the grid. Runs are
    bitwise equal to those of `sweep`.

    Args:
        sweep: the runs: `gd.Sweep(problem, axes, num_steps, record_every=100)`.
        rungs: increasing numbers of steps after which runs are compared. Runs that are not ended
            early take `sweep.num_steps`, which is the last rung and may be left out.
        reduction_factor: number k; the best 1/k of the runs of a rung continue. None compares no
            runs: all continue that have not converged, diverged or stalled, so that a large grid
            takes no time for runs that have stopped.
        num_brackets: number of brackets into which the runs are divided at random (Hyperband). The
            runs of bracket b are compared for the first time at rung b, so that runs that improve
            late are not all ended early. Their number is n_b ~ k^s / (s + 1), with s rungs after
            rung b. None for as many brackets as rungs.
        metric: "cost" or a recorded metric, by which runs are compared.
        direction: "minimize" or "maximize".
        median_over: dimension over which the median is compared, such as "seed": the runs of a
            setting then continue or end together, and a run that has ended counts as the worst.
            None compares each run separately.
        store: path or URL of a Zarr store, as in `sweep`; None keeps the result in memory. An
            interrupted search continues when the call is repeated. All arrays are kept in memory;
            a tile is written when all of its runs have ended.
        devices: devices to compute on; None for all local devices.
        max_param_bytes: maximum number of bytes of parameters to keep in memory without a store, as
            in `sweep`.
        allow_unverified: whether to go on with a store whose programs cannot be compared, as in
            `resume`.

    Returns:
        Dataset as from `sweep`. Records after the end of a run are NaN, and its parameters and
        outcome are those at its end. Further variables are `ended_at`, the step at which each run
        ended, and `rung`, the number of the rung at which it ended, counted from 0; with several
        brackets, also `bracket`, that of each run.

    References: Jamieson and Talwalkar 2016, *Non-stochastic best arm identification and
    hyperparameter optimization*. Li et al. 2018, *Hyperband: a novel bandit-based approach to
    hyperparameter optimization*.

    Examples:
        >>> from gdjax import problems
        >>> from gdjax.sweeps import Sweep, axes
        >>> rates = axes(learning_rate=[0.01 * i for i in range(1, 17)], seed=range(2))
        >>> runs = successive_halving(Sweep(problems.bowl([1.0, 9.0]), rates, 64), rungs=(4, 16))
        >>> [int((runs.ended_at == steps).sum()) for steps in (4, 16, 64)]
        [24, 6, 2]
    """
    spec = search_spec(
        sweep,
        rungs,
        reduction_factor=reduction_factor,
        num_brackets=num_brackets,
        metric=metric,
        direction=direction,
        median_over=median_over,
    )
    where = (store, devices, max_param_bytes, None, allow_unverified)
    fitted = with_search_variables(fit(check(Asked(spec, *where))))
    check_memory(fitted.schema, f"a search keeps all runs in memory, also with a store; {REMEDY}")
    return execute(fitted, compute_tiles=run_rungs)
