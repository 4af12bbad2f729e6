"""Does a flow predict the average path of descent that oscillates at the edge of stability?

    dw/dt = -grad [C + <Sigma, H> / 2],   Sigma >= 0 keeps H <= 2 / eta;
    mean cost C + <Sigma, H> / 2

    python -m experiments.central_flow           (about 4 min on two cores)

Expected: at rate 0.1 a median deviation of at most 2 % and a largest deviation of at most 6 %
between steps 100 and 900, where the gradient flow deviates by tens of percent; eta times sharpness
within 1e-3 of 2 once it has reached 2. This is refuted if the interval of the median deviation lies
above 2 %.
"""

import xarray as xr

from experiments.shared import command
from experiments.shared.trees import datasets, tree_of

from . import figures
from .config import Config
from .model import cases, followed
from .summary import deviation, numbers, smoothed


def run(config: Config) -> xr.DataTree:
    """Return a tree with the results of each case."""
    parts = {name: followed(config, *settings) for name, settings in cases(config).items()}
    return tree_of(parts, smoothing=config.smoothing / config.stride)


def plot(tree: xr.DataTree) -> dict:
    """Draw one run of the published case with its flows, and deviations of all cases."""
    width = tree.attrs["smoothing"]
    name, first = next(iter(datasets(tree).items()))
    shown = first.sel(learning_rate=0.1, method="nearest").isel(seed=0)
    title = f"{name.capitalize()}, η = {shown.learning_rate:g}"
    rows = {
        f"{name}, η = {rate:g}": {
            flow: deviation(part, flow, width)[0][index] for flow in ("plain", "mean")
        }
        for name, part in datasets(tree).items()
        for index, rate in enumerate(part.learning_rate.values)
    }
    return {
        "flows": figures.flows(shown, smoothed(shown.cost, width), title),
        "deviations": figures.deviations(rows),
    }


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
