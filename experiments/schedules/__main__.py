"""Which learning-rate schedule would have been better?

    knots <- knots - Adam(mean over starts of dC(w_T) / d knots),   rate_t = exp(interpolated knots)

    python -m experiments.schedules           (about 45 s of processor time)

A schedule found by descent on its knots is compared with others whose peak rates are tuned with as
many runs (a gradient counts as four). All are evaluated on other starts and other orders of the
mini-batches, at the horizon T of the tuning and, stretched, at 4 T.

Hypotheses, written before the run, of the schedule after the last step. Since the cost rose again
along the way, the step with the lowest tuning cost is compared now, and the last one beside it:
1. At T, the learned schedule ends at a lower cost than each of the others. Refuted for another
   schedule if the paired difference is not established after Holm's correction for all comparisons.
2. Its advantage is smaller at 4 T (short-horizon bias, arXiv 1803.02021). Refuted if the interval
   of the change of the advantage, against the best other schedule at T, does not lie above 0.
3. The shape of the learned schedule helps on a second network and cost, too, where only the peak of
   each schedule is tuned. Refuted as in 1.
4. On a power-law quadratic, the best exponent of a power decay rises with the number of steps
   toward 2 beta - 1. Refuted if it falls, or exceeds this limit.
"""

from dataclasses import dataclass
from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr

import gdjax as gd
from experiments.shared import command
from experiments.shared.images import image_regression, shrunk
from gdjax.base.statistics import paired
from gdjax.dynamics import HypergradientStatus, hypergradient
from gdjax.plots.style import CYCLE, Figure
from gdjax.sweeps import Axes

from . import quadratics

OTHERS = ("constant", "cosine", "linear", "warm-up-stable-decay")
SHAPES = ("learned", "last step", *OTHERS)
HORIZONS = ("T", "4T")
GRADIENT_RUNS = 4  # runs that one gradient counts for


@dataclass(frozen=True)
class Config:
    """Descents, the tuning of their schedules, and their evaluation."""

    samples: int = 1000  # number of training images
    widths: tuple[int, ...] = (16, 16)  # numbers of hidden neurons
    batch_size: int = 32  # number of images per step
    steps: int = 200  # horizon T of the tuning
    knots: int = 8  # number of logarithms of rates of the learned schedule
    iterations: int = 12  # number of steps along the gradient of the schedule
    # smallest and largest peak of the grid; the learned schedule starts at their geometric mean
    peaks: tuple[float, float] = (0.3, 30.0)
    small_peaks: tuple[float, float] = (0.01, 1.0)  # the same for the small images
    tuning_starts: int = 4  # number of starting points of the tuning
    pairs: int = 16  # number of starting points and orders of the evaluation
    modes: int = 20_000  # number of eigenvalues of the power-law quadratics
    horizons: tuple[int, ...] = (10**3, 10**4, 10**5, 10**6, 10**7, 10**8)  # numbers of steps there


def problems(config: Config) -> dict[str, gd.Problem]:
    """Return both problems by name."""
    small = shrunk("mnist5k", learned=config.samples)
    return {
        "digits": gd.problems.digits(samples=config.samples, widths=config.widths),
        "small_images": image_regression(small, config.widths, config.samples, init_scale=1.0),
    }


def shape_of(name: str, steps: int, learned: xr.Dataset) -> np.ndarray:
    """Return a schedule over a number of steps, in units of its largest rate."""
    t = np.arange(steps) / steps
    if name not in OTHERS:
        knots = learned.knots.values[-1 if name == "last step" else best_step(learned)]
        logs = np.interp(np.linspace(0, 1, steps), np.linspace(0, 1, len(knots)), knots)
        return np.exp(logs - knots.max())
    return {
        "constant": np.ones(steps),
        "cosine": (1 + np.cos(np.pi * t)) / 2,
        "linear": 1 - t,
        "warm-up-stable-decay": np.clip(np.minimum(10 * (t + 1 / steps), 5 * (1 - t)), 0, 1),
    }[name]


def best_step(learned: xr.Dataset) -> int:
    """Return the step along the gradient before which the tuning cost was lowest."""
    return int(learned.tuning_cost.values[:-1].argmin())


