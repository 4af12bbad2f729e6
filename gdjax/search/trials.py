"""Trials of an Optuna study, run in batches as slabs of compiled programs.

    ask a batch  ->  run it to a rung  ->  report records, prune, pack the others  ->  tell

Optuna proposes the settings and selects the trials to prune. gdjax runs the trials of a batch
together, by programs that are compiled once for all batches.
"""

import dataclasses
import math
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
import xarray as xr

from gdjax.base import progress
from gdjax.base.arguments import check_choice, check_limits, check_type, import_extra
from gdjax.base.documents import plain
from gdjax.base.errors import InputError
from gdjax.base.interrupts import interruptible
from gdjax.base.limits import Count
from gdjax.descent.outcome import Outcome
from gdjax.search.rungs import Search, with_search_variables
from gdjax.search.spec import DIRECTIONS, SearchSpec, search_spec
from gdjax.stores.location import StoreLike
from gdjax.stores.reader import opened
from gdjax.stores.writer import require_same
from gdjax.sweeps.axes import SEEDS, Axes, axes, axes_along, is_static, zip_axes
from gdjax.sweeps.check import Asked, check
from gdjax.sweeps.executor import Memory
from gdjax.sweeps.fit import fit
from gdjax.sweeps.histories import RunHistory, histories
from gdjax.sweeps.identity import identity
from gdjax.sweeps.spec import Sweep

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution

DIVERGED = ("inf", "fail")
RETRY_OF = "retry_of"  # user attribute of a repeated trial: number of the interrupted one
VARIABLES = ("cost", "gradient_norm", "diverged_at", "outcome")  # that a search needs
COMPUTATION = "gdjax_computation"  # user attribute of a study: identity of its sweep
OUTCOME = "outcome"  # user attribute of a finished trial: outcome of its run
LOG_RANGE = 20.0  # ratio of largest to smallest value from which a distribution is logarithmic


def optimize(
    sweep: Sweep,
    study: "Study",
    num_trials: int,
    *,
    rungs: Sequence[int] = (),
    space: "Mapping[str, BaseDistribution] | None" = None,
    batch: int = 64,
    metric: str = "cost",
    direction: str = "minimize",
    diverged: str = "inf",
    devices: Sequence[jax.Device] | None = None,
) -> None:
    """Run the trials of an Optuna study in batches, those of a batch together.

    Results are stored in the study. The value of a trial is the metric at its last record, and its
    intermediate values are those at all records. Its user attribute `outcome` is the name of the
    outcome of its run. Trials of a batch with equal settings are computed once.

    A call continues its study until `num_trials` trials are finished, if those that it has are
    those of an equal sweep. After Ctrl-C, or the end of the process, repeat the call: trials of an
    unfinished batch are marked as failed, and their settings are enqueued again, with the user
    attribute `retry_of`. Only one process at a time may run the trials of a study.

    Args:
        sweep: what a trial computes: `gd.Sweep(problem, axes, num_steps, record_every=10)`. Its
            axes are the parameters of the study, each with a distribution as in `to_study`.
        study: Optuna study, with any sampler, pruner and storage.
        num_trials: number of finished trials at which to stop, including those of earlier calls.
        rungs: increasing numbers of steps, after which the pruner of the study decides which trials
            continue; these are packed into as few slabs as possible.
        space: Optuna distributions by axis name, in place of those of the axes.
        batch: number of trials requested from the study at a time. An adaptive sampler uses only
            results of earlier batches.
        metric: "cost" or a recorded metric.
        direction: "minimize" or "maximize", the direction of the study.
        diverged: how to report a diverged trial to the study: "inf" for the worst value, which
            samplers use, or "fail" for a failed trial, which they ignore. Diverged trials do not
            continue after a rung.
        devices: devices to compute on; None for all local devices.

    Examples:
        >>> import optuna
        >>> from gdjax import problems
        >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
        >>> study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        >>> sweep = Sweep(problems.bowl([1.0, 9.0]), axes(learning_rate=[1e-3, 0.3]), 40)
        >>> optimize(sweep, study, 16, rungs=[10], batch=8)
        >>> len(study.trials), study.best_value < 1e-3
        (16, True)

    References: Akiba et al. 2019, *Optuna: a next-generation hyperparameter optimization
    framework*.
    """
    check_choice("diverged", diverged, DIVERGED)
    check_limits("num_trials", num_trials, Count)
    check_limits("batch", batch, Count)
    # The pruner selects the runs that continue.
    spec = search_spec(sweep, rungs, reduction_factor=None, metric=metric, direction=direction)
    _check_study(study, metric, direction)
    space = _space(sweep.axes, space)
    corners = dataclasses.replace(spec, axes=_corners(space))
    used = check(Asked(corners, devices=devices)).devices
    _check_computation(study, corners)
    worst = _worst(diverged, direction)
    _enqueue_interrupted(study, space)
    with interruptible() as stop, progress.bar(total=num_trials, unit="trial", delay=1) as bar:
        while (missing := num_trials - _num_finished(study, space)) > 0:
            bar.update(num_trials - missing - bar.n)
            trials = [study.ask(dict(space)) for _ in range(min(batch, missing))]
            groups = _groups(trials, corners, used)
            for rung in range(len(spec.rungs)):
                for group in groups:
                    list(group.search.run(rung, stop))
                _tell(groups, study, rung, worst)
        bar.update(max(0, num_trials - bar.n))


