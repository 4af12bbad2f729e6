"""Centers of descents at the edge of stability, and their distances from those of flows.

    center of descent at step t: (w_{t-1} + 2 w_t + w_{t+1}) / 4

This average of three points removes an oscillation of period two. It changes the points of a path
that is smooth in time only by terms of second order in the rate, so it does not shift the path in
time.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float

import gdjax as gd
from experiments.shared.images import image_regression, strided
from experiments.shared.regressions import random_targets
from gdjax.curvature.gradient_summary import value_and_gradient
from gdjax.flows import FlowStatus, central_flow, edge_flow, gradient_flow, rod_flow

OSCILLATING = {"rod": rod_flow, "edge": edge_flow}
FLOWS = ("gradient", "central", *OSCILLATING)
MOVED = "moved"  # name of the descent from another starting point


@dataclass(frozen=True)
class Config:
    """Descents to compare with the flows."""

    rates: tuple[float, ...] = (0.2, 0.3)  # learning rates of the swish network
    width: int = 16  # number of neurons in each hidden layer of the swish network
    samples: int = 128  # number of random samples for the swish network
    steps: int = 400  # number of steps of each descent of the swish network
    digits: int = 100  # number of training images of digits
    digit_rates: tuple[float, ...] = (3.5,)  # learning rates on the digits
    digit_steps: int = 200  # number of steps of each descent on the digits
    image_data: str = "fashion_mnist"  # name of the data set of images
    images: int = 500  # number of training images of this data set
    image_stride: int = 2  # distance between the pixels of these images that are used
    # number of neurons in each hidden layer of the tanh network on these images
    image_widths: tuple[int, ...] = (16, 16)
    # factor of the starting weights; for 1, descent starts far above the edge
    image_init_scale: float = 0.5
    image_rates: tuple[float, ...] = (0.2,)  # learning rates on these images
    image_steps: int = 200  # number of steps of each descent on these images
    starts: int = 8  # number of starting points for each rate
    eigenvectors: int = 4  # maximum number of eigenvalues held at 2 / eta by the central flow
    # number of steps of descent between records, and in an interval of the central flow
    stride: int = 2
    # number of records before and after each one that are searched for the nearest center of
    # descent
    window: int = 5
    # distance of the second start from the first, relative to the norm of the first
    moved: float = 1e-6
    tolerance: float = 1e-4  # relative tolerance of the solver of the flows
    # maximum number of steps of the solver of a rod flow or an edge flow, per step of descent
    solver_steps: int = 10


class Path(NamedTuple):
    """Centers of runs of descent or of a flow; any leading axes index the runs."""

    centers: Float[Array, "... times n"]  # as flat vectors
    # amplitude of the oscillation around the center; 0 for the gradient flow
    amplitude: Float[Array, "... times"]
    # rate times the curvature that determines the growth of the oscillation; 0 for the gradient
    # flow and NaN for descent
    product: Float[Array, "... times"]
    # whether all centers are finite and, for a flow, the solver reached the end
    completed: Bool[Array, "..."]


def cases(config: Config) -> dict[str, tuple]:
    """Return the problem, rates and number of steps of each case."""
    return {
        "swish": (random_targets(config.width, config.samples), config.rates, config.steps),
        "digits": (
            gd.problems.digits("mnist5k", samples=config.digits),
            config.digit_rates,
            config.digit_steps,
        ),
        "Fashion-MNIST": (
            image_regression(
                strided(gd.data.load(config.image_data), config.image_stride),
                config.image_widths,
                config.images,
                init_scale=config.image_init_scale,
            ),
            config.image_rates,
            config.image_steps,
        ),
    }


def followed(config: Config, problem: gd.Problem, rates, steps: int) -> xr.Dataset:
    """Compare all models with descents, for all rates and starts.

    Returns:
        relative distances, amplitudes, products of rate and curvature, whether runs were completed,
        and processor times.
    """
    keys = gd.run_keys(0, np.arange(config.starts))
    lanes = (
        jnp.repeat(jnp.asarray(rates), config.starts),
        jnp.tile(keys.init, len(rates)),
        jnp.tile(keys.probes, len(rates)),
        jnp.zeros(len(rates) * config.starts),
    )
    outputs = {
        name: compiled(flow(config, name, steps), problem, lanes)(lanes, problem) for name in FLOWS
    }
    descend = compiled(descent(config, steps), problem, lanes)
    known, _ = descend(lanes, problem)
    outputs[MOVED] = descend((*lanes[:3], jnp.full_like(lanes[3], config.moved)), problem)
    dims, at = ("learning_rate", "seed"), ("learning_rate", "seed", "step")

    def shaped(values):
        values = np.asarray(values)
        return values.reshape(len(rates), config.starts, *values.shape[1:])

    variables: dict = {
        "descent_amplitude": (at, shaped(known.amplitude)),
        "bounded": (dims, shaped(known.completed)),
    }
    for name, (path, seconds) in outputs.items():
        pairs = zip(path.centers, known.centers, path.completed, strict=True)
        distances = [
            np.where(completed, relative_distances(centers, reference, config.window), np.inf)
            for centers, reference, completed in pairs
        ]
        variables |= {
            f"{name}_distance": (at, shaped(distances)),
            f"{name}_amplitude": (at, shaped(path.amplitude)),
            f"{name}_product": (at, shaped(path.product)),
            f"{name}_completed": (dims, shaped(path.completed)),
            f"{name}_seconds": seconds,
        }
    steps_recorded = config.stride * np.arange(known.amplitude.shape[1])
    return xr.Dataset(variables, {"learning_rate": list(rates), "step": steps_recorded})


def compiled(one: Callable, problem: gd.Problem, lanes: tuple) -> Callable:
    """Return a function that returns the paths of all lanes, and the processor time in seconds.

    The lanes are computed one after another, since in a batch, runs would wait for the one whose
    solver takes the most steps.
    """

    def every(lanes, problem):
        return jax.lax.map(lambda lane: one(*lane, problem), lanes)

    program = jax.jit(every).lower(lanes, problem).compile()

    def timed(lanes, problem):
        start = time.process_time()
        paths = jax.block_until_ready(program(lanes, problem))
        seconds = time.process_time() - start
        return jax.tree.map(np.asarray, paths), seconds

    return timed


def descent(config: Config, steps: int) -> Callable:
    """Return a function that returns the path of a descent, with NaN as products.

    The amplitude is the length of the alternating part (w_{t-1} - 2 w_t + w_{t+1}) / 4.
    """

    def one(rate, key_init, key_probe, moved, problem):
        w, unravel = ravel_pytree(problem.init(key_init))
        u = jax.random.normal(key_probe, w.shape, w.dtype)
        w += moved * jnp.linalg.norm(w) * u / jnp.linalg.norm(u)

        def step(_number, points):
            now = points[1]
            g = ravel_pytree(value_and_gradient(problem, unravel(now))[1])[0]
            return now, now - rate * g

        def record(points, _):
            before, now = points
            _, after = step(0, points)
            outputs = (before + 2 * now + after) / 4, jnp.linalg.norm(before - 2 * now + after) / 4
            return jax.lax.fori_loop(0, config.stride, step, points), outputs

        _, second = step(0, (w, w))
        # The point before the start is chosen such that the center at step 0 is (w_0 + w_1) / 2.
        length = steps // config.stride + 1
        _, (centers, amplitudes) = jax.lax.scan(record, (second, w), length=length)
        bounded = jnp.all(jnp.isfinite(centers))
        return Path(centers, amplitudes, jnp.full(length, jnp.nan), bounded)

    return one


def flow(config: Config, name: str, steps: int) -> Callable:
    """Return a function that returns the path of a flow."""
    intervals, rtol = steps // config.stride, config.tolerance

    def one(rate, key_init, _key_probe, _moved, problem):
        w, end_time = problem.init(key_init), rate * steps
        options = {"intervals": intervals, "rtol": rtol}
        if name == "gradient":
            times = end_time / intervals * jnp.arange(intervals + 1)
            result = gradient_flow(problem, w, times=times, rtol=rtol)
            amplitude = curvature = jnp.zeros(intervals + 1)
        elif name == "central":
            eigenvectors = config.eigenvectors
            result = central_flow(problem, w, rate, end_time, eigenvectors=eigenvectors, **options)
            amplitude = jnp.sqrt(jnp.trace(result.covariance, axis1=1, axis2=2))
            curvature = result.eigenvalues[:, 0]
        else:
            oscillating, max_steps = OSCILLATING[name], config.solver_steps * steps
            result = oscillating(problem, w, rate, end_time, max_steps=max_steps, **options)
            amplitude, curvature = result.amplitude, result.curvature
        centers = jax.vmap(lambda p: ravel_pytree(p)[0])(result.params)
        completed = result.status == FlowStatus.COMPLETED
        completed &= jnp.all(jnp.isfinite(centers))
        return Path(centers, amplitude, rate * curvature, completed)

    return one


def relative_distances(
    path: Float[np.ndarray, "times n"], reference: Float[np.ndarray, "times n"], window: int
) -> Float[np.ndarray, " times"]:
    """Return relative distances from the nearest reference points within a window.

    Each distance is divided by the distance of the reference point at the same time from the first
    reference point. The window makes the result tolerant to a difference in phase. The result is
    NaN at the first time and at times without a complete window, and +inf where a point is not
    finite.
    """
    inner = np.arange(max(window, 1), len(reference) - window)
    apart = [
        np.linalg.norm(path[inner] - reference[inner + shift], axis=1)
        for shift in range(-window, window + 1)
    ]
    travelled = np.linalg.norm(reference[inner] - reference[0], axis=1)
    nearest = np.min(apart, axis=0) / travelled
    distances = np.full(len(reference), np.nan)
    distances[inner] = np.where(np.isfinite(nearest), nearest, np.inf)
    return distances
