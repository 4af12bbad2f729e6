"""Small regression problems on which descent reaches the edge of stability, and XOR.

    C = 1/n sum_i |f(x_i) - y_i|^2,   f a network with one or two hidden layers

>>> chebyshev().samples, random_targets(16, 128).samples
(20, 128)
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import gdjax as gd
from gdjax.problems import Layer, Network

XOR = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0))


def chebyshev(points: int = 20, degree: int = 5, width: int = 100) -> gd.Problem:
    """Return the problem of fitting a Chebyshev polynomial with a tanh network.

    Starting weights and biases are uniform within +-1 / sqrt(inputs), as in PyTorch's layers.
    """
    network = Network((1, width, 1), activation="tanh", output_activation="identity")
    x = np.linspace(-1, 1, points)
    y = np.cos(degree * np.arccos(x))

    def init(key):
        first, second = jax.random.split(key)
        return tuple(
            Layer(*_uniform(k, (n_out, n_in)))
            for k, n_in, n_out in ((first, 1, width), (second, width, 1))
        )

    def cost(params, batch):
        return jnp.mean((network.apply(params, batch[0]) - batch[1]) ** 2)

    return gd.Problem(init=init, cost=cost, data=(x[:, None], y[:, None]), network=network)


def _uniform(key, shape):
    weights, bias = jax.random.split(key)
    bound = 1 / np.sqrt(shape[1])
    draw = partial(jax.random.uniform, minval=-bound, maxval=bound)
    return draw(weights, shape), draw(bias, shape[:1])


def random_targets(width: int, samples: int, inputs: int = 8) -> gd.Problem:
    """Return the problem of fitting random targets with a swish network.

    The network has two hidden layers.
    """
    key_x, key_y = jax.random.split(gd.run_keys(0).probes)
    data = jax.random.normal(key_x, (samples, inputs)), jax.random.normal(key_y, (samples, 1))
    widths = (inputs, width, width, 1)

    def init(key):
        keys = jax.random.split(key, 3)
        return tuple(
            (jax.random.normal(k, (m, n)) / np.sqrt(n), jnp.zeros(m))
            for k, n, m in zip(keys, widths, widths[1:], strict=False)
        )

    def cost(params, batch):
        a = batch[0]
        for W, b in params[:-1]:
            a = jax.nn.swish(a @ W.T + b[None])
        W, b = params[-1]
        return jnp.mean((a @ W.T + b[None] - batch[1]) ** 2)

    return gd.Problem(init=init, cost=cost, data=data)


def xor(hidden: int, decay: float, scale: float) -> gd.Problem:
    """Return the XOR problem with targets 0.1 and 0.9, which finite weights can fit exactly."""
    network = gd.problems.Network((2, hidden, 1), initializer="normal")
    data = (np.array(XOR, np.float32), np.array([[0.1], [0.9], [0.9], [0.1]], np.float32))

    def init(key):
        key_weights, *keys = jax.random.split(key, 3)
        layers = network.init(key_weights, init_scale=scale)
        return tuple(
            layer._replace(bias=scale * jax.random.normal(k, layer.bias.shape))
            for layer, k in zip(layers, keys, strict=True)
        )

    return gd.problems.decayed(network, data, decay, init=init)
