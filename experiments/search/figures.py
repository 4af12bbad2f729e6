"""Figure of searches: accuracies at the rungs, and accuracy against time."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from gdjax import statistics
from gdjax.plots.style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILLION, style

from . import summary

NAMES = {
    "dense": ("halving", BLUE, "o"),
    "batches": ("Hyperband, in batches", ORANGE, "^"),
    "single": ("Hyperband, one by one", PURPLE, "v"),
}


def accuracies(dataset: xr.Dataset) -> Figure:
    """Draw final accuracies against those at earlier rungs, and against time.

    The points in all panels but the last are the settings of the first repetition.
    """
    numbers, rungs = summary.numbers(dataset), dataset.rung.values
    with style():
        figure = Figure(figsize=(15, 5.5))
        *scatters, axes = figure.subplots(1, len(rungs))
        first = dataset.isel(repetition=0)
        values = summary.at_rungs(dataset)[0]
        best = int(summary.selected(dataset)["sweep"][0])
        for rung, ax in enumerate(scatters):
            goes_on = first.ended_at.values > rung
            for chosen, color, label in (
                (~goes_on, GREY, "stopped at this rung or before"),
                (goes_on, BLUE, "continued"),
            ):
                x, y = values[chosen, rung], values[chosen, -1]
                ax.plot(x, y, "o", color=color, markersize=4, alpha=0.7, label=label)
            ax.plot(
                *values[best, [rung, -1]], "*", color=VERMILLION, markersize=13, zorder=4,
                label="selected by the sweep",
            )  # fmt: skip
            ax.set_xlabel(f"validation accuracy at step {rungs[rung]:,}")
            ax.set_title(f"Rank correlation {numbers[f'correlation_{rung}'][0]:.2f}")
            for axis in (ax.xaxis, ax.yaxis):
                axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        scatters[0].set_ylabel(f"validation accuracy at step {rungs[-1]:,}")
        scatters[0].legend(loc="lower right")
        budgets(axes, dataset, numbers)
    return figure


def budgets(axes, dataset: xr.Dataset, numbers) -> None:
    """Draw fresh test accuracy against the time relative to the full sweep.

    Fresh accuracy is the mean over the repetitions that were not used to select the setting.
    """
    settings = dataset.setting.size
    counts = [k for k in 2 ** np.arange(20) if k < settings] + [settings]
    bands = [statistics.mean(summary.random_accuracy(dataset, k)[0])[:3] for k in counts]
    middle, low, high = np.transpose(bands)
    shares = np.array(counts) / settings
    axes.plot(shares, middle, color=BLACK, label="random search")
    axes.fill_between(shares, low, high, color=BLACK, alpha=0.12, linewidth=0)
    points = {name: (numbers[f"{name}_time"], *entry) for name, entry in NAMES.items()}
    points["sweep"] = ([1.0, 1.0, 1.0], "full sweep", GREEN, "D")
    for name, ((x, left, right), label, color, marker) in points.items():
        y, bottom, top = numbers[f"{name}_accuracy"]
        axes.errorbar(
            x, y, [[y - bottom], [top - y]], [[x - left], [right - x]],
            fmt=marker, color=color, label=label, markersize=8,
        )  # fmt: skip
    axes.axvline(0.25, color=GREY, linewidth=1, linestyle="--")
    ends = np.array([numbers[f"{name}_accuracy"][1:] for name in points])
    bottom, top = ends.min(), ends.max()
    room = max(top - bottom, 0.01)  # all interval ends may be equal
    axes.set(ylim=(bottom - 0.1 * room, top + 0.9 * room), xscale="log")
    axes.set_xlim(left=0.02)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlabel("processor time relative to the full sweep")
    axes.set_ylabel("test accuracy with fresh seeds")
    axes.set_title(f"Successive halving: {numbers['dense_time'][0]:.0%} of the sweep's time")
    axes.legend(loc="upper left")