def to_study(
    runs: StoreLike | xr.Dataset,
    metric: str = "cost",
    *,
    direction: str = "minimize",
    diverged: str = "inf",
    study: "Study | None" = None,
) -> "Study":
    """Return the finished runs of a sweep as trials of an Optuna study.

    Optuna's importances and plots can then be used, and `optimize` can continue the study. The
    distribution of a numeric axis ranges from its smallest to its largest value, and is logarithmic
    if these are positive and differ by a factor of 20 or more. The distribution of batch sizes,
    names and booleans is categorical. Seeds are not parameters of the study. Seeds, outcome and
    step of divergence are user attributes of a trial.

    Args:
        runs: path or URL of a store, which may be in use, or the Dataset of a sweep.
        metric: name of the recorded number to optimize.
        direction: "minimize" or "maximize".
        diverged: how to report a diverged run: "inf" for the worst value, or "fail" for a failed
            trial.
        study: study to which to add the trials; None creates one in memory.

    Examples:
        >>> from gdjax import problems
        >>> from gdjax.sweeps import axes, sweep
        >>> grid = axes(learning_rate=[0.01, 0.1, 0.2], seed=range(2))
        >>> study = to_study(sweep(problems.bowl([1.0, 9.0]), grid, 20))
        >>> len(study.trials), study.best_params
        (6, {'learning_rate': 0.2})
    """
    optuna = _optuna()
    check_choice("direction", direction, DIRECTIONS)
    check_choice("diverged", diverged, DIVERGED)
    if study is not None:
        _check_study(study, metric, direction)
    runs = opened(runs)
    finished = list(histories(runs))  # checks `runs`
    names = sorted(finished[0].records) if finished else [metric]
    check_choice("metric", metric, names)
    space = {
        name: _distribution(name, np.ravel(runs[name].values))
        for along in axes_along(runs).values()
        for name in along
        if name.split(".")[-1] not in SEEDS
    }
    if study is None:
        study = optuna.create_study(direction=direction)
    worst = _worst(diverged, direction)
    study.add_trials(_finished_trial(run, space, metric, worst) for run in finished)
    return study


def _optuna():
    return import_extra("study", "optuna", "search")


# -- checks


def _check_study(study, metric, direction):
    optuna = _optuna()
    check_type("study", study, optuna.Study, "a study of optuna.create_study()")
    directions = [one.name.lower() for one in study.directions]
    if directions != [direction]:
        raise InputError(
            f"study: its direction is {' and '.join(directions)}, but {metric} is to be "
            f"{direction}d; create it with optuna.create_study(direction={direction!r}), or pass "
            f"another direction"
        )


