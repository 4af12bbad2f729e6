"""Oscillation of mini-batch descent along the sharpest direction, and the forces that balance it.

    E x_{t+1}^2 = ((1 - eta S)^2 + eta^2 V) E x_t^2 + eta^2 sigma^2
    dS/dt = alpha - beta E x^2 / 2

Here x is the displacement along the eigenvector u of the sharpness S, V the variance of u^T H u and
sigma^2 that of u . g over independent mini-batches, and `edge_forces` defines alpha and beta. At
equilibrium E x^2 = 2 alpha / beta, so that

    1 - (1 - eta S)^2 = eta^2 V + eta^2 sigma^2 beta / (2 alpha)
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PyTree

import gdjax as gd
from experiments.shared.regressions import random_targets
from gdjax.descent import Order
from gdjax.dynamics import central_flow
from gdjax.problems import deterministic_cost

PRODUCTS = np.linspace(0.4, 1.3, 10)  # rates at which stability is tested, in units of 2 / S
GROWTH = 2e-3  # growth per step of log |u . d| above which a rate is unstable


@dataclass(frozen=True)
class Config:
    """Descents whose sharpness is recorded."""

    rates: tuple[float, ...] = (0.13, 0.2)  # learning rates of the swish networks
    batch_sizes: tuple[int, ...] = (8, 16, 32, 64)  # numbers of samples per step
    starts: int = 6  # number of starting points for each rate and batch size
    orders: int = 2  # number of orders of mini-batches for each start
    width: int = 16  # number of neurons in each hidden layer
    samples: int = 128  # number of training samples
    steps: int = 4000  # number of steps of each descent
    records: int = 40  # number of records of each descent
    batches: int = 16  # number of mini-batches for each estimate of the batch sharpness
    rate: float = 0.13  # learning rate of all other measurements on these networks, one of `rates`
    window: int = 512  # number of steps over which the oscillation is averaged, for one order
    sizes: tuple[int, ...] = (64,)  # samples per step with copies or with noise in the targets
    copies: tuple[int, ...] = (1, 2, 8)  # numbers of copies of each sample in a pass
    noises: tuple[float, ...] = (0.0, 0.03, 0.1)  # standard deviations of the noise in the targets
    points: int = 4  # number of points of the central flow at which forces are computed
    image_data: str = "fashion_mnist"  # name of the data set of images
    images: int = 5000  # number of training images
    image_widths: tuple[int, ...] = (16,)  # neurons in each hidden layer of the network on images
    image_sizes: tuple[int, ...] = (250, 1000, 2500)  # numbers of images per step
    image_steps: int = 1000  # number of steps of each descent on images
    image_records: int = 20  # number of records of each descent on images


def oscillation(
    config: Config, problem: gd.Problem, ends: PyTree, sampling: str, size: int
) -> xr.Dataset:
    """Return averages over consecutive steps after the ends of descents.

    With the mean c of the parameters, d = w - c, and the gradient g and the Hessian H of the
    mini-batch of a step, the averages are

        path_batch = eta/2 E[g^T H g] / E|g|^2,   stationary = eta/2 E|g|^2 / E[d^T g],
        along_hessian = E[g^T H d] / E|g|^2,      distance_hessian = E[d^T H d] / E[d^T g],
        additive = E|g(c)|^2 / E|g|^2,            curvature_variance = eta^2 V,
        stationary = 1 + drift,                   limit_... = `stability_limit` at c

    For shuffled batches of b among N samples, V includes the factor (N - b) / (N - 1). The equation
    for stationary and drift is exact: drift is the change of |d|^2 over all steps, divided by 2 eta
    times the sum of d^T g. For H >= 0, the Cauchy-Schwarz inequality gives

        path_batch >= stationary along_hessian^2 / distance_hessian

    The leading axis of `ends` indexes the starts.
    """
    rate, samples = config.rate, problem.samples
    keys = (gd.run_keys(1).order,)
    rows = [
        Order(keys, samples, size, replacement=r).rows(0, config.window)[0] for r in (False, True)
    ]
    data = jax.tree.map(jnp.asarray, problem.data)
    # In a shuffled pass, a batch is drawn without replacement from a finite population.
    share = (samples - size) / (samples - 1) if sampling == "shuffled" else 1.0

    def one(params, rows, others):
        flat, unravel = ravel_pytree(params)

        def gradient(w, row):
            batch = jax.tree.map(lambda a: a[row], data)
            return jax.grad(lambda w: problem.cost(unravel(w), batch))(w)

        def step(w, row):
            g = gradient(w, row)
            return w - rate * g, (w, g)

        last, (w, g) = jax.lax.scan(step, flat, rows)
        center = jnp.mean(w, axis=0)

        def products(step):
            w, g, row = step
            d = w - center
            Hg, Hd = (jax.jvp(lambda w: gradient(w, row), (w,), (v,))[1] for v in (g, d))
            g_center = gradient(center, row)
            return jnp.stack([g @ Hg, g @ g, d @ g, g @ Hd, d @ Hd, g_center @ g_center])

        gHg, gg, dg, gHd, dHd, additive = jnp.mean(jax.lax.map(products, (w, g, rows)), axis=0)
        forces = edge_forces(problem, unravel, center)
        change = jnp.sum((last - center) ** 2) - jnp.sum((w[0] - center) ** 2)
        return {
            "path_batch": rate / 2 * gHg / gg,
            "stationary": rate / 2 * gg / dg,
            "along_hessian": gHd / gg,
            "distance_hessian": dHd / dg,
            "additive": additive / gg,
            "curvature_variance": rate**2 * share * forces["curvature_variance"] / size,
            "drift": change / (2 * rate * len(rows) * dg),
            "limit_shuffled": stability_limit(gradient, center, forces, others[0]),
            "limit_replacement": stability_limit(gradient, center, forces, others[1]),
        }

    averages = jax.jit(jax.vmap(one, (0, None, None)))(ends, rows[sampling == "replacement"], rows)
    return xr.Dataset({name: ("seed", np.asarray(value)) for name, value in averages.items()})


def stability_limit(
    gradient: Callable[[Array, Array], Array],
    center: Float[Array, " n"],
    forces: dict[str, Array],
    rows: Int[Array, "steps batch"],
) -> Float[Array, ""]:
    """Return eta S / 2 for the largest stable rate of the linear descent at a point.

        d_{t+1} = d_t - eta H_t d_t,   H_t the Hessian of mini-batch t at the point

    A rate is unstable if the displacement along the eigenvector of the sharpness S grows by more
    than `GROWTH` per step. The limit is extrapolated to a growth of 0 from the smallest unstable
    rate of `PRODUCTS` and the next rate, but is not below the rate before them; it is NaN if fewer
    than two rates are unstable.

    The function `gradient(w, row)` is that of a mini-batch, and `forces` is the result of
    `edge_forces` at the point `center`.
    """
    u, products = forces["direction"], jnp.asarray(PRODUCTS, center.dtype)
    rates = 2 * products / forces["sharpness"]

    def step(state, row):
        d, scale = state
        Hd = jax.vmap(lambda v: jax.jvp(lambda w: gradient(w, row), (center,), (v,))[1])(d)
        d = d - rates[:, None] * Hd
        length = jnp.linalg.norm(d, axis=1)
        d, scale = d / length[:, None], scale + jnp.log(length)
        return (d, scale), scale + jnp.log(jnp.abs(d @ u))

    start = jnp.broadcast_to(
        u + jax.random.normal(jax.random.key(2), u.shape) / u.size, (len(rates), u.size)
    )
    _, logs = jax.lax.scan(step, (start, jnp.zeros_like(rates)), rows)
    quarter = len(rows) // 4
    rise = jnp.mean(logs[-quarter:], axis=0) - jnp.mean(logs[quarter : 2 * quarter], axis=0)
    growth = rise / (2 * quarter)
    first = jnp.argmax(growth > GROWTH)
    low, high = growth[first], growth[first + 1]
    limit = products[first] - (products[first + 1] - products[first]) * low / (high - low)
    stable = products[first] - (products[1] - products[0])
    return jnp.where(jnp.sum(growth > GROWTH) > 1, jnp.maximum(limit, stable), jnp.nan)


def edge_forces(
    problem: gd.Problem, unravel: Callable[[Array], PyTree], w: Float[Array, " n"]
) -> dict[str, Array]:
    """Return the forces and variances along the eigenvector u of the sharpness S.

        alpha = -grad C . grad S,   beta = |grad S - (u . grad S) u|^2

    `gradient_variance` and `curvature_variance` are the variances of u . g_i and of u^T H_i u over
    samples. `target_variance` is the variance of u . g_i from noise of variance 1 in the target of
    the sample, averaged over samples. `second` is the second largest eigenvalue of the Hessian, and
    `direction` is u.
    """
    cost = deterministic_cost(problem)
    samples = jax.tree.map(lambda a: jnp.asarray(a)[:, None], problem.data)

    def loss(w, sample):
        return cost(unravel(w), sample)

    def mean(w):
        return cost(unravel(w), jax.tree.map(jnp.asarray, problem.data))

    values, vectors = jnp.linalg.eigh(jax.hessian(mean)(w))
    u = vectors[:, -1]

    def slope(w, sample):
        return jax.jvp(lambda w: loss(w, sample), (w,), (u,))[1]

    def of_sample(sample):
        x, y = sample
        force, bend = jax.jvp(lambda w: slope(w, sample), (w,), (u,))
        return force, bend, jax.jvp(lambda y: slope(w, (x, y)), (y,), (jnp.ones_like(y),))[1]

    def curvature(w):
        return jax.jvp(lambda w: jax.jvp(mean, (w,), (u,))[1], (w,), (u,))[1]

    g, grad_S = jax.grad(mean)(w), jax.grad(curvature)(w)
    across = grad_S - (u @ grad_S) * u
    force, bend, by_target = jax.vmap(of_sample)(samples)
    return {
        "sharpness": values[-1],
        "second": values[-2],
        "direction": u,
        "alpha": -g @ grad_S,
        "beta": across @ across,
        "gradient_variance": jnp.var(force),
        "curvature_variance": jnp.var(bend),
        "target_variance": jnp.mean(by_target**2),
    }


def constrained_path(config: Config) -> xr.Dataset:
    """Return the forces on the last quarter of the central flow from each start."""
    problem = random_targets(config.width, config.samples)
    intervals = config.steps // 4  # each interval is as long as four steps of descent
    shown = np.linspace(3 * intervals // 4, intervals, config.points).astype(int)

    def one(key):
        start = problem.init(key)
        time = config.rate * config.steps
        flow = central_flow(problem, start, config.rate, time, intervals=intervals)
        unravel = ravel_pytree(start)[1]
        late = jax.tree.map(lambda a: a[shown], flow.params)
        forces = jax.lax.map(lambda w: edge_forces(problem, unravel, ravel_pytree(w)[0]), late)
        forces.pop("direction")
        return forces

    forces = jax.jit(jax.vmap(one))(gd.run_keys(0, np.arange(config.starts)).init)
    dims = ("seed", "point")
    return xr.Dataset({name: (dims, np.asarray(v)) for name, v in forces.items()})
