"""How accurately can 13,002 parameters classify digits, and what does each recipe change add?

    w <- w - r_t (grad C_B(w) + d_l w),   C: squared error, sum over outputs, mean over images

    python -m experiments.accuracy                  (about 12 min of processor time)

Expected: plain descent classifies 94.6 % of the test images correctly, and the best recipe 96.6 %
(from single starts, 96.4 to 96.8 %). Weight decay contributes a third of the gain on the held-out
images, and more epochs on distorted copies another third; batches of 16, 32 and 64 reach similar
accuracies if the learning rate increases with the batch size.
"""

from pathlib import Path

import numpy as np
import xarray as xr

from experiments.shared import command

from . import figures as reading
from .config import Config
from .learning import Problems
from .model import compared, price, read_after_few, tested
from .summary import LEVEL, by_name, errors, gains, numbers
from .training import ladder, single_changes

LAYERS = ("pixels to 16", "16 to 16", "16 to 10")


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
    recipes = dataset.recipe.values.tolist()
    one = {name: dataset.sel(recipe=name) for name in recipes}
    wrong, tests = errors(dataset), np.bincount(dataset.label.values)
    accuracy = {name: float(part.test_accuracy[0]) for name, part in one.items()}
    return {
        "ladder": reading.ladder(
            by_name(dataset, "ladder", "validation_accuracy"), gains(dataset), LEVEL
        ),
        "weights": reading.first_layers(
            {name: part.weight.values for name, part in one.items()}, accuracy
        ),
        "differences": reading.differences(
            {name: wrong[i] / tests for i, name in enumerate(recipes)},
            {name: part.slope.mean("seed").values for name, part in one.items()},
            LAYERS,
            left=wrong[1].sum() / wrong[0].sum(),
        ),
        "ways": reading.trajectories(
            dataset[["plane_cost"]].rename(plane_cost="cost"),
            {name: part.dropna("snapshot_step", subset=["path_off"]) for name, part in one.items()},
            accuracy,
        ),
    }


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
