"""How fast is gdjax, compared with a matrix product and with other libraries?

    share = 4 * samples * parameters * run-steps / seconds / (rate of a 2000 x 2000 product)

    python -m experiments.speed      (about 40 minutes on two slow cores)

Expected: shares of at least 0.70 for full batches, 0.30 for mini-batches in one order, 0.15 for
mini-batches in 64 orders, and 0.60 for the cost on a plane.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter, ScalarFormatter

from experiments.benchmarks import descents, first_call, landscape, peers
from experiments.benchmarks.timing import Clock
from experiments.shared import command
from gdjax.data import load
from gdjax.plots.style import BLUE, GREEN


@dataclass(frozen=True)
class Config:
    """Settings of the measurements."""

    runs: int = 64  # number of runs in each sweep
    repeats: int = 3  # number of repetitions; their fastest, median or mean is reported
    pairs: int = 5  # number of pairs of new processes in which first calls are timed
    scale: float = 1.0  # factor for the numbers of steps; small values are fast and imprecise


def run(config: Config) -> xr.Dataset:
    """Return all measurements, as a Dataset of scalars."""
    from experiments.benchmarks import second_call  # its import initializes JAX

    clock, dataset = Clock(config.repeats), load("mnist")
    ratios = {
        **descents.one_descent(clock, config, dataset),
        **descents.whole_set(clock, config, dataset),
        **descents.mini_batches(clock, config, dataset),
        **descents.trainability(clock, config),
        **descents.many_runs(config),
        **descents.small_sweep(config),
        **descents.second_start(config),
        **first_call.ratios(config.pairs),
        **second_call.ratios(config.repeats),
        **landscape.planes(clock, config, dataset),
        **landscape.eigenvalues(clock, config, dataset),
        **landscape.paths(clock, config, dataset),
        "matrix_product_GFlops": max(clock.rates) / 1e9,
    }
    torch = getattr(peers.torch_or_none(), "__version__", "not installed")
    return xr.Dataset(ratios, attrs={"data": dataset.name, "torch": torch})


def numbers(dataset: xr.Dataset) -> dict[str, Any]:
    """Return the entries of summary.json."""
    return {**dataset.attrs, **{str(name): float(v) for name, v in dataset.data_vars.items()}}


def plot(dataset: xr.Dataset) -> dict[str, Figure]:
    """Draw shares of the rate of a matrix product, and times relative to other programs."""
    values = {str(name): float(v) for name, v in dataset.data_vars.items()}
    shares = {name: v for name, v in values.items() if name.endswith("_share")}
    times = {name: v for name, v in values.items() if "_times_" in name}
    figure = Figure(figsize=(13, 4.5))
    left, right = figure.subplots(1, 2)
    for axes, values, color in ((left, shares, BLUE), (right, times, GREEN)):
        place = np.arange(len(values))
        axes.barh(place, list(values.values()), color=color)
        axes.set_yticks(place, [_label(name) for name in values])
        axes.invert_yaxis()
    left.set_xlabel("share of the matrix-product rate")
    left.xaxis.set_major_formatter(PercentFormatter(1.0))
    left.set(xlim=(0, 1), title="Speed relative to a matrix product")
    right.set(xlabel="time of the other program / time of gdjax", xscale="log")
    right.xaxis.set_major_formatter(ScalarFormatter())
    right.axvline(1, color="black", linewidth=1)
    right.set_title("Speed relative to other programs")
    for place, value in enumerate(times.values()):
        right.annotate(
            f" {value:.1f}", (value, place), va="center", annotation_clip=False, fontsize=11
        )
    return {"speed": figure}


def _label(name):
    name = name.removesuffix("_share").replace("_times_", ": against ").replace("_", " ")
    return name.replace("against one after another", "against one run at a time")


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
