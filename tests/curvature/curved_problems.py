"""Costs with known Hessians: a small digit network, a regression, and quadratics."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from gdjax.problems import Layer, Network


def random_params(network, seed=0):
    """Return weights from N(0, 1/fan-in) and nonzero biases."""
    rng = np.random.default_rng(seed)
    return tuple(
        Layer(jnp.array(rng.normal(size=(n, m)) / np.sqrt(m)), jnp.array(rng.normal(size=n) / 2))
        for m, n in zip(network.widths[:-1], network.widths[1:], strict=True)
    )


def regression(samples, seed=0):
    """Return cost, parameters and data of a 3-4-2 tanh network, in the default type."""
    network = Network((3, 4, 2), activation="tanh")
    rng = np.random.default_rng(seed)
    data = tuple(jnp.array(rng.normal(size=(samples, n))) for n in (3, 2))

    def cost(params, batch):
        return jnp.mean(jnp.sum((network.apply(params, batch[0]) - batch[1]) ** 2, axis=1))

    return cost, random_params(network, seed), data


def pooled_digits(samples=60, dark=4, seed=0):
    """Return cost, parameters and data of a 100-16-16-10 network for images with dark pixels."""
    network = Network((100, 16, 16, 10))
    rng = np.random.default_rng(seed)
    prototypes = rng.uniform(size=(10, 100))
    labels = rng.integers(10, size=samples)
    images = np.clip(prototypes[labels] + 0.3 * rng.normal(size=(samples, 100)), 0, 1)
    images[:, :dark] = 0

    def cost(params, batch):
        return jnp.mean(jnp.sum((network.apply(params, batch[0]) - batch[1]) ** 2, axis=1))

    params = jax.tree.map(lambda a: 2 * a, random_params(network, seed))
    return cost, params, (jnp.array(images), jnp.array(np.eye(10)[labels]))


def in_float64(tree):
    return jax.tree.map(lambda a: np.asarray(a, np.float64), tree)


def dense_reference(cost, params, data=None):
    """Return the dense Hessian in float64, by reverse-over-forward differentiation.

    The library uses forward-over-reverse differentiation.
    """
    with jax.enable_x64(True):
        flat, unravel = ravel_pytree(in_float64(params))
        batch = () if data is None else (in_float64(data),)

        def column(v, w, *batch):
            def slope(w):
                return jax.jvp(lambda w: cost(unravel(w), *batch), (w,), (v,))[1]

            return jax.grad(slope)(w)

        def columns(w, *batch):
            units = jnp.eye(w.size)
            return jax.lax.map(lambda v: column(v, w, *batch), units, batch_size=100)

        return np.asarray(jax.jit(columns)(flat, *batch))


@cache
def digit_network():
    """Return `pooled_digits()`, its dense Hessian in float64, and the ascending eigenvalues."""
    cost, params, data = pooled_digits()
    H = dense_reference(cost, params, data)
    return cost, params, data, H, np.linalg.eigvalsh(H)


def quadratic(eigenvalues, seed=0):
    """Return the cost w^T A w / 2, parameters w, and A as the data of one sample."""
    spectrum = np.asarray(eigenvalues, np.float64)
    basis = np.linalg.qr(np.random.default_rng(seed).normal(size=(spectrum.size,) * 2))[0]
    matrix = (basis * spectrum) @ basis.T

    def cost(w, batch):
        return w @ jnp.matmul(batch[0], w, precision="highest") / 2

    return cost, jnp.array(np.random.default_rng(1).normal(size=spectrum.size)), matrix[None]


def spectra(n):
    """Return eigenvalues of symmetric matrices with n >= 40 rows, by name."""
    rng = np.random.default_rng(0)
    bulk, noise = rng.uniform(-1, 1, n), rng.normal(size=n)
    pair = np.repeat([1.0, -1.0], 20) + 1e-5 * noise[:40]
    return {
        "identity": np.ones(n),
        "zero": np.zeros(n),
        "rank 3": np.r_[3.0, 2.0, -1.0, np.zeros(n - 3)],
        "outliers": np.r_[np.linspace(2, 5, 10), 0.02 * noise[10:]],
        "indefinite": bulk,
        "negative": -1 - np.abs(bulk),
        "geometric": np.geomspace(1e-6, 1, n),
        "five equal largest eigenvalues": np.r_[np.full(5, 3.0), 1.5 * bulk[5:]],
        "fourteen equal smallest and three larger eigenvalues": np.r_[
            np.full(14, -2.0), 5, 4, 3, 0.1 * bulk[17:]
        ],
        "clusters": np.r_[pair, bulk[40:]],
        "huge": 1e12 * bulk,
        "tiny": 1e-12 * bulk,
    }
