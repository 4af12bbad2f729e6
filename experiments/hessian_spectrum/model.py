"""Eigenvalues of the Hessian and of its Gauss-Newton part along descents."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr

import gdjax as gd
from gdjax import curvature

from .config import Config
from .summary import MATRICES


def descend(
    config: Config, problem: gd.Problem, rule: optax.GradientTransformation, seed: int
) -> list:
    """Return parameters, cost and test accuracy at each of `config.epochs`."""
    streams = gd.run_keys(0, seed=seed)
    epoch = gd.descent.steps_for(1, problem.samples, config.batch_size)
    run = gd.descend(
        problem,
        rule,
        problem.init(streams.init),
        max(config.epochs) * epoch,
        key=streams.order,
        batch_size=config.batch_size,
        record_every=epoch,
        snapshot_every=epoch,
    )
    return [
        (
            jax.tree.map(lambda a, at=at: jnp.asarray(a[at]), run.snapshots),
            float(run.cost[at]),
            float(run.metrics["test_accuracy"][at]),
        )
        for at in config.epochs
    ]


def ends_of(config: Config):
    """Return compiled functions for the extreme eigenpairs of H, and those of G."""
    top = partial(curvature.extreme_eigenpairs, largest=config.largest, rtol=config.tolerance)

    @jax.jit
    def hessian(problem, params, key):
        return top(problem, params, key=key, smallest=config.smallest)

    @jax.jit
    def gauss_newton(problem, params, key):
        return top(curvature.GaussNewtonOperator(problem, params), key=key)

    return hessian, gauss_newton


def look(config: Config, cost: str, learning_rate: float) -> xr.Dataset:
    """Return the extreme eigenvalues of H and G for one cost, by start and epoch.

    For the first cost of the config, the result of `spread` is included.
    """
    problem = gd.problems.digits(config.data, loss=cost, samples=config.samples)
    on_device = jax.tree.map(jnp.asarray, problem)
    programs = ends_of(config)
    keys = jax.random.split(jax.random.key(0), config.seeds)
    rule = optax.sgd(learning_rate)  # one for all starts, so that they share a compilation
    points = [descend(config, problem, rule, seed) for seed in range(config.seeds)]
    eigenvalues = [
        [[program(on_device, w, key) for program in programs] for w, _, _ in points_of_start]
        for points_of_start, key in zip(points, keys, strict=True)
    ]

    def gathered(name, matrix, part=...):
        rows = [
            [np.asarray(getattr(both[matrix], name))[part] for both in points_of_start]
            for points_of_start in eigenvalues
        ]
        return np.array(rows)

    dims = ("seed", "epoch")
    top, bottom = slice(0, config.largest), slice(config.largest, None)
    records = xr.Dataset(
        {
            "cost": (
                dims,
                [[cost for _, cost, _ in points_of_start] for points_of_start in points],
            ),
            "test_accuracy": (
                dims,
                [[share for _, _, share in points_of_start] for points_of_start in points],
            ),
            "smallest": ((*dims, "low"), gathered("values", 0, bottom)),
            "smallest_residual": ((*dims, "low"), gathered("residuals", 0, bottom)),
        }
        | {
            f"{matrix}{suffix}": ((*dims, "rank"), gathered(name, number, top))
            for number, matrix in enumerate(MATRICES)
            for suffix, name in (("", "values"), ("_residual", "residuals"))
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
    records["status"] = (("matrix", *dims), [gathered("status", number) for number in range(2)])
    if cost != config.costs[0]:
        return records
    return records.merge(spread(config, problem, dict(zip(config.epochs, points[0], strict=True))))


def spread(config: Config, problem: gd.Problem, points: dict) -> xr.Dataset:
    """Return the spectral density and the trace of the Hessian at `config.shown`."""
    problem = jax.tree.map(jnp.asarray, problem)
    trace = jax.jit(partial(curvature.hessian_trace, probes=6 * config.probes))
    density = jax.jit(partial(curvature.spectral_density, probes=config.probes, depth=config.depth))
    key_trace, key_density = jax.random.split(jax.random.key(1))
    traces = [trace(problem, points[at][0], key=key_trace) for at in config.shown]
    densities = [density(problem, points[at][0], key=key_density) for at in config.shown]

    def of(rows, name):
        return np.array([getattr(row, name) for row in rows])

    return xr.Dataset(
        {
            "trace": ("shown", of(traces, "value")),
            "trace_error": ("shown", of(traces, "error")),
            "at": (("shown", "point"), of(densities, "at")),
            "density": (("shown", "point"), of(densities, "value")),
            "density_error": (("shown", "point"), of(densities, "error")),
            "node": (("shown", "probe", "depth"), of(densities, "nodes")),
            "weight": (("shown", "probe", "depth"), of(densities, "weights")),
            "bandwidth": ("shown", of(densities, "bandwidth")),
        },
        {"shown": np.array(config.shown)},
    )
