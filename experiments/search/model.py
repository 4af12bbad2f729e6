"""Searches for settings of the digit network, and replays of their decisions from a full sweep.

    successive halving:  of the n / k^r settings at rung r, the best n / k^(r + 1) continue

All searches of a repetition have the same `root_seed`, so equal settings give equal runs. The
results of a run do not depend on the runs computed with it, so the records of a sweep of all
settings contain every accuracy that a search of these settings observes. The decisions of a search
follow from these accuracies without training:

>>> accuracy = np.array([[0.3, 0.5], [0.2, 0.9], [0.4, 0.6], [0.1, 0.8]])
>>> last_rungs(accuracy, reduction_factor=2).tolist()
[1, 0, 1, 0]

Here the second setting is the best at the last rung, but successive halving stops it at the first.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import jax
import numpy as np
import optax
import optuna
from jaxtyping import ArrayLike, Float, Int
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState

import gdjax as gd
from experiments.shared.images import strided

METRIC = "validation_accuracy"
RECORD_SAMPLES = 100  # number of images of the recorded training cost, which no search uses
REDUCTION_FACTOR = 4  # ratio of the number of settings at a rung to the number that continue


@dataclass(frozen=True)
class Config:
    """Grid of settings, rungs and repetitions."""

    data: str = "mnist5k"  # name of the data set
    pixel_stride: int = 2  # interval between the pixels that are used, along rows and columns
    validation: int = 1000  # number of images that are held out of the training images
    learning_rates: tuple[float, float] = (0.05, 20.0)  # smallest and largest learning rate
    rates: int = 8  # number of learning rates, geometrically spaced
    momenta: tuple[float, ...] = (0.0, 0.5, 0.8, 0.95)  # momentum coefficients
    init_scales: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)  # relative scales of the starting weights
    batch_sizes: tuple[int, ...] = (16, 64)  # numbers of images per step
    rungs: tuple[int, ...] = (125, 500, 2000)  # steps at which runs are compared; last: the end
    trials: int = 256  # number of trials of Hyperband
    batch: int = 64  # number of trials that are computed together
    single_trials: int = 32  # number of trials that are computed one by one to measure their time
    repetitions: int = 10  # number of repetitions
    timed: int = 3  # number of repetitions in which all searches are run to measure their time


def grid(config: Config) -> dict[str, list]:
    """Return the values along each axis of the grid of settings."""
    return {
        "learning_rate": np.geomspace(*config.learning_rates, config.rates).tolist(),
        "momentum": list(config.momenta),
        "init_scale": list(config.init_scales),
        "batch_size": list(config.batch_sizes),
    }


def held_out(config: Config) -> tuple[gd.Problem, gd.Metric]:
    """Return the problem with validation images, and the metric of test accuracy.

    The last training images are the validation images, and take the place of the test images in the
    problem.
    """
    data = strided(gd.data.load(config.data), config.pixel_stride)
    first = len(data.train_labels) - config.validation
    split = data._replace(
        train_images=data.train_images[:first],
        train_labels=data.train_labels[:first],
        test_images=data.train_images[first:],
        test_labels=data.train_labels[first:],
    )
    return gd.problems.digits(split), gd.problems.digits(data).metrics["test_accuracy"]


def searches(
    config: Config, problem: gd.Problem, test: gd.Metric, seed: int
) -> dict[str, Callable]:
    """Return a function for the full sweep and for each search, which runs it."""
    num_steps, metrics = config.rungs[-1], {METRIC: problem.metrics["test_accuracy"]}
    options: dict = {
        "make_optimizer": optax.sgd,
        "record_every": config.rungs[0],
        "record_samples": RECORD_SAMPLES,
        "root_seed": seed,
    }
    axes, at_end = gd.axes(**grid(config)), replace(test, every=num_steps // config.rungs[0])
    sweep = gd.Sweep(problem, axes, num_steps, metrics=metrics, **options)
    target: dict = {"rungs": config.rungs, "metric": METRIC, "direction": "maximize"}

    def hyperband(trials, **batching):
        study = new_study(config.rungs, seed=seed)
        gd.search.optimize(sweep, study, trials, space=space(grid(config)), **target, **batching)
        return study

    with_test = metrics | {"test_accuracy": at_end}
    return {
        "sweep": partial(gd.sweep, problem, axes, num_steps, metrics=with_test, **options),
        "dense": partial(
            gd.search.successive_halving, sweep, reduction_factor=REDUCTION_FACTOR, **target
        ),
        "batches": partial(hyperband, config.trials, batch=config.batch),
        "single": partial(hyperband, config.single_trials, batch=1, devices=jax.devices()[:1]),
    }


def new_study(rungs: Sequence[int], *, seed: int) -> optuna.Study:
    """Return a study with Optuna's default sampler and its Hyperband pruner."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        study_name=f"search {seed}",  # the pruner assigns brackets by a hash of this name
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.HyperbandPruner(rungs[0], rungs[-1], REDUCTION_FACTOR),
    )