def _check_computation(study, spec):
    """Check that the trials of a study are those of this sweep; programs, under equal versions."""
    now = plain(identity(spec))
    del now["axes"], now["rungs"]
    if COMPUTATION in study.user_attrs:
        where, before = f"study {study.study_name!r}", study.user_attrs[COMPUTATION]
        require_same(where, before, now, allow_unverified=True)
    else:
        study.set_user_attr(COMPUTATION, now)


def _space(grid: Axes, space):
    """Return the distribution of each axis: that of the argument `space`, or of its values."""
    kind, space = _optuna().distributions.BaseDistribution, dict(space or {})
    for name, distribution in space.items():
        if name not in grid.names:
            raise InputError(f"space: {name!r} is not an axis of the sweep; add it to the axes")
        expected = "a distribution: optuna.distributions.FloatDistribution(1e-3, 1, log=True)"
        check_type(f"space: {name}", distribution, kind, expected)
    return {name: space.get(name) or _distribution(name, v) for name, v in grid.by_name.items()}


def _corners(space):
    """Return axes with the ends of each distribution, or its choices, for checks."""
    static, numeric = {}, {}
    for name, distribution in space.items():
        choices = getattr(distribution, "choices", None)
        extremes = (distribution.low, distribution.high) if choices is None else choices
        extremes = list(dict.fromkeys(extremes))
        (static if is_static(name, np.asarray(extremes)) else numeric)[name] = extremes
    if not numeric:
        return axes(**static)
    length = max(map(len, numeric.values()))
    rows = {
        name: [extremes[i % len(extremes)] for i in range(length)]
        for name, extremes in numeric.items()
    }
    return axes(**static, trial=zip_axes(**rows))


def _worst(diverged, direction):
    """Return the value of a diverged trial; NaN if it fails."""
    worst = math.nan if diverged == "fail" else math.inf
    return worst if direction == "minimize" else -worst


# -- runs of a batch


class _Group(NamedTuple):
    """Trials of a batch with equal static settings.

    Args:
        search: search of their runs.
        trials: unfinished trials of each run; trials with equal settings have one run.
    """

    search: Search
    trials: list[list[Any]]


def _groups(trials, spec: SearchSpec, devices):
    """Return the trials of a batch, in groups of equal static settings."""
    grid = spec.axes
    by_static: dict[tuple, dict[tuple, list]] = {}
    for trial in trials:
        static = tuple(trial.params[name] for name in grid.static)
        equal = by_static.setdefault(static, {})
        equal.setdefault(tuple(trial.params[name] for name in grid.names), []).append(trial)
    groups = []
    for members in by_static.values():
        columns = {
            # Numbers have the type of the whole axis, for which the program is compiled.
            name: np.asarray(column, None if values.dtype.kind == "U" else values.dtype)
            for (name, values), column in zip(
                grid.by_name.items(), zip(*members, strict=True), strict=True
            )
        }
        own = dataclasses.replace(spec, axes=axes(trial=zip_axes(**columns)))
        fitted = fit(check(Asked(own, devices=devices, max_param_bytes=sys.maxsize)))
        schema = fitted.schema.of(dict.fromkeys((*VARIABLES, spec.metric)))
        fitted = with_search_variables(dataclasses.replace(fitted, schema=schema))
        groups.append(_Group(Search(fitted, Memory(fitted.schema)), list(members.values())))
    return groups


# -- trials of the study


def _num_finished(study, space):
    """Return the number of finished trials that were not enqueued again."""
    trials = study.get_trials(deepcopy=False)
    retried = {trial.user_attrs.get(RETRY_OF) for trial in trials}
    return sum(
        trial.state.is_finished()
        and trial.number not in retried
        and set(space) <= set(trial.params)
        for trial in trials
    )


