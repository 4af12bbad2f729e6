"""The grokking experiment: known delays, and its cost."""

import jax
import numpy as np
import xarray as xr

from experiments.grokking import __main__ as grokking

DECAY = np.array([0.0, 0.1, 1.0])
STEP = np.arange(0, 2001, 10)


def built():
    """Return runs that memorize at step 40 and generalize 100 / decay steps later.

    Seed k adds 10 k steps to the delay. One run with decay 0.1 does not generalize, nor do those
    without decay.
    """
    known_at = np.stack(
        [40 + 10 * np.arange(6) + 100 / d if d else np.full(6, np.inf) for d in DECAY]
    )
    known_at[1, 5] = np.inf  # a run that does not generalize
    test = np.where(known_at[..., None] <= STEP, 1.0, 0.1)
    train = np.broadcast_to(np.where(STEP >= 40, 1.0, 0.2), test.shape)
    dims = ("weight_decay", "seed", "step")
    return xr.Dataset(
        {"train_accuracy": (dims, train), "test_accuracy": (dims, test)},
        {"weight_decay": DECAY, "step": STEP},
        {"known": 0.95},
    )


def test_known_delays_are_recovered():
    learnt, delay = grokking.delays(built())
    assert np.all(learnt == 40)
    np.testing.assert_array_equal(delay[2], 100 + 10 * np.arange(6))
    assert np.isinf(delay[0]).all()
    result = grokking.numbers(built())["weight_decay"]
    assert {decay: at["never"] for decay, at in result.items()} == {"0": 6, "0.1": 1, "1": 0}
    assert result["0"]["delay"][0] == np.inf
    assert result["1"]["delay"] == (125.0, 100.0, 150.0)
    assert result["0.1"]["delay"] == (1025.0, 1000.0, np.inf)
    assert result["0.1"]["test_accuracy_then"][0] == 0.1


def test_a_delay_inversely_proportional_to_the_decay_has_slope_minus_one():
    decay = np.array([0.0, 0.1, 0.3, 1.0])
    delay = np.array([[np.inf] * 3, [10.0, 20, np.inf], [10 / 3, 20 / 3, 5], [1.0, 2, 3]])
    np.testing.assert_allclose(grokking.exponents(decay, delay), [-1, -1], rtol=1e-12)


def test_the_cost_depends_only_on_the_training_pairs():
    """Targets of test pairs have no effect, and training pairs differ between seeds."""
    config = grokking.Config(modulus=5, width=3, seeds=2)
    problem = grokking.addition(config)
    inputs, sums, marks = problem.data
    assert marks.sum(axis=0).tolist() == [18, 18]  # 0.7 * 25, rounded
    assert not np.array_equal(marks[:, 0], marks[:, 1])
    params = problem.init(jax.random.key(0))
    outputs = (inputs @ params["in"]) ** 2 @ params["out"]
    inside = np.sum((outputs - np.eye(5)[sums]) ** 2, axis=1)[marks[:, 1]]
    np.testing.assert_allclose(
        problem.cost(params, problem.data, pairs=1), inside.mean(), rtol=1e-5
    )
    changed = np.where(marks[:, 1], sums, (sums + 1) % 5)
    same = problem.cost(params, (inputs, changed, marks), pairs=1)
    np.testing.assert_allclose(same, inside.mean(), rtol=1e-5)
