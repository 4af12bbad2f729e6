"""Networks trained from crossed starts and orders, and the sharpness of their cost."""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from jaxtyping import PyTree

import gdjax as gd
from experiments.shared.images import shrunk
from experiments.shared.runs import crossed_runs, ends_of
from gdjax.curvature import FunctionOperator, HessianOperator, Sharpness, hessian_trace
from gdjax.problems import deterministic_cost

WIDTH = 32  # number of networks that are measured together
EIGENVALUE_TOLERANCE = 0.01  # maximum residual of the largest eigenvalue, relative to it


@dataclass(frozen=True)
class Config:
    """Networks, and measures of their sharpness."""

    data: str = "mnist5k"  # name of a data set of 28x28 digits
    learned: int = 2000  # number of training images; all others are test images
    widths: tuple[int, ...] = (16, 16)  # number of neurons in each hidden layer
    starts: int = 128  # number of starting points
    orders: int = 4  # number of orders of the mini-batches, each combined with every start
    batch_size: int = 32  # number of images per step
    epochs: tuple[int, ...] = (20, 40)  # number of epochs of sigmoid networks, one per recipe
    learning_rate: float = 5.0  # initial learning rate of sigmoid networks, with cosine decay to 0
    relu_epochs: int = 20  # number of passes of ReLU networks over the training images
    relu_learning_rate: float = 0.2  # initial learning rate of ReLU networks, with cosine decay
    probes: int = 32  # number of Hessian-vector products for each trace
    resamples: int = 10_000  # number of bootstrap resamples


class Recipe(NamedTuple):
    """Activation, loss, initial learning rate and number of epochs of training."""

    activation: str
    loss: str
    learning_rate: float
    epochs: int


def recipes(config: Config) -> dict[str, Recipe]:
    """Return the training recipes by name."""
    sigmoids = {
        f"sigmoid, {epochs} epochs": Recipe("sigmoid", "quadratic", config.learning_rate, epochs)
        for epochs in config.epochs
    }
    relu = Recipe("relu", "cross_entropy", config.relu_learning_rate, config.relu_epochs)
    return {**sigmoids, f"ReLU, {config.relu_epochs} epochs": relu}


def scaled_hessian(problem: gd.Problem, params: PyTree) -> FunctionOperator:
    """Return the operator D H D, with H the Hessian of the cost and D = diag |w|.

        E C(w + r |w| z) - C(w) = r^2 / 2 tr D H D + O(r^4),   z ~ N(0, I)

    Entry (i, j) is |w_i w_j| H_ij, which does not change if a ReLU neuron's incoming weights and
    bias are multiplied by a positive number and its outgoing weights are divided by it. Kwon et al.
    use the maximum rise of the cost over perturbations e in the ellipsoid |D^-1 e| <= r instead of
    this mean rise for small r.
    """
    hessian = HessianOperator(problem, params)
    scale = jax.tree.map(jnp.abs, params)

    def product(vector):
        return optax.tree.mul(scale, hessian.mv(optax.tree.mul(scale, vector)))

    return FunctionOperator(product, params)


def _measure(run, problem, test, *, probes):
    """Return costs, measures of sharpness, and correctly classified images of a network."""
    w, key = run
    sharpness = Sharpness(rtol=EIGENVALUE_TOLERANCE)
    eigenvalue, state = sharpness(problem, w, sharpness.init(problem, w))
    trace = hessian_trace(problem, w, key=key, probes=probes)
    cost = deterministic_cost(problem)
    images, labels = test
    return {
        "cost": cost(w, problem.data),
        "test_cost": cost(w, test),
        "eigenvalue": eigenvalue,
        "eigenvalue_error": state.residual,
        "trace": trace.value,
        "trace_error": trace.error,
        "right": jnp.argmax(problem.predict(w, images), axis=-1) == labels,
    }


def _scaled_trace(run, problem, _test, *, probes):
    """Return the adaptive sharpness of a network.

    This is a separate program, since two QR decompositions in one program can deadlock on CPUs:
    each occupies a thread of the pool and waits for another one.
    """
    w, key = run
    trace = hessian_trace(problem, w, key=key, probes=probes, operator=scaled_hessian)
    return {"adaptive": trace.value, "adaptive_error": trace.error}


def measured(config: Config, recipe: Recipe) -> xr.Dataset:
    """Return costs, sharpness and correctly classified images of networks of one recipe."""
    images = shrunk(config.data, config.learned)
    kind: dict = {"activation": recipe.activation, "loss": recipe.loss}
    problem = gd.problems.digits(images, widths=config.widths, **kind)
    runs = crossed_runs(config, problem, recipe.epochs, recipe.learning_rate, metrics={})
    keys = jax.random.split(jax.random.key(0), config.starts * config.orders)
    networks, test = (ends_of(problem, runs), keys), problem.metrics["test_accuracy"].data
    columns = {}
    for function in (_measure, _scaled_trace):
        each = jax.vmap(partial(function, probes=config.probes), (0, None, None))
        program = jax.jit(each)
        parts = [
            jax.device_get(
                program(jax.tree.map(lambda a, i=i: a[i : i + WIDTH], networks), problem, test)
            )
            for i in range(0, len(keys), WIDTH)
        ]
        columns |= jax.tree.map(lambda *values: np.concatenate(values), *parts)
    shape, dims = (config.starts, config.orders), ("start", "order", "image")
    arrays = {name: values.reshape(*shape, *values.shape[1:]) for name, values in columns.items()}
    return xr.Dataset({name: (dims[: values.ndim], values) for name, values in arrays.items()})
