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
from experiments.shared.statistics import case, joined

from . import figures as plots
from .config import Config
from .model import cases, followed
from .summary import deviation, numbers, smoothed


def run(config: Config) -> xr.Dataset:
    """Return the results of all cases, with names prefixed by the number of the case."""
    parts = {name: followed(config, *settings) for name, settings in cases(config).items()}
    return joined(parts).assign_attrs(smoothing=config.smoothing / config.stride)


def plot(dataset: xr.Dataset) -> dict:
    """Draw one run of the published case with its flows, and deviations of all cases."""
    shown = case(dataset, 0).sel(learning_rate=0.1, method="nearest").isel(seed=0)
    bars = []
    for number, name in enumerate(dataset.attrs["cases"]):
        part = case(dataset, number)
        for index, rate in enumerate(part.learning_rate.values):
            bars.append(
                plots.Deviation(
                    label=f"{name}, η = {rate:g}",
                    central=deviation(dataset, part, "mean")[0][index],
                    plain=deviation(dataset, part, "plain")[0][index],
                )
            )
    return {
        "flows": plots.flows(
            shown.step.values,
            cost=shown.cost.values,
            average=smoothed(dataset, shown.cost),
            mean=shown["mean"].values,
            center=shown.center.values,
            plain=shown.plain.values,
            product=shown["product"].values,
            title=f"Width {dataset.attrs['cases'][0].split()[-1]}, η = {shown.learning_rate:g}",
        ),
        "deviations": plots.deviations(bars),
    }


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
