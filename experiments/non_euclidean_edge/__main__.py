"""Do sign descent and Muon also train at an edge of stability?

    S = max over |d| <= 1 of d^T H d,   w <- w - eta |g|_* d,   g . d = |g|_*

    python -m experiments.non_euclidean_edge      (about 80 s of processor time)

Expected: at the larger rates the lower bound on S settles within 15 % of the limit in all four
cases (medians over the last quarter of the records and over starts). This is refuted if the
interval of one of these medians lies entirely outside the range of 15 % around the limit.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import xarray as xr

import gdjax as gd
from experiments.shared import command, edges
from experiments.shared.regressions import random_targets
from experiments.shared.trees import datasets
from gdjax.base.statistics import median
from gdjax.curvature import (
    WarmGeneralizedSharpness,
    dual_gradient_norm,
    step_curvature,
)
from gdjax.descent import non_euclidean_descent

# Norm of the steps, whether they are scaled by the dual norm of the gradient, and title.
CASES = {
    "sign_scaled": ("linf", True, "Sign descent, scaled steps"),
    "sign_plain": ("linf", False, "Sign descent, steps of fixed length"),
    "muon_scaled": ("spectral", True, "Muon without momentum, scaled steps"),
    "muon_plain": ("spectral", False, "Muon without momentum, steps of fixed length"),
}


@dataclass(frozen=True)
class Config:
    """Descents whose generalized sharpness is recorded."""

    sign_scaled_rates: tuple[float, ...] = (0.0003, 0.0005, 0.001)  # rates of scaled sign descent
    sign_plain_rates: tuple[float, ...] = (0.001, 0.003, 0.01)  # step lengths of plain sign descent
    muon_scaled_rates: tuple[float, ...] = (0.003, 0.01, 0.03)  # rates of Muon with scaled steps
    muon_plain_rates: tuple[float, ...] = (0.003, 0.01, 0.03)  # step lengths of Muon
    width: int = 16  # number of neurons in each hidden layer
    samples: int = 128  # number of training samples
    steps: int = 1600  # number of steps of each descent
    records: int = 80  # number of records of each descent
    starts: int = 8  # number of starting points for each case and rate


def recorded(config: Config, problem: gd.Problem, case: str, rates) -> xr.Dataset:
    """Return the cost, and the sharpness and step curvature in units of the limit."""
    norm, scaled, _ = CASES[case]
    metrics: dict = {
        "sharpness": WarmGeneralizedSharpness(norm),
        "step_curvature": partial(step_curvature, norm=norm),
        "dual_norm": partial(dual_gradient_norm, norm=norm),
    }
    runs = gd.sweep(
        problem,
        gd.axes(learning_rate=rates, seed=range(config.starts)),
        config.steps,
        make_optimizer=partial(non_euclidean_descent, norm=norm, scaled=scaled),
        record_every=config.steps // config.records,
        metrics=metrics,
    ).drop_attrs()
    limit = 2 / runs.learning_rate * (1 if scaled else runs.dual_norm)
    result = (runs[["sharpness", "step_curvature"]] / limit).assign(cost=runs.cost)
    result = result.where(np.isfinite(runs.cost)).transpose("learning_rate", "seed", "step")
    return result.assign(limit=1.0)


def run(config: Config) -> xr.DataTree:
    """Return a tree with the records of each case."""
    problem = random_targets(config.width, config.samples)
    return xr.DataTree.from_dict(
        {case: recorded(config, problem, case, getattr(config, f"{case}_rates")) for case in CASES}
    )


def numbers(tree: xr.DataTree) -> dict:
    """Return final sharpness and step curvature, in units of the limit."""

    def of_rate(part):
        late = {name: edges.late(part[name], np.median) for name in ("sharpness", "step_curvature")}
        return {name: median(values)[:3] for name, values in late.items()} | {
            "at_start": np.median(part.sharpness[:, 0]),
            "cost_at_end": np.median(part.cost[:, -1]),
        }

    summary = {}
    for case, part in datasets(tree).items():
        rates = part.learning_rate.values
        summary[case] = {
            "rate": {str(rate): of_rate(part.sel(learning_rate=rate)) for rate in rates}
        }
    return {"case": summary}


def plot(tree: xr.DataTree) -> dict:
    """Draw the generalized sharpness for all starts, with one panel per case."""
    label = "generalized sharpness,\nin units of the limit"
    titles = {case: title for case, (*_, title) in CASES.items()}
    return {"edges": edges.sharpness_curves(tree, titles, "sharpness", label=label)}


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
