"""Do Adam and RMSProp also train at an edge of stability, and where is it?

    largest eigenvalue of P^-1 H, with P from the optimizer's state;   limits on a quadratic cost
    with constant P: 2 / eta (RMSProp), (2 + 2 b1) / ((1 - b1) eta) (Adam), 38 / eta at b1 = 0.9

    python -m experiments.adaptive_edge           (about a minute on two cores)

Expected: on the Chebyshev points, eta times the preconditioned sharpness settles at 38 for Adam and
at 2 for RMSProp, within 5 % (medians over the last quarter of the records and over starts). This is
refuted if the interval of one of these medians lies entirely outside the range of 5 % around 38 or
2.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import optax
import xarray as xr

import gdjax as gd
from experiments.shared import command, edges
from experiments.shared.regressions import chebyshev
from experiments.shared.trees import datasets
from gdjax.base.statistics import median
from gdjax.curvature import Sharpness, preconditioner, stability_threshold

TITLES = {
    "chebyshev_adam": "Adam, Chebyshev points",
    "chebyshev_rmsprop": "RMSProp, Chebyshev points",
    "digits_adam": "Adam, digits",
    "digits_rmsprop": "RMSProp, digits",
}


@dataclass(frozen=True)
class Config:
    """Descents whose preconditioned sharpness is recorded."""

    # learning rates of Adam on the Chebyshev points
    adam_rates: tuple[float, ...] = (0.0005, 0.001, 0.002, 0.004)
    # learning rates of RMSProp on the Chebyshev points
    rmsprop_rates: tuple[float, ...] = (0.0001, 0.0003, 0.001)
    steps: int = 10_000  # number of steps of both optimizers on the Chebyshev points
    digit_adam_rates: tuple[float, ...] = (0.01, 0.03)  # learning rates of Adam on the digits
    digit_rmsprop_rates: tuple[float, ...] = (0.003, 0.01)  # learning rates of RMSProp on digits
    digit_steps: int = 600  # number of steps of both optimizers on the digits
    starts: int = 8  # number of starting points for each optimizer and learning rate
    digits: int = 200  # number of training images of digits
    records: int = 100  # number of records of each descent on the Chebyshev points
    digit_records: int = 30  # number of records of each descent on the digits


def preconditioned_sharpness(
    config: Config, problem: gd.Problem, rule: Callable, rates, steps: int, records: int
) -> xr.Dataset:
    """Return cost, preconditioned sharpness, its product with eta, and the limit."""
    metric = Sharpness(preconditioner=preconditioner(rule), rtol=0.01)
    grid = gd.axes(learning_rate=rates, seed=range(config.starts))
    options: dict = {"record_every": steps // records, "metrics": {"sharpness": metric}}
    runs = gd.sweep(problem, grid, steps, make_optimizer=rule, **options)
    # P is undefined before the first step.
    after = runs[["cost", "sharpness"]].isel(step=slice(1, None)).drop_attrs()
    limit = float(stability_threshold(1.0, rule))
    product = after.sharpness * after.learning_rate
    return after.assign(product=product, limit=limit).transpose("learning_rate", "seed", "step")


def run(config: Config) -> xr.DataTree:
    """Return a tree with the records of each panel that has learning rates."""
    points, digits = chebyshev(), gd.problems.digits("mnist5k", samples=config.digits)
    rmsprop = partial(optax.rmsprop, decay=0.99)
    small, large = (config.steps, config.records), (config.digit_steps, config.digit_records)
    cases = {
        "chebyshev_adam": (points, optax.adam, config.adam_rates, *small),
        "chebyshev_rmsprop": (points, rmsprop, config.rmsprop_rates, *small),
        "digits_adam": (digits, optax.adam, config.digit_adam_rates, *large),
        "digits_rmsprop": (digits, rmsprop, config.digit_rmsprop_rates, *large),
    }
    return xr.DataTree.from_dict(
        {name: preconditioned_sharpness(config, *case) for name, case in cases.items() if case[2]}
    )


def numbers(tree: xr.DataTree) -> dict:
    """Return eta times final sharpness with intervals, and final cost, by panel."""
    return {"case": {name: panel_numbers(part) for name, part in datasets(tree).items()}}


def panel_numbers(part: xr.Dataset) -> dict:
    """Return the numbers of a panel, some of them by learning rate."""
    product, late = part["product"].values, edges.late(part["product"])
    by_rate = {
        f"{rate:g}": {
            "late": median(late[index])[:3],
            "highest": float(np.nanmax(product[index])),
            "cost_at_end": float(np.median(part.cost.values[index, :, -1])),
        }
        for index, rate in enumerate(part.learning_rate.values)
    }
    return {
        "limit": float(part.limit),
        "rate": by_rate,
        "all_late": median(late)[:3],
        "not_found": int(np.isnan(product).sum()),
    }


def plot(tree: xr.DataTree) -> dict:
    """Draw rate times preconditioned sharpness for all starts, one panel per case."""
    label = "rate · preconditioned sharpness"
    return {"adaptive": edges.sharpness_curves(tree, TITLES, "product", label=label)}


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
