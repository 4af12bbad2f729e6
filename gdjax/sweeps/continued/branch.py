"""Branches: descents that leave a stored run at a step with changed settings.

Up to step t, the run is recomputed, bitwise equal; from step t on, each branch has its own values.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import xarray as xr

from gdjax.base.arguments import check_type
from gdjax.base.errors import InputError
from gdjax.problems.problem import Problem
from gdjax.stores.location import StoreLike
from gdjax.sweeps.axes import BATCH_SIZE, Axes, AxisValue, position
from gdjax.sweeps.check import MAX_PARAM_BYTES, Asked
from gdjax.sweeps.continued.branch_spec import TRUNK_SETTINGS, BranchSpec, branch_axes
from gdjax.sweeps.continued.stored import StoredSweep
from gdjax.sweeps.executor import compute
from gdjax.sweeps.spec import Sweep


def branch(
    store: StoreLike,
    at: Mapping[str, AxisValue],
    axes: Axes,
    *,
    perturb: str = "direction",
    problem: Problem | None = None,
    make_optimizer: Callable | None = None,
    to: StoreLike | None = None,
    devices: Sequence[jax.Device] | None = None,
    max_param_bytes: int = MAX_PARAM_BYTES,
    client: Any = None,
    allow_unverified: bool = False,
    **changes: Any,
) -> xr.Dataset:
    """Continue a stored run from given steps with changed settings or a perturbation.

        w'_t = w_t + d,   |d| = perturbation

    The run is recomputed up to step t, at the cost of t steps of one slab. The carry at that step
    includes the optimizer state and the position in the order of mini-batches. A branch without
    perturbation and with the settings of the run is bitwise equal to the run if the program is that
    of the sweep.

    Args:
        store: path or URL of the stored sweep, which is not modified.
        at: run to continue, as values by axis name, equal to those of the grid within rounding.
        axes: axes of the branches: `branch_step` (step at which a branch leaves the run; one
            program is compiled per step), `perturbation` (norm of the perturbation),
            `perturbation_seed` (its direction), and any settings to vary instead of those of the
            run.
        perturb: kind of perturbation: "direction" (a random direction in parameter space) or
            "one_weight".
        problem: problem of the sweep; required if it was user-defined.
        make_optimizer: optimizer factory of the sweep; required if it was user-defined.
        to: path or URL of a store for the branches; None keeps them in memory.
        devices: devices to compute on; None for all local devices.
        max_param_bytes: maximum number of bytes of parameters to keep in memory without a store.
        client: Dask client whose workers compute the tiles of `to`.
        allow_unverified: whether to go on if programs cannot be compared, as in `resume`.
        changes: settings of the branches that differ from those of the sweep, by the names of its
            arguments, such as `num_steps` (counted from the start of the run) or `batch_size`,
            which applies from step t on. The others remain those of the sweep.

    Returns:
        Dataset over `axes`, the remaining axes of the sweep as dimensions of length 1, and `step`.
        Records before the step of a branch are NaN.

    Examples:
        >>> import tempfile, optax
        >>> from gdjax import problems
        >>> from gdjax.sweeps import axes, sweep
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     rates = axes(learning_rate=[0.01, 0.1], seed=range(3))
        ...     _ = sweep(problems.bowl([1.0, 9.0]), rates, 20, store=f"{folder}/s")
        ...     pushed = axes(branch_step=[0, 10], perturbation=[0.0, 1.0])
        ...     runs = branch(f"{folder}/s", {"learning_rate": 0.1, "seed": 1}, pushed)
        >>> runs.cost.sel(branch_step=10, perturbation=0).isel(step=-1).values.ravel().size
        1
    """
    check_type("axes", axes, Axes, "gd.axes(branch_step=[10, 100])")
    if fixed := changes.keys() - Sweep.__dataclass_fields__ | {"root_seed"} & changes.keys():
        raise InputError(
            f"branch: {min(fixed)} cannot be changed; expected settings of a sweep, such as "
            f"num_steps or batch_size"
        )
    stored = StoredSweep(store, problem, make_optimizer, allow_unverified)
    if "trunk" in stored.identity:
        raise InputError(
            f"store = {str(store)!r} contains branches; branch from the original sweep with a "
            f"later branch_step"
        )
    index = position(stored.axes, at)
    sweep = stored.sweep
    stored.run(index)  # raises an error if the run is not stored
    trunk = sweep.axes.box(tuple(np.array([i]) for i in index)).first_values
    settings: dict[str, Any] = {**sweep.settings, **changes, "axes": branch_axes(axes, trunk)}
    if settings["batch_size"] is None and BATCH_SIZE not in settings["axes"].by_name:
        settings["replacement"] = False
    same_eval = settings["eval_params_fn"] == sweep.eval_params_fn
    if sweep.stop_when_converged and not same_eval:
        raise InputError(
            "eval_params_fn: expected that of the sweep, since it determines when its runs stop "
            "(stop_when_converged); leave it out"
        )
    before = {name: getattr(sweep, name) for name in TRUNK_SETTINGS}
    trunk_settings = {n: v for n, v in before.items() if not np.array_equal(v, settings[n])}
    spec = BranchSpec(**settings, trunk=trunk, perturb=perturb, trunk_settings=trunk_settings)
    where = (to, devices, max_param_bytes, client, allow_unverified)
    return compute(Asked(spec, *where))
