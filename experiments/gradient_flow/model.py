"""Comparison of gradient descent with the gradient flow."""

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

import gdjax as gd
from gdjax.flows import FlowStatus, distance_from_flow

from .config import Config


def halving(largest: float, count: int) -> np.ndarray:
    """Return learning rates, each half of the previous one.

    Descents at all these rates reach the times that are multiples of the largest rate.
    """
    return largest / 2.0 ** np.arange(count)


def compared(problem, start, rates, end_time, times, **options):
    """Return a Dataset of distances and costs, and the parameters of descents and flow."""
    every = max(1, round(end_time / rates[0] / times)) * rates[0]
    at = every * np.arange(1, max(1, round(end_time / every)) + 1)
    descents = jax.jit(
        lambda problem, w: distance_from_flow(problem, w, learning_rates=rates, times=at, **options)
    )(gd.problems.as_problem(problem), start)
    return (
        xr.Dataset(
            {
                "distance": (("rate", "time"), np.asarray(descents.distance)),
                "cost": (("rate", "time"), np.asarray(descents.cost)),
                "flow_cost": ("time", np.asarray(descents.flow.cost)),
                "arrived": int(descents.flow.status) == FlowStatus.COMPLETED,
                "solver_steps": int(descents.flow.num_steps),
            },
            {"rate": rates, "time": at},
        ),
        jax.tree.map(np.asarray, descents.params),
        jax.tree.map(np.asarray, descents.flow.params),
    )


def factors(config: Config) -> tuple[xr.Dataset, xr.Dataset]:
    """Compare descents on two factors with the flow, from equal and unequal factors.

    From equal factors, the flow is also computed in closed form.
    """

    def cost(w):
        return gd.problems.find("two_factors").f(w, target=config.target)

    rates = halving(config.factor_rate, config.rates)
    options = (rates, config.factor_time, config.times)
    equal, descent, flow = compared(cost, jnp.full(2, config.start), *options)
    growth = np.exp(2 * config.target * equal.time)
    known = config.target * growth / (growth - 1 + config.target / config.start**2)
    equal["known"] = known
    equal["flow_product"] = ("time", np.prod(flow, axis=1))
    equal["product"] = (("rate", "time"), np.prod(descent, axis=-1))
    unequal, descent, flow = compared(cost, jnp.array(config.unequal), *options)
    for name, dims, w in (("flow_", (), flow), ("", ("rate",), descent)):
        unequal[f"{name}balance"] = ((*dims, "time"), w[..., 0] ** 2 - w[..., 1] ** 2)
    return equal, unequal


def digits(config: Config) -> xr.Dataset:
    """Compare descents on digits with the flow, and flows with two tolerances."""
    problem = gd.problems.digits(config.data, samples=config.samples)
    start = problem.init(gd.streams(0).init)
    rates = halving(config.digit_rate, config.rates)
    costs, _, flow = compared(
        problem, start, rates, config.digit_time, config.times, rtol=config.tolerance
    )
    looser = jax.jit(
        lambda problem, w: gd.flows.gradient_flow(
            problem, w, times=costs.time.values, rtol=config.check
        )
    )(problem, start)
    squares = jax.tree.map(
        lambda a, b: np.sum((a - np.asarray(b)).reshape(len(a), -1) ** 2, axis=1),
        flow,
        looser.params,
    )
    costs["flow_error"] = ("time", np.sqrt(sum(jax.tree.leaves(squares))))
    return costs
