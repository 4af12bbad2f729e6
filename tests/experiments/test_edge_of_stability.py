"""The edge of stability: the sharpness rises to its limit and remains near it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.edge_of_stability import __main__ as edge_of_stability
from experiments.edge_of_stability import __main__ as summaries
from experiments.edge_of_stability.config import Config

pytestmark = pytest.mark.long  # trains networks

SMALL = Config(
    rates=(0.04, 0.06),
    steps=12_000,
    heavy_rates=(0.06,),
    nesterov_rates=(0.03,),
    momentum_steps=3_000,
    seeds=2,
    digit_rates=(3.0,),
    digit_steps=40,
    digit_seeds=2,
    records=100,
    samples=200,
)


@pytest.fixture(scope="module")
def dataset():
    return edge_of_stability.run(SMALL)


@pytest.fixture(scope="module")
def summary(dataset):
    return edge_of_stability.numbers(dataset)


def test_data_and_starts_are_those_of_the_published_code():
    """The data are 20 points of T5 = 16 x^5 - 20 x^3 + 5 x; starts are as in PyTorch.

    All initial weights and biases lie within +-1 / sqrt(inputs).
    """
    problem = edge_of_stability.chebyshev()
    x, y = problem.data
    np.testing.assert_allclose(y, 16 * x**5 - 20 * x**3 + 5 * x, atol=1e-12)
    assert x.shape == (20, 1)
    params = problem.init(jax.random.key(0))
    assert [np.shape(a) for layer in params for a in layer] == [(100, 1), (100,), (1, 100), (1,)]
    for layer, bound in zip(params, (1.0, 0.1), strict=True):
        for leaf in layer:
            assert float(jnp.max(jnp.abs(leaf))) <= bound
    assert float(jnp.max(jnp.abs(params[0].weights))) > 0.9


@pytest.mark.parametrize(
    ("panel", "known"),
    [("plain", [2 / 0.04, 2 / 0.06]), ("heavy", [3.8 / 0.06]), ("nesterov", [3.8 / 2.8 / 0.03])],
)
def test_sharpness_remains_near_the_limit(summary, panel, known):
    np.testing.assert_allclose(summary[f"{panel}_threshold"], known, rtol=1e-5)
    # With momentum, the sharpness falls below the limit after each spike of the cost, and rises
    # again.
    allowed = 0.02 if panel == "plain" else 0.15
    np.testing.assert_allclose(summary[f"{panel}_late_over_threshold"], 1, atol=allowed)
    assert summary[f"{panel}_runs_diverged"] == 0
    assert summary[f"{panel}_sharpness_not_found"] == 0


def test_sharpness_rises_from_below_while_the_cost_decreases(dataset, summary):
    """At a learning rate of 0.04, the limit 50 exceeds the initial sharpness."""
    assert np.all(dataset["plain"].sharpness.isel(step=0) < 50)
    assert summary["plain_reached_at_step"][0] > 1000
    assert summary["plain_cost_left_after_it"][0] < 0.6
    assert 0 < summary["plain_records_with_rising_cost"][0] < 0.8


def test_the_tangent_network_differs_only_in_its_unbounded_outputs(dataset, summary):
    problem = edge_of_stability.gd.problems.digits("mnist5k", samples=20)
    params = problem.init(jax.random.key(0))
    images, labels = (jnp.asarray(a) for a in problem.data)
    outputs = jnp.log(problem.predict(params, images)) - jnp.log1p(-problem.predict(params, images))
    known = jnp.mean(jnp.sum((0.5 + outputs / 4 - jax.nn.one_hot(labels, 10)) ** 2, axis=1))
    tangent = edge_of_stability.tangent_outputs(problem)
    assert float(tangent.cost(params, (images, labels))) == pytest.approx(float(known), rel=1e-4)
    same = jax.tree.map(jnp.array_equal, params, tangent.init(jax.random.key(0)))
    assert all(jax.tree.leaves(same))
    digits, tangent = dataset["digits"], dataset["tangent"]
    np.testing.assert_array_equal(digits.learning_rate, tangent.learning_rate)
    digits, tangent = (summaries.late_ratios(part)[0] for part in (digits, tangent))
    first, second = tangent - digits
    # Student's interval of two differences has a half-width of 12.706 standard errors, and the
    # standard error is half the distance between the differences.
    half = 12.7062 * abs(first - second) / 2
    mean = (first + second) / 2
    np.testing.assert_allclose(
        summary["tangent_minus_digits"][0], [mean, mean - half, mean + half], rtol=1e-4, atol=1e-6
    )


def test_figures_are_drawn_from_the_dataset(dataset, drawn):
    assert list(drawn(edge_of_stability, dataset)) == ["chebyshev", "digits"]
