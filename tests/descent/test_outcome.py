"""How descents end, by the definitions and on costs whose end is known."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax as gd
from gdjax.descent.outcome import OUTCOMES, classify, labels

KEY = jax.random.key(0)
INF, NAN = np.inf, np.nan


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
        (0.9, 1e-6, -1, 0.9, "dead"),
        (1.0, 0.0, -1, 0.9, "dead"),
        (1.0, 0.0, -1, jnp.float32(0.9), "dead"),
        (0.1, 1e-5, -1, None, "converged"),  # up to the tolerance, and with it
        (0.1, 2e-5, -1, None, "descending"),
        (1.0, 2e-5, -1, 0.9, "descending"),
        (0.1, NAN, -1, None, "descending"),
        (INF, INF, 0, None, "diverged"),
        (INF, 0.0, 17, 0.9, "diverged"),
        (-5.0, 1e-6, -1, None, "converged"),
    ],
)
def test_by_definition(cost, norm, diverged_at, baseline, expected):
    codes = classify(
        jnp.float32(cost), jnp.float32(norm), jnp.int32(diverged_at), baseline, jnp.float32(1e-5)
    )
    assert labels(codes) == [expected]


def test_many_runs_at_once_are_classified_one_by_one():
    cost, norm = jnp.array([[0.1, 0.1], [1.0, INF]]), jnp.array([[0.0, 1.0], [0.0, INF]])
    codes = classify(cost, norm, jnp.array([[-1, -1], [-1, 3]]), 0.9)
    assert codes.shape == (2, 2)
    assert labels(codes) == ["converged", "descending", "dead", "diverged"]
    assert set(labels(codes)) == set(OUTCOMES)


# -- where descents end


def test_converged_and_descending_on_a_bowl():
    """|grad| = 2 * 0.8^t is at the tolerance of 1e-3 after log(2000) / log(1.25) = 34.06 steps."""

    def bowl(w):
        return jnp.sum(w**2)

    for steps, expected in ((34, "descending"), (35, "converged")):
        run = descend(bowl, jnp.ones(1), steps, 0.1, tolerance=1e-3)
        assert (run.outcome, run.diverged_at) == (expected, None)
        assert run.gradient_norm[-1] == pytest.approx(2 * 0.8**steps, rel=1e-4)


def test_a_plateau_above_the_baseline_is_dead_and_below_it_converged():
    def plateau(w):
        return jnp.sum(jax.nn.sigmoid(w))

    for baseline, expected in ((0.9, "dead"), (1.1, "converged"), (None, "converged")):
        run = descend(plateau, jnp.full(1, 40.0), 3, 1.0, baseline=baseline)
        assert run.outcome == expected


@pytest.mark.parametrize(("learning_rate", "power"), [(2.0, 2), (0.4, 4), (1.3, 2)])
def test_the_step_of_divergence_is_that_of_a_loop_in_double_precision(learning_rate, power):
    w, t = 1.5, 0
    while w**power <= 1e12:
        w, t = w - learning_rate * power * w ** (power - 1), t + 1
    run = descend(lambda w: jnp.sum(w**power), jnp.full(1, 1.5), t + 20, learning_rate)
    assert (run.outcome, run.diverged_at) == ("diverged", t)
    np.testing.assert_array_equal(np.isinf(run.cost), run.step >= t)
    np.testing.assert_array_equal(np.isinf(run.gradient_norm), run.step >= t)
    np.testing.assert_allclose(run.params, w, rtol=1e-4)  # frozen there


def test_at_a_smaller_bound_the_same_run_diverges_earlier():
    """w_t^2 = 9^t passes 1,000 at t = 4."""
    run = descend(lambda w: w**2, jnp.ones(()), 10, 2.0, bound=1000.0)
    assert run.diverged_at == 4
    assert run.cost[:5].tolist() == [1.0, 9.0, 81.0, 729.0, INF]


def test_between_records_the_step_is_known_too():
    run = descend(lambda w: w**2, jnp.ones(()), 30, 2.0, bound=1000.0, record_every=10)
    assert run.step.tolist() == [0, 10, 20, 30]
    assert run.diverged_at == 4
    assert run.cost.tolist() == [1.0, INF, INF, INF]


@pytest.mark.parametrize(
    ("cost", "start", "at"),
    [
        (lambda w: w * NAN, 1.0, 0),  # not a number from the start
        (lambda w: 1 / w, 0.0, 0),
        (jnp.log, 0.15, 1),  # over the edge at 0 with the first step
        (lambda w: jnp.sqrt(w**2), 0.0, 0),  # finite, but its gradient is 0/0
        (lambda w: jnp.where(w > 0, w, -INF), 0.05, 1),  # falls for ever
        (lambda w: jnp.maximum(w, 0) ** 1.5 + jnp.sqrt(jnp.maximum(-w, 0)), 0.0, 0),
    ],
    ids=["nan", "pole", "log", "sqrt", "minus infinity", "slope infinite"],
)
def test_nan_and_infinity_are_outcomes_and_never_in_the_costs(cost, start, at):
    run = descend(cost, jnp.array(start), 6, 0.1)
    assert (run.outcome, run.diverged_at) == ("diverged", at)
    assert not np.any(np.isnan(run.cost))
    np.testing.assert_array_equal(np.isposinf(run.cost), run.step >= at)


def test_a_diverged_descent_does_not_come_back_to_life():
    run = descend(lambda w: w**2, jnp.ones(()), 30, 2.0, optimizer=optax.adam(1e9))
    more = gd.descend(
        gd.Problem(init=lambda key: run.params, cost=lambda w: w**2),
        optax.adam(0.1),
        run,
        5,
        key=KEY,
    )
    assert more.diverged_at == run.diverged_at
    assert np.all(np.isposinf(more.cost))
    np.testing.assert_array_equal(more.params, run.params)


def test_what_no_mini_batch_has_shown_the_whole_set_does():
    """The one sample that spoils the mean is the last of 40; batches of one meet it later."""
    x = jnp.ones(40).at[39].set(1e14)
    problem = gd.Problem(
        init=lambda key: jnp.zeros(()), cost=lambda w, x: jnp.mean(x + 0 * w), data=x
    )
    run = gd.descend(problem, optax.sgd(0.1), jnp.zeros(()), 3, key=jax.random.key(2), batch_size=1)
    assert (run.outcome, run.diverged_at) == ("diverged", 0)
    assert np.all(np.isposinf(run.cost))
    assert np.all(np.isposinf(run.batch_cost))
