"""How long after memorizing its training set does a network generalize?

    f(a, b) = V (U [e_a, e_b])^2,   C = mean over training pairs of |f(a, b) - e_(a + b mod p)|^2

    python -m experiments.grokking           (about a minute on two cores)

Expected: the training pairs are learned after about 30 steps for any decay, when the accuracy on
the test pairs is not above chance level (Power et al. 2022, arXiv 2201.02177; this network: Gromov
2023, arXiv 2301.02679). With decay the test pairs are learned in every run, with a median delay of
1,500 steps at decay 0.3 and of 80 steps at decay 3: the delay falls faster than the inverse of the
decay, with an exponent of -1.25 over the whole range; between neighboring decays the exponent
varies. Without decay the test pairs are never learned. This is refuted by runs without decay in
which they are learned, or by an interval of the exponent that contains -1.
"""

import numpy as np
import optax
import xarray as xr

import gdjax as gd
from experiments.shared import command
from gdjax import statistics

from .config import Config
from .figures import after_training
from .model import addition


def first_step_at(step: np.ndarray, accuracy: np.ndarray, known: float) -> np.ndarray:
    """Return the first recorded step with an accuracy of at least `known`, or +inf."""
    above = accuracy >= known
    return np.where(above.any(-1), step[np.argmax(above, axis=-1)], np.inf)


def delays(dataset: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of steps until memorization, and delays, [decays, seeds].

    A delay is the number of steps from memorization to generalization; it is +inf if the network
    does not generalize.
    """
    known = dataset.attrs["known"]
    memorized, generalized = (
        first_step_at(dataset.step.values, dataset[name].values, known)
        for name in ("train_accuracy", "test_accuracy")
    )
    return memorized, np.where(np.isfinite(generalized), generalized - memorized, np.inf)


def exponents(decay: np.ndarray, delay: np.ndarray) -> np.ndarray:
    """Return the slope of log delay against log decay, for each seed.

    A slope corresponds to the power law delay ~ decay^slope. Seeds with a delay of 0 or +inf at
    some positive decay are excluded.
    """
    delay = delay[decay > 0]
    all_known = np.all(np.isfinite(delay) & (delay > 0), axis=0)
    if np.sum(decay > 0) < 2 or not all_known.any():
        return np.empty(0)
    return np.polyfit(np.log(decay[decay > 0]), np.log(delay[:, all_known]), 1)[0]


def numbers(dataset: xr.Dataset) -> dict:
    """Return delays with intervals, numbers of infinite delays, and the exponent."""
    decay = dataset.weight_decay.values
    memorized, delay = delays(dataset)
    test = dataset.test_accuracy.values
    at = np.searchsorted(dataset.step.values, np.where(np.isfinite(memorized), memorized, 0))
    test_accuracy = np.take_along_axis(test, at[..., None], axis=-1)[..., 0]
    summary: dict = {"steps": int(dataset.step[-1]), "seeds": delay.shape[1]}
    for index, value in enumerate(decay):
        name = f"decay_{value:g}"
        late, never = delay[index], int(np.sum(np.isinf(delay[index])))
        summary |= {
            f"{name}_learnt": statistics.median(memorized[index])[:3],
            f"{name}_test_accuracy_then": statistics.median(test_accuracy[index])[:3],
            f"{name}_delay": statistics.median(late)[:3],
            f"{name}_delay_from_to": [float(late.min()), float(late.max())],
            f"{name}_never": never,
            f"{name}_share_never": statistics.share(never, delay.shape[1])[:3],
            f"{name}_test_accuracy_most": float(test[index].max()),
        }
    slopes = exponents(decay, delay)
    summary["exponent_seeds"] = len(slopes)
    if len(slopes) > 1:
        summary["exponent"] = statistics.mean(slopes)[:3]
    half = delay.shape[1] // 2
    for name, delays_of_half in (("first", delay[:, :half]), ("second", delay[:, half:])):
        for index, value in enumerate(decay):
            if value and delays_of_half.size:
                summary[f"{name}_half_decay_{value:g}_delay"] = statistics.median(
                    delays_of_half[index]
                )[:3]
    return summary


def run(config: Config) -> xr.Dataset:
    """Return costs and accuracies of all runs, by weight decay, seed and step."""
    seeds = list(range(config.seeds))

    def adamw(*, weight_decay):
        return optax.adamw(config.learning_rate, weight_decay=weight_decay)

    runs = gd.sweep(
        addition(config),
        gd.axes(weight_decay=list(config.decays), run=gd.zip_axes(seed=seeds, pairs=seeds)),
        config.steps,
        make_optimizer=adamw,
        record_every=config.record_every,
    )
    return (
        runs[["cost", "train_accuracy", "test_accuracy"]]
        .swap_dims(run="seed")
        .drop_vars(["run", "pairs"])
        .assign_attrs(known=config.known)
    )


def plot(dataset: xr.Dataset) -> dict:
    """Draw accuracies along the descent, and the delay against the weight decay."""
    return {"delays": after_training(dataset, delays(dataset)[1])}


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
