"""Does a flow predict the average path of descent that oscillates at the edge of stability?

    dw/dt = -grad [C + <Sigma, H> / 2],   Sigma >= 0 keeps H <= 2 / eta;
    mean cost C + <Sigma, H> / 2

Descent at the edge of stability oscillates across its valley, and its time average does not follow
the gradient flow, which continues into regions where the sharpness exceeds 2 / eta. The central
flow (Cohen et al. 2024, arXiv 2410.24206) predicts the average. The cost of descent, smoothed by a
Gaussian of 50 steps, is compared with the mean cost of the flow, smoothed by the same Gaussian: on
the published case, a swish network 8-16-16-1 on 128 random samples, at several rates and from
several starts; on narrower and wider networks; and on digits (784-16-16-10, sigmoids). All steps
are full-batch. All rates and starts of a network are computed by one compiled program.

    python experiments/central_flow.py           (about 4 min on two cores)

Expected: at rate 0.1 a median deviation of at most 2 % and a largest deviation of at most 6 %
between steps 100 and 900, where the gradient flow deviates by tens of percent; eta times sharpness
within 1e-3 of 2 once it has reached 2. This is refuted if the interval of the median deviation lies
above 2 %.
"""

from dataclasses import dataclass

import common
import xarray as xr
from drawings import central_flow as plots
from methods.central_flow import cases, followed
from summaries.central_flow import deviation, numbers, smoothed
from summaries.shared import case, joined


@dataclass(frozen=True)
class Config:
    """Descents to compare with the flows.

    Args:
        rates: learning rates on the published case.
        starts: number of starting points of the published case.
        width: number of neurons in each hidden layer of the published network.
        widths: number of neurons in each hidden layer, for each of the other networks.
        width_rates: learning rates of the other networks.
        width_starts: number of starting points of the other networks.
        samples: number of random samples for the published and the other networks.
        steps: number of steps of each descent.
        digits: number of training images of digits.
        digit_rates: learning rates on the digits.
        digit_starts: number of starting points on the digits.
        digit_steps: number of steps of each descent on the digits.
        eigenvectors: maximum number of eigenvalues held at 2 / eta by the central flow.
        stride: number of steps of descent per interval of the flow, and between records.
        smoothing: standard deviation of the Gaussian, in steps.
        tolerance: relative tolerance of the gradient flow.
    """

    rates: tuple[float, ...] = (0.05, 0.1, 0.2, 0.3)
    starts: int = 6
    width: int = 16
    widths: tuple[int, ...] = (4, 32)
    width_rates: tuple[float, ...] = (0.1,)
    width_starts: int = 6
    samples: int = 128
    steps: int = 1000
    digits: int = 100
    digit_rates: tuple[float, ...] = (1.0, 3.5)
    digit_starts: int = 6
    digit_steps: int = 200
    eigenvectors: int = 4
    stride: int = 2
    smoothing: float = 50.0
    tolerance: float = 1e-4


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
    common.main("central_flow", Config, run, plot, numbers)