def learn(config: Config, problem: gd.Problem) -> xr.Dataset:
    """Return the knots and the mean cost after each step along the gradient, and some checks."""
    starts = jax.vmap(problem.init)(gd.run_keys(0, seed=np.arange(config.tuning_starts)).init)
    order = gd.run_keys(0)  # the order of the mini-batches in the tuning of the others

    def gradients(knots, check):
        options: dict = {"batch_size": config.batch_size, "key": order, "check": check}
        find = partial(hypergradient, problem, optax.sgd, knots=True, **options)
        return jax.vmap(lambda start: find(start, knots, config.steps))(starts)

    rule = optax.adam(0.2)
    knots = jnp.full(config.knots, np.log(config.peaks).mean())
    state, costs = rule.init(knots), []
    path: list = [knots]
    for _ in range(config.iterations):
        result = gradients(knots, False)
        updates, state = rule.update(jnp.mean(result.gradient, axis=0), state)
        knots = optax.apply_updates(knots, updates)
        path.append(knots)
        costs.append(np.mean(result.cost))
    checked = [gradients(path[index], True) for index in (0, int(np.argmin(costs)), -1)]
    costs.append(np.mean(checked[-1].cost))
    return xr.Dataset(
        {
            "knots": (("iteration", "knot"), np.array(path)),
            "tuning_cost": ("iteration", costs),
            "status": (("when", "start"), np.array([one.status for one in checked])),
        }
    )


def runs_of(config: Config, problem: gd.Problem, shapes: np.ndarray, axes: Axes) -> np.ndarray:
    """Return final costs; `axes` contain `shape`, an index of `shapes`, and `peak`."""
    table = jnp.asarray(shapes, jnp.float32)

    def make_optimizer(shape, peak):
        return optax.sgd(lambda step: peak * table[shape, step])

    steps = shapes.shape[1]
    sweep = partial(gd.sweep, batch_size=config.batch_size, record_every=steps, metrics={})
    runs = sweep(problem, axes, steps, make_optimizer=make_optimizer)
    return runs.cost.isel(step=-1).values


def run(config: Config) -> xr.DataTree:
    """Return the results on networks, and those of power decays on quadratics."""
    decays = quadratics.costs_of_decays(config.modes, config.horizons)
    return xr.DataTree.from_dict({"networks": on_networks(config), "quadratics": decays})


def on_networks(config: Config) -> xr.Dataset:
    """Return the learned schedule, the tuned peaks, and costs of all schedules on other starts."""
    of_problem = problems(config)
    dataset = learn(config, of_problem["digits"])
    count = GRADIENT_RUNS * config.iterations  # every peak has as many runs as there are starts
    seeds, horizons = np.arange(1000, 1000 + config.pairs), [config.steps, 4 * config.steps]
    tables = [np.array([shape_of(name, steps, dataset) for name in SHAPES]) for steps in horizons]
    ranges, peaks, costs = (config.peaks, config.small_peaks), [], []
    for (name, problem), ends in zip(of_problem.items(), ranges, strict=True):
        grid = np.geomspace(*ends, count)
        axes = gd.axes(shape=range(len(SHAPES)), peak=grid, seed=range(config.tuning_starts))
        tuned = grid[runs_of(config, problem, tables[0], axes).mean(axis=2).argmin(axis=1)]
        if name == "digits":
            # The learned schedules have their own peaks.
            tuned[:2] = np.exp(dataset.knots.values.max(axis=1)[[best_step(dataset), -1]])
        peaks.append(tuned)
        schedules = gd.zip_axes(shape=range(len(SHAPES)), peak=tuned)
        pairs = gd.axes(schedule=schedules, pair=gd.zip_axes(seed=seeds, data_seed=seeds))
        costs.append([runs_of(config, problem, table, pairs) for table in tables])
    return dataset.assign(
        peak=(("problem", "schedule"), np.array(peaks)),
        cost=(("problem", "horizon", "schedule", "pair"), np.array(costs)),
    ).assign_coords(problem=list(of_problem), schedule=list(SHAPES), horizon=horizons)


def numbers(tree: xr.DataTree) -> dict:
    """Return the results on networks, and the best exponents on quadratics."""
    decays = quadratics.numbers(tree["quadratics"].to_dataset())
    return numbers_of_networks(tree["networks"].to_dataset()) | {"quadratics": decays}


def compared(dataset: xr.Dataset, problem: int, horizon: int) -> gd.search.Comparison:
    """Return the comparison of all schedules; their peaks were tuned on other starts."""
    costs = dataset.cost.isel(problem=problem, horizon=horizon).drop_vars(("problem", "horizon"))
    return gd.compare(costs.to_dataframe("cost").reset_index(), "schedule", seeds="pair")


