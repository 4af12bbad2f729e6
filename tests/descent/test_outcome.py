"""Outcomes of descents: their definition, and costs with a known outcome."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax as gd
from gdjax.descent.outcome import OUTCOMES, Outcome, classify

KEY = jax.random.key(0)
INF, NAN = np.inf, np.nan


def labels(codes):
    return [OUTCOMES[int(code)] for code in np.ravel(codes)]


def descend(cost, start, steps, learning_rate, *, baseline=None, optimizer=None, **options):
    problem = gd.Problem(init=lambda key: start, cost=cost, baseline=baseline)
    optimizer = optimizer or optax.sgd(learning_rate)
    return gd.descend(problem, optimizer, start, steps, key=KEY, **options)


# -- the definitions


@pytest.mark.parametrize(
    ("cost", "norm", "diverged_at", "baseline", "expected"),
    [
        (0.1, 1e-6, -1, None, "converged"),
        (0.1, 1e-6, -1, 0.9, "converged"),
        (0.9, 1e-6, -1, 0.9, "stalled"),
        (1.0, 0.0, -1, 0.9, "stalled"),
        (1.0, 0.0, -1, jnp.float32(0.9), "stalled"),
        (0.1, 1e-5, -1, None, "converged"),  # the tolerance is inclusive
        (0.1, 2e-5, -1, None, "not_converged"),
        (1.0, 2e-5, -1, 0.9, "not_converged"),
        (0.1, NAN, -1, None, "not_converged"),
        (INF, INF, 0, None, "diverged"),
        (INF, 0.0, 17, 0.9, "diverged"),
        (-5.0, 1e-6, -1, None, "converged"),
    ],
)
def test_outcomes_follow_their_definition(cost, norm, diverged_at, baseline, expected):
    codes = classify(
        jnp.float32([cost]), jnp.float32(norm), jnp.int32(diverged_at), baseline, jnp.float32(1e-5)
    )
    assert labels(codes) == [expected]


# -- stalled: constructed histories of the cost

T = np.linspace(0, 1, 21)
"""Relative times of 21 records, from 0 to 1."""


def ends(cost, *, norm=1e-3, baseline=0.9):
    """Return the outcome of a run with given recorded costs, rounded to float32."""
    cost = np.asarray(cost, np.float32)
    return labels(classify(cost[None], np.float32([norm]), np.array([-1]), baseline))[0]


HISTORIES = {
    # Saturated: after an immediate change, the cost is nearly constant.
    "plateau above the baseline": (1 + 0.4 * (T == 0), "stalled"),
    "plateau with a very slow decrease": (1 + 0.4 * (T == 0) - 4e-5 * T**3, "stalled"),
    "plateau at the baseline, to rounding": (
        np.where(T == 0, 2, np.float32(0.9) * (1 - 2.0**-22)),
        "stalled",
    ),
    "plateau after a rise": (np.where(T == 0, 0.95, 1.0), "stalled"),
    "plateau after noise": (np.where(T < 0.7, 1 + np.sin(100 * T) ** 2, 1.0), "stalled"),
    "relative noise below 1e-3": (np.where(T == 0, 2, 1 + 4e-4 * np.sin(100 * T)), "stalled"),
    # A plateau below the baseline does not count as stalled.
    "plateau just below the baseline": (np.where(T == 0, 2, 0.9 - 1e-5), "not_converged"),
    "plateau far below the baseline": (np.where(T == 0, 2, 0.1), "not_converged"),
    # The cost decreases slowly.
    "constant slow decrease, far above the baseline": (2.5 - 0.1 * T, "not_converged"),
    "constant slow decrease, 1 % in total": (1 - 0.0095 * T, "not_converged"),
    "decrease below the resolution of float32 records": (1 - 1e-6 * T, "not_converged"),
    "constant from the start": (np.ones(21), "not_converged"),
    "decrease like 1 / t": (1 + 1 / (1 + 20 * T), "not_converged"),
    "excess halved at each record": (0.95 + 0.5 ** np.arange(21), "stalled"),
    "still decreasing, after a huge initial cost": (
        1 + 1e4 * (T == 0) + 0.1 * (1 - T),
        "not_converged",
    ),
    # There is no plateau at the end.
    "leaves the plateau at the end": (np.where(T == 0, 2, 1 - 0.01 * (T > 0.9)), "not_converged"),
    "noise": (1.5 + 0.3 * np.sin(100 * T), "not_converged"),
    "rising": (1 + 0.01 * T, "not_converged"),
    # There are too few records to decide.
    "nine records": (np.where(np.arange(9) == 0, 2.0, 1.0), "not_converged"),
    "ten records": (np.where(np.arange(10) == 0, 2.0, 1.0), "stalled"),
    "branch with nine records": (
        np.where(T < 0.6, NAN, 1 + (np.arange(21) == 12)),
        "not_converged",
    ),
    "branch with twelve records": (np.where(T < 0.45, NAN, 1 + (np.arange(21) == 9)), "stalled"),
}


@pytest.mark.parametrize(("cost", "expected"), HISTORIES.values(), ids=HISTORIES)
def test_a_run_has_stalled_if_its_cost_is_flat_and_not_below_the_baseline(cost, expected):
    assert ends(cost) == expected
    assert ends(cost, baseline=None) == "not_converged"
    if cost[-1] >= 0.9:  # then a vanishing gradient suffices
        assert ends(cost, norm=1e-6) == "stalled"
    runs = np.array([cost, np.linspace(1, 2, len(cost))], np.float32)
    codes = classify(runs, np.array([1e-3, NAN], np.float32), np.array([-1, -1]), 0.9)
    assert labels(codes) == [expected, "not_converged"]


def test_the_outcome_does_not_depend_on_the_unit_of_the_cost():
    """Costs are multiplied by 1,024, or shifted to negative values."""
    for cost, expected in HISTORIES.values():
        assert ends(1024 * cost, baseline=1024 * 0.9) == expected
    assert ends(-3 + 1.0 * (T == 0), baseline=-4.0) == "stalled"
    assert ends(-5 + 1.0 * (T == 0), baseline=-4.0) == "not_converged"


# -- outcomes of descents


def test_a_saturated_run_stalls_before_its_gradient_vanishes():
    """The cost is sigma(w)^2 + (sigma(w) - 1)^2 >= 1 / 2, with a sigmoid sigma.

    The best constant output has cost 1 / 2. The first step, at a learning rate of 60, moves from
    w = 1 to the saturated region, where the cost is close to 1 and decreases by 1e-4 in 20 steps.
    """

    def cost(w):
        return jax.nn.sigmoid(w) ** 2 + (1 - jax.nn.sigmoid(w)) ** 2

    run = descend(cost, jnp.ones(()), 20, 60.0, baseline=0.5)
    w, costs = 1.0, []
    for _ in range(21):
        s = 1 / (1 + np.exp(-w))
        costs.append(s**2 + (1 - s) ** 2)
        w -= 60.0 * (4 * s - 2) * s * (1 - s)
    np.testing.assert_allclose(run.cost, costs, rtol=1e-4)
    assert run.gradient_norm[-1] > 1e-5
    assert run.outcome == Outcome.STALLED
    slow = descend(cost, jnp.full((), 6.0), 20, 0.01, baseline=0.5)
    assert slow.gradient_norm[-1] > 1e-5
    assert slow.outcome == Outcome.NOT_CONVERGED


def test_the_outcome_does_not_depend_on_the_number_of_continuations():
    """The cost 1 + 0.64^t changes in the first third of the records, and only there."""
    problem = gd.Problem(init=lambda key: jnp.ones(()), cost=lambda w: 1 + w**2, baseline=1.0)
    options = {"key": KEY, "gradient_tolerance": 1e-12}
    whole = gd.descend(problem, optax.sgd(0.1), jnp.ones(()), 60, **options)
    run = gd.descend(problem, optax.sgd(0.1), jnp.ones(()), 20, **options)
    for _ in range(2):
        run = gd.descend(problem, optax.sgd(0.1), run, 20, **options)
    assert run.outcome == whole.outcome == Outcome.STALLED
    np.testing.assert_array_equal(np.append(run.earlier_cost, run.cost), whole.cost)


def test_a_bowl_converges_at_the_known_step():
    """|grad| = 2 * 0.8^t reaches 1e-3 after log(2000) / log(1.25) = 34.06 steps."""
    for steps, expected in ((34, "not_converged"), (35, "converged")):
        run = descend(lambda w: jnp.sum(w**2), jnp.ones(1), steps, 0.1, gradient_tolerance=1e-3)
        assert (str(run.outcome), run.diverged_at) == (expected, None)
        assert run.gradient_norm[-1] == pytest.approx(2 * 0.8**steps, rel=1e-4)


@pytest.mark.parametrize(("learning_rate", "power"), [(2.0, 2), (0.4, 4), (1.3, 2)])
def test_the_step_of_divergence_equals_that_of_a_loop_in_double_precision(learning_rate, power):
    w, t = 1.5, 0
    while w**power <= 1e12:
        w, t = w - learning_rate * power * w ** (power - 1), t + 1
    run = descend(lambda w: jnp.sum(w**power), jnp.full(1, 1.5), t + 20, learning_rate)
    assert (run.outcome, run.diverged_at) == (Outcome.DIVERGED, t)
    np.testing.assert_array_equal(np.isinf(run.cost), run.recorded_steps >= t)
    np.testing.assert_array_equal(np.isinf(run.gradient_norm), run.recorded_steps >= t)
    np.testing.assert_allclose(run.params, w, rtol=1e-4)  # parameters are frozen at divergence


@pytest.mark.parametrize(
    ("record_every", "costs"),
    [(1, [1.0, 9.0, 81.0, 729.0, *[INF] * 27]), (10, [1.0, INF, INF, INF])],
)
def test_the_step_of_divergence_does_not_depend_on_the_records(record_every, costs):
    """w_t^2 = 9^t passes 1,000 at t = 4."""
    options = {"divergence_threshold": 1000.0, "record_every": record_every}
    run = descend(lambda w: w**2, jnp.ones(()), 30, 2.0, **options)
    assert (run.diverged_at, run.cost.tolist()) == (4, costs)


@pytest.mark.parametrize(
    ("cost", "start", "at"),
    [
        (lambda w: w * NAN, 1.0, 0),  # NaN from the start
        (lambda w: 1 / w, 0.0, 0),
        (jnp.log, 0.15, 1),  # the first step leaves the domain
        (lambda w: jnp.sqrt(w**2), 0.0, 0),  # the cost is finite, and its gradient is 0/0
        (lambda w: jnp.where(w > 0, w, -INF), 0.05, 1),  # decreases without bound
        (lambda w: jnp.maximum(w, 0) ** 1.5 + jnp.sqrt(jnp.maximum(-w, 0)), 0.0, 0),
    ],
    ids=["nan", "pole", "log", "sqrt", "minus infinity", "infinite slope"],
)
def test_nan_and_infinity_count_as_divergence_and_are_recorded_as_infinity(cost, start, at):
    run = descend(cost, jnp.array(start), 6, 0.1)
    assert (run.outcome, run.diverged_at) == (Outcome.DIVERGED, at)
    assert not np.any(np.isnan(run.cost))
    np.testing.assert_array_equal(np.isposinf(run.cost), run.recorded_steps >= at)


def test_a_diverged_descent_remains_diverged_when_continued():
    run = descend(lambda w: w**2, jnp.ones(()), 30, 2.0, optimizer=optax.adam(1e9))
    more = gd.descend(lambda w: w**2, optax.adam(0.1), run, 5, key=KEY)
    assert more.diverged_at == run.diverged_at
    assert np.all(np.isposinf(more.cost))
    np.testing.assert_array_equal(more.params, run.params)


def test_divergence_of_the_full_batch_is_detected_before_that_of_a_mini_batch():
    """One of 40 samples has a huge loss, and is not in the first mini-batches."""
    x = jnp.ones(40).at[39].set(1e14)
    problem = gd.Problem(
        init=lambda key: jnp.zeros(()), cost=lambda w, x: jnp.mean(x + 0 * w), data=x
    )
    run = gd.descend(problem, optax.sgd(0.1), jnp.zeros(()), 3, key=jax.random.key(2), batch_size=1)
    assert (run.outcome, run.diverged_at) == (Outcome.DIVERGED, 0)
    assert np.all(np.isposinf(run.cost))
    assert np.all(np.isposinf(run.batch_cost))
