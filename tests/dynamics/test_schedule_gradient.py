"""Gradients of schedules against closed forms, finite differences and descents."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax as gd
from gdjax.base.errors import InputError
from gdjax.dynamics import HypergradientStatus, hypergradient
from tests.annotations import skip_with_annotations

KEY = jax.random.key(0)


def bowl(w):
    return jnp.sum(jnp.array([1.0, 10.0]) * w**2) / 2


def regression(samples=6):
    """Return a regression of one tanh unit, in the current precision."""
    rng = np.random.default_rng(0)
    x, y = jnp.asarray(rng.normal(size=(samples, 3))), jnp.asarray(rng.normal(size=samples))

    def cost(w, batch):
        inputs, targets = batch
        return jnp.mean((jnp.tanh(inputs @ w) - targets) ** 2)

    return gd.Problem(init=lambda key: jnp.zeros(3), cost=cost, data=(x, y))


def adam(learning_rate):
    return optax.adam(learning_rate, eps_root=1e-16)


@pytest.mark.parametrize(
    ("rates", "cost", "known"),
    [
        ([0.15] * 5, 0.103320, [-0.0363044] * 5),
        (
            [0.05, 0.15, 0.18, 0.08, 0.02],
            None,
            [-0.579960, -0.214497, -0.306637, -0.899394, -0.491676],
        ),
    ],
)
def test_the_gradient_on_a_quadratic_is_its_closed_form(float64, rates, cost, known):
    result = hypergradient(bowl, optax.sgd, jnp.ones(2), rates, 5, key=KEY)
    np.testing.assert_allclose(result.gradient, known, rtol=5e-6)
    assert cost is None or float(result.cost) == pytest.approx(cost, abs=1e-6)
    assert int(result.status) == HypergradientStatus.RELIABLE
    assert float(result.growth) < 1


def test_the_best_constant_rate_is_stationary(float64):
    """The rate is (1 + rho) / (10 + rho) with rho = (1 / 10)^(2 / (2 T - 1))."""
    rho = 0.1 ** (2 / 39)
    rate = (1 + rho) / (10 + rho)
    assert rate == pytest.approx(0.173449, abs=1e-6)
    rates = jnp.full(20, rate)
    result = hypergradient(bowl, optax.sgd, jnp.ones(2), rates, 20, key=KEY, check=False)
    assert abs(float(jnp.sum(result.gradient))) < 1e-12
    assert np.ptp(result.gradient) == pytest.approx(0, abs=1e-12)  # its entries stay equal
    assert int(result.status) == HypergradientStatus.UNCHECKED


def test_adam_with_a_dead_coordinate(float64):
    """The second input is always 0; at `eps_root` = 0 the derivative would be NaN."""
    data = (jnp.array([[1.0, 0.0], [0.5, 0.0]]), jnp.array([1.0, -0.5]))
    problem = gd.Problem(init=lambda key: jnp.zeros(2), cost=regression().cost, data=data)
    start, rates = jnp.array([0.1, 0.2]), jnp.full(3, 0.1)
    result = hypergradient(problem, adam, start, rates, 3, key=KEY)
    np.testing.assert_allclose(result.gradient, [-0.188155, -0.191849, -0.193851], atol=2e-6)


@pytest.mark.long
@pytest.mark.parametrize(("knots", "make_optimizer"), [(3, optax.sgd), (5, adam)])
def test_gradients_of_knots_equal_finite_differences(float64, knots, make_optimizer):
    """Three knots are differentiated in forward mode, and five in reverse mode."""
    problem, start = regression(), jnp.array([0.3, -0.2, 0.5])
    logs = jnp.log(jnp.linspace(0.05, 0.2, knots))

    def run(logs, **more):
        return hypergradient(
            problem, make_optimizer, start, logs, 7, key=KEY, knots=True, batch_size=2, **more
        )

    result = run(logs)
    for i in range(knots):
        ahead, behind = (run(logs.at[i].add(h), check=False).cost for h in (1e-5, -1e-5))
        assert float(result.gradient[i]) == pytest.approx(float(ahead - behind) / 2e-5, abs=1e-8)
    assert int(result.status) == HypergradientStatus.RELIABLE
    assert float(result.predicted_ratio) == pytest.approx(1, abs=0.01)


def test_the_final_cost_is_that_of_the_descent_with_this_schedule(float64):
    problem, start, rates = regression(), jnp.array([0.3, -0.2, 0.5]), np.linspace(0.3, 0.1, 8)
    schedule = lambda step: jnp.asarray(rates)[step]  # noqa: E731
    run = gd.descend(problem, optax.sgd(schedule), start, 8, key=KEY, batch_size=2)
    result = hypergradient(problem, optax.sgd, start, rates, 8, key=KEY, batch_size=2, check=False)
    assert float(result.cost) == pytest.approx(run.cost[-1], rel=1e-12)


def test_gradients_of_another_cost_equal_finite_differences(float64):
    problem, start = regression(), jnp.array([0.3, -0.2, 0.5])

    def run(rates):
        options = {"key": KEY, "validation": regression(samples=4), "check": False}
        return hypergradient(problem, optax.sgd, start, rates, 6, **options)

    rates = jnp.full(6, 0.2)
    known = [
        float(run(rates.at[i].add(1e-5)).cost - run(rates.at[i].add(-1e-5)).cost) / 2e-5
        for i in range(6)
    ]
    np.testing.assert_allclose(run(rates).gradient, known, atol=1e-9)


def test_a_chaotic_descent_is_reported_beside_one_that_is_not(float64):
    """At rate 2 the step on (1 - xy)^2 / 2 triples an angle; at rate 1.1 its period becomes 2."""
    cost = lambda w: (1 - w[0] * w[1]) ** 2 / 2  # noqa: E731
    start = jnp.full(2, np.sqrt(2) * np.sin(0.4))
    result = jax.vmap(
        lambda rate: hypergradient(cost, optax.sgd, start, jnp.full(40, rate), 40, key=KEY)
    )(jnp.array([1.1, 2.0, 30.0]))
    assert result.status.tolist() == [
        HypergradientStatus.RELIABLE,
        HypergradientStatus.CHAOTIC,
        HypergradientStatus.NOT_FINITE,
    ]


def test_reverse_mode_keeps_about_twice_the_root_of_the_number_of_states():
    """Without checkpoints, 1,024 steps keep 4,099 states; with them, 2 sqrt(1024) + 4 or 5."""
    size, num_steps = 20_000, 1024
    scale = np.linspace(0.1, 1, size, dtype=np.float32)
    cost = lambda w: jnp.sum(jnp.tanh(scale * w) ** 2) / 2  # noqa: E731

    def gradient(w, rates):
        return hypergradient(cost, optax.sgd, w, rates, num_steps, key=KEY, check=False).gradient

    compiled = jax.jit(gradient).lower(jnp.ones(size), jnp.full(num_steps, 0.1)).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 72 * 4 * size


@skip_with_annotations
@pytest.mark.parametrize("bad", [{"knots": np.zeros((2, 0))}, {"check": "x"}], ids=str)
def test_options_of_another_type_raise_an_error_that_names_them(bad):
    with pytest.raises(InputError, match=f"hypergradient: {next(iter(bad))} = "):
        hypergradient(bowl, optax.sgd, jnp.ones(2), [0.1, 0.1], 2, key=KEY, **bad)


def test_deleted_data_raise_an_error_that_names_them():
    data = jnp.ones((4, 2))
    problem = gd.Problem(lambda key: jnp.ones(2), lambda w, x: jnp.mean(x @ w), data)
    data.delete()  # as after a donation
    with pytest.raises(InputError, match=r"problem\.data is an array"):
        hypergradient(problem, optax.sgd, jnp.ones(2), [0.1], 1, key=KEY)
    with pytest.raises(InputError, match=r"problem\.data is an array"):
        gd.descend(problem, optax.sgd(0.1), jnp.ones(2), 1, key=KEY)
    with pytest.raises(InputError, match=r"problem\.data is an array"):
        gd.curvature.classify(problem, jnp.ones(2), key=KEY)
