"""How accurately can 13,002 parameters classify digits, and what does each recipe change add?

    w <- w - r_t (grad C_B(w) + d_l w),   C: squared error, sum over outputs, mean over images

    python -m experiments.accuracy                  (about 12 min of processor time)

Expected: plain descent classifies 94.6 % of the test images correctly, and the best recipe 96.6 %
(from single starts, 96.4 to 96.8 %). Weight decay contributes a third of the gain on the held-out
images, and more epochs on distorted copies another third; batches of 16, 32 and 64 reach similar
accuracies if the learning rate increases with the batch size.
"""

from pathlib import Path

import xarray as xr

from experiments.shared import command

from . import figures
from .model import Config, compared, price, read_after_few, tested
from .summary import numbers
from .training import Problems, ladder, single_changes


def run(config: Config) -> xr.Dataset:
    """Return validation results of all variants, and test results of some recipes."""
    problems, store = Problems(config.data, config.held_out), Path(config.store)
    rungs, more = ladder(config.epochs), single_changes(config.epochs)
    up = compared(problems, rungs, config, store / "ladder")
    test = tested(problems, {"plain": rungs["plain"], "best": rungs["longer"]}, config)
    prices = price(problems, rungs["distorted copies"])
    changes = compared(problems, more, config, store / "tried")
    return xr.merge(
        [
            up.rename({name: f"ladder_{name}" for name in (*up.variables,)}),
            changes.rename({name: f"tried_{name}" for name in (*changes.variables,)}),
            test.rename(cost="test_run_cost"),
            read_after_few(config),
        ],
        combine_attrs="drop_conflicts",  # keep the lengths of the directions of the plane
    ).assign_attrs(data=config.data, data_hash=problems.set.hash, **prices)


def plot(dataset: xr.Dataset) -> dict:
    """Draw accuracies by variant, first layers, errors, saturation and trajectories."""
    return {
        "ladder": figures.ladder(dataset),
        "weights": figures.first_layers(dataset),
        "differences": figures.differences(dataset),
        "ways": figures.trajectories(dataset),
    }


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
