"""Recommended learning rates on costs with a known best rate, and statuses."""

from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax as gd
from gdjax.problems import bowl, digits
from gdjax.search.learning_rate import (
    LearningRateStatus,
    _of_stability,
    _Round,
    find_learning_rate,
)

BOWL = bowl([1.0, 4.0, 10.0])


@pytest.fixture(scope="module")
def result():
    return find_learning_rate(BOWL, optax.sgd, num_starts=3, horizon=200)


def test_on_a_quadratic_the_rate_is_within_a_factor_2_of_the_best_fixed_step(result):
    """The best fixed step is 2 / (1 + 10); descent diverges at steps above 2 / 10."""
    assert result.status == LearningRateStatus.FOUND
    assert 1 / 11 <= result.learning_rate <= 2 / 10
    assert result.low <= result.learning_rate <= result.high < 2 / 10
    assert np.all(result.works == (result.learning_rates < 2 / 10))
    outcomes = result.runs[-1].outcome.values
    assert np.all(outcomes[result.learning_rates > 0.22] == gd.descent.Outcome.DIVERGED)
    assert 2 / 10 < result.critical_rate < 2


def test_num_evaluations_counts_each_gradient_as_three_evaluations(result):
    steps = sum(r.sizes["learning_rate"] * 3 * int(r.step[-1]) for r in result.runs)
    first_steps = result.num_evaluations - 3 * steps
    assert 3 * 15 < first_steps < 3 * 100
    assert result.num_steps == 200
    np.testing.assert_allclose(
        np.median(result.runs[-1].cost.values[..., -1], axis=1)[result.works],
        result.cost[result.works],
    )


def test_equal_seeds_give_equal_rates_and_a_second_search_compiles_nothing(result, compilations):
    again = find_learning_rate(BOWL, optax.sgd, num_starts=3, horizon=200)
    assert str(again) == str(result)
    find_learning_rate(BOWL, optax.sgd, root_seed=1, num_starts=3, horizon=200)
    assert compilations == []


@pytest.mark.long
@pytest.mark.parametrize(
    "make_optimizer",
    [
        partial(optax.sgd, momentum=0.9),
        optax.adam,
        optax.lion,
        optax.contrib.muon,
        optax.contrib.sophia,
        optax.contrib.schedule_free_sgd,
        lambda learning_rate: optax.adam(optax.linear_schedule(0.0, learning_rate, 10)),
    ],
)
def test_the_cost_decreases_tenfold_at_the_recommended_rate_of_each_optimizer(make_optimizer):
    problem = gd.Problem(
        init=lambda key: {"w": jax.random.normal(key, (4, 3))},
        cost=lambda params: jnp.mean((params["w"] - 1) ** 2),
    )
    result = find_learning_rate(problem, make_optimizer, num_starts=2, horizon=200)
    assert result.status == LearningRateStatus.FOUND
    grid = gd.axes(learning_rate=[result.learning_rate], seed=range(2))
    runs = gd.sweep(problem, grid, 200, make_optimizer=make_optimizer, record_every=200)
    assert np.all(runs.cost[..., -1] < 0.1 * runs.cost[..., 0])


@pytest.mark.long
def test_starts_with_mini_batches_use_different_orders_of_samples():
    problem = digits("mnist5k", samples=200)
    result = find_learning_rate(problem, optax.sgd, batch_size=20, num_starts=2, horizon=64)
    assert result.status == LearningRateStatus.FOUND
    assert 0.5 < result.learning_rate < 20
    assert "mini-batches of 20" in result.reason
    assert result.runs[-1].data_seed.values.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("medians", "recommended", "good"),
    [
        # The lowest cost is 1, with 1.1 as the highest of its three starts.
        ([9, 1, 1.05, 1.02, 9, 9, 9], 2, (1, 3)),
        ([9, 9, 9, 1.02, 1.05, 1, 9], 4, (3, 5)),
        ([9, 1, 1.05, 9, 1, 1, 9], 1, (1, 2)),
        ([9, 9, 1.08, 1.07, 1.09, 1, 9], 3, (2, 5)),
        ([9, 1, 9, 9, 9, 9, 9], 1, (1, 1)),
    ],
)
def test_of_equally_good_rates_one_inside_their_interval_is_recommended(medians, recommended, good):
    final = np.array(medians)[:, None] * [0.9, 1, 1.1]
    cost = np.stack([np.full_like(final, 10), final], axis=-1)
    runs = SimpleNamespace(
        cost=SimpleNamespace(values=cost), outcome=SimpleNamespace(values=np.zeros(final.shape))
    )
    last = _Round(2.0 ** np.arange(7), 8, runs)
    assert (last.recommended, last.good) == (recommended, good)


def test_the_recommended_rate_of_sign_descent_is_that_of_the_horizon():
    """Signs move each number by the rate eta, so 9 steps reach most minima at the rate 1.5.

    The final distances are at most eta at higher rates; 5 steps need the rate 3.
    """
    problem = gd.Problem(
        init=lambda key: jax.random.uniform(key, (200,), minval=8, maxval=16),
        cost=lambda w: jnp.sum(jnp.abs(w) ** 1.5),
    )
    result = find_learning_rate(problem, optax.sign_sgd, horizon=9)
    assert result.learning_rate == pytest.approx(1.5, rel=0.05)


def squares(w):
    return jnp.sum(w**2)


@pytest.mark.parametrize(
    ("cost", "make_optimizer", "status", "reason"),
    [
        (squares, lambda rate: optax.sgd(-rate), "NOT_A_DESCENT_DIRECTION", "at 2 of 2 starts"),
        (
            squares,
            lambda rate: optax.chain(optax.sgd(rate), optax.scale(jnp.nan)),
            "UPDATE_NOT_FINITE",
            "first update of the optimizer is not finite",
        ),
        (lambda w: jnp.sqrt(-1 - squares(w)), optax.sgd, "COST_NOT_FINITE", "Check the problem"),
        (jnp.sum, optax.sgd, "NO_MINIMUM", "no minimum"),
        (lambda w: -squares(w), optax.sgd, "NO_MINIMUM", "no minimum"),
        (
            squares,
            lambda rate: optax.sgd(lambda step: jnp.where(step == 0, rate, jnp.nan)),
            "NO_WORKING_RATE",
            "2 of 2 diverged",
        ),
    ],
)
def test_without_a_best_rate_the_status_and_the_reason_say_why(
    cost, make_optimizer, status, reason
):
    def factory(learning_rate):
        return make_optimizer(learning_rate)

    problem = gd.Problem(init=lambda key: jax.random.normal(key, (2,)), cost=cost)
    result = find_learning_rate(problem, factory, num_starts=2, horizon=32)
    assert result.status.name == status
    assert np.isnan([result.learning_rate, result.low, result.high]).all()
    assert reason in result.reason
    if not result.runs:
        with pytest.raises(gd.errors.InputError, match="without descents"):
            gd.plot(result)


def test_the_recommended_rate_is_compared_with_the_sharpness_at_its_own_ends():
    bowl = gd.problems.bowl([1.0, 10.0])
    result = find_learning_rate(bowl, horizon=64)
    np.testing.assert_allclose(result.stability, 10 * result.learning_rate / 2, rtol=1e-3)
    assert "this rate can hold 4 of 4 ends" in result.reason
    text = _of_stability(np.array([0.5, 1.25]), 0.1)
    assert text.endswith("hold 1 of 2 ends. Rates below 0.08 can hold all of them.")
    adaptive = find_learning_rate(bowl, optax.adam, horizon=64)
    assert len(adaptive.stability) == 0
    assert "hold" not in adaptive.reason
