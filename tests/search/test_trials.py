"""Trials of an Optuna study as runs of a sweep, and resumption of a study."""

import math
import subprocess
import sys
import time

import numpy as np
import optax
import pytest

import gdjax as gd
from gdjax.base import slabs

optuna = pytest.importorskip("optuna")
optuna.logging.set_verbosity(optuna.logging.WARNING)

BOWL = gd.problems.bowl([1.0, 9.0])
FLOAT = optuna.distributions.FloatDistribution
STATES = optuna.trial.TrialState


def new_study(pruner=None, **settings):
    sampler = optuna.samplers.RandomSampler(seed=1)
    return optuna.create_study(sampler=sampler, pruner=pruner, **settings)


def sgd(learning_rate, momentum):
    return optax.sgd(learning_rate, momentum)


PAIRS = gd.axes(learning_rate=[1e-3, 1.0], momentum=[0.0, 0.9])
MOMENTA = gd.Sweep(BOWL, PAIRS, 40, make_optimizer=sgd, record_every=10)


def rates(num_steps, low=1e-3, high=1.0, problem=BOWL, **settings):
    return gd.Sweep(problem, gd.axes(learning_rate=[low, high]), num_steps, **settings)


@pytest.fixture(scope="module")
def searched():
    """Return a study of 21 trials in batches of 8, 8 and 5."""
    study = new_study(optuna.pruners.NopPruner())
    gd.search.optimize(MOMENTA, study, 21, rungs=[10], batch=8)
    return study


def test_values_and_intermediate_values_equal_those_of_a_sweep(searched):
    trials = searched.trials
    assert [trial.number for trial in trials] == list(range(21))
    pairs = gd.zip_axes(
        **{name: [t.params[name] for t in trials] for name in ("learning_rate", "momentum")}
    )
    runs = gd.sweep(BOWL, gd.axes(trial=pairs), 40, record_every=10, make_optimizer=sgd)
    cost = runs.cost.values
    for trial, one, outcome in zip(trials, cost, runs.outcome.values, strict=True):
        assert trial.state == STATES.COMPLETE
        assert trial.user_attrs["outcome"] == gd.descent.Outcome(int(outcome)).name
        np.testing.assert_allclose(list(trial.intermediate_values.values())[:2], one[:2], rtol=1e-5)
        np.testing.assert_allclose(trial.value, one[-1], rtol=1e-4)
    diverged = {t.number for t in trials if t.user_attrs["outcome"] == "DIVERGED"}
    assert len(diverged) >= 3
    assert {t.number for t in trials if t.value == math.inf} == diverged


def test_values_of_trials_equal_their_closed_form():
    study = new_study()
    gd.search.optimize(rates(7, problem=gd.problems.bowl([2.0])), study, 5, rungs=[3], batch=4)
    start = 2 * study.trials[0].intermediate_values[0]
    for trial in study.trials:
        contraction = (1 - 2.0 * trial.params["learning_rate"]) ** 2
        assert trial.value == pytest.approx(start / 2 * contraction**7, rel=1e-4)
        assert list(trial.intermediate_values) == list(range(8))
    with pytest.raises(gd.errors.StoreError, match=r"another sweep: problem\.eigenvalues"):
        gd.search.optimize(rates(7, problem=gd.problems.bowl([3.0])), study, 9)


def test_pruned_trials_end_at_a_rung_without_changing_the_others(searched):
    class WorstHalf(optuna.pruners.BasePruner):
        def prune(self, study, trial):
            value = trial.intermediate_values[trial.last_step]
            return trial.last_step == 10 and value > median

    at_rung = [trial.intermediate_values[10] for trial in searched.trials[:8]]
    median = float(np.median(at_rung))
    study = new_study(WorstHalf())
    gd.search.optimize(MOMENTA, study, 8, rungs=[10], batch=8)
    for trial, full in zip(study.trials, searched.trials, strict=False):
        assert trial.params == full.params
        if full.intermediate_values[10] <= median:
            assert trial.state == STATES.COMPLETE
            assert trial.value == pytest.approx(full.value, rel=1e-4)
        elif full.intermediate_values[10] < math.inf:
            assert trial.state == STATES.PRUNED
            assert set(trial.intermediate_values) == {0, 10}
            assert trial.value == pytest.approx(full.intermediate_values[10], rel=1e-5)
    assert {trial.state for trial in study.trials} >= {STATES.COMPLETE, STATES.PRUNED}


