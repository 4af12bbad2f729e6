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


def run(config: Config) -> xr.DataTree:
    """Return all measurements, as a tree of scalars with one node for each kind of work."""
    clock, dataset = Clock(config.repeats), load("mnist")
    work = {
        **descents.one_descent(clock, config, dataset),
        **descents.whole_set(clock, config, dataset),
        **descents.mini_batches(clock, config, dataset),
        **descents.many_runs(config),
        **first_call.ratios(config.pairs),
        **landscape.planes(clock, config, dataset),
        **landscape.eigenvalues(clock, config, dataset),
    }
    rate = max(clock.rates) / 1e9
    tree = xr.DataTree.from_dict({"work": work, "matrix_product_GFlops": rate}, nested=True)
    torch = getattr(peers.torch_or_none(), "__version__", "not installed")
    tree.attrs = {"data": dataset.name, "torch": torch}
    return tree


def numbers(tree: xr.DataTree) -> dict[str, Any]:
    """Return the attributes and scalars of a tree, and those of its nodes below their names."""
    below = {name: numbers(child) for name, child in tree.children.items()}
    scalars = {name: float(value) for name, value in tree.data_vars.items()}
    return {str(name): value for name, value in (tree.attrs | scalars | below).items()}


def plot(tree: xr.DataTree) -> dict[str, Figure]:
    """Draw shares of the rate of a matrix product, and times relative to other programs."""
    work = numbers(tree)["work"]
    shares = {name: one["share"] for name, one in work.items() if "share" in one}
    times = {
        f"{name}: against {'one run at a time' if other == 'one_after_another' else other}": ratio
        for name, one in work.items()
        for other, ratio in one.get("times", {}).items()
    }
    figure = Figure(figsize=(13, 4.5))
    left, right = figure.subplots(1, 2)
    for axes, values, color in ((left, shares, BLUE), (right, times, GREEN)):
        place = np.arange(len(values))
        axes.barh(place, list(values.values()), color=color)
        axes.set_yticks(place, [name.replace("_", " ") for name in values])
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


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
