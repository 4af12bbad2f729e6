"""Does descent find better networks than random guessing?

    draw w ~ N until it fits k images   against   descend from w ~ N until it fits them

A network 25-8-1 distinguishes the digits 3 and 5. Half a million random networks (guesses) are
drawn, and a sample of those that classify all of k images correctly is tested on images that were
not used for training. If most networks that fit the k images also classify new images correctly
(the volume hypothesis), then networks trained on these images from the same distribution of starts
are no more accurate. There are sixteen sets of images, with k = 2, 4, ... as long as some guesses
fit. Each guess and its negative, which is equally probable, are compared with all sets.

    python experiments/guessing.py           (about 20 s of processor time)

Expected: guessed and trained networks are equally accurate (published for small networks: Chiang et
al., ICLR 2023), and both accuracies increase with k. This is refuted if the interval of the
difference, paired over the 16 sets, does not contain 0.
"""

from dataclasses import dataclass

import common
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from drawings import luck as plots
from methods.guessing import guess, speed, train
from summaries.guessing import compared, numbers
from variants.images import SIDE, pooled

import gdjax as gd


@dataclass(frozen=True)
class Config:
    """Networks to guess and to train.

    Args:
        data: name of a data set of 28x28 digits.
        digits: the two digits to distinguish.
        hidden: number of hidden neurons (ReLU).
        sets: number of sets of images to fit.
        most: number of images in each set, the largest k.
        blocks: number of blocks of guesses.
        guesses: number of networks drawn per block.
        trained: number of descents for each set and each k.
        learning_rate: learning rate of plain descent on the mean of log(1 + exp(-label * output)).
        steps: number of steps of each descent, which continues after all images are fitted.
        key: seed of all random draws.
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
    """Return standardized 5x5 images of the two digits, and their labels -1 and 1."""
    image_set = gd.data.load(config.data)
    labels = np.concatenate([image_set.train_labels, image_set.test_labels])
    chosen = np.isin(labels, config.digits)
    ten = pooled(np.concatenate([image_set.train_images, image_set.test_images])[chosen])
    half = SIDE // 2
    five = ten.reshape(-1, half, 2, half, 2).mean(axis=(2, 4)).reshape(-1, half**2)
    five -= five.mean(axis=0)
    return five / five.std(), np.where(labels[chosen] == config.digits[1], 1.0, -1.0)


def cut(config: Config, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the image indices of each set, and those of all remaining images.

    The two digits alternate in each set.
    """
    rng = np.random.default_rng(config.key)
    each = [rng.permutation(np.flatnonzero(labels == label)) for label in (-1, 1)]
    half = config.sets * config.most // 2
    pairs = np.stack([one[:half].reshape(config.sets, -1) for one in each], axis=-1)
    return pairs.reshape(config.sets, -1), np.concatenate([one[half:] for one in each])


def run(config: Config) -> xr.Dataset:
    """Return results of guesses and descents for each set and k, and the speed."""
    x, y = images(config)
    chosen, others = cut(config, y)
    sets, rest = ((jnp.asarray(x[i], jnp.float32), jnp.asarray(y[i])) for i in (chosen, others))
    accepted, guessed, counts = guess(config, sets, rest)
    key = jax.random.fold_in(jax.random.key(config.key), config.blocks)
    ks = np.arange(2, config.most + 1, 2)
    settings = {"count": config.trained, "hidden": config.hidden, "steps": config.steps}
    networks = [
        train(jax.random.fold_in(key, k), sets, rest, jnp.arange(config.most) < k,
              config.learning_rate, **settings)
        for k in ks
    ]  # fmt: skip
    first, end = (np.stack([np.asarray(one[i], float) for one in networks], 1) for i in range(2))
    return xr.Dataset(
        {
            "accepted": (("set", "k"), accepted),
            "guessed": (("set", "k"), guessed),
            "looked_at": (("set", "k"), counts),
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


def plot(dataset: xr.Dataset) -> dict:
    """Draw the share of guesses that fit, both accuracies, and their difference."""
    share = dataset.accepted.values / dataset.attrs["guesses"]
    return {"guesses": plots.guessed_and_trained(dataset.k.values, share, compared(dataset))}


if __name__ == "__main__":
    common.main("guessing", Config, run, plot, numbers)
