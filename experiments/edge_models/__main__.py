"""Which flow predicts the center of descent at the edge of stability?

    relative distance at t:  min over |k| <= window of |c_flow(t) - c_descent(t + k)|
                             / |c_descent(t) - c_descent(0)|,   t and k in records

    python -m experiments.edge_models           (about 7 min on two cores)

Expected: the rod flow has the smallest distance at the rates at which the central flow fails. This
is refuted for a case if the interval of the ratio of its distance to that of the central flow lies
above 1, and not established if the interval contains 1.
"""

import xarray as xr

from experiments.shared import command
from experiments.shared.trees import datasets

from . import figures
from .config import Config
from .model import cases, followed
from .summary import MODELS, numbers, typical


def run(config: Config) -> xr.DataTree:
    """Return a tree with the results of each case."""
    return xr.DataTree.from_dict(
        {name: followed(config, *settings) for name, settings in cases(config).items()}
    )


def plot(tree: xr.DataTree) -> dict:
    """Draw distances for all starts, and a run of the first case at its last rate."""
    rows = {
        f"{name}, η = {rate:g}": {
            model: typical(part[f"{model}_distance"].isel(learning_rate=index)) for model in MODELS
        }
        for name, part in datasets(tree).items()
        for index, rate in enumerate(part.learning_rate.values)
    }
    name, first = next(iter(datasets(tree).items()))
    shown = first.isel(learning_rate=-1, seed=0)
    title = f"{name} network, η = {shown.learning_rate:g}"
    return {"distances": figures.distances(rows), "example": figures.example(shown, title)}


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
