"""How long after it has memorized its training set does a network generalize?

    f(a, b) = V (U [e_a, e_b])^2,   C = mean over training pairs of |f(a, b) - e_(a + b mod p)|^2

A network of two layers without biases, with squares between them, learns to add modulo p from a
part of the p^2 pairs, by AdamW on all of them at once: e is a row of the unit matrix. Every run has
its own starting point and its own choice of training pairs; all weight decays and seeds are one
sweep. A set is known where 95 % of its pairs are right; the delay is the number of steps from
knowing the training pairs to knowing the others. A run that never gets there in the time given has
a delay above it, and counts as that: medians are over all runs.

    python experiments/grokking.py           (about a minute on two cores)

Expected: the training pairs are known after some 30 steps whatever the decay, and the others at
that moment are guessed (Power et al. 2022, arXiv 2201.02177; this network: Gromov 2023, arXiv
2301.02679). With decay every run comes to know them, after 1,500 steps at 0.3 and 80 at 3: the
delay falls faster than the inverse of the decay, with an exponent of -1.25 over the whole range;
between neighboring decays the exponent differs. Without decay none does. Refuted by runs without
decay that come to know the others just as well, or by an interval of the exponent that holds -1.
"""

from dataclasses import dataclass

import common
import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray as xr
from drawings import delays as plots

import gdjax as gd
from gdjax import statistics


@dataclass(frozen=True)
class Config:
    """What is learnt, by which networks, and how.

    Args:
        modulus: p.
        part: share of the p^2 pairs that is trained on.
        width: hidden neurons.
        learning_rate: of AdamW.
        decays: weight decays, ascending; a step shrinks weights by learning rate times decay.
        seeds: starting points, each with its own training pairs.
        steps: of every run.
        record_every: steps from one record to the next.
        known: share of right pairs from which on a set is known.
    """

    modulus: int = 13
    part: float = 0.7
    width: int = 48
    learning_rate: float = 0.01
    decays: tuple[float, ...] = (0.0, 0.3, 1.0, 3.0)
    seeds: int = 24
    steps: int = 5000
    record_every: int = 10
    known: float = 0.95


def addition(config: Config) -> gd.Problem:
    """Addition modulo p; the keyword `pairs` says which choice of training pairs is meant.

    Data are all pairs, with one mark for each choice that they are in.
    """
    p = config.modulus
    first, second = (numbers.ravel() for numbers in np.mgrid[:p, :p])
    rows = np.eye(p, dtype=np.float32)
    inputs, sums = np.concatenate([rows[first], rows[second]], axis=1), (first + second) % p
    trained = round(config.part * p**2)
    order = [np.random.default_rng(seed).permutation(p**2) for seed in range(config.seeds)]
    data = inputs, sums, np.stack(order, axis=1) < trained

    def init(key):
        key_in, key_out = jax.random.split(key)
        return {
            "in": jax.random.normal(key_in, (2 * p, config.width)) / np.sqrt(2 * p),
            "out": jax.random.normal(key_out, (config.width, p)) / np.sqrt(config.width),
        }

    def predict(params, inputs):
        return (inputs @ params["in"]) ** 2 @ params["out"]

    def chosen(marks, pairs):
        return jnp.take(marks, jnp.asarray(pairs, int), axis=1)

    def cost(params, batch, *, pairs=0):
        inputs, sums, marks = batch
        apart = predict(params, inputs) - jax.nn.one_hot(sums, p)
        inside = jnp.where(chosen(marks, pairs), jnp.sum(apart**2, axis=1), 0)
        return jnp.mean(inside) * (p**2 / trained)

    def right(params, batch, marked):
        inputs, sums, _ = batch
        correct = jnp.argmax(predict(params, inputs), axis=1) == sums
        return jnp.sum(correct & marked) / jnp.sum(marked)

    def train_accuracy(params, batch, *, pairs=0):
        return right(params, batch, chosen(batch[2], pairs))

    def test_accuracy(params, batch, *, pairs=0):
        return right(params, batch, ~chosen(batch[2], pairs))

    return gd.Problem(
        init=init,
        cost=cost,
        data=data,
        metrics={
            "train_accuracy": gd.Metric(train_accuracy, data, long_name="right training pairs"),
            "test_accuracy": gd.Metric(test_accuracy, data, long_name="right other pairs"),
        },
    )


