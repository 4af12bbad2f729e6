"""Random networks that fit images, and descents that start from random networks."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

SHOWN = 2  # maximum number of accepted guesses tested per set, k and block of guesses


@dataclass(frozen=True)
class Config:
    """Networks to guess and to train."""

    data: str = "mnist5k"  # name of a data set of 28x28 digits
    digits: tuple[int, int] = (3, 5)  # the two digits to distinguish
    hidden: int = 8  # number of hidden neurons (ReLU)
    sets: int = 16  # number of sets of images to fit
    most: int = 60  # number of images in each set, the largest k
    guessed: int = 24  # largest k for which networks are guessed
    # values of k for which networks are sampled and trained
    images: tuple[int, ...] = (2, 4, 8, 16, 20, 24, 32, 40, 60)
    blocks: int = 128  # number of blocks of guesses
    guesses: int = 4096  # number of networks drawn per block
    members: int = 128  # number of sampled networks for each set
    moves: int = 100  # number of steps of each sampled network for every two images that are added
    return_moves: int = 600  # number of steps of networks that start from the ends of descents
    trained: int = 32  # number of descents for each set and each k
    learning_rate: float = 0.3  # rate of descent on the mean of log(1 + exp(-label * output))
    steps: int = 1000  # number of steps of each descent, which continues after all images fit


def as_network(points, hidden: int):
    """Return networks from standard normal points [..., networks, parameters].

    The weights have variance 1 / fan-in.
    """
    inputs = points.shape[-1] // hidden - 1
    first, second = points[..., : hidden * inputs], points[..., hidden * inputs :]
    first = first.reshape(*points.shape[:-1], hidden, inputs) / inputs**0.5
    return first, second / hidden**0.5


def as_points(network):
    """Return the points of networks, the inverse of `as_network`."""
    first, second = network
    *shape, hidden, inputs = first.shape
    scaled = (first * inputs**0.5).reshape(*shape, -1)
    return jnp.concatenate([scaled, second * hidden**0.5], axis=-1)


def drawn(key, count: int, inputs: int, hidden: int):
    """Return `count` random networks, with weights of variance 1 / fan-in."""
    return as_network(jax.random.normal(key, (count, hidden * (inputs + 1))), hidden)


def outputs(network, x):
    """Return outputs [networks, images], with one product for all hidden layers."""
    first, second = network
    count, hidden, inputs = first.shape
    z = jax.nn.relu(first.reshape(-1, inputs) @ x.T).reshape(count, hidden, -1)
    return jnp.sum(z * second[:, :, None], axis=1)


@jax.jit
def accuracy(network, everything, unseen):
    """Return accuracies [sets, networks] on the images that are not in a set.

    The flags `unseen`, [sets, images], mark the images on which the networks of a set are tested.
    """
    x, y = everything

    def one(network, unseen):
        # An output of 0 (no active neuron) counts as wrong for either label.
        return (outputs(network, x) * y[None] > 0) @ unseen / jnp.sum(unseen)

    return jax.lax.map(lambda pair: one(*pair), (network, unseen.astype(jnp.float32)))


@partial(jax.jit, static_argnames=("count", "hidden"))
def block(key, sets, everything, unseen, *, count, hidden):
    """Return numbers of accepted guesses of a block, and accuracies of some guesses.

    Returns:
        Numbers of guesses that fit the first k images of a set, [sets, values of k], out of
        2 * `count` guesses, and accuracies of at most SHOWN of them, [sets, values of k, SHOWN];
        NaN if fewer guesses fit.
    """
    x, y = sets
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
    rows = jnp.minimum(first_fit, count - 1)
    flat = rows.reshape(len(y), -1)
    first, second = (a[flat] for a in network)
    flip = sign[flat, jnp.arange(len(y))[:, None]]
    right = accuracy((first, second * flip[..., None]), everything, unseen).reshape(rows.shape)
    return jnp.sum(fits, axis=-1), jnp.where(first_fit < count, right, jnp.nan)


def guess(config: Config, sets, everything, unseen):
    """Return numbers of accepted guesses, their mean accuracies, and numbers tested.

    All have the shape [sets, values of k]. At most `SHOWN` accepted guesses per block, set and k
    are tested, and accuracies are means over the tested guesses; NaN if none was tested.
    """
    sets = tuple(one[:, : config.guessed] for one in sets)
    accepted = np.zeros((config.sets, config.guessed // 2), int)
    total, counts = np.zeros(accepted.shape), np.zeros(accepted.shape, int)
    for number in range(config.blocks):
        key = jax.random.fold_in(jax.random.key(0), number)
        count, right = block(
            key, sets, everything, unseen, count=config.guesses, hidden=config.hidden
        )
        right = np.asarray(right, float)
        accepted += np.asarray(count)
        total += np.nansum(right, axis=-1)
        counts += np.sum(~np.isnan(right), axis=-1)
    with np.errstate(invalid="ignore"):
        return accepted, total / counts, counts


@partial(jax.jit, static_argnames=("count", "hidden", "steps"))
def train(key, sets, rate, *, count, hidden, steps):
    """Return `count` descents on each set.

    Returns:
        Networks at the first step at which they fit all images (the starting points of descents
        that never fit them), networks after the last step, and whether a descent has fitted all
        images at some step. Leading axes index the sets and the descents.
    """

    def cost(network, x, y):
        margin = outputs(jax.tree.map(lambda a: a[None], network), x)[0] * y
        return jnp.mean(jax.nn.softplus(-margin)), margin

    def descend(network, x, y):
        def advance(carry, _):
            network, result, done = carry
            gradient, margin = jax.grad(cost, has_aux=True)(network, x, y)
            fits = jnp.all(margin > 0)
            keep = fits & ~done
            result = jax.tree.map(lambda new, old: jnp.where(keep, new, old), network, result)
            network = jax.tree.map(lambda w, g: w - rate * g, network, gradient)
            return (network, result, done | fits), None

        first = (network, network, jnp.zeros((), bool))
        (network, first_fit, done), _ = jax.lax.scan(advance, first, None, length=steps)
        return first_fit, network, done

    def train_on_set(key, x, y):
        starts = drawn(key, count, x.shape[-1], hidden)
        return jax.vmap(lambda w: descend(w, x, y))(starts)

    return jax.lax.map(lambda one: train_on_set(*one), (jax.random.split(key, len(sets[0])), *sets))
