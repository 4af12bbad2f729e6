"""Representations of results: names, shapes and a few numbers."""

import importlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gdjax.base.reprs import short
from gdjax.base.status import Status
from gdjax.curvature import polish
from gdjax.curvature.eigenpairs import extreme_eigenpairs
from gdjax.descent import descend
from gdjax.descent.outcome import Outcome
from gdjax.problems import Problem, digits, from_function
from gdjax.sweeps import axes, sweep
from gdjax.sweeps.continued.stored import run_of


def test_a_problem_is_shown_without_its_data():
    summary = repr(digits("mnist5k"))
    assert len(summary) < 250
    for part in ("digits", "mnist5k", "4,000 samples", "784-16-16-10", "test_accuracy", "0.9"):
        assert part in summary
    own = Problem(init=lambda key: jnp.ones(2), cost=optax.squared_error)
    assert repr(own) == "Problem(cost=squared_error)"


def test_a_descent_is_shown_with_its_outcome():
    bowl = Problem(init=lambda key: jnp.ones(2), cost=lambda w: jnp.sum(w["a"] ** 2))
    run = descend(bowl, optax.sgd(0.25), {"a": jnp.ones(2)}, 3, key=jax.random.key(0))
    assert repr(run) == (
        "Descent(3 steps, not_converged; cost 2 to 0.03125; params: {a: [0.125, 0.125]})"
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.array([[1.0, np.nan, np.inf]]), "float64[1, 3], all 1, 2 not finite"),
        ([np.full((2, 3), np.nan)], "float64[2, 3], none finite"),
        (np.full((2, 3), np.nan), "float64[2, 3], none finite"),
        (np.zeros((0, 3)), "float64[0, 3]"),
        (jax.random.key(0), "key<fry>[]"),
        ([np.zeros((784, 16)), np.zeros(16)], "12,560 numbers in 2 arrays"),
        ("a" * 99, f"'{'a' * 55} ..."),
        (short, "short"),
    ],
)
def test_fields_are_shown_in_a_few_words(value, text):
    assert short(value) == text


@pytest.mark.long
def test_kinds_and_statuses_are_shown_by_name():
    pairs = extreme_eigenpairs(lambda w: w @ w, jnp.ones(3), key=jax.random.key(0), largest=2)
    lines = repr(pairs).splitlines()
    assert lines[:2] == ["Eigenpairs(", "    values = [2, 2]"]
    assert len(lines) == len(pairs) + 2
    assert max(map(len, lines)) < 100
    assert "    status = converged" in lines
    polished = polish(lambda w: w @ w, jnp.ones(3))
    assert "    status = converged" in repr(polished).splitlines()
    traced = []
    jax.jit(lambda status: traced.append(repr(pairs._replace(status=status))) or 0)(pairs.status)
    assert "    status = int32[]" in traced[0].splitlines()


def test_codes_of_statuses_count_from_0():
    for module in ("generalized_sharpness", "critical_sharpness", "critical_points.classify"):
        importlib.import_module(f"gdjax.curvature.{module}")
    for statuses in (Outcome, *Status.__subclasses__()):
        assert list(statuses) == list(range(len(statuses)))


def test_axes_and_runs_are_shown_in_one_line(tmp_path):
    grid = axes(learning_rate=[0.1, 0.2], rule=["a", "b"], seed=range(5))
    assert repr(grid) == (
        "Axes(20 runs; learning_rate: [0.1, 0.2], rule: [a, b], seed: int64[5] from 0 to 4)"
    )
    grid = axes(learning_rate=[0.01], seed=[0])
    sweep(from_function("quartic"), grid, 2, store=tmp_path / "s", snapshot_every=1)
    run = run_of(tmp_path / "s", {"learning_rate": 0.01, "seed": 0})
    assert re.fullmatch(
        r"Run\(learning_rate 0.01, seed 0: not_converged; params: -?[\d.]+; 3 snapshots\)",
        repr(run),
    )
