"""How sharp does a cost become under mini-batch descent, and which sharpness reaches a limit?

    batch sharpness = E[g^T H_B g] / E|g|^2 over mini-batches B,   compared with 2 / eta at the end

Full-batch descent increases the largest eigenvalue of the Hessian, the sharpness, to 2 / eta. With
mini-batches the sharpness of the full-batch cost remains below this value; it is reported that the
curvature of the cost of a mini-batch, along the gradient of this cost, reaches 2 / eta (Andreyev
and Beneventano 2024, arXiv 2412.20553; their public code computes the mean of the ratios g^T H_B g
/ |g|^2 instead). Both quantities and the full-batch sharpness are recorded for a swish network
8-16-16-1 on random samples, for several rates, batch sizes and starts.

    python experiments/stochastic_edge.py           (about a minute on two cores)

Expected: eta / 2 times the batch sharpness settles at 1 within 10 % for every batch size at the
larger rates, and the sharpness of the full-batch cost is lower for smaller batches. This is refuted
by intervals outside 0.9 to 1.1 at the majority of the rates at which the sharpness has become
stationary.
"""

from dataclasses import dataclass

import common
import numpy as np
import xarray as xr
from drawings import edges as plots
from variants.regressions import random_targets

import gdjax as gd
from gdjax.curvature import sharpness_metric
from gdjax.curvature.sharpness import batch_sharpness_metric
from gdjax.statistics import median


@dataclass(frozen=True)
class Config:
    """Descents whose sharpness is recorded.

    Args:
        rates: smallest and largest learning rate, and number of rates, geometrically spaced.
        batch_sizes: numbers of samples per step.
        starts: number of starting points for each rate and batch size.
        width: number of neurons in each hidden layer.
        samples: number of training samples.
        steps: number of steps of each descent.
        records: number of records of each descent.
        batches: number of mini-batches for each estimate of the batch sharpness.
        tolerance: relative tolerance of the computed sharpness.
    """

    rates: tuple[float, float, int] = (0.01, 0.2, 8)
    batch_sizes: tuple[int, ...] = (8, 16, 32, 64)
    starts: int = 6
    width: int = 16
    samples: int = 128
    steps: int = 4000
    records: int = 40
    batches: int = 24
    tolerance: float = 0.02


def final_sharpness(config: Config, problem: gd.Problem, size: int) -> xr.Dataset:
    """Return final sharpness and cost of descents with one batch size.

    Each sharpness is in units of 2 / eta, and is the median over the last quarter of the records.
    """
    rates = np.geomspace(*config.rates)
    last = config.records // 4
    runs = gd.sweep(
        problem,
        gd.axes(learning_rate=rates, seed=range(config.starts)),
        config.steps,
        batch_size=size,
        record_every=config.steps // config.records,
        metrics={
            "sharpness": sharpness_metric(problem, rtol=config.tolerance),
            "batch": batch_sharpness_metric(problem, batch_size=size, batches=config.batches),
        },
    )
    late = runs.isel(step=slice(-last, None)).drop_attrs()
    late = late.transpose("learning_rate", "seed", "step", ...)
    bounded = late.diverged_at < 0

    def middle(values):
        """Return the median over late records, in units of 2 / eta; NaN if diverged."""
        return (values * late.learning_rate / 2).median("step").where(bounded)

    return xr.Dataset(
        {
            "batch": middle(late.batch.isel(estimate=0)),
            "error": middle(late.batch.isel(estimate=1)),
            "ratios": middle(late.batch.isel(estimate=2)),
            "whole": middle(late.sharpness),
            "cost": late.cost.isel(step=-1, drop=True),
            "diverged": ~bounded,
        }
    ).expand_dims(batch_size=[size])


def run(config: Config) -> xr.Dataset:
    """Return the final sharpness of descents for all batch sizes."""
    problem = random_targets(config.width, config.samples)
    return xr.concat(
        [final_sharpness(config, problem, size) for size in config.batch_sizes], "batch_size"
    )


def numbers(dataset: xr.Dataset) -> dict:
    """Return the final sharpness by batch size and rate, with intervals over starts."""
    summary: dict = {"rates": dataset.learning_rate.values.tolist()}
    for size in dataset.batch_size.values:
        part = dataset.sel(batch_size=size).transpose("learning_rate", "seed")
        for name in ("batch", "ratios", "whole"):
            rows = [row[np.isfinite(row)] for row in part[name].values]
            summary[f"{name}_{size}"] = [list(median(r)[:3]) if len(r) else None for r in rows]
        summary[f"error_{size}"] = float(np.nanmedian(part.error))
        summary[f"diverged_{size}"] = part.diverged.sum("seed").values.tolist()
        summary[f"cost_{size}"] = [float(c) for c in part.cost.median("seed").values]
    return summary


def plot(dataset: xr.Dataset) -> dict:
    """Draw both kinds of batch sharpness, and full-batch sharpness, against the rate."""
    at = ("batch_size", "learning_rate", "seed")
    return {
        "settled": plots.by_batch_size(
            dataset.batch_size.values,
            dataset.learning_rate.values,
            batch=dataset.batch.transpose(*at).values,
            ratios=dataset.ratios.transpose(*at).values,
            full_batch=dataset.whole.transpose(*at).values,
        )
    }


if __name__ == "__main__":
    common.main("stochastic_edge", Config, run, plot, numbers)
