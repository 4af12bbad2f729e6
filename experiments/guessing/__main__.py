"""Does descent find better networks than random guessing?

    draw w ~ N given that it fits k images   against   descend from w ~ N until it fits them,
    ratio = error of descents / error of random networks,   on unseen images

    python -m experiments.guessing           (about 4 min of processor time)

Expected: guessed and trained networks are equally accurate (published for small networks: Chiang et
al., ICLR 2023), and the advantage of descent diminishes as the number of images grows (published
for binary networks: arXiv 2606.31282). The first is refuted if the interval of the difference,
paired over the 16 sets, does not contain 0. The second is refuted for the range of k measured here
if the ratio of errors does not increase with k: its change per doubling of k has an interval that
contains 1 or lies below it.

References: Cotter, Roberts, Stuart and White 2013, *MCMC methods for functions*; Au and Beck 2001,
*Estimation of small failure probabilities in high dimensions by subset simulation*.
"""

import jax.numpy as jnp
import numpy as np
import xarray as xr

import gdjax as gd
from experiments.shared import command
from experiments.shared.images import SIDE, pooled
from gdjax.errors import InputError

from .conditioned_networks import sampled
from .config import Config
from .figures import guessed_and_trained
from .model import guess, speed
from .summary import compared, numbers


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
    """Return the image indices of each set, and flags of the images that are not in it.

    The two digits alternate in each set, and the sets are disjoint.
    """
    rng = np.random.default_rng(config.key)
    each = [rng.permutation(np.flatnonzero(labels == label)) for label in (-1, 1)]
    half = config.sets * config.most // 2
    if config.most % 2 or min(len(one) for one in each) < half:
        raise InputError(
            f"most = {config.most}, expected an even number of images per set; {config.sets} "
            f"disjoint sets have at most {2 * (min(map(len, each)) // config.sets)} images each"
        )
    pairs = np.stack([one[:half].reshape(config.sets, -1) for one in each], axis=-1)
    sets = pairs.reshape(config.sets, -1)
    unseen = np.ones((config.sets, len(labels)), bool)
    np.put_along_axis(unseen, sets, False, axis=1)
    return sets, unseen


def run(config: Config) -> xr.Dataset:
    """Return results of guesses, samples and descents for each set and k, and the speed."""
    x, y = images(config)
    chosen, unseen = cut(config, y)
    sets, everything = (
        (jnp.asarray(x[i], jnp.float32), jnp.asarray(y[i], jnp.float32)) for i in (chosen, ...)
    )
    unseen = jnp.asarray(unseen)
    accepted, guessed, counts = guess(config, sets, everything, unseen)
    guesses = xr.Dataset(
        {
            "accepted": (("set", "guessed_k"), accepted),
            "guessed": (("set", "guessed_k"), guessed),
            "looked_at": (("set", "guessed_k"), counts),
        },
        {"guessed_k": np.arange(2, config.guessed + 1, 2)},
        {
            "guesses": 2 * config.blocks * config.guesses,
            "unseen": int(unseen[0].sum()),
            "speed": speed(config, sets, everything, unseen),
        },
    )
    return guesses.merge(sampled(config, sets, everything, unseen))


def plot(dataset: xr.Dataset) -> dict:
    """Draw the probability of a fit, accuracies, and ratios of errors."""
    share = dataset.accepted.values / dataset.attrs["guesses"]
    probability = {
        "guessed": (dataset.guessed_k.values, share),
        "sampled": (dataset.k.values, np.exp(dataset.log_probability.values)),
    }
    return {"guesses": guessed_and_trained(probability, compared(dataset))}


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