@pytest.mark.parametrize(("diverged", "state"), [("inf", STATES.COMPLETE), ("fail", STATES.FAIL)])
def test_a_diverged_trial_has_the_requested_state(diverged, state):
    study = new_study()
    study.enqueue_trial({"learning_rate": 100.0})
    gd.search.optimize(rates(40, 0.1, 100.0), study, 1, rungs=[20], batch=4, diverged=diverged)
    (trial,) = study.trials
    assert (trial.state, trial.user_attrs["outcome"]) == (state, "DIVERGED")
    assert trial.value == (math.inf if diverged == "inf" else None)


def test_each_batch_size_is_compiled_once_and_equal_settings_have_equal_values():
    x = np.linspace(-1, 1, 16, dtype=np.float32)
    traced = []

    def cost(w, x):
        traced.append(x.shape)
        return ((w * x - 2 * x) ** 2).mean()

    line = gd.Problem(init=lambda key: np.float32(0), cost=cost, data=x)
    sweep = gd.Sweep(line, gd.axes(batch_size=[4, 8], learning_rate=[0.1, 1]), 6)
    space = {"learning_rate": optuna.distributions.CategoricalDistribution([0.1, 1])}
    study = new_study()
    gd.search.optimize(sweep, study, 8, space=space, batch=8)

    def blocks():
        return {key for key in slabs._executables if key[0] == "block"}

    compiled = blocks()
    assert {shape[0] for shape in traced} >= {4, 8}
    gd.search.optimize(sweep, study, 16, space=space, batch=8)
    assert blocks() == compiled
    values = {}
    for trial in study.trials:
        values.setdefault(tuple(trial.params.values()), set()).add(trial.value)
    assert len(values) == 4
    assert {len(equal) for equal in values.values()} == {1}


def test_a_metric_can_be_maximized():
    sizes = {"size": gd.Metric(lambda _, w: (w**2).sum())}
    study = new_study(direction="maximize")
    sweep = rates(5, 0.01, 0.2, metrics=sizes)
    gd.search.optimize(sweep, study, 6, metric="size", direction="maximize", batch=6)
    assert study.best_params["learning_rate"] == min(
        trial.params["learning_rate"] for trial in study.trials
    )


def test_trials_of_an_interrupted_batch_are_repeated():
    study = new_study()
    requested = [study.ask({"learning_rate": FLOAT(1e-3, 1.0, log=True)}) for _ in range(3)]
    study.ask()  # a trial whose process ended before all settings were suggested
    gd.search.optimize(rates(4), study, 5, batch=2)
    again = {trial.user_attrs.get("retry_of"): trial for trial in study.trials}
    for trial in requested:
        assert again[trial.number].params == trial.params
        assert again[trial.number].state == STATES.COMPLETE
    states = [trial.state for trial in study.trials]
    assert states.count(STATES.COMPLETE) == 5
    assert states[:4] == [STATES.FAIL] * 4


PROGRAM = """
import sys, optuna, gdjax as gd
optuna.logging.set_verbosity(optuna.logging.WARNING)
storage = optuna.storages.RDBStorage(f"sqlite:///{sys.argv[1]}")
pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=100, reduction_factor=2)
study = optuna.create_study(storage=storage, study_name="bowl", load_if_exists=True, pruner=pruner,
                            sampler=optuna.samplers.TPESampler(seed=0))
rates = gd.axes(learning_rate=[1e-4, 0.2])
sweep = gd.Sweep(gd.problems.bowl([1.0, 9.0]), rates, 400, record_every=100)
print("begins", flush=True)
gd.search.optimize(sweep, study, 48, rungs=[100, 200], batch=12)
"""


