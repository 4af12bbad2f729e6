"""Does stopping poor settings early find what a full sweep finds, in a quarter of its time?

    successive halving:  n settings to rungs[0],  n / k to rungs[1],  n / k^2 to rungs[2],  ...

    python -m experiments.search        (about 7 min of processor time)

Expected: the setting selected by successive halving is as accurate as that selected by the full
sweep, in at most a quarter of its time. This is refuted if the interval of the difference in
accuracy lies below 0, or if the search takes longer.
"""

import time
from dataclasses import replace
from itertools import product

import numpy as np
import xarray as xr
from jaxtyping import Float
from matplotlib.ticker import PercentFormatter
from scipy.stats import spearmanr

from experiments.shared import command
from gdjax import statistics
from gdjax.plots.style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILLION, Figure

from . import model
from .model import METRIC, Config

SEARCHES = {
    "dense": ("halving", BLUE, "o"),
    "batches": ("Hyperband, in batches", ORANGE, "^"),
    "single": ("Hyperband, one by one", PURPLE, "v"),
    "sweep": ("full sweep", GREEN, "D"),
}
DRAWS = 1000  # number of random searches that are drawn in each repetition


def repetition(config: Config, problem, test, seed: int) -> xr.Dataset:
    """Return the full sweep of a repetition, and decisions and times of all searches."""
    print(f"repetition {seed} ...", flush=True)
    results, seconds = {}, dict.fromkeys(SEARCHES, np.nan)
    for name, work in model.searches(config, problem, test, seed).items():
        if name == "sweep" or seed < config.timed:
            start = time.process_time()
            results[name] = work()
            seconds[name] = time.process_time() - start
    grid, rungs = model.grid(config), np.array(config.rungs)
    settings = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    sizes = np.array([setting["batch_size"] for setting in settings])
    runs = results["sweep"]
    accuracy = runs[METRIC].sel(step=rungs).values.reshape(-1, len(rungs))
    ended_at = model.last_rungs(accuracy)
    complete = ended_at == len(rungs) - 1
    best = {"dense": model.selected(accuracy, complete), "sweep": model.selected(accuracy)}
    samples = {"dense": np.sum(rungs[ended_at] * sizes), "sweep": rungs[-1] * sizes.sum()}
    num_steps = {}
    for name, batch in (("batches", config.batch), ("single", 1)):
        study = model.replay_hyperband(config, settings, accuracy, batch=batch, seed=seed)
        best[name] = settings.index(study.best_trial.params)
        num_steps[name], samples[name] = model.steps_and_samples(study)
    same_rungs = np.nan
    if "single" in results:
        same_rungs = np.mean(results["dense"].rung.values.ravel() == ended_at)
        # Extrapolate from `single_trials` to the steps of all trials.
        seconds["single"] *= num_steps["single"] / model.steps_and_samples(results["single"])[0]
    of_search = {"best": best, "samples": samples, "seconds": seconds}
    return xr.Dataset(
        {
            METRIC: (("setting", "rung"), accuracy),
            "test_accuracy": ("setting", runs.test_accuracy.isel(step=-1).values.ravel()),
            "ended_at": ("setting", ended_at),
            "same_rungs": same_rungs,
            **{
                key: ("search", [values[name] for name in SEARCHES])
                for key, values in of_search.items()
            },
        },
        {
            **{name: ("setting", [setting[name] for setting in settings]) for name in grid},
            "rung": rungs,
            "search": list(SEARCHES),
        },
    )


