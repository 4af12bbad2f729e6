"""Replay of the decisions of grid searches from a sweep of all settings.

    successive halving:  of the n / k^r settings at rung r, the best n / k^(r + 1) continue

The results of a run do not depend on the runs computed with it, so the records of a sweep of all
settings contain every accuracy that a search of these settings observes. The decisions of a search
follow from these accuracies without training:

>>> accuracy = np.array([[0.3, 0.5], [0.2, 0.9], [0.4, 0.6], [0.1, 0.8]])
>>> halving(accuracy, reduction_factor=2).tolist()
[1, 0, 1, 0]

Here the second setting is the best at the last rung, but successive halving stops it at the first.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import optuna
from jaxtyping import ArrayLike, Float, Int
from optuna.trial import TrialState

REDUCTION_FACTOR = 4  # ratio of the number of settings at a rung to the number that continue


def halving(
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


def new_study(rungs: Sequence[int], *, seed: int) -> optuna.Study:
    """Return a study with Optuna's default sampler and its Hyperband pruner."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        study_name=f"search {seed}",  # the pruner assigns brackets by a hash of this name
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.HyperbandPruner(rungs[0], rungs[-1], REDUCTION_FACTOR),
    )


def space(grid: Mapping[str, Sequence]) -> dict[str, optuna.distributions.BaseDistribution]:
    """Return the values along each axis of a grid as categorical distributions."""
    return {
        name: optuna.distributions.CategoricalDistribution(sorted(set(values)))
        for name, values in grid.items()
    }


def hyperband(
    study: optuna.Study,
    settings: Mapping[str, Sequence],
    accuracy: Float[np.ndarray, "settings rungs"],
    rungs: Sequence[int],
    num_trials: int,
    *,
    batch: int,
) -> None:
    """Run the trials of a study as `gd.search.optimize` does, on recorded accuracies.

    The trials are added to the study; `batch` of them are requested together. The accuracy of a
    setting is NaN after a divergence, and the rungs are numbers of steps.
    """
    position = {values: i for i, values in enumerate(zip(*settings.values(), strict=True))}
    distributions = space(settings)
    for first in range(0, num_trials, batch):
        count = min(batch, num_trials - first)
        trials = [study.ask(dict(distributions)) for _ in range(count)]
        for rung, step in enumerate(rungs):
            unfinished = []
            for trial in trials:
                value = accuracy[position[tuple(trial.params[name] for name in settings)], rung]
                if math.isnan(value):
                    study.tell(trial, -math.inf)
                    continue
                trial.report(value, step)
                if step == rungs[-1]:
                    study.tell(trial, value)
                elif trial.should_prune():
                    study.tell(trial, state=TrialState.PRUNED)
                else:
                    unfinished.append(trial)
            trials = unfinished


def best_setting(study: optuna.Study, settings: Mapping[str, Sequence]) -> int:
    """Return the index of the setting with the best value in a study."""
    best = tuple(study.best_trial.params[name] for name in settings)
    return list(zip(*settings.values(), strict=True)).index(best)


def steps_and_samples(study: optuna.Study) -> tuple[int, int]:
    """Return the total numbers of steps and of samples over all trials of a study."""
    trials = study.get_trials(deepcopy=False)
    steps = [max(trial.intermediate_values, default=0) for trial in trials]
    samples = [n * trial.params["batch_size"] for n, trial in zip(steps, trials, strict=True)]
    return sum(steps), sum(samples)
