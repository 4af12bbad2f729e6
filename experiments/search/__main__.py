"""Does stopping poor settings early find what a full sweep finds, in a quarter of its time?

    successive halving:  n settings to rungs[0],  n / k to rungs[1],  n / k^2 to rungs[2],  ...

    python -m experiments.search        (about 7 min of processor time)

Expected: the setting selected by successive halving is as accurate as that selected by the full
sweep, in at most a quarter of its time. This is refuted if the interval of the difference in
accuracy lies below 0, or if the search takes longer.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import product

import jax
import numpy as np
import xarray as xr

from experiments.shared import command

from . import figures as plots
from . import model as search
from . import replays
from .summary import numbers


@dataclass(frozen=True)
class Config:
    """Grid of settings, rungs and repetitions."""

    data: str = "mnist5k"  # name of the data set
    pixel_stride: int = 2  # interval between the pixels that are used, along rows and columns
    validation: int = 1000  # number of images that are held out of the training images
    learning_rates: tuple[float, float] = (0.05, 20.0)  # smallest and largest learning rate
    rates: int = 8  # number of learning rates, geometrically spaced
    momenta: tuple[float, ...] = (0.0, 0.5, 0.8, 0.95)  # momentum coefficients
    # scales of the starting weights, relative to the initializer's default
    init_scales: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    batch_sizes: tuple[int, ...] = (16, 64)  # numbers of images per step
    # numbers of steps after which searches compare runs; the last is the length of a full run
    rungs: tuple[int, ...] = (125, 500, 2000)
    trials: int = 256  # number of trials of Hyperband
    batch: int = 64  # number of trials that are computed together
    single_trials: int = 32  # number of trials that are computed one by one to measure their time
    repetitions: int = 10  # number of repetitions
    timed: int = 3  # number of repetitions in which all searches are run to measure their time


def axes(config: Config) -> dict[str, list]:
    """Return the values along each axis of the grid of settings."""
    return {
        "learning_rate": np.geomspace(*config.learning_rates, config.rates).tolist(),
        "momentum": list(config.momenta),
        "init_scale": list(config.init_scales),
        "batch_size": list(config.batch_sizes),
    }


def searches(config: Config, problem, seed: int, rungs) -> dict[str, Callable]:
    """Return a function for each search that is run to measure its time."""
    halving = partial(search.halving, problem, axes(config), rungs, seed=seed)
    hyperband = partial(search.hyperband, problem, axes(config), rungs, seed=seed)
    return {
        "dense": halving,
        "batches": partial(hyperband, config.trials, batch=config.batch),
        "single": partial(hyperband, config.single_trials, batch=1, devices=jax.devices()[:1]),
    }


def repetition(config: Config, problem, test, seed: int) -> xr.Dataset:
    """Return the full sweep of a repetition, and decisions and times of all searches."""
    columns = zip(*product(*axes(config).values()), strict=True)
    settings = dict(zip(axes(config), map(list, columns), strict=True))
    sweep = partial(search.sweep, problem, test, axes(config), seed=seed)
    print(f"repetition {seed} ...", flush=True)
    runs, seconds = search.processor_seconds(partial(sweep, config.rungs))
    accuracy = runs[search.METRIC].sel(step=list(config.rungs)).values
    accuracy = accuracy.reshape(-1, len(config.rungs))
    ended_at = replays.halving(accuracy)
    results = {"seconds.sweep": seconds}
    num_steps = {}
    for name, batch in (("batches", config.batch), ("single", 1)):
        study = replays.new_study(config.rungs, seed=seed)
        replays.hyperband(study, settings, accuracy, config.rungs, config.trials, batch=batch)
        results[f"best.{name}"] = replays.best_setting(study, settings)
        num_steps[name], results[f"samples.{name}"] = replays.steps_and_samples(study)
    timed = searches(config, problem, seed, config.rungs) if seed < config.timed else {}
    for name, work in timed.items():
        result, seconds = search.processor_seconds(work)
        if name == "dense":
            equal = result.rung.values.ravel() == ended_at
            results[f"same_rungs.{name}"] = float(np.mean(equal))
        elif name == "single":  # extrapolated from `single_trials` to the steps of all trials
            seconds *= num_steps[name] / replays.steps_and_samples(result)[0]
        results[f"seconds.{name}"] = seconds
    arrays = {
        search.METRIC: (("setting", "rung"), accuracy),
        "test_accuracy": ("setting", runs.test_accuracy.isel(step=-1).values.ravel()),
        "ended_at": ("setting", ended_at),
    }
    coordinates = {name: ("setting", values) for name, values in settings.items()}
    return xr.Dataset({**arrays, **results}, {**coordinates, "rung": list(config.rungs)})


def run(config: Config) -> xr.Dataset:
    """Return the results of all repetitions, with NaN for times not measured."""
    problem, test = search.held_out(config.data, config.validation, config.pixel_stride)
    # Short runs compile the programs, so that measured times do not contain a compilation.
    short = tuple(rung // config.rungs[0] for rung in config.rungs)
    search.sweep(problem, test, axes(config), short, seed=0)
    few = replace(config, trials=config.batch, single_trials=8)
    for work in searches(few, problem, 0, short).values():
        work()
    parts = [repetition(config, problem, test, seed) for seed in range(config.repetitions)]
    return xr.concat(parts, "repetition", join="exact", data_vars="all", coords="minimal")


def plot(dataset: xr.Dataset) -> dict:
    """Draw accuracy at the rungs against final accuracy, and accuracy against time."""
    return {"search": plots.accuracies(dataset)}


if __name__ == "__main__":
    command.main(Config, run, plot, numbers)