def run(config: Config) -> xr.Dataset:
    """Return the results of all repetitions, with NaN for times not measured."""
    problem, test = model.held_out(config)
    # Short runs compile the programs, so that measured times do not contain a compilation.
    rungs = tuple(rung // config.rungs[0] for rung in config.rungs)
    short = replace(config, rungs=rungs, trials=config.batch, single_trials=8)
    for work in model.searches(short, problem, test, 0).values():
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
        positions = model.random_search(values, count, draws=DRAWS, seed=seed)
        accuracy.append(fresh[positions].mean())
        same.append(np.mean(positions == np.argmax(values)))
    return np.array(accuracy), np.array(same)


def numbers(dataset: xr.Dataset) -> dict:
    """Return accuracies, relative times, and rank correlations between rungs.

    Differences of accuracies are in percentage points.
    """
    fresh, values = fresh_accuracy(dataset), at_rungs(dataset)
    rows, num_settings = np.arange(len(fresh)), dataset.setting.size
    sweep = dataset.sel(search="sweep")
    of_sweep = fresh[rows, sweep.best.values]

    def compared(accuracy):
        difference = statistics.paired(100 * of_sweep, 100 * accuracy)
        return {"accuracy": statistics.mean(accuracy)[:3], "difference": difference[:3]}

    searches: dict = {}
    for name in SEARCHES:
        one = dataset.sel(search=name)
        shares = (one.seconds / sweep.seconds).dropna("repetition").values
        searches[name] = compared(fresh[rows, one.best.values]) | {
            "time": [np.median(shares), shares.min(), shares.max()],
            "samples": statistics.median((one.samples / sweep.samples).values)[:3],
            "same": int((one.best == sweep.best).sum()),
        }
    searches["dense"]["same_rungs"] = float(dataset.same_rungs.min())
    searches["sweep"]["lowest"] = of_sweep.min()
    # Number of random settings that take as much time as successive halving.
    median_time = float(searches["dense"]["time"][0])
    count = int(np.clip(round(median_time * num_settings), 1, num_settings))
    accuracy, same = random_accuracy(dataset, count)
    searches["random"] = compared(accuracy) | {"same": same.sum(), "num_settings": count}
    rungs = {}
    for rung, step in enumerate(dataset.rung.values[:-1]):
        correlation = [spearmanr(one[:, rung], one[:, -1]).statistic for one in values]
        best = values[rows, sweep.best.values, rung]
        rank = 1 + np.sum(values[..., rung] > best[:, None], axis=1)
        rungs[str(step)] = {
            "correlation": statistics.median(correlation)[:3],
            "rank_of_best": [int(np.median(rank)), rank.min(), rank.max()],
        }
    return {"num_settings": num_settings, "search": searches, "rung": rungs}


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
        correlation, *_ = summary["rung"][str(rungs[rung])]["correlation"]
        axes.set_title(f"Rank correlation {correlation:.2f}")
    scatters[0].set_ylabel(f"validation accuracy at step {rungs[-1]:,}")
    scatters[0].legend(loc="lower right")
    draw_budgets(last, dataset, summary["search"])
    for axes in (*scatters, last):
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    return {"search": figure}


def draw_budgets(axes, dataset: xr.Dataset, searches: dict) -> None:
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
    for name, (label, color, marker) in SEARCHES.items():
        x, left, right = searches[name]["time"]
        y, bottom, top = searches[name]["accuracy"]
        look: dict = {"fmt": marker, "color": color, "label": label, "markersize": 8}
        axes.errorbar(x, y, [[y - bottom], [top - y]], [[x - left], [right - x]], **look)
    axes.axvline(0.25, color=GREY, linewidth=1, linestyle="--")
    ends = np.array([searches[name]["accuracy"][1:] for name in SEARCHES])
    bottom, top = ends.min(), ends.max()
    height = max(top - bottom, 0.01)  # all interval ends may be equal
    axes.set(ylim=(bottom - 0.1 * height, top + 0.9 * height), xscale="log")
    axes.set_xlim(left=0.02)
    axes.set_xlabel("processor time relative to the full sweep")
    axes.set_ylabel("test accuracy with fresh seeds")
    axes.set_title(f"Successive halving: {searches['dense']['time'][0]:.0%} of the sweep's time")
    axes.legend(loc="upper left")


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
