"""Inputs of the runs of a slab: keys, settings, noise and orders of mini-batches.

They depend only on the settings of each run, through streams of the root seed, and not on those of
other runs in the slab.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Int, Key, PyTree

from gdjax.base import slabs
from gdjax.base.keys import run_keys
from gdjax.descent.batches import Order
from gdjax.descent.block_loop import shared_order
from gdjax.problems.problem import Problem
from gdjax.sweeps.axes import MEASURED_POINT, MEASURED_STEP
from gdjax.sweeps.binding import by_role, numeric_roles
from gdjax.sweeps.spec import Sweep

Values = Mapping[str, np.ndarray]
"""Values of the runs of a slab, by axis name."""


@dataclass(frozen=True, eq=False)
class SlabInputs:
    """Inputs of the runs of a slab.

    Args:
        sweep: the sweep.
        problem: problem with the metrics of the sweep and static settings.
        batch_size: number of samples per step; None for all.
    """

    sweep: Sweep
    problem: Problem
    batch_size: int | None

    @property
    def has_own_order(self) -> bool:
        """Whether each run has a separate order of mini-batches."""
        return self.batch_size is not None and "data_seed" in self.sweep.roles

    @property
    def has_own_noise(self) -> bool:
        """Whether each run has separate random numbers in the cost."""
        return self.problem.random and not {"seed", "noise_seed"}.isdisjoint(self.sweep.roles)

    def initial(self, values: Values, device: jax.Device) -> tuple[PyTree, PyTree]:
        """Return the initialization keys and the settings of a slab of runs."""
        zeros = np.zeros(len(next(iter(values.values()))), np.int64)
        seeds = values.get("seed", values.get(MEASURED_POINT, zeros))
        keys = run_keys(self.sweep.root_seed, seed=seeds)
        return slabs.place((keys.init, self.settings(values, keys.probes)), device)

    def settings(self, values: Values, probes: PyTree) -> dict[str, Any]:
        """Return the settings of runs, with keys under `probes` if a metric needs them.

        Points of `measure` also have their own steps, under `step`.
        """
        roles, metrics = self.sweep.roles, self.problem.metrics.values()
        numeric = {axis: v for axis, v in values.items() if axis in numeric_roles(roles)}
        cast = {a: v.astype(jax.dtypes.canonicalize_dtype(v.dtype)) for a, v in numeric.items()}
        has_probes = any("key" in metric.needs for metric in metrics)
        step = {"step": values[MEASURED_STEP].astype(np.int32)} if MEASURED_STEP in values else {}
        return {**by_role(roles, cast), **step, **({"probes": probes} if has_probes else {})}

    def noise(self, values: Values, device: jax.Device) -> Key[Array, "*runs"] | None:
        """Return the keys of a random cost, one for all runs or per run; None if unused."""
        root_seed = self.sweep.root_seed
        if not self.problem.random:
            return None
        if not self.has_own_noise:
            return jax.device_put(run_keys(root_seed).noise, device)
        seed, noise_seed = (values.get(name, 0) for name in ("seed", "noise_seed"))
        keys = run_keys(root_seed, seed=seed, noise_seed=noise_seed).noise
        return slabs.place(keys, device)

    def order(self, values: Values) -> Callable[[int, int], Int[np.ndarray, "..."]] | None:
        """Return the function that gives `run_blocks` the indices of mini-batches."""
        batch_size, samples = self.batch_size, self.problem.samples
        root_seed, replacement = self.sweep.root_seed, self.sweep.replacement
        if batch_size is None:
            return None
        if not self.has_own_order:
            keys = (run_keys(root_seed).order,)
            return shared_order(Order(keys, samples, batch_size, replacement=replacement))
        seeds, stream = np.unique(values["data_seed"], return_inverse=True)
        keys = list(run_keys(root_seed, data_seed=seeds).order)
        order = Order(keys, samples, batch_size, replacement=replacement)
        return lambda first, count: order.rows(first, count)[stream]
