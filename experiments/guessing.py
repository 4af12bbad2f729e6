"""Does descent find better networks than guessing does?

    guess w ~ N until it fits k images   against   descend from w ~ N until it fits them

A network 25-8-1 is to tell 3s from 5s. Random networks are drawn by the million, and those that
happen to be right about all of k images are asked about images that nobody has learned from. If
what makes networks right about the unseen is that most of those that fit are right about it (the
volume hypothesis), then networks trained on the same k images from the same distribution of starts
are no better. Sixteen sets of images, each of k = 2, 4, ... up to where guessing goes; a guess is
looked at by all of them, and so is its negative, which is as likely.

    python experiments/guessing.py           (about 20 s of processor time)

Expected: guessed and trained alike (published for small networks: Chiang et al., ICLR 2023), both
better with every image. Refuted where the paired difference over the 16 sets has an interval off 0.
"""

import time
from dataclasses import dataclass
from functools import partial

import common
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from drawings import luck as plots
from variants.images import SIDE, pooled

import gdjax as gd
from gdjax.statistics import Interval, mean, paired

SHOWN = 2  # accepted networks of each set and k that are tested in a block of guesses


@dataclass(frozen=True)
class Config:
    """Which networks are guessed, and which trained.

    Args:
        data: name of the data set, of 28x28 digits.
        digits: the two that are to be told apart.
        hidden: rectified neurons.
        sets: sets of images to fit.
        most: images of a set.
        blocks: of guesses.
        guesses: networks drawn in a block.
        trained: descents for each set and each k.
        learning_rate: of plain descent on the mean of log(1 + exp(-label output)).
        steps: of descent, at most until all images are fitted, and beyond.
        key: of everything that is drawn.
    """

    data: str = "mnist5k"
    digits: tuple[int, int] = (3, 5)
    hidden: int = 8
    sets: int = 16
    most: int = 24
    blocks: int = 128
    guesses: int = 4096
    trained: int = 32
    learning_rate: float = 0.3
    steps: int = 500
    key: int = 0


def images(config: Config) -> tuple[np.ndarray, np.ndarray]:
    """5x5 pixels of all images of two digits, each pixel with mean 0 and all with variance 1.

    The labels are -1 and 1.
    """
    whole = gd.data.load(config.data)
    labels = np.concatenate([whole.train_labels, whole.test_labels])
    chosen = np.isin(labels, config.digits)
    ten = pooled(np.concatenate([whole.train_images, whole.test_images])[chosen])
    half = SIDE // 2
    five = ten.reshape(-1, half, 2, half, 2).mean(axis=(2, 4)).reshape(-1, half**2)
    five -= five.mean(axis=0)
    return five / five.std(), np.where(labels[chosen] == config.digits[1], 1.0, -1.0)


