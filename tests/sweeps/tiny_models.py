"""Tiny models of several kinds, for tests of bits."""

import jax
import jax.numpy as jnp
import numpy as np

import gdjax as gd


def random_cost():
    """Return a problem whose cost has random inputs, the step, and a model state."""

    def evaluation(w, batch, *, model_state):
        return jnp.mean(((batch - model_state) @ w) ** 2) + w @ w

    def cost(w, batch, *, key, step, model_state):
        noise = jax.random.normal(key, batch.shape) / (10 + step)
        mean = 0.8 * model_state + 0.2 * jnp.mean(batch)
        return evaluation(w, batch + noise, model_state=model_state), mean

    def init(key):
        return jax.random.normal(key, (7,)), jnp.zeros(())

    data = np.random.default_rng(0).normal(size=(20, 7)).astype(np.float32)
    return gd.Problem(init=init, cost=cost, evaluation=evaluation, data=data)


def attention():
    """Return one layer of attention over eight tokens."""

    def init(key):
        return list(0.5 * jax.random.normal(key, (4, 6, 6)))

    def cost(w, batch):
        queries, keys, values = (batch @ w[i] for i in range(3))
        weights = jax.nn.softmax(queries @ keys.swapaxes(1, 2) / 6**0.5)
        return jnp.mean((jnp.tanh(weights @ values) @ w[3] - jnp.roll(batch, 1, 1)) ** 2)

    data = np.random.default_rng(1).normal(size=(20, 8, 6)).astype(np.float32)
    return gd.Problem(init=init, cost=cost, data=data)


def convolution():
    """Return a convolution and a dense layer, on images of 5 x 5 pixels."""

    def init(key):
        first, last = jax.random.split(key)
        return jax.random.normal(first, (2, 1, 3, 3)), jax.random.normal(last, (2, 3)) / 2

    def cost(w, batch):
        images = batch[:, None].astype(w[0].dtype)
        hidden = jax.nn.relu(jax.lax.conv(images, w[0], (1, 1), "SAME"))
        return jnp.mean((hidden.mean((2, 3)) @ w[1] - batch[:, 0, :3]) ** 2)

    data = np.random.default_rng(2).normal(size=(12, 5, 5)).astype(np.float32)
    return gd.Problem(init=init, cost=cost, data=data)


def normal(seed, *shape):
    """Return standard normal numbers in float32."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def regression():
    """Return a linear regression in double precision, with an offset."""

    def cost(w, batch):
        return jnp.mean((batch[:, :4] @ w["slope"] + w["offset"] - batch[:, 4]) ** 2)

    def init(key):
        return {
            "slope": jax.random.normal(key, (4,), "float64"),
            "offset": jnp.zeros((), "float64"),
        }

    return gd.Problem(init=init, cost=cost, data=np.random.default_rng(3).normal(size=(18, 5)))


def logistic():
    """Return a classifier of bytes into three classes."""
    data = np.random.default_rng(4).integers(0, 256, (20, 6), np.uint8), np.arange(20) % 3

    def apply(w, x):
        return x / 255 @ w

    def init(key):
        return jax.random.normal(key, (6, 3))

    return gd.problems.supervised(init, apply, gd.problems.cross_entropy, data, test=data)


def layers():
    """Return a network of sigmoids with weight decay."""
    data = normal(5, 20, 5), np.arange(20) % 3
    return gd.problems.decayed(gd.problems.Network((5, 4, 4, 3)), data, decay=1e-3)


def recurrent():
    """Return a recurrent network that echoes its input of the step before."""

    def init(key):
        return list(jax.random.normal(key, (3, 4, 4)) / 2)

    def cost(w, batch):
        def step(hidden, x):
            hidden = jnp.tanh(hidden @ w[0] + x @ w[1])
            return hidden, hidden @ w[2]

        inputs = batch.swapaxes(0, 1)
        _, outputs = jax.lax.scan(step, jnp.zeros(inputs.shape[1:]), inputs)
        return jnp.mean((outputs[1:] - inputs[:-1]) ** 2)

    return gd.Problem(init=init, cost=cost, data=normal(6, 16, 5, 4))


def embedding():
    """Return vectors of tokens whose products predict the next token."""

    def init(key):
        return jax.random.normal(key, (7, 3))

    def cost(w, batch):
        logits = w[batch[:, 0]] @ w.T
        return jnp.mean(jax.nn.logsumexp(logits, 1) - jnp.sum(w[batch[:, 0]] * w[batch[:, 1]], 1))

    return gd.Problem(init=init, cost=cost, data=np.random.default_rng(7).integers(0, 7, (30, 2)))


def dropout():
    """Return a network that drops hidden units at random in training."""

    def init(key):
        first, second = jax.random.split(key)
        return jax.random.normal(first, (4, 8)), jax.random.normal(second, (8, 1)) / 3

    def apply(w, x, *, train, key):
        hidden = jax.nn.gelu(x @ w[0])
        kept = jax.random.bernoulli(key, 0.75, hidden.shape)
        return jnp.where(kept, hidden / 0.75, 0) @ w[1] if train else hidden @ w[1]

    data = normal(8, 20, 4), normal(9, 20, 1)
    return gd.problems.supervised(init, apply, gd.problems.quadratic, data, test=data)


@jax.custom_vjp
def step_unit(z):
    """Return the sign of numbers, with the derivative of the hyperbolic tangent."""
    return jnp.sign(z)


step_unit.defvjp(lambda z: (jnp.sign(z), z), lambda z, g: (g / jnp.cosh(z) ** 2,))


def rule():
    """Return a network with a derivative rule of its own."""

    def init(key):
        first, second = jax.random.split(key)
        return jax.random.normal(first, (3, 6)), jax.random.normal(second, (6,))

    def cost(w, batch):
        return jnp.mean((step_unit(batch[:, :3] @ w[0]) @ w[1] - batch[:, 3]) ** 2)

    return gd.Problem(init=init, cost=cost, data=normal(10, 18, 4))


def half():
    """Return a network whose parameters and data are in bfloat16."""

    def init(key):
        return list(jax.random.normal(key, (2, 4, 4), jnp.bfloat16))

    def cost(w, batch):
        return jnp.mean((jnp.tanh(batch @ w[0]) @ w[1] - batch[:, ::-1]) ** 2)

    return gd.Problem(init=init, cost=cost, data=jnp.asarray(normal(11, 16, 4), jnp.bfloat16))
