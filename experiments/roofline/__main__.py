"""How fast could a step of many networks be on an accelerator?

    share of the peak rate = min(1, (operations / bytes) / (peak rate / bandwidth))

    python -m experiments.roofline                (about 20 s)

Expected: at 32 samples per step the traffic of the weights alone limits the share to 53 %, and the
traffic of the program limits it further. This is refuted by a step on an accelerator that is faster
than the bound from the weights, for networks whose weights exceed its cache.
"""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import optax
import xarray as xr

import gdjax as gd
from experiments.benchmarks.timing import PARAMETERS
from experiments.shared import command

from . import figures as plots


@dataclass(frozen=True)
class Config:
    """Networks and batch sizes, and rates of the accelerator.

    Args:
        data: name of the data set.
        runs: number of networks.
        batch_sizes: numbers of samples per step; all networks share a mini-batch.
        accelerator: name of the accelerator, whose data sheet states the rates.
        peak: rate without tensor cores, in units of 1e12 float32 operations per second.
        bandwidth: memory bandwidth, in units of 1e12 bytes per second.
        cache: size of the cache, in units of 1e6 bytes.
    """

    data: str = "mnist5k"
    runs: int = 64
    batch_sizes: tuple[int, ...] = (1, 8, 32, 128, 512, 4000)
    accelerator: str = "H100 SXM"
    peak: float = 67.0
    bandwidth: float = 3.35
    cache: float = 50.0


def costs_of_a_step(problem: gd.Problem, runs: int, batch_size: int) -> tuple[float, float]:
    """Return compiler counts of operations and bytes for a step of many networks.

    Args:
        problem: problem whose networks share a mini-batch.
        runs: number of networks.
        batch_size: number of samples in the mini-batch.
    """
    params = jax.eval_shape(jax.vmap(problem.init), jax.random.split(jax.random.key(0), runs))
    batch = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct((batch_size, *a.shape[1:]), a.dtype), problem.data
    )
    optimizer = optax.sgd(0.1)

    def step(params, batch):
        state = gd.descent.init(optimizer, params)
        return gd.descent.step(problem.cost, optimizer, state, batch)[0].params

    program = jax.jit(jax.vmap(step, (0, None)), donate_argnums=0)
    costs: Any = program.lower(params, batch).compile().cost_analysis()
    return costs["flops"], costs["bytes accessed"]


def run(config: Config) -> xr.Dataset:
    """Return operations, bytes and bounds by batch size."""
    problem = gd.problems.digits(config.data)
    counted = [costs_of_a_step(problem, config.runs, size) for size in config.batch_sizes]
    operations, moved = np.transpose(counted)
    balance = config.peak / config.bandwidth
    ideal = np.array(config.batch_sizes) / 3
    return xr.Dataset(
        {
            "operations": ("batch_size", operations),
            "bytes": ("batch_size", moved),
            "share": ("batch_size", np.minimum(1, operations / moved / balance)),
            "weights_share": ("batch_size", np.minimum(1, ideal / balance)),
        },
        {"batch_size": list(config.batch_sizes)},
        {"weights_bytes": 4 * PARAMETERS * config.runs, "accelerator": config.accelerator},
    )


def numbers(dataset: xr.Dataset) -> dict[str, Any]:
    """Return the entries of summary.json."""
    names = ("batch_size", *map(str, dataset.data_vars))
    columns = {name: dataset[name].values.tolist() for name in names}
    return {"weights_bytes": dataset.weights_bytes, **columns}


def plot(dataset: xr.Dataset) -> dict[str, Any]:
    """Draw both bounds against the batch size."""
    return {"roofline": plots.bounds(dataset)}


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
