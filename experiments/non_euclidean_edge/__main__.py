"""Do sign descent and Muon also train at an edge of stability?

    S = max over |d| <= 1 of d^T H d,   w <- w - eta |g|_* d,   g . d = |g|_*

    python -m experiments.non_euclidean_edge      (about 80 s of processor time)

Expected: at the larger rates the lower bound on S settles within 15 % of the limit in all four
cases (medians over the last quarter of the records and over starts). This is refuted if the
interval of one of these medians lies entirely outside the range of 15 % around the limit.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import xarray as xr

import gdjax as gd
from experiments.shared import command
from experiments.shared import edges as plots
from experiments.shared.panels import merge, panel
from experiments.shared.regressions import random_targets
from gdjax.curvature import dual_gradient_norm, generalized_sharpness_metric, step_curvature
from gdjax.descent import non_euclidean_descent

from .summary import numbers

CASES = {
    "sign_scaled": ("linf", True),
    "sign_plain": ("linf", False),
    "muon_scaled": ("spectral", True),
    "muon_plain": ("spectral", False),
}


@dataclass(frozen=True)
class Config:
    """Descents whose generalized sharpness is recorded.

    Args:
        sign_scaled_rates: learning rates of sign descent, with steps scaled by the dual norm.
        sign_plain_rates: learning rates of sign descent; each rate is the length of a step.
        muon_scaled_rates: learning rates of Muon without momentum, with scaled steps.
        muon_plain_rates: learning rates of Muon without momentum; each is the length of a step.
        width: number of neurons in each hidden layer.
        samples: number of training samples.
        steps: number of steps of each descent.
        records: number of records of each descent.
        starts: number of starting points for each case and rate.
    """

    sign_scaled_rates: tuple[float, ...] = (0.0003, 0.0005, 0.001)
    sign_plain_rates: tuple[float, ...] = (0.001, 0.003, 0.01)
    muon_scaled_rates: tuple[float, ...] = (0.003, 0.01, 0.03)
    muon_plain_rates: tuple[float, ...] = (0.003, 0.01, 0.03)
    width: int = 16
    samples: int = 128
    steps: int = 1600
    records: int = 80
    starts: int = 8


def recorded(config: Config, problem: gd.Problem, case: str, rates) -> xr.Dataset:
    """Return the cost, and the sharpness and step curvature in units of the limit."""
    norm, scaled = CASES[case]
    metrics: dict[str, Callable] = {
        "sharpness": generalized_sharpness_metric,
        "step_curvature": step_curvature,
        "dual_norm": dual_gradient_norm,
    }
    runs = gd.sweep(
        problem,
        gd.axes(learning_rate=rates, seed=range(config.starts)),
        config.steps,
        make_optimizer=partial(non_euclidean_descent, norm=norm, scaled=scaled),
        record_every=config.steps // config.records,
        metrics={name: metric(problem, norm) for name, metric in metrics.items()},
    ).drop_attrs()
    limit = 2 / runs.learning_rate * (1 if scaled else runs.dual_norm)
    result = xr.Dataset(
        {
            "cost": runs.cost,
            "sharpness": runs.sharpness / limit,
            "step_curvature": runs.step_curvature / limit,
        }
    )
    return result.where(np.isfinite(runs.cost)).transpose("learning_rate", "seed", "step")


def run(config: Config) -> xr.Dataset:
    """Return the records of all cases, with names prefixed by the case."""
    problem = random_targets(config.width, config.samples)
    parts = {}
    for case in CASES:
        print(f"{case} ...", flush=True)
        parts[case] = recorded(config, problem, case, getattr(config, f"{case}_rates"))
    return merge(parts).assign_attrs(cases=list(CASES))


def plot(dataset: xr.Dataset) -> dict:
    """Draw the generalized sharpness for all starts, with one panel per case."""
    titles = {
        "sign_scaled": "Sign descent, scaled steps",
        "sign_plain": "Sign descent, steps of fixed length",
        "muon_scaled": "Muon without momentum, scaled steps",
        "muon_plain": "Muon without momentum, steps of fixed length",
    }
    parts = {case: panel(dataset, case) for case in dataset.attrs["cases"]}
    return {
        "edges": plots.sharpness_curves(
            [
                plots.SharpnessPanel(
                    title=titles[case],
                    step=part.step.values,
                    learning_rate=part.learning_rate.values,
                    product=part.sharpness.values,
                    limit=1.0,
                )
                for case, part in parts.items()
            ],
            label="generalized sharpness,\nin units of the limit",
        )
    }


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
