"""How often does a comparison of tuned settings call equal settings different?

    x[setting, rate, seed] = curve of the rate + noise of the seed + noise of the run

    python -m experiments.comparisons        (about 9 min on a busy core)

Expected: with `gd.compare`, the probability of any wrong verdict among two or ten settings is at
most 5 %, and its intervals contain the true difference in at least 95 % of the repetitions: for
normal and heavy-tailed noise, with 30 % diverged runs, ties, and settings of which only some have
several equally good rates. The usual way, in which rates are chosen on the compared seeds and each
pair has a t-test at 5 %, exceeds 5 %, most of all for ten settings.
"""

import math
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.ticker import PercentFormatter
from scipy import stats

from experiments.shared import command
from experiments.shared.trees import nested
from gdjax.base.signed_ranks import least_pairs
from gdjax.base.statistics import share
from gdjax.plots.style import CYCLE, GREY, Figure
from gdjax.search.cross_fitting import adjusted_p_values, exchanged_values, interval

CASES = {
    "equal": "equal settings, normal noise",
    "heavy": "equal settings, Student noise with 2 degrees of freedom",
    "diverged": "equal settings, some runs diverge",
    "ties": "equal settings, values rounded to one standard deviation",
    "rates": "equally good settings, half with one good rate, half with only good rates",
    "small": "first setting better by a small difference",
    "large": "first setting better by a large difference",
}
LEVEL = 0.95


@dataclass(frozen=True)
class Config:
    """Sizes of the simulated sweeps, and number of repetitions."""

    cases: tuple[str, ...] = tuple(CASES)  # kinds of noise and differences
    settings: tuple[int, ...] = (2, 10)  # numbers of compared settings
    seeds: tuple[int, ...] = (4, 8, 16, 32, 64)  # numbers of seeds
    rates: int = 12  # number of tuned rates
    small: float = 0.5  # small difference, in standard deviations of a run
    large: float = 2.0  # large difference
    diverged: float = 0.3  # share of runs that diverge
    repetitions: int = 2000  # number of simulated sweeps for each case


def shift_of(config: Config, case: str) -> float:
    """Return the difference of the first setting from the others."""
    return {"small": config.small, "large": config.large}.get(case, 0.0)


