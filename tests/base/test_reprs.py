"""Representations of results: names, shapes and a few numbers."""

import html
import importlib
import re
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax as gd
from gdjax.base.reprs import as_html, short
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
        (0.00969842541962862, "0.009698"),
        (Outcome.NOT_CONVERGED, "not converged"),
        ("a" * 99, f"'{'a' * 55} ..."),
        (short, "short"),
    ],
)
def test_fields_are_shown_in_a_few_words(value, text):
    assert short(value) == text


def bowl_and_results():
    """Yield a problem, a sweep that has not run, a descent, and results with many fields."""
    bowl = gd.problems.bowl([1.0, 9.0])
    yield bowl, "A cost to minimize, of parameters alone."
    yield (
        gd.Sweep(bowl, axes(learning_rate=[0.1, 0.2], seed=range(3)), 5, batch_size=None),
        ("6 descents of 5 steps, not run."),
    )
    run = descend(bowl, optax.sgd(0.1), jnp.ones(2), 9, key=jax.random.key(0))
    yield run, "A descent of 9 steps: not converged."
    with jax.enable_x64(True):
        yield (
            gd.curvature.classify(bowl.cost, jnp.zeros(2), key=jax.random.key(0)),
            ("Kind of a point with numerical evidence, which is not a proof."),
        )
    found = gd.find_learning_rate(bowl, horizon=20, num_starts=1)
    yield found, found.reason


@pytest.mark.long
def test_a_notebook_shows_a_sentence_a_curve_and_at_most_ten_lines():
    shown = [(repr(value), value._repr_html_(), text) for value, text in bowl_and_results()]
    for text, page, sentence in shown:
        assert len(text.splitlines()) <= 10
        assert page.startswith(f"<p>{html.escape(sentence)}")
        assert page.endswith(f'<pre style="white-space: pre-wrap">{html.escape(text)}</pre>')
    assert ["<polyline" in page for _, page, _ in shown] == [False, False, True, False, True]
    assert shown[1][0].splitlines()[1:] == [
        f"    problem = {shown[0][0]}",
        "    axes = Axes(6 runs; learning_rate: [0.1, 0.2], seed: [0, 1, 2])",
        "    num_steps = 5",
        ")",
    ]


def test_the_curve_of_a_cost_is_logarithmic_and_leaves_out_what_is_not_finite():
    page = as_html(SimpleNamespace(cost=np.array([100.0, 10.0, np.inf, 1.0])), "A cost.")
    assert 'points="0.0,0.0 80.0,30.0 240.0,60.0"' in page
    assert "cost, 1 to 100" in page


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
