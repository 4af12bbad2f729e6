"""Does stopping poor settings early find what a full sweep finds, in a quarter of its time?

    successive halving:  n settings to rungs[0],  n / k to rungs[1],  n / k^2 to rungs[2],  ...

    python -m experiments.search        (about 7 min of processor time)

Expected: the setting selected by successive halving is as accurate as that selected by the full
sweep, in at most a quarter of its time. This is refuted if the interval of the difference in
accuracy lies below 0, or if the search takes longer.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import product

import jax
import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.ticker import PercentFormatter
from scipy.stats import spearmanr

from experiments.shared import command
from gdjax import statistics
from gdjax.plots.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    VERMILLION,
    Figure,
)

from . import model as search
from . import replays
from .model import METRIC

SEARCHES = {
    "dense": ("halving", BLUE, "o"),
    "batches": ("Hyperband, in batches", ORANGE, "^"),
    "single": ("Hyperband, one by one", PURPLE, "v"),
}
DRAWS = 1000  # number of random searches that are drawn in each repetition


@dataclass(frozen=True)
class Config:
    """Grid of settings, rungs and repetitions."""

    data: str = "mnist5k"  # name of the data set
    pixel_stride: int = 2  # interval between the pixels that are used, along rows and columns
    validation: int = 1000  # number of images that are held out of the training images
    learning_rates: tuple[float, float] = (0.05, 20.0)  # smallest and largest learning rate
    rates: int = 8  # number of learning rates, geometrically spaced
    momenta: tuple[float, ...] = (0.0, 0.5, 0.8, 0.95)  # momentum coefficients
    init_scales: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)  # relative scales of the starting weights
    batch_sizes: tuple[int, ...] = (16, 64)  # numbers of images per step
    rungs: tuple[int, ...] = (125, 500, 2000)  # steps at which runs are compared; last: the end
    trials: int = 256  # number of trials of Hyperband
    batch: int = 64  # number of trials that are computed together
    single_trials: int = 32  # number of trials that are computed one by one to measure their time
    repetitions: int = 10  # number of repetitions
    timed: int = 3  # number of repetitions in which all searches are run to measure their time


def axes(config: Config) -> dict[str, list]:
    """Return the values along each axis of the grid of settings."""
    return {
        "learning_rate": np.geomspace(*config.learning_rates, config.rates).tolist(),
        "momentum": list(config.momenta),
        "init_scale": list(config.init_scales),
        "batch_size": list(config.batch_sizes),
    }


def searches(config: Config, problem, seed: int, rungs) -> dict[str, Callable]:
    """Return a function for each search that is run to measure its time."""
    halving = partial(search.halving, problem, axes(config), rungs, seed=seed)
    hyperband = partial(search.hyperband, problem, axes(config), rungs, seed=seed)
    return {
        "dense": halving,
        "batches": partial(hyperband, config.trials, batch=config.batch),
        "single": partial(hyperband, config.single_trials, batch=1, devices=jax.devices()[:1]),
    }


def repetition(config: Config, problem, test, seed: int) -> xr.Dataset:
    """Return the full sweep of a repetition, and decisions and times of all searches."""
    grid, rungs, trials = axes(config), config.rungs, config.trials
    columns = zip(*product(*grid.values()), strict=True)
    settings = dict(zip(grid, map(list, columns), strict=True))
    print(f"repetition {seed} ...", flush=True)
    runs, duration = search.processor_seconds(
        partial(search.sweep, problem, test, grid, rungs, seed=seed)
    )
    accuracy = runs[METRIC].sel(step=list(rungs)).values.reshape(-1, len(rungs))
    ended_at, sizes = replays.halving(accuracy), np.array(settings["batch_size"])
    best = [replays.selected(accuracy), replays.selected(accuracy, ended_at == len(rungs) - 1)]
    samples = [rungs[-1] * sizes.sum(), np.sum(np.array(rungs)[ended_at] * sizes)]
    num_steps, same_rungs = {}, np.nan
    seconds = dict.fromkeys(["sweep", *SEARCHES], np.nan) | {"sweep": duration}
    for name, batch in (("batches", config.batch), ("single", 1)):
        study = replays.new_study(rungs, seed=seed)
        replays.hyperband(study, settings, accuracy, rungs, trials, batch=batch)
        best.append(replays.best_setting(study, settings))
        num_steps[name], num_samples = replays.steps_and_samples(study)
        samples.append(num_samples)
    timed = searches(config, problem, seed, rungs) if seed < config.timed else {}
    for name, work in timed.items():
        result, duration = search.processor_seconds(work)
        if name == "dense":
            same_rungs = np.mean(result.rung.values.ravel() == ended_at)
        elif name == "single":  # extrapolated from `single_trials` to the steps of all trials
            duration *= num_steps[name] / replays.steps_and_samples(result)[0]
        seconds[name] = duration
    variables = {
        METRIC: (("setting", "rung"), accuracy),
        "test_accuracy": ("setting", runs.test_accuracy.isel(step=-1).values.ravel()),
        "ended_at": ("setting", ended_at),
        "best": ("search", best),
        "samples": ("search", samples),
        "seconds": ("search", list(seconds.values())),
        "same_rungs": same_rungs,
    }
    coordinates = {name: ("setting", values) for name, values in settings.items()}
    return xr.Dataset(variables, coordinates | {"rung": list(rungs), "search": list(seconds)})


def run(config: Config) -> xr.Dataset:
    """Return the results of all repetitions, with NaN for times not measured."""
    problem, test = search.held_out(config.data, config.validation, config.pixel_stride)
    # Short runs compile the programs, so that measured times do not contain a compilation.
    short = tuple(rung // config.rungs[0] for rung in config.rungs)
    search.sweep(problem, test, axes(config), short, seed=0)
    short_config = replace(config, trials=config.batch, single_trials=8)
    for work in searches(short_config, problem, 0, short).values():
        work()
    parts = [repetition(config, problem, test, seed) for seed in range(config.repetitions)]
    return xr.concat(parts, "repetition", join="exact", data_vars="all", coords="minimal")


def fresh_accuracy(dataset: xr.Dataset) -> Float[np.ndarray, "repetitions settings"]:
    """Return the mean test accuracy of each setting in all other repetitions."""
    accuracy = np.nan_to_num(dataset.test_accuracy.values)  # that of a diverged run counts as 0
    return (accuracy.sum(axis=0) - accuracy) / (len(accuracy) - 1)


def at_rungs(dataset: xr.Dataset) -> Float[np.ndarray, "repetitions settings rungs"]:
    """Return the validation accuracy at each rung; -1 after a divergence."""
    return np.nan_to_num(dataset[METRIC].values, nan=-1.0)


def random_accuracy(
    dataset: xr.Dataset, count: int
) -> tuple[Float[np.ndarray, " repetitions"], Float[np.ndarray, " repetitions"]]:
    """Return the mean fresh accuracy of random searches of `count` settings each.

    The second value is the share of searches that select the same setting as the sweep.
    """
    accuracy, same = [], []
    pairs = zip(at_rungs(dataset)[..., -1], fresh_accuracy(dataset), strict=True)
    for seed, (values, fresh) in enumerate(pairs):
        positions = replays.random_search(values, count, draws=DRAWS, seed=seed)
        accuracy.append(fresh[positions].mean())
        same.append(np.mean(positions == np.argmax(values)))
    return np.array(accuracy), np.array(same)


def numbers(dataset: xr.Dataset) -> dict:
    """Return accuracies, relative times, and rank correlations between rungs.

    Differences of accuracies are in percentage points.
    """
    fresh, values = fresh_accuracy(dataset), at_rungs(dataset)
    rows, num_settings = np.arange(len(fresh)), dataset.setting.size
    by_name = {str(name): dataset.sel(search=name) for name in dataset.search.values}
    sweep = by_name["sweep"]
    times = {
        name: (one.seconds / sweep.seconds).dropna("repetition").values
        for name, one in by_name.items()
    }
    # Number of random settings that take as much time as successive halving.
    count = int(np.clip(round(float(np.median(times["dense"])) * num_settings), 1, num_settings))
    accuracy = {name: fresh[rows, one.best.values] for name, one in by_name.items()}
    accuracy["random"], same_random = random_accuracy(dataset, count)
    result: dict = {
        "num_settings": num_settings,
        "num_random": count,
        "sweep_lowest": accuracy["sweep"].min(),
        "sweep_share": 1.0,
        "random_same": same_random.sum(),
        "dense_same_rungs": float(dataset.same_rungs.min()),
    }
    for name, of_search in accuracy.items():
        result[f"{name}_accuracy"] = statistics.mean(of_search)[:3]
        if name != "sweep":
            points = statistics.paired(100 * accuracy["sweep"], 100 * of_search)
            result[f"{name}_difference"] = points[:3]
    for name in SEARCHES:
        one, shares = by_name[name], times[name]
        result |= {
            f"{name}_time": [np.median(shares), shares.min(), shares.max()],
            f"{name}_samples": statistics.median((one.samples / sweep.samples).values)[:3],
            f"{name}_same": int((one.best == sweep.best).sum()),
        }
    for rung in range(values.shape[-1] - 1):
        correlation = [spearmanr(one[:, rung], one[:, -1]).statistic for one in values]
        best = values[rows, sweep.best.values, rung]
        rank = 1 + np.sum(values[..., rung] > best[:, None], axis=1)
        result[f"correlation_{rung}"] = statistics.median(correlation)[:3]
        result[f"rank_of_best_{rung}"] = [int(np.median(rank)), rank.min(), rank.max()]
    return result


def plot(dataset: xr.Dataset) -> dict:
    """Draw final accuracies against those at earlier rungs, and against time.

    The points in all panels but the last are the settings of the first repetition.
    """
    summary, rungs = numbers(dataset), dataset.rung.values
    ended_at, values = dataset.ended_at.values[0], at_rungs(dataset)[0]
    best = int(dataset.best.sel(search="sweep")[0])
    figure = Figure(figsize=(15, 5.5))
    *scatters, last = figure.subplots(1, len(rungs))
    for rung, axes in enumerate(scatters):
        for chosen, color, label in (
            (ended_at <= rung, GREY, "stopped at this rung or before"),
            (ended_at > rung, BLUE, "continued"),
        ):
            x, y = values[chosen, rung], values[chosen, -1]
            axes.plot(x, y, "o", color=color, markersize=4, alpha=0.7, label=label)
        look: dict = {"color": VERMILLION, "markersize": 13, "zorder": 4}
        axes.plot(*values[best, [rung, -1]], "*", label="selected by the sweep", **look)
        axes.set_xlabel(f"validation accuracy at step {rungs[rung]:,}")
        axes.set_title(f"Rank correlation {summary[f'correlation_{rung}'][0]:.2f}")
    scatters[0].set_ylabel(f"validation accuracy at step {rungs[-1]:,}")
    scatters[0].legend(loc="lower right")
    draw_budgets(last, dataset, summary)
    for axes in (*scatters, last):
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    return {"search": figure}


def draw_budgets(axes, dataset: xr.Dataset, summary: dict) -> None:
    """Draw fresh test accuracy against the time relative to the full sweep.

    Fresh accuracy is the mean over the repetitions that were not used to select the setting.
    """
    settings = dataset.setting.size
    counts = [k for k in 2 ** np.arange(20) if k < settings] + [settings]
    bands = [statistics.mean(random_accuracy(dataset, k)[0])[:3] for k in counts]
    middle, low, high = np.transpose(bands)
    shares = np.array(counts) / settings
    axes.plot(shares, middle, color=BLACK, label="random search")
    axes.fill_between(shares, low, high, color=BLACK, alpha=0.12, linewidth=0)
    points = {name: (summary[f"{name}_time"], *entry) for name, entry in SEARCHES.items()}
    points["sweep"] = ([1.0, 1.0, 1.0], "full sweep", GREEN, "D")
    for name, ((x, left, right), label, color, marker) in points.items():
        y, bottom, top = summary[f"{name}_accuracy"]
        look: dict = {"fmt": marker, "color": color, "label": label, "markersize": 8}
        axes.errorbar(x, y, [[y - bottom], [top - y]], [[x - left], [right - x]], **look)
    axes.axvline(0.25, color=GREY, linewidth=1, linestyle="--")
    ends = np.array([summary[f"{name}_accuracy"][1:] for name in points])
    bottom, top = ends.min(), ends.max()
    height = max(top - bottom, 0.01)  # all interval ends may be equal
    axes.set(ylim=(bottom - 0.1 * height, top + 0.9 * height), xscale="log")
    axes.set_xlim(left=0.02)
    axes.set_xlabel("processor time relative to the full sweep")
    axes.set_ylabel("test accuracy with fresh seeds")
    axes.set_title(f"Successive halving: {summary['dense_time'][0]:.0%} of the sweep's time")
    axes.legend(loc="upper left")


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