def cut(config: Config, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sets of images [sets, most] in which the digits take turns, and all that are in none."""
    rng = np.random.default_rng(config.key)
    each = [rng.permutation(np.flatnonzero(labels == label)) for label in (-1, 1)]
    half = config.sets * config.most // 2
    pairs = np.stack([one[:half].reshape(config.sets, -1) for one in each], axis=-1)
    return pairs.reshape(config.sets, -1), np.concatenate([one[half:] for one in each])


def drawn(key, count: int, inputs: int, hidden: int):
    """Random networks, weights with variance 1 / fan-in."""
    weights = jax.random.normal(key, (count, hidden * (inputs + 1)))
    first = weights[:, : hidden * inputs].reshape(count, hidden, inputs) / inputs**0.5
    return first, weights[:, hidden * inputs :] / hidden**0.5


def outputs(network, x):
    """[networks, images]: one product for all of them."""
    first, second = network
    count, hidden, inputs = first.shape
    z = jax.nn.relu(first.reshape(-1, inputs) @ x.T).reshape(count, hidden, -1)
    return jnp.sum(z * second[:, :, None], axis=1)


@partial(jax.jit, static_argnames=("count", "hidden"))
def block(key, sets, rest, *, count, hidden):
    """How many of a block's guesses fit so many images, and how well some of those read the rest.

    Returns:
        Guesses accepted, [sets, k / 2], of 2 count, and accuracies [sets, k / 2, SHOWN], NaN where
        fewer were.
    """
    (x, y), (x_rest, y_rest) = sets, rest
    network = drawn(key, count, x.shape[-1], hidden)
    shape = (count, *y.shape)
    margin = outputs(network, x.reshape(-1, x.shape[-1])).reshape(shape) * y[None]
    # Of a network and its negative one is right about the first image.
    sign = jnp.where(margin[..., 0] > 0, 1.0, -1.0)
    fits = jnp.cumprod(margin * sign[..., None] > 0, axis=-1)[..., 1::2]
    fits = fits.transpose(1, 2, 0)  # [sets, k / 2, guesses]

    def first_of(row):
        return jnp.nonzero(row, size=SHOWN, fill_value=count)[0]

    place = jax.vmap(jax.vmap(first_of))(fits)
    flat = jnp.minimum(place, count - 1).reshape(-1)
    read = outputs(jax.tree.map(lambda a: a[flat], network), x_rest) * y_rest[None]
    read = read.reshape(*place.shape, -1)
    flip = sign[jnp.minimum(place, count - 1), jnp.arange(len(y))[:, None, None]]
    # An output of 0, where no neuron answers, is wrong with either sign.
    right = jnp.mean(read * flip[..., None] > 0, axis=-1)
    return jnp.sum(fits, axis=-1), jnp.where(place < count, right, jnp.nan)


def guess(config: Config, sets, rest):
    """All blocks: accepted guesses [sets, k / 2], and the mean accuracy of those looked at."""
    accepted = np.zeros((config.sets, config.most // 2), int)
    total, seen = np.zeros(accepted.shape), np.zeros(accepted.shape, int)
    for number in range(config.blocks):
        key = jax.random.fold_in(jax.random.key(config.key), number)
        count, right = block(key, sets, rest, count=config.guesses, hidden=config.hidden)
        right = np.asarray(right, float)
        accepted += np.asarray(count)
        total += np.nansum(right, axis=-1)
        seen += np.sum(~np.isnan(right), axis=-1)
    with np.errstate(invalid="ignore"):
        return accepted, total / seen, seen


@partial(jax.jit, static_argnames=("count", "hidden", "steps"))
def train(key, sets, rest, used, rate, *, count, hidden, steps):
    """Accuracies of descents on the first images of each set, where they first fit and at the end.

    Args:
        used: [most] of ones and zeros: which images are learned from.

    Returns:
        Both [sets, count], NaN where not all images were ever fitted.
    """

    def cost(network, x, y):
        margin = outputs(jax.tree.map(lambda a: a[None], network), x)[0] * y
        return jnp.sum(jax.nn.softplus(-margin) * used) / jnp.sum(used), margin

    def descend(network, x, y):
        def advance(carry, _):
            network, kept, done = carry
            gradient, margin = jax.grad(cost, has_aux=True)(network, x, y)
            fitted = jnp.all((margin > 0) | (used == 0))
            keep = fitted & ~done
            kept = jax.tree.map(lambda new, old: jnp.where(keep, new, old), network, kept)
            network = jax.tree.map(lambda w, g: w - rate * g, network, gradient)
            return (network, kept, done | fitted), None

        first = (network, network, jnp.zeros((), bool))
        (network, kept, done), _ = jax.lax.scan(advance, first, None, length=steps)
        return kept, network, done

    def of_set(key, x, y):
        starts = drawn(key, count, x.shape[-1], hidden)
        kept, end, done = jax.vmap(lambda w: descend(w, x, y))(starts)
        x_rest, y_rest = rest
        right = [jnp.mean(outputs(w, x_rest) * y_rest[None] > 0, axis=1) for w in (kept, end)]
        return tuple(jnp.where(done, one, jnp.nan) for one in right)

    return jax.lax.map(lambda one: of_set(*one), (jax.random.split(key, len(sets[0])), *sets))


def run(config: Config) -> xr.Dataset:
    """Guessed and trained networks of every set and k, and how fast guesses and normals come."""
    x, y = images(config)
    chosen, others = cut(config, y)
    sets, rest = ((jnp.asarray(x[i], jnp.float32), jnp.asarray(y[i])) for i in (chosen, others))
    accepted, guessed, seen = guess(config, sets, rest)
    key = jax.random.fold_in(jax.random.key(config.key), config.blocks)
    ks = np.arange(2, config.most + 1, 2)
    settings = {"count": config.trained, "hidden": config.hidden, "steps": config.steps}
    found = [
        train(jax.random.fold_in(key, k), sets, rest, jnp.arange(config.most) < k,
              config.learning_rate, **settings)
        for k in ks
    ]  # fmt: skip
    first, end = (np.stack([np.asarray(one[i], float) for one in found], 1) for i in range(2))
    return xr.Dataset(
        {
            "accepted": (("set", "k"), accepted),
            "guessed": (("set", "k"), guessed),
            "looked_at": (("set", "k"), seen),
            "trained": (("set", "k", "descent"), first),
            "trained_on": (("set", "k", "descent"), end),
        },
        {"k": ks},
        {
            "guesses": 2 * config.blocks * config.guesses,
            "unseen": len(others),
            "speed": speed(config, sets, rest),
        },
    )


def speed(config: Config, sets, rest) -> dict[str, float]:
    """Networks a second of processor time, and normals alone, of as many numbers a network."""
    per_network = config.hidden * (sets[0].shape[-1] + 1)
    normal = jax.jit(lambda key: jnp.sum(jax.random.normal(key, (config.guesses, per_network))))
    whole = partial(block, count=config.guesses, hidden=config.hidden)

    def rate(work):
        jax.block_until_ready(work(jax.random.key(0)))
        start = time.process_time()
        for number in range(16):
            jax.block_until_ready(work(jax.random.key(number)))
        return 16 * config.guesses / (time.process_time() - start)

    return {
        "numbers_a_network": float(per_network),
        "networks_a_second": rate(lambda key: whole(key, sets, rest)),
        "drawn_a_second": rate(normal),
    }


def compared(dataset: xr.Dataset) -> dict[str, dict[int, Interval]]:
    """Over the sets, for each k at which every set has guesses: accuracies, paired differences."""
    found: dict[str, dict[int, Interval]] = {
        name: {} for name in ("guessed", "trained", "trained_on", "gain", "gain_on")
    }
    for k in dataset.k.values.tolist():
        one = dataset.sel(k=k)
        trained, on = (one[name].mean("descent").values for name in ("trained", "trained_on"))
        if not (one.looked_at > 0).all() or not np.isfinite(trained).all():
            break
        guessed = one.guessed.values
        found["guessed"][k] = mean(guessed)
        found["trained"][k], found["trained_on"][k] = mean(trained), mean(on)
        found["gain"][k], found["gain_on"][k] = paired(guessed, trained), paired(guessed, on)
    return found


def numbers(dataset: xr.Dataset) -> dict:
    """How often guesses fit, how well both read, and the differences, by k."""
    speeds = dataset.attrs["speed"]
    found: dict = {
        "guesses_of_each_set": dataset.attrs["guesses"],
        "unseen_images": dataset.attrs["unseen"],
        "guesses_a_minute_of_processor_time": 60 * 2 * speeds["networks_a_second"],
        "share_of_the_rate_of_drawing": speeds["networks_a_second"] / speeds["drawn_a_second"],
        "normals_a_second": speeds["drawn_a_second"] * speeds["numbers_a_network"],
    }
    for name, by_k in compared(dataset).items():
        for k, one in by_k.items():
            found[f"{name}_{k}"] = one[:3]
    for k in dataset.k.values.tolist():
        one = dataset.sel(k=k)
        found[f"accepted_of_a_million_{k}"] = float(
            1e6 * one.accepted.mean() / dataset.attrs["guesses"]
        )
        found[f"looked_at_least_{k}"] = int(one.looked_at.min())
        found[f"descents_that_fit_{k}"] = float(np.isfinite(one.trained.values).mean())
    return found


def plot(dataset: xr.Dataset) -> dict:
    """How rare fits are, how well both read, and the difference."""
    share = dataset.accepted.values / dataset.attrs["guesses"]
    return {"guesses": plots.of_guesses(dataset.k.values, share, compared(dataset))}


if __name__ == "__main__":
    common.main("guessing", Config, run, plot, numbers)
