"""How often does a learning-rate finder recommend a good rate, and at what cost?

    regret = (C(eta) - C(best)) / (C(start) - C(best)),   C(eta) = median final cost over 8 starts

    python -m experiments.finders        (about half an hour of processor time, mostly compilation)

Expected: `gd.find_learning_rate` recommends a rate within a factor of 2 of the best rate more often
than the classical finder, with at most as many evaluations. This is refuted if the interval of the
difference (bootstrap over problems) contains 0. With the default number of evaluations the
expectation is confirmed; with equal numbers it is refuted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import numpy as np
import optax
import xarray as xr

import gdjax as gd
from experiments.shared import command
from gdjax.descent import Outcome

from .figures import shares_and_costs
from .problems import PROBLEMS, Case
from .ramp import STEPS, ramp_costs, suggestions, swept
from .summary import METHODS, numbers

OPTIMIZERS: dict[str, Callable] = {
    "sgd": optax.sgd,
    "momentum": partial(optax.sgd, momentum=0.9),
    "adam": optax.adam,
    "lion": optax.lion,
}


ROOT_SEED = 1000  # root seed of the finders; that of the truth is 0


@dataclass(frozen=True)
class Config:
    """Problems, optimizers, reference sweeps and finders."""

    problems: tuple[str, ...] = tuple(PROBLEMS)  # names of the problems
    optimizers: tuple[str, ...] = tuple(OPTIMIZERS)  # names of the optimizers
    horizon: int = 192  # number of training steps
    # numbers of steps over which the learning rate rises linearly; 1 means no warm-up. The finders
    # run without warm-up
    warmups: tuple[int, ...] = (1, 20)
    lowest: float = 2.0**-15  # smallest rate of the reference sweep
    highest: float = 2.0**6.6  # largest rate of the reference sweep
    rates: int = 55  # number of rates of the reference sweep, geometrically spaced
    starts: int = 8  # number of starting points of the reference sweep
    seeds: int = 8  # number of seeds of each finder
    num_starts: int = 2  # number of starting points of a search with the full horizon
    # number of steps per run of the short search, which has one starting point
    short_horizon: int = 16


def truth(config: Config, case: Case, make_optimizer: Callable) -> xr.Dataset:
    """Return median final costs, whether each rate trains, and the median initial cost."""
    rates = np.geomspace(config.lowest, config.highest, config.rates)
    runs = swept(
        case,
        make_optimizer,
        learning_rate=np.tile(rates, len(config.warmups)),
        warmup=np.repeat(config.warmups, len(rates)),
        steps=config.horizon,
        seeds=config.starts,
        record_every=config.horizon,
    )
    cost = runs.cost.values.reshape(len(config.warmups), len(rates), config.starts, -1)
    codes = runs.outcome.values.reshape(cost.shape[:-1])
    fails = np.isin(codes, (Outcome.DIVERGED, Outcome.STALLED))
    dims = ("warmup", "learning_rate")
    return xr.Dataset(
        {
            "cost": (dims, np.median(cost[..., -1], axis=-1)),
            "trains": (dims, np.all((cost[..., -1] < cost[..., 0]) & ~fails, axis=-1)),
            "start_cost": np.median(cost[0, 0, :, 0]),
        },
        {"learning_rate": rates, "warmup": list(config.warmups)},
    )


def recommended(config: Config, case: Case, make_optimizer: Callable) -> dict:
    """Return the recommended rate and the number of evaluations, by method and seed."""
    rates = np.full((len(METHODS), config.seeds, 2), np.nan)
    searches = (config.horizon, config.num_starts), (config.short_horizon, 1)
    for seed in range(config.seeds):
        for column, (horizon, starts) in enumerate(searches):
            result = gd.find_learning_rate(
                case.problem,
                make_optimizer,
                root_seed=ROOT_SEED + seed,
                num_starts=starts,
                horizon=horizon,
                batch_size=case.batch_size,
            )
            rates[column, seed] = result.learning_rate, result.num_evaluations
    ramps = ramp_costs(case, make_optimizer, config.seeds, root_seed=ROOT_SEED)
    rates[2:, :, 0] = np.array([suggestions(costs) for costs in ramps]).T
    rates[2:, :, 1] = 3 * STEPS
    dims = ("finder", "finder_seed")
    return {"rate": (dims, rates[..., 0]), "evaluations": (dims, rates[..., 1])}


def run(config: Config) -> xr.Dataset:
    """Return reference sweeps and recommendations for all problems and optimizers."""
    rows = []
    for name in config.problems:
        case, parts = PROBLEMS[name](), []
        for optimizer in config.optimizers:
            print(f"{name}, {optimizer} ...", flush=True)
            factory = OPTIMIZERS[optimizer]
            part = truth(config, case, factory).assign(recommended(config, case, factory))
            parts.append(part.expand_dims(problem=[name], optimizer=[optimizer]))
        rows.append(xr.concat(parts, "optimizer"))
    return xr.concat(rows, "problem").assign_coords(finder=list(METHODS))


def plot(dataset: xr.Dataset) -> dict:
    """Draw shares of good recommendations, and ratios to the best rate."""
    return {"finders": shares_and_costs(dataset)}


if __name__ == "__main__":
    # Compilation takes most of the time, since the programs are small and run briefly.
    jax.config.update("jax_disable_most_optimizations", True)
    command.main(Config, run, plot, numbers)