def run(config: Config) -> xr.Dataset:
    """Accuracies of all runs, over `weight_decay`, `seed` and `step`."""
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


def reached(step: np.ndarray, accuracy: np.ndarray, known: float) -> np.ndarray:
    """First step at which an accuracy [..., records] is there; +inf where it never is."""
    there = accuracy >= known
    return np.where(there.any(-1), step[np.argmax(there, axis=-1)], np.inf)


def delays(dataset: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Steps to knowing the training pairs, and from there to knowing the others: [decays, seeds].

    The delay is +inf where the others, or the training pairs, are never known.
    """
    known = dataset.attrs["known"]
    learnt, understood = (
        reached(dataset.step.values, dataset[name].values, known)
        for name in ("train_accuracy", "test_accuracy")
    )
    return learnt, np.where(np.isfinite(understood), understood - learnt, np.inf)


def exponents(decay: np.ndarray, delay: np.ndarray) -> np.ndarray:
    """Slope of log delay against log decay for each seed that got there with every decay above 0.

    delay ~ decay^slope
    """
    delay = delay[decay > 0]
    whole = np.all(np.isfinite(delay) & (delay > 0), axis=0)
    if np.sum(decay > 0) < 2 or not whole.any():
        return np.empty(0)
    return np.polyfit(np.log(decay[decay > 0]), np.log(delay[:, whole]), 1)[0]


def numbers(dataset: xr.Dataset) -> dict:
    """For each decay, delays with their intervals and the runs that never got there; the slope."""
    decay = dataset.weight_decay.values
    learnt, delay = delays(dataset)
    test = dataset.test_accuracy.values
    at = np.searchsorted(dataset.step.values, np.where(np.isfinite(learnt), learnt, 0))
    then = np.take_along_axis(test, at[..., None], axis=-1)[..., 0]
    found: dict = {"steps": int(dataset.step[-1]), "seeds": delay.shape[1]}
    for index, value in enumerate(decay):
        name = f"decay_{value:g}"
        late, never = delay[index], int(np.sum(np.isinf(delay[index])))
        found |= {
            f"{name}_learnt": statistics.median(learnt[index])[:3],
            f"{name}_test_accuracy_then": statistics.median(then[index])[:3],
            f"{name}_delay": statistics.median(late)[:3],
            f"{name}_delay_from_to": [float(late.min()), float(late.max())],
            f"{name}_never": never,
            f"{name}_share_never": statistics.share(never, delay.shape[1])[:3],
            f"{name}_test_accuracy_most": float(test[index].max()),
        }
    slopes = exponents(decay, delay)
    found["exponent_seeds"] = len(slopes)
    if len(slopes) > 1:
        found["exponent"] = statistics.mean(slopes)[:3]
    half = delay.shape[1] // 2
    for name, some in (("first", delay[:, :half]), ("second", delay[:, half:])):
        for index, value in enumerate(decay):
            if value and some.size:
                found[f"{name}_half_decay_{value:g}_delay"] = statistics.median(some[index])[:3]
    return found


def plot(dataset: xr.Dataset) -> dict:
    """Accuracies along the descent, and the delay against the decay."""
    return {
        "delays": plots.after_training(
            dataset.step.values,
            dataset.weight_decay.values,
            train=dataset.train_accuracy.values,
            test=dataset.test_accuracy.values,
            delay=delays(dataset)[1],
            known=dataset.attrs["known"],
        )
    }


if __name__ == "__main__":
    common.main("grokking", Config, run, plot, numbers)