def _enqueue_interrupted(study, space):
    """Mark trials of an interrupted call as failed, and enqueue their settings again."""
    from optuna.trial import TrialState

    trials = study.get_trials(deepcopy=False)
    retried = {trial.user_attrs.get(RETRY_OF) for trial in trials}
    for trial in trials:
        if trial.state == TrialState.RUNNING:
            # If the process ends between the two calls, no settings are lost or enqueued twice.
            if set(trial.params) == set(space) and trial.number not in retried:
                study.enqueue_trial(trial.params, user_attrs={RETRY_OF: trial.number})
            study.tell(trial.number, state=TrialState.FAIL)


def _tell(groups, study, rung, worst):
    """Report the records up to a rung, and end the trials and runs that do not continue.

    Trials are reported in the order of their numbers, since a pruner compares a trial with those
    that were reported before it.
    """
    survive = [np.zeros(len(group.trials), bool) for group in groups]
    entries = [
        (trial, number, run)
        for number, group in enumerate(groups)
        for run, equal in enumerate(group.trials)
        for trial in equal
    ]
    for trial, number, run in sorted(entries, key=lambda entry: entry[0].number):
        if _continues(trial, groups[number].search, run, rung, study, worst):
            survive[number][run] = True
        else:
            groups[number].trials[run].remove(trial)
    for group, runs in zip(groups, survive, strict=True):
        group.search.end_rung(rung, runs)


def _continues(trial, search, run, rung, study, worst):
    """Report a trial, and finish it if it ends here; return whether it continues."""
    from optuna.trial import TrialState

    metric, reported = search.spec.metric, search.spec.steps_to(rung)[0] if rung else -1
    values = search.arrays[metric][run].tolist()
    for step, value in zip(search.times(metric).tolist(), values, strict=True):
        if step > reported and not math.isnan(value):
            trial.report(value, step)
    outcome = Outcome(int(search.arrays["outcome"][run]))
    if outcome is not Outcome.DIVERGED and rung + 1 < len(search.spec.rungs):
        if not trial.should_prune():
            return True
        study.tell(trial, state=TrialState.PRUNED)
        return False
    trial.set_user_attr(OUTCOME, outcome.name)
    value = worst if outcome is Outcome.DIVERGED else values[-1]
    fails = math.isnan(value)
    study.tell(trial, None if fails else value, TrialState.FAIL if fails else TrialState.COMPLETE)
    return False


# -- runs of a sweep as trials


def _distribution(name, values):
    """Return a distribution that contains the values of an axis."""
    from optuna import distributions

    is_categorical, values = is_static(name, values), sorted(set(values.tolist()))
    if is_categorical:
        return distributions.CategoricalDistribution(values)
    low, high = values[0], values[-1]
    log = low > 0 and high / low >= LOG_RANGE
    if isinstance(low, int):
        return distributions.IntDistribution(low, high, log=log)
    return distributions.FloatDistribution(low, high, log=log)


def _finished_trial(run: RunHistory, space, metric, worst):
    """Return a run as a frozen trial."""
    from optuna.trial import TrialState, create_trial

    values = run.records[metric]
    reported = {int(s): float(v) for s, v in zip(run.step, values, strict=True) if not np.isnan(v)}
    has_diverged = run.outcome is Outcome.DIVERGED
    state, value = TrialState.COMPLETE, worst if has_diverged else float(values[-1])
    if math.isnan(value):
        state, value = TrialState.FAIL, None
        if reported and not has_diverged:  # a search ended the run before the last step
            state, value = TrialState.PRUNED, reported[max(reported)]
    seeds = {name: value for name, value in run.at.items() if name.split(".")[-1] in SEEDS}
    attrs = {OUTCOME: run.outcome.name, **seeds}
    if run.diverged_at is not None:
        attrs["diverged_at"] = run.diverged_at
    return create_trial(
        state=state,
        value=value,
        params={name: run.at[name] for name in space},
        distributions=space,
        user_attrs=attrs,
        intermediate_values=reported,
    )