def simulated(
    config: Config, case: str, settings: int, seeds: int, rng: np.random.Generator
) -> Float[np.ndarray, "settings rates seeds"]:
    """Return final values of the runs of a sweep; +inf for a diverged run.

    The noise of a run has a variance of 1, half of which all rates and settings share at a seed.
    """

    def noise(*shape):
        if case == "heavy":
            return rng.standard_t(2, shape)
        return rng.normal(size=shape)

    shape = (settings, config.rates, seeds)
    x = (noise(1, 1, seeds) + noise(*shape)) / math.sqrt(2)
    if case == "rates":
        x[: settings // 2, 1:] += 100
    else:
        x += 10 * np.linspace(-1, 1, config.rates)[:, None] ** 2
    x[1:] += shift_of(config, case)
    if case == "ties":
        x = np.round(x)
    if case == "diverged":
        x[rng.uniform(size=shape) < config.diverged] = np.inf
    return x


def naive(x: Float[np.ndarray, "settings rates seeds"]) -> tuple[np.ndarray, float, float]:
    """Return p-values of t-tests at rates chosen on the same seeds, and an interval.

    Entry [s, t] is small if s seems better than t; the interval is that of the first two settings.
    Pairs that are not finite are omitted, as is usual.
    """
    chosen = np.argmin(np.median(x, axis=2), axis=1)
    y = x[np.arange(len(x)), chosen]
    y = np.where(np.isfinite(y), y, np.nan)
    d = y[None] - y[:, None]
    n = np.maximum(np.isfinite(d).sum(axis=2), 2)
    mean = np.nansum(d, axis=2) / n
    spread = np.sqrt(np.nansum((d - mean[..., None]) ** 2, axis=2) / (n - 1) / n)
    t = np.divide(mean, spread, out=np.zeros_like(mean), where=spread > 0)
    reach = stats.t.isf((1 - LEVEL) / 2, n[0, 1] - 1) * spread[0, 1]
    return 2 * stats.t.sf(t, n - 1), mean[0, 1] - reach, mean[0, 1] + reach


def cross_fitted(x: Float[np.ndarray, "settings rates seeds"]) -> tuple[np.ndarray, float, float]:
    """Return the same as `naive` for the comparison of tuned settings."""
    if x.shape[2] < least_pairs((1 - LEVEL) / (len(x) * (len(x) - 1))):
        return np.ones((len(x), len(x))), -np.inf, np.inf  # `gd.compare` refuses so few seeds
    y, _ = exchanged_values(x)
    return adjusted_p_values(x, y), *interval(x, y, 0, 1, LEVEL)[1:]


PROCEDURES = {"naive": naive, "compare": cross_fitted}


def run(config: Config) -> xr.Dataset:
    """Return numbers of repetitions with a wrong verdict, the right one, a covering interval."""
    dims = ("procedure", "case", "settings", "seeds")
    shape = (len(PROCEDURES), len(config.cases), len(config.settings), len(config.seeds))
    counts = {name: np.zeros(shape, int) for name in ("wrong", "right", "covered")}
    for at in np.ndindex(*shape[1:]):
        case, settings, seeds = (
            entries[i]
            for entries, i in zip((config.cases, config.settings, config.seeds), at, strict=True)
        )
        shift = shift_of(config, case)
        is_wrong = ~np.eye(settings, dtype=bool)
        is_wrong[0] &= shift == 0
        rng = np.random.default_rng([*at, 70])
        for _ in range(config.repetitions):
            x = simulated(config, case, settings, seeds, rng)
            for number, compared in enumerate(PROCEDURES.values()):
                p_values, low, high = compared(x)
                shown = p_values <= 1 - LEVEL
                counts["wrong"][(number, *at)] += np.any(shown & is_wrong)
                counts["right"][(number, *at)] += shown[0, 1]
                counts["covered"][(number, *at)] += low <= shift <= high
    coords = dict(
        zip(dims, (list(PROCEDURES), config.cases, config.settings, config.seeds), strict=True)
    )
    return xr.Dataset(
        {name: (dims, values) for name, values in counts.items()},
        {name: list(values) for name, values in coords.items()},
        {"repetitions": config.repetitions},
    )


def numbers(dataset: xr.Dataset) -> dict:
    """Return shares of repetitions with intervals, and the largest error of each procedure."""
    total = dataset.attrs["repetitions"]

    def at(count):
        return share(int(count), total)[:3]

    def by_procedure(part):
        return {
            str(m): {name: at(counts) for name, counts in part.sel(procedure=m).items()}
            for m in dataset.procedure.values
        }

    cases = nested(dataset, ["case", "settings", "seeds"], by_procedure)
    largest = {str(m): at(dataset.wrong.sel(procedure=m).max()) for m in dataset.procedure.values}
    least = {str(m): at(dataset.covered.sel(procedure=m).min()) for m in dataset.procedure.values}
    return {"largest_error": largest, "least_coverage": least, **cases}


def plot(dataset: xr.Dataset) -> dict:
    """Draw the share of repetitions with a wrong verdict, and with the right one."""
    total = dataset.attrs["repetitions"]
    figure = Figure(figsize=(12, 8))
    grid = figure.subplots(2, dataset.sizes["settings"], sharex=True, sharey="row", squeeze=False)
    marks = {"naive": {"linestyle": "--"}, "compare": {"linestyle": "-"}}
    for column, settings in zip(grid.T, dataset.settings.values, strict=True):
        for axes, name in zip(column, ("wrong", "right"), strict=True):
            for i, case in enumerate(dataset.case.values):
                if name == "right" and case not in ("small", "large"):
                    continue
                for procedure, look in marks.items():
                    rate = (
                        dataset[name].sel(settings=settings, case=case, procedure=procedure) / total
                    )
                    label = CASES[str(case)] if procedure == "compare" else None
                    axes.plot(
                        dataset.seeds, rate, "o", color=CYCLE[i % len(CYCLE)], label=label, **look
                    )
            axes.set_xscale("log", base=2)
            axes.set_xticks(dataset.seeds.values, [str(n) for n in dataset.seeds.values])
            axes.yaxis.set_major_formatter(PercentFormatter(1))
        column[0].axhline(1 - LEVEL, color=GREY)
        column[0].set_title(f"{settings} settings")
        column[1].set_xlabel("seeds")
    grid[0, 0].set_ylabel("any wrong verdict")
    grid[1, 0].set_ylabel("difference found")
    handles, labels = grid[0, -1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center")
    naive_error, error = (float(dataset.wrong.sel(procedure=m).max()) / total for m in PROCEDURES)
    figure.suptitle(
        f"Wrong verdicts: up to {error:.1%} (solid), and {naive_error:.0%} if rates are chosen on "
        f"the same seeds and pairs tested one by one (dashed)"
    )
    return {"errors": figure}


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