def space(values: Mapping[str, Sequence]) -> dict[str, CategoricalDistribution]:
    """Return the values along each axis of a grid as categorical distributions."""
    return {name: CategoricalDistribution(sorted(set(choices))) for name, choices in values.items()}


def replay_hyperband(
    config: Config,
    settings: Sequence[Mapping[str, float]],
    accuracy: Float[np.ndarray, "settings rungs"],
    *,
    batch: int,
    seed: int,
) -> optuna.Study:
    """Return the study of trials as those of `gd.search.optimize`, from recorded accuracies.

    The study asks for `batch` trials at a time. The accuracy of a setting is NaN after a
    divergence.
    """
    study, distributions = new_study(config.rungs, seed=seed), space(grid(config))
    for first in range(0, config.trials, batch):
        count = min(batch, config.trials - first)
        trials = [study.ask(dict(distributions)) for _ in range(count)]
        for rung, step in enumerate(config.rungs):
            unfinished = []
            for trial in trials:
                value = accuracy[settings.index(trial.params), rung]
                if math.isnan(value):
                    study.tell(trial, -math.inf)
                    continue
                trial.report(value, step)
                if step == config.rungs[-1]:
                    study.tell(trial, value)
                elif trial.should_prune():
                    study.tell(trial, state=TrialState.PRUNED)
                else:
                    unfinished.append(trial)
            trials = unfinished
    return study


def steps_and_samples(study: optuna.Study) -> tuple[int, int]:
    """Return the total numbers of steps and of samples over all trials of a study."""
    trials = study.get_trials(deepcopy=False)
    steps = [max(trial.intermediate_values, default=0) for trial in trials]
    samples = [n * trial.params["batch_size"] for n, trial in zip(steps, trials, strict=True)]
    return sum(steps), sum(samples)


def last_rungs(
    accuracy: Float[np.ndarray, "settings rungs"], *, reduction_factor: int = REDUCTION_FACTOR
) -> Int[np.ndarray, " settings"]:
    """Return the index of the last rung each setting reaches in successive halving.

    The accuracy is NaN after a divergence.
    """
    ended_at = np.zeros(len(accuracy), int)
    runs = np.arange(len(accuracy))
    for rung in range(1, accuracy.shape[1]):
        runs = runs[np.isfinite(accuracy[runs, rung - 1])]
        best = runs[np.argsort(-accuracy[runs, rung - 1], kind="stable")]
        runs = np.sort(best[: max(1, len(accuracy) // reduction_factor**rung)])
        ended_at[runs] = rung
    return ended_at


def selected(accuracy: Float[np.ndarray, "settings rungs"], is_complete: ArrayLike = True) -> int:
    """Return the index of the best setting at the last rung, among those that are complete."""
    return int(np.argmax(np.where(is_complete, np.nan_to_num(accuracy[:, -1], nan=-1.0), -2.0)))


def random_search(
    accuracy: Float[np.ndarray, " settings"], count: int, *, draws: int, seed: int
) -> Int[np.ndarray, " draws"]:
    """Return the index of the best of `count` distinct random settings, for several draws.

    The accuracy at the last rung is NaN after a divergence.
    """
    random = np.random.default_rng(seed)
    values = np.nan_to_num(accuracy, nan=-1.0)
    drawn = [random.permutation(len(values))[:count] for _ in range(draws)]
    return np.array([positions[np.argmax(values[positions])] for positions in drawn])