def numbers_of_networks(dataset: xr.Dataset) -> dict:
    """Return median costs, and the comparisons of the learned schedule with the others."""
    by_problem: dict = {}
    for i, name in enumerate(dataset.problem.values):
        results = {at: compared(dataset, i, j) for j, at in enumerate(HORIZONS)}
        schedules: dict = {}
        for shape, peak in zip(SHAPES, dataset.peak.values[i], strict=True):
            horizons: dict = {}
            for horizon, result in results.items():
                row = result.settings.loc[shape]
                at = horizons[horizon] = {"cost": row["median"], "diverged": int(row["diverged"])}
                if shape != "learned":
                    pair = result.pairs.loc[("learned", shape)]
                    at["verdict"] = pair["verdict"]
                    at["ratio"] = [pair["ratio"], pair["ratio_low"], pair["ratio_high"]]
            schedules[shape] = {"peak": peak, "horizon": horizons}
        by_problem[str(name)] = {
            "loss_of_advantage": loss_of_advantage(dataset.cost.values[i]),
            "methods": results["T"].methods,
            "schedule": schedules,
        }
    statuses, best = dataset.status.values, best_step(dataset)
    return {
        "best_step": best,
        "rates": np.exp(dataset.knots.values[best]),
        "tuning_cost": dataset.tuning_cost.values,
        "runs_of_each_tuning": GRADIENT_RUNS * (dataset.sizes["iteration"] - 1) * statuses.shape[1],
        "reliable": np.sum(statuses == HypergradientStatus.RELIABLE, axis=1),
        "problem": by_problem,
    }


def loss_of_advantage(cost: np.ndarray) -> list[float]:
    """Return by how much more log(cost of the best other schedule / learned) is at T than at 4T.

    The best other schedule is chosen on every second pair for the pairs between them, and the other
    way round. The result has an interval, and omits pairs with a run that diverged.
    """
    first = np.arange(cost.shape[-1]) % 2 == 0
    best = [2 + np.argmin(np.median(cost[0, 2:][:, half], axis=1)) for half in (~first, first)]
    other = np.where(first, cost[:, best[0]], cost[:, best[1]])
    with np.errstate(divide="ignore", invalid="ignore"):
        advantages = np.log(other / cost[:, 0])
    return list(paired(advantages[1], advantages[0])[:3])


def plot(tree: xr.DataTree) -> dict:
    """Draw the learned schedule beside the tuned ones, its advantages, and the best exponents."""
    dataset = tree["networks"].to_dataset()
    by_problem = numbers_of_networks(dataset)["problem"]
    figure = Figure(figsize=(12.0, 4.6))
    left, right = figure.subplots(1, 2)
    for color, name, peak in zip(CYCLE, SHAPES, dataset.peak.values[0], strict=False):
        rates = peak * shape_of(name, int(dataset.horizon[0]), dataset)
        left.plot(rates, label=name, color=color, linewidth=3 if name == "learned" else 1.5)
    left.set(xlabel="step", ylabel="learning rate", title="Schedules, tuned for this horizon")
    for k, (name, horizon) in enumerate(product(by_problem, HORIZONS)):
        at = [by_problem[name]["schedule"][shape]["horizon"][horizon] for shape in SHAPES[1:]]
        ratios = np.transpose([one["ratio"] for one in at])
        # An interval without an end reaches beyond the axis.
        value, low, high = -np.log(np.clip(ratios, 1e-3, 1e3))[[0, 2, 1]]
        place = np.arange(1, len(SHAPES)) + 0.12 * (k - 1.5)
        label = f"{name.replace('_', ' ')}, {horizon} steps"
        right.errorbar(place, value, [value - low, high - value], fmt="o", label=label)
    right.axhline(0, color="0.4", linewidth=1)
    right.set_xticks(range(1, len(SHAPES)), SHAPES[1:], fontsize="small", rotation=10)
    right.set_ylabel("log(cost / cost of the learned schedule)")
    right.set_title("Advantage of the learned schedule")
    left.legend(fontsize="small")
    right.set_ylim(-0.5, 2.6)
    right.legend(fontsize="small", loc="upper right")
    exponents = quadratics.exponents_by_steps(tree["quadratics"].to_dataset())
    return {"schedules": figure, "exponents": exponents}


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
