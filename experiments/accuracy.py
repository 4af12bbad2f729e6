"""How well can 13,002 parameters read digits, and what does each change of the recipe give?

    w <- w - r_t (grad C_B(w) + d_l w),   C the squared error, sum over outputs, mean over images

The network stays 784-16-16-10 with sigmoids; only its training changes. One ingredient is added
after the other, from the same starts, and compared on the last 10,000 training images, which are
held out: smaller batches, an annealed rate, weight decay, more of it for the first layer, distorted
copies of the images, more epochs. Other changes are made on top of the distorted copies in the same
way. Then two recipes learn all training images, from starts with which nothing was chosen, and the
test images are read once.

    python experiments/accuracy.py                  (about 12 min of processor time)

Sweeps are stored in `--store`: a run that was stopped is resumed.

Expected: 94.6 % of the test images for plain descent, 96.6 % (96.4 to 96.8) for the best recipe. Of
the gain on the held-out images decay gives a third, more epochs on distorted copies another;
batches of 16, 32 and 64 end alike where the rate grows with them.
"""

from dataclasses import dataclass
from pathlib import Path

import common
import numpy as np
import xarray as xr
from drawings import reading
from methods.accuracy import compared, price, read_after_few, tested
from summaries.accuracy import LEVEL, by_name, errors, gains, numbers
from variants.learning import Problems
from variants.training import ladder, tried

LAYERS = ("pixels to 16", "16 to 16", "16 to 10")


@dataclass(frozen=True)
class Config:
    """Recipes that are compared, and starts and data for that.

    Args:
        data: data set.
        held_out: last training images, on which everything is chosen.
        epochs: passes over the images while ingredients are compared.
        seeds: starting points 0, 1, ... of the ladder.
        fewer_seeds: the first so many of them for what takes long: 100 epochs, fresh copies.
        test_seeds: how many starting points, from 100 on, for the test images.
        some_images: of the training set, for the sharpness of the trained networks and the plane.
        points: along each side of the plane.
        bundled: small data set, for what the quick recipe gives.
        store: folder that keeps the sweeps.
    """

    data: str = "mnist"
    held_out: int = 10_000
    epochs: int = 12
    seeds: int = 12
    fewer_seeds: int = 4
    test_seeds: int = 12
    some_images: int = 5000
    points: int = 61
    bundled: str = "mnist5k"
    store: Path = Path("runs/accuracy")


def run(config: Config) -> xr.Dataset:
    """Return the ladder, the changes on top of it, and the test."""
    problems, store = Problems(config.data, config.held_out), Path(config.store)
    rungs, more = ladder(config.epochs), tried(config.epochs)
    up = compared(problems, rungs, config, store / "ladder")
    test = tested(problems, {"plain": rungs["plain"], "best": rungs["longer"]}, config)
    prices = price(problems, rungs["distorted copies"])
    on_top = compared(problems, more, config, store / "tried")
    return xr.merge(
        [
            up.rename({name: f"ladder_{name}" for name in (*up.variables,)}),
            on_top.rename({name: f"tried_{name}" for name in (*on_top.variables,)}),
            test.rename(cost="test_run_cost"),
            read_after_few(config),
        ],
        combine_attrs="drop_conflicts",  # axes of the plane keep their lengths
    ).assign_attrs(data=config.data, data_hash=problems.set.hash, **prices)


def plot(dataset: xr.Dataset) -> dict:
    """Draw the ladder, first layers, errors and saturation, and the two trajectories."""
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
        "ways": reading.ways(
            dataset[["plane_cost"]].rename(plane_cost="cost"),
            {name: part.dropna("snapshot_step", subset=["path_off"]) for name, part in one.items()},
            accuracy,
        ),
    }


if __name__ == "__main__":
    common.main("accuracy", Config, run, plot, numbers)
