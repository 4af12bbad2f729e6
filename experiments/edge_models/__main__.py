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
from experiments.shared.statistics import case, joined

from . import figures as plots
from .config import Config
from .model import cases, followed
from .summary import MODELS, numbers, typical


def run(config: Config) -> xr.Dataset:
    """Return the results of all cases, with names prefixed by the number of the case."""
    return joined({name: followed(config, *settings) for name, settings in cases(config).items()})


def plot(dataset: xr.Dataset) -> dict:
    """Draw distances for all starts, and a run of the first case at its last rate."""
    rows = {}
    for number, name in enumerate(dataset.attrs["cases"]):
        part = case(dataset, number)
        for index, rate in enumerate(part.learning_rate.values):
            at = part.isel(learning_rate=index)
            rows[f"{name}, η = {rate:g}"] = {m: typical(at[f"{m}_distance"]) for m in MODELS}
    shown = case(dataset, 0).isel(learning_rate=-1, seed=0)
    oscillating = ("central", "rod", "edge")
    return {
        "distances": plots.distances(rows),
        "example": plots.example(
            shown.step.values,
            distance={m: shown[f"{m}_distance"].values for m in MODELS},
            amplitude={m: shown[f"{m}_amplitude"].values for m in oscillating},
            descent_amplitude=shown.descent_amplitude.values,
            product={m: shown[f"{m}_product"].values for m in oscillating},
            title=f"swish network, η = {shown.learning_rate:g}",
        ),
    }


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
