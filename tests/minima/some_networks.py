"""Networks for the tests of minima, and labels of kinds of end points."""

from functools import cache, partial
from itertools import permutations, product

import jax
import jax.numpy as jnp
import numpy as np

from gdjax.curvature import Kind
from gdjax.minima.symmetry import apply_symmetry, random_symmetry
from gdjax.problems.metrics import Metric
from gdjax.problems.networks import Network
from gdjax.problems.problem import Problem

X = np.array([-2, -1, -0.5, 0.5, 1, 2])
Y = np.array([-0.3, -1, -0.2, 0.2, 1, 0.3])


def two_neurons(params):
    """Return the cost of two tanh neurons without biases, with decay."""
    w, v = params
    return jnp.mean((jnp.tanh(X[:, None] * w[None]) @ v - Y) ** 2) + 0.01 * (w @ w + v @ v)


def some_params(network, seed):
    """Return random weights and nonzero biases of order 1."""
    leaves, tree = jax.tree.flatten(jax.eval_shape(network.init, jax.random.key(0)))
    rng = np.random.default_rng(seed)
    leaves_drawn = [jnp.array(rng.normal(size=a.shape), a.dtype) for a in leaves]
    return jax.tree.unflatten(tree, leaves_drawn)


@partial(jax.jit, static_argnums=(0, 2, 3))
def equivalents(network, params, count, seed=1):
    """Return equivalent forms of a network, along a leading axis."""

    def one(key):
        return apply_symmetry(network, params, random_symmetry(network, key=key))

    return jax.vmap(one)(jax.random.split(jax.random.key(seed), count))


def signed_orders(width, flips):
    """Return all orders of the neurons of a layer, each with all signs if `flips` is true."""
    return [
        (np.array(order), np.array(sign))
        for order in permutations(range(width))
        for sign in product((1.0, -1.0) if flips else (1.0,), repeat=width)
    ]


def flat(tree):
    """Return the entries of a tree as a float64 vector."""
    return np.concatenate([np.asarray(leaf, float).ravel() for leaf in jax.tree.leaves(tree)])


def apart(a, b):
    """Return the Euclidean distance of two trees."""
    return float(np.linalg.norm(flat(a) - flat(b)))


def named(codes):
    return [Kind(code).label for code in np.asarray(codes).tolist()]


XOR_INPUTS = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
XOR_TARGETS = np.array([[0.1], [0.9], [0.9], [0.1]])


@cache
def xor(hidden=2, decay=1e-3, dark=0):
    """Return XOR with targets 0.1 and 0.9, weight decay and `dark` zero inputs."""
    network = Network(
        (2 + dark, hidden, 1), "sigmoid", output_activation="sigmoid", initializer="normal"
    )
    inputs = jnp.concatenate([jnp.array(XOR_INPUTS), jnp.zeros((4, dark))], axis=1)
    targets = jnp.array(XOR_TARGETS)

    def loss(outputs, targets):
        return jnp.mean(jnp.sum((outputs - targets) ** 2, axis=-1))

    def cost(params, batch):
        observed = [params[0].weights[:, :2], *(layer.weights for layer in params[1:])]
        return loss(network.apply(params, batch[0]), batch[1]) + decay * sum(
            jnp.sum(w**2) for w in observed
        )

    def right(problem, params):
        outputs = problem.predict(params, problem.data[0])
        return jnp.mean((outputs > 0.5) == (problem.data[1] > 0.5), dtype=float)

    return Problem(
        init=network.init,
        cost=cost,
        data=(inputs, targets),
        metrics={"right": Metric(right, long_name="share right")},
        predict=network.apply,
        loss=loss,
        network=network,
    )
