"""Eigenvalues of the Hessian and of its Gauss-Newton part along descents."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr

import gdjax as gd
from experiments.shared.single_runs import with_snapshots
from gdjax import curvature

MATRICES = ("hessian", "gauss_newton")


@dataclass(frozen=True)
class Config:
    """Points at which the spectrum is computed, and the accuracy of its computation."""

    data: str = "mnist5k"  # name of the data set
    costs: tuple[str, ...] = ("quadratic", "cross_entropy")  # names of the costs
    learning_rates: tuple[float, ...] = (1.0, 0.3)  # learning rate for each cost
    batch_size: int = 32  # number of images per step
    # numbers of epochs after which the spectrum is computed; the first is 0
    epochs: tuple[int, ...] = (0, 1, 3, 10, 30)
    seeds: int = 6  # number of starting points for each cost
    largest: int = 30  # number of largest eigenvalues that are computed, of H and of G
    smallest: int = 3  # number of smallest eigenvalues that are computed, of H only
    tolerance: float = 1e-3  # tolerance of the residuals, relative to the largest |eigenvalue|
    gap_within: int = 20  # maximum number of eigenvalues above the widest gap
    # numbers of epochs after which density and trace are estimated, for the first cost and the
    # first start
    shown: tuple[int, ...] = (0, 3, 30)
    probes: int = 8  # number of random vectors for each density; a trace uses six times as many
    depth: int = 64  # number of Hessian-vector products per random vector of a density
    # number of training images, taken from the start of the set; None uses all
    samples: int | None = 2000


def extreme_eigenpairs(config: Config, problem: gd.Problem, points: list, keys) -> list:
    """Return the extreme eigenpairs of H and G at each point, [matrix][seed][epoch]."""
    top = partial(curvature.extreme_eigenpairs, largest=config.largest, rtol=config.tolerance)

    @jax.jit
    def hessian(problem, params, key):
        return top(problem, params, key=key, smallest=config.smallest)

    @jax.jit
    def gauss_newton(problem, params, key):
        return top(curvature.GaussNewtonOperator(problem, params), key=key)

    return [
        [[program(problem, w, key) for w in row] for row, key in zip(points, keys, strict=True)]
        for program in (hessian, gauss_newton)
    ]


def measured(config: Config, cost: str, learning_rate: float) -> xr.Dataset:
    """Return the extreme eigenvalues of H and G for one cost, by start and epoch.

    For the first cost of the config, the result of `spread` is included.
    """
    problem = gd.problems.digits(config.data, loss=cost, samples=config.samples)
    epoch = gd.descent.steps_for(1, problem.samples, config.batch_size)
    descend = partial(
        with_snapshots, problem, optax.sgd(learning_rate), max(config.epochs) * epoch, epoch
    )
    runs = [descend(batch_size=config.batch_size, seed=seed) for seed in range(config.seeds)]
    on_device, at = jax.tree.map(jnp.asarray, problem), list(config.epochs)
    points = [
        [jax.tree.map(lambda a, k=k: jnp.asarray(a[k]), run.snapshots) for k in at] for run in runs
    ]
    keys = jax.random.split(jax.random.key(0), config.seeds)
    pairs = extreme_eigenpairs(config, on_device, points, keys)

    def gathered(name, matrix, part=...):
        rows = [[np.asarray(getattr(one, name))[part] for one in row] for row in pairs[matrix]]
        return np.array(rows)

    dims = ("seed", "epoch")
    top, bottom = slice(0, config.largest), slice(config.largest, None)
    records = xr.Dataset(
        {
            "cost": (dims, [np.asarray(run.cost, float)[at] for run in runs]),
            "test_accuracy": (
                dims,
                [np.asarray(run.metrics["test_accuracy"], float)[at] for run in runs],
            ),
            "smallest": ((*dims, "low"), gathered("values", 0, bottom)),
            "smallest_residual": ((*dims, "low"), gathered("residuals", 0, bottom)),
            **{
                f"{matrix}{suffix}": ((*dims, "rank"), gathered(name, number, top))
                for number, matrix in enumerate(MATRICES)
                for suffix, name in (("", "values"), ("_residual", "residuals"))
            },
            "status": (("matrix", *dims), [gathered("status", number) for number in range(2)]),
        },
        {
            "seed": np.arange(config.seeds),
            "epoch": np.array(config.epochs),
            "rank": np.arange(1, config.largest + 1),
        },
        {
            "learning_rate": learning_rate,
            "gap_within": config.gap_within,
            "parameters": problem.network.parameter_count,
        },
    )
    if cost != config.costs[0]:
        return records
    return records.merge(spread(config, on_device, [points[0][at.index(n)] for n in config.shown]))


def spread(config: Config, problem: gd.Problem, points: list) -> xr.Dataset:
    """Return the spectral density and the trace of the Hessian at `config.shown`."""
    trace = jax.jit(partial(curvature.hessian_trace, probes=6 * config.probes))
    density = jax.jit(partial(curvature.spectral_density, probes=config.probes, depth=config.depth))
    key_trace, key_density = jax.random.split(jax.random.key(1))
    traces = [trace(problem, w, key=key_trace) for w in points]
    densities = [density(problem, w, key=key_density) for w in points]
    columns = {
        "trace": (traces, "value", ()),
        "trace_error": (traces, "error", ()),
        "at": (densities, "at", ("point",)),
        "density": (densities, "value", ("point",)),
        "density_error": (densities, "error", ("point",)),
        "node": (densities, "nodes", ("probe", "depth")),
        "weight": (densities, "weights", ("probe", "depth")),
        "bandwidth": (densities, "bandwidth", ()),
    }
    return xr.Dataset(
        {
            name: (("shown", *dims), np.array([getattr(one, field) for one in rows]))
            for name, (rows, field, dims) in columns.items()
        },
        {"shown": np.array(config.shown)},
    )
