"""Classical learning-rate finder: an exponential ramp of the rate during one run.

    eta_i = low (high / low)^(i / (n - 1)),   smoothed_i = b smoothed_{i-1} + (1 - b) C_i

As in fastai and Lightning, the ramp has 100 steps, the cost is smoothed with b = 0.98 and bias
correction, and the ramp ends when the smoothed cost exceeds 4 times its minimum so far. Two rates
are suggested: a tenth of the rate with the smallest smoothed cost, and the rate at which the
smoothed cost decreases most in one step. For both, the first tenth and the last five of the steps
are excluded.

References: Smith 2017, arXiv 1506.01186; fastai's `lr_find`; Lightning's `LearningRateFinder`.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import jax.numpy as jnp
import numpy as np
import xarray as xr

import gdjax as gd

from .problems import Case

LOW, HIGH, STEPS, SMOOTHING, STOP = 1e-7, 10.0, 100, 0.98, 4.0


@lru_cache  # one factory for reference and ramp, so that they share a compilation
def scheduled(make_optimizer: Callable) -> Callable:
    """Return an optimizer factory with rate eta growth^t min(1, (t + 1) / warmup)."""

    def make(learning_rate, growth=1.0, warmup=1.0):
        def rate(step):
            return learning_rate * growth**step * jnp.minimum(1.0, (step + 1) / warmup)

        return make_optimizer(learning_rate=rate)

    return make


def swept(
    case: Case,
    make_optimizer: Callable,
    schedules: Mapping[str, Sequence[float] | np.ndarray],
    *,
    steps: int,
    seeds: int,
    record_every: int = 1,
    root_seed: int = 0,
) -> xr.Dataset:
    """Return descents with several schedules of the rate from several starts.

    `schedules` has the values of each argument of `scheduled`, and all combinations of them are
    computed. Each start has a different order of the mini-batches.
    """
    starts = {"seed": range(seeds)}
    if case.batch_size is not None:
        starts["data_seed"] = range(seeds)
    grid = gd.axes(**schedules, start=gd.zip_axes(**starts))
    options: dict = {"batch_size": case.batch_size, "record_every": record_every, "metrics": {}}
    rule = scheduled(make_optimizer)
    return gd.sweep(case.problem, grid, steps, make_optimizer=rule, root_seed=root_seed, **options)


def ramp_costs(case: Case, make_optimizer: Callable, seeds: int, root_seed: int) -> np.ndarray:
    """Return the cost at each step of a ramp, [seeds, steps].

    For a problem with mini-batches, this is the cost of the step's mini-batch.
    """
    growth = (HIGH / LOW) ** (1 / (STEPS - 1))
    ramp = {"warmup": [1.0], "learning_rate": [LOW], "growth": [growth]}
    runs = swept(case, make_optimizer, ramp, steps=STEPS, seeds=seeds, root_seed=root_seed)
    runs = runs.isel(dict.fromkeys(ramp, 0))
    return runs.cost.values[:, :-1] if case.batch_size is None else runs.batch_cost.values[:, 1:]


def suggestions(costs: np.ndarray) -> tuple[float, float]:
    """Return a tenth of the rate at the minimum, and the rate at steepest decrease."""
    rates = LOW * (HIGH / LOW) ** (np.arange(len(costs)) / (STEPS - 1))
    average, smoothed = 0.0, []
    for i, cost in enumerate(costs):
        average = SMOOTHING * average + (1 - SMOOTHING) * cost
        smoothed.append(average / (1 - SMOOTHING ** (i + 1)))
        if not np.isfinite(average) or smoothed[-1] > STOP * min(smoothed):
            smoothed = smoothed[: i + 1 if np.isfinite(average) else i]
            break
    inner = np.array(smoothed)[STEPS // 10 : -5]
    if len(inner) < 2:
        return float("nan"), float("nan")
    rates = rates[STEPS // 10 : STEPS // 10 + len(inner)]
    return float(rates[np.argmin(inner)]) / 10, float(rates[np.argmin(np.diff(inner))])
