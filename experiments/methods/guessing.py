"""Random networks that fit images, and descents from the same distribution."""

import time
from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from guessing import Config


SHOWN = 2  # maximum number of accepted guesses tested per set, k and block of guesses


def drawn(key, count: int, inputs: int, hidden: int):
    """Return `count` random networks, with weights of variance 1 / fan-in."""
    weights = jax.random.normal(key, (count, hidden * (inputs + 1)))
    first = weights[:, : hidden * inputs].reshape(count, hidden, inputs) / inputs**0.5
    return first, weights[:, hidden * inputs :] / hidden**0.5


def outputs(network, x):
    """Return the outputs [networks, images], from one matrix product."""
    first, second = network
    count, hidden, inputs = first.shape
    z = jax.nn.relu(first.reshape(-1, inputs) @ x.T).reshape(count, hidden, -1)
    return jnp.sum(z * second[:, :, None], axis=1)


@partial(jax.jit, static_argnames=("count", "hidden"))
def block(key, sets, rest, *, count, hidden):
    """Return numbers of accepted guesses of a block, and accuracies of some guesses.

    Returns:
        Numbers of guesses that fit the first k images of a set, [sets, values of k], out of
        2 * `count` guesses, and accuracies of at most SHOWN of them, [sets, values of k, SHOWN];
        NaN if fewer guesses fit.
    """
    (x, y), (x_rest, y_rest) = sets, rest
    network = drawn(key, count, x.shape[-1], hidden)
    shape = (count, *y.shape)
    margin = outputs(network, x.reshape(-1, x.shape[-1])).reshape(shape) * y[None]
    # Either a network or its negative classifies the first image correctly.
    sign = jnp.where(margin[..., 0] > 0, 1.0, -1.0)
    fits = jnp.cumprod(margin * sign[..., None] > 0, axis=-1)[..., 1::2]
    fits = fits.transpose(1, 2, 0)  # [sets, values of k, guesses]

    def first_of(row):
        return jnp.nonzero(row, size=SHOWN, fill_value=count)[0]

    first_fit = jax.vmap(jax.vmap(first_of))(fits)
    flat = jnp.minimum(first_fit, count - 1).reshape(-1)
    read = outputs(jax.tree.map(lambda a: a[flat], network), x_rest) * y_rest[None]
    read = read.reshape(*first_fit.shape, -1)
    flip = sign[jnp.minimum(first_fit, count - 1), jnp.arange(len(y))[:, None, None]]
    # An output of 0 (no active neuron) counts as wrong for either label.
    right = jnp.mean(read * flip[..., None] > 0, axis=-1)
    return jnp.sum(fits, axis=-1), jnp.where(first_fit < count, right, jnp.nan)


def guess(config: "Config", sets, rest):
    """Return numbers of accepted guesses, their mean accuracies, and numbers tested.

    All have the shape [sets, values of k]. At most `SHOWN` accepted guesses per block, set and k
    are tested, and accuracies are means over the tested guesses.
    """
    accepted = np.zeros((config.sets, config.most // 2), int)
    total, counts = np.zeros(accepted.shape), np.zeros(accepted.shape, int)
    for number in range(config.blocks):
        key = jax.random.fold_in(jax.random.key(config.key), number)
        count, right = block(key, sets, rest, count=config.guesses, hidden=config.hidden)
        right = np.asarray(right, float)
        accepted += np.asarray(count)
        total += np.nansum(right, axis=-1)
        counts += np.sum(~np.isnan(right), axis=-1)
    with np.errstate(invalid="ignore"):
        return accepted, total / counts, counts


@partial(jax.jit, static_argnames=("count", "hidden", "steps"))
def train(key, sets, rest, mask, rate, *, count, hidden, steps):
    """Return accuracies of descents on each set, at the first fit and at the end.

    Args:
        key: random key of the starting points.
        sets: images and labels of all sets.
        rest: images and labels on which the accuracy is evaluated.
        mask: for each image of a set, whether it is a training image.
        rate: learning rate.
        count: number of descents per set.
        hidden: number of hidden neurons.
        steps: number of steps.

    Returns:
        Two arrays of shape [sets, count]; NaN for descents that never fit all training images.
    """

    def cost(network, x, y):
        margin = outputs(jax.tree.map(lambda a: a[None], network), x)[0] * y
        return jnp.sum(jax.nn.softplus(-margin) * mask) / jnp.sum(mask), margin

    def descend(network, x, y):
        def advance(carry, _):
            network, result, done = carry
            gradient, margin = jax.grad(cost, has_aux=True)(network, x, y)
            fitted = jnp.all((margin > 0) | (mask == 0))
            keep = fitted & ~done
            result = jax.tree.map(lambda new, old: jnp.where(keep, new, old), network, result)
            network = jax.tree.map(lambda w, g: w - rate * g, network, gradient)
            return (network, result, done | fitted), None

        first = (network, network, jnp.zeros((), bool))
        (network, first_fit, done), _ = jax.lax.scan(advance, first, None, length=steps)
        return first_fit, network, done

    def train_on_set(key, x, y):
        starts = drawn(key, count, x.shape[-1], hidden)
        results, end, done = jax.vmap(lambda w: descend(w, x, y))(starts)
        x_rest, y_rest = rest
        right = [jnp.mean(outputs(w, x_rest) * y_rest[None] > 0, axis=1) for w in (results, end)]
        return tuple(jnp.where(done, one, jnp.nan) for one in right)

    return jax.lax.map(lambda one: train_on_set(*one), (jax.random.split(key, len(sets[0])), *sets))


def speed(config: "Config", sets, rest) -> dict[str, float]:
    """Return the number of parameters per network, and two rates.

    The rates are the numbers of networks that are tested, and that are only drawn, per second of
    processor time.
    """
    per_network = config.hidden * (sets[0].shape[-1] + 1)
    normal = jax.jit(lambda key: jnp.sum(jax.random.normal(key, (config.guesses, per_network))))
    program = partial(block, count=config.guesses, hidden=config.hidden)

    def rate(program):
        jax.block_until_ready(program(jax.random.key(0)))
        start = time.process_time()
        for number in range(16):
            jax.block_until_ready(program(jax.random.key(number)))
        return 16 * config.guesses / (time.process_time() - start)

    return {
        "numbers_a_network": float(per_network),
        "networks_a_second": rate(lambda key: program(key, sets, rest)),
        "drawn_a_second": rate(normal),
    }
