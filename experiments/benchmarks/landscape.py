"""Measurements of costs on planes, and of eigenvalues, for the experiment `speed`."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import gdjax as gd

from . import peers
from .descents import sweep_seconds
from .timing import share


def planes(clock, config, dataset):
    """Time the evaluation of a cost over 5,000 samples on a plane of 51 x 51 points.

    A user-defined cost, a network of gdjax, and `loss-landscapes` are timed. Each point counts as
    2 * samples * parameters operations, those of the forward pass.
    """
    problem = gd.problems.digits(dataset, samples=5000)
    params, *directions = (problem.init(key) for key in jax.random.split(jax.random.key(0), 3))
    named = dict(zip(("first", "second"), directions, strict=True))
    side = max(4, round(51 * config.scale**0.5))
    at = np.linspace(-1, 1, side)
    without_network = gd.problems.as_problem(problem.cost, problem.data)
    opaque, rate = clock.best(lambda: gd.landscape.plane(without_network, params, named, at, at))
    own, _ = clock.best(lambda: gd.landscape.plane(problem, params, named, at, at))
    results: dict[str, dict[str, Any]] = {
        "plane": {"share": share(opaque, rate, 5000, side**2 / 2)}
    }
    peer = peers.plane(problem, params, directions, side, config.repeats)
    if peer is not None:
        results["plane"]["times"] = {"loss_landscapes": peer / opaque}
        results["plane_of_a_network"] = {"times": {"loss_landscapes": peer / own}}
    return results


def eigenvalues(clock, config, dataset):
    """Time the computation of the ten largest Hessian eigenvalues on 5,000 samples.

    The network is trained for a few epochs, and the residuals are below a thousandth of the largest
    eigenvalue. The time is compared with that of `pyhessian`.
    """
    problem = gd.problems.digits(dataset, samples=5000)
    runs = sweep_seconds(problem, gd.axes(seed=[0]), round(800 * config.scale), 32)()
    like = problem.init(jax.random.key(0))
    params = jax.tree.map(jnp.asarray, gd.params_of(runs, like, {"seed": 0}))
    problem = jax.tree.map(jnp.asarray, problem)
    ends = jax.jit(partial(gd.curvature.extreme_eigenpairs, largest=10))
    alone, _ = clock.best(lambda: ends(problem, params, key=jax.random.key(0)))
    exact = ends(problem, params, key=jax.random.key(0))
    results = {
        "seconds": alone,
        "largest_residual": float(np.max(exact.residuals) / exact.norm),
    }
    peer = peers.eigenvalues(problem, params, len(exact.values), config.repeats)
    if peer is not None:
        seconds, values = peer
        off = np.abs(np.array(values) / np.asarray(exact.values) - 1)
        results |= {
            "pyhessian_largest_error": float(np.max(off)),
            "times": {"pyhessian": seconds / alone},
        }
    return {"eigenvalues": results}
