"""What is the limit of gradient descent for small steps, and how far from it are finite steps?

    dw/dt = -grad C(w)   against   w_{k+1} = w_k - eta grad C(w_k),   compared at t = eta k

    python -m experiments.gradient_flow           (about 40 s on two cores)

Expected: if the learning rate is halved, the distance from the flow (order 1 within 0.1) and the
drift of a^2 - b^2 along descents are also halved; the error of the computed flow is below 1e-8 on
the two factors.
"""

import jax
import xarray as xr

from experiments.shared import command

from . import figures as plots
from .config import Config
from .model import digits, factors
from .summary import numbers, order


def run(config: Config) -> xr.Dataset:
    """Return the comparisons of all cases, with names prefixed by the case."""
    with jax.enable_x64(True):
        equal, unequal = factors(config)
        parts = {"equal": equal, "unequal": unequal, "digits": digits(config)}
    return xr.merge(
        [
            part.rename({name: f"{prefix}_{name}" for name in [*part.variables]})
            for prefix, part in parts.items()
        ]
    ).assign_attrs(fitted=config.fitted, unequal=list(config.unequal))


def plot(dataset: xr.Dataset) -> dict:
    """Draw descents, their distances from the flow, and the orders, for both costs."""
    labels = {
        "equal": ("Two factors, (2 - ab)² / 2", "product ab", "product", "known"),
        "digits": ("Digit network", "cost", "cost", "flow_cost"),
    }
    rows = []
    for prefix, (title, label, shown, flow) in labels.items():
        rows.append(
            plots.BesideFlow(
                title=title,
                time=dataset[f"{prefix}_time"].values,
                learning_rate=dataset[f"{prefix}_rate"].values,
                shown=dataset[f"{prefix}_{shown}"].values,
                flow=dataset[f"{prefix}_{flow}"].values,
                shown_label=label,
                distance=dataset[f"{prefix}_distance"].values,
                fitted=dataset.attrs["fitted"],
                order=order(dataset, prefix),
            )
        )
    return {"from_flow": plots.from_flow(rows)}


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
