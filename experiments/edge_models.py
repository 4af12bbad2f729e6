"""Which flow predicts the center of descent at the edge of stability?

    relative distance at t:  min over |k| <= window of |c_flow(t) - c_descent(t + k)|
                             / |c_descent(t) - c_descent(0)|,   t and k in records

Three flows model a descent that oscillates around a center: the central flow (Cohen et al. 2024,
arXiv 2410.24206), the rod flow (Regis and Chewi 2026, arXiv 2602.01480) and the edge flow (Marion
2026, arXiv 2606.18080). Their centers, and the points of the gradient flow, are compared with the
centers of descents of a swish network 8-16-16-1 on random samples, of a sigmoid network on digits,
and of a tanh network on images of Fashion-MNIST. All steps are full-batch, and flows and descents
have the same starts. A second descent from a point close to the start gives the floor of
predictability: no distance below its distance from the first descent is significant.

    python experiments/edge_models.py           (about 7 min on two cores)

Expected: the rod flow has the smallest distance at the rates at which the central flow fails. This
is refuted for a case if the interval of the ratio of its distance to that of the central flow lies
above 1, and not established if the interval contains 1.
"""

from dataclasses import dataclass

import common
import xarray as xr
from drawings import edge_models as plots
from methods.edge_models import cases, followed
from summaries.edge_models import MODELS, numbers, typical
from summaries.shared import case, joined


@dataclass(frozen=True)
class Config:
    """Descents to compare with the flows.

    Args:
        rates: learning rates of the swish network.
        width: number of neurons in each hidden layer of the swish network.
        samples: number of random samples for the swish network.
        steps: number of steps of each descent of the swish network.
        digits: number of training images of digits.
        digit_rates: learning rates on the digits.
        digit_steps: number of steps of each descent on the digits.
        image_data: name of the data set of images.
        images: number of training images of this data set.
        image_stride: distance between the pixels of these images that are used.
        image_widths: number of neurons in each hidden layer of the tanh network on these images.
        image_init_scale: factor of the starting weights; for 1, descent starts far above the edge.
        image_rates: learning rates on these images.
        image_steps: number of steps of each descent on these images.
        starts: number of starting points for each rate.
        eigenvectors: maximum number of eigenvalues held at 2 / eta by the central flow.
        stride: number of steps of descent between records, and in an interval of the central flow.
        window: number of records before and after each one that are searched for the nearest center
            of descent.
        moved: distance of the second start from the first, relative to the norm of the first.
        tolerance: relative tolerance of the solver of the flows.
        solver_steps: maximum number of steps of the solver of a rod flow or an edge flow, per step
            of descent.
    """

    rates: tuple[float, ...] = (0.2, 0.3)
    width: int = 16
    samples: int = 128
    steps: int = 400
    digits: int = 100
    digit_rates: tuple[float, ...] = (3.5,)
    digit_steps: int = 200
    image_data: str = "fashion_mnist"
    images: int = 500
    image_stride: int = 2
    image_widths: tuple[int, ...] = (16, 16)
    image_init_scale: float = 0.5
    image_rates: tuple[float, ...] = (0.2,)
    image_steps: int = 200
    starts: int = 8
    eigenvectors: int = 4
    stride: int = 2
    window: int = 5
    moved: float = 1e-6
    tolerance: float = 1e-4
    solver_steps: int = 10


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
    common.main("edge_models", Config, run, plot, numbers)