@pytest.mark.long
def test_a_killed_study_in_sqlite_resumes(tmp_path):
    file = tmp_path / "study.db"
    command = [sys.executable, "-c", PROGRAM, str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as started:
        assert started.stdout.readline() == b"begins\n"
        storage = optuna.storages.RDBStorage(f"sqlite:///{file}")
        study = optuna.load_study(study_name="bowl", storage=storage)
        while sum(trial.state.is_finished() for trial in study.trials) < 5:
            assert started.poll() is None
            time.sleep(0.01)
        started.kill()
    summary = {trial.number: trial for trial in study.trials if trial.state.is_finished()}
    assert 5 <= len(summary) < 48
    subprocess.run(command, check=True, capture_output=True)
    trials = study.trials
    storage.remove_session()
    storage.engine.dispose()
    retried = {trial.user_attrs.get("retry_of") for trial in trials}
    counted = [trial for trial in trials if trial.params and trial.number not in retried]
    assert len(counted) == 48
    for number, trial in summary.items():
        assert (trials[number].state, trials[number].value) == (trial.state, trial.value)
    ends = {STATES.COMPLETE: {400}, STATES.PRUNED: {100, 200}}  # no run diverges
    for trial in counted:
        assert trial.last_step in ends[trial.state]
        assert list(trial.intermediate_values) == list(range(0, trial.last_step + 1, 100))
        assert trial.value == trial.intermediate_values[trial.last_step]
    assert {trial.state for trial in counted} == set(ends)
    assert study.best_value < 1e-6


def test_a_sweep_is_converted_to_a_study(tmp_path):
    pairs = gd.zip_axes(momentum=[0.0, 0.5], nesterov=[False, True])
    grid = gd.axes(learning_rate=[0.001, 0.1, 0.3], pair=pairs, seed=[0, 1])
    runs = gd.sweep(BOWL, grid, 40, record_every=20, store=tmp_path / "s")
    study = gd.search.to_study(tmp_path / "s")
    assert len(study.trials) == 12
    for trial in study.trials:
        assert set(trial.params) == {"learning_rate", "momentum", "nesterov"}
        at = {"learning_rate": trial.params["learning_rate"], "seed": trial.user_attrs["seed"]}
        run = runs.sel(at).isel(pair=int(trial.params["nesterov"]))
        assert list(trial.intermediate_values) == [0, 20, 40]
        assert trial.value == float(run.cost[-1])
        assert trial.params["momentum"] == float(run.momentum)
    rates = study.trials[0].distributions["learning_rate"]
    assert (rates.low, rates.high, rates.log) == (0.001, 0.3, True)
    failed = gd.search.to_study(runs, diverged="fail")
    finite = gd.search.to_study(runs)
    ends = [trial.user_attrs["outcome"] == "DIVERGED" for trial in failed.trials]
    assert ends == [trial.state == STATES.FAIL for trial in failed.trials]
    assert ends == [trial.value == math.inf for trial in finite.trials]


def test_a_study_of_the_runs_of_a_sweep_is_continued():
    runs = gd.sweep(BOWL, gd.axes(learning_rate=[0.01, 0.1]), 20)
    study = gd.search.to_study(runs, study=new_study())
    gd.search.optimize(rates(20, 0.01, 0.1), study, 6, batch=4)
    assert len(study.trials) == 6


def test_invalid_distributions_and_directions_are_rejected_before_any_trial():
    study, space = new_study(), {"learning_rate": FLOAT(0, 1)}
    with pytest.raises(gd.errors.InputError, match=r"learning_rate = 0.0, expected"):
        gd.search.optimize(rates(4), study, 4, space=space)
    assert study.trials == []
    both = new_study(directions=["minimize", "maximize"])
    with pytest.raises(gd.errors.InputError, match="minimize and maximize"):
        gd.search.optimize(rates(4), both, 4)
