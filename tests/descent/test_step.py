"""One step: what moves, what is looked at, and what counts as the end of the numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gdjax.descent.step import State, blank, cost_type, finite, init, step

SGD = optax.sgd(0.1)
INF, NAN = jnp.inf, jnp.nan


def regression(w, batch):
    return jnp.mean((batch[0] @ w - batch[1]) ** 2)


def batch(seed, samples=6):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(samples, 3)), rng.normal(size=samples)
    return jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)


def slope(w, batch):
    x, y = (np.asarray(a, np.float64) for a in batch)
    return 2 * x.T @ (x @ w - y) / len(y)


def test_init_evaluates_and_does_not_move():
    w = jnp.array([1.0, -2.0, 0.5])
    state = init(regression, SGD, w, batch(0))
    np.testing.assert_array_equal(state.params, w)
    np.testing.assert_allclose(state.gradient, slope(np.asarray(w), batch(0)), rtol=1e-5)
    np.testing.assert_allclose(state.cost, regression(w, batch(0)), rtol=1e-6)
    assert state.diverged_at == -1


def test_steps_follow_the_gradients_of_their_own_batches():
    w = np.array([1.0, -2.0, 0.5])
    state = init(regression, SGD, jnp.asarray(w, jnp.float32), batch(0))
    for t in range(5):
        left = w
        state, info = step(regression, SGD, state, batch(t), batch(t + 1))
        w = w - 0.1 * slope(w, batch(t))
        np.testing.assert_allclose(state.params, w, rtol=1e-5)
        np.testing.assert_allclose(info.cost, regression(jnp.asarray(left), batch(t)), rtol=1e-5)
        assert bool(info.moved)


def test_an_inactive_step_evaluates_where_it_stands():
    state = init(regression, optax.adam(0.1), jnp.ones(3), batch(0))
    again, info = step(regression, optax.adam(0.1), state, batch(0), batch(1), active=False)
    assert not bool(info.moved)
    np.testing.assert_array_equal(again.params, state.params)
    for a, b in zip(*map(jax.tree.leaves, (again.optimizer, state.optimizer)), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(again.gradient, slope(np.ones(3), batch(1)), rtol=1e-5)


def test_what_has_diverged_stays_where_it_was():
    def cliff(w, _):
        return jnp.where(w > 0.5, -w, NAN)

    optimizer = optax.sgd(-1.0, momentum=0.9)  # uphill, over the cliff
    state = init(cliff, optimizer, jnp.array(1.2), None)
    states = [state]
    for t in range(4):
        state, info = step(cliff, optimizer, state, None, None, at=t + 1)
        states.append(state)
        assert bool(info.moved) == (t == 0)
    assert [int(s.diverged_at) for s in states] == [-1, 1, 1, 1, 1]
    assert [float(s.params) for s in states[1:]] == [pytest.approx(0.2)] * 4
    memory = [jax.tree.leaves(s.optimizer)[0] for s in states[1:]]
    assert all(m == memory[0] for m in memory)


def test_the_bound_is_the_largest_cost_that_may_go_on():
    state = blank(SGD, jnp.array(3.0))
    for bound, diverged in ((9.0, -1), (8.9, 7)):
        found, _ = step(lambda w, _: w**2, SGD, state, None, None, active=False, at=7, bound=bound)
        assert int(found.diverged_at) == diverged


@pytest.mark.parametrize(
    ("value", "gradient", "expected"),
    [
        (1.0, [1.0, -2.0], True),
        (-1e30, [0.0, 0.0], True),
        (1e12, [0.0, 0.0], True),
        (1.01e12, [0.0, 0.0], False),
        (NAN, [0.0, 0.0], False),
        (INF, [0.0, 0.0], False),
        (-INF, [0.0, 0.0], False),
        (0.0, [NAN, 0.0], False),
        (0.0, [INF, 0.0], False),
        (0.0, [-INF, INF], False),
        (0.0, [1e38, -1e38], True),
    ],
)
def test_finite(value, gradient, expected):
    tree = {"a": jnp.array(gradient[:1]), "b": jnp.array(gradient[1:])}
    assert bool(jax.jit(finite)(jnp.float32(value), tree, 1e12)) is expected


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_finite_in_half_precision(dtype):
    one, many = jnp.ones((), dtype), jnp.full(20_000, 10, dtype)  # their sum is above 65,504
    assert bool(finite(one, many, 1e12))
    assert not bool(finite(one, many.at[7].set(INF), 1e12))
    assert not bool(finite(one * INF, many, 1e12))


def test_an_infinite_bound_does_not_let_infinity_through():
    assert not bool(finite(jnp.float32(INF), jnp.zeros(2), INF))
    assert bool(finite(jnp.float32(1e38), jnp.zeros(2), INF))


@pytest.mark.parametrize(
    ("dtypes", "expected"),
    [
        ([jnp.float32], jnp.float32),
        ([jnp.bfloat16], jnp.float32),
        ([jnp.float16, jnp.bfloat16], jnp.float32),
    ],
)
def test_costs_are_kept_in_single_precision_at_least(dtypes, expected):
    params = [jnp.ones(2, dtype) for dtype in dtypes]
    assert cost_type(params) == expected
    assert blank(SGD, params).cost.dtype == expected


def test_costs_are_kept_in_double_precision_if_the_parameters_are():
    with jax.enable_x64(True):
        assert cost_type({"a": jnp.ones(2), "b": jnp.ones(2, jnp.float32)}) == jnp.float64


def test_a_step_can_be_mapped_and_scanned():
    rates = jnp.array([0.1, 0.3])

    def final(rate):
        optimizer = optax.sgd(rate)
        begin = init(lambda w, _: jnp.sum(w**2), optimizer, jnp.ones(2), None)

        def body(state, _) -> tuple[State, jax.Array]:
            state, info = step(lambda w, _: jnp.sum(w**2), optimizer, state, None, None)
            return state, info.cost

        return jax.lax.scan(body, begin, None, length=10)[1]

    expected = 2 * (1 - 2 * np.array([[0.1], [0.3]])) ** (2 * np.arange(10))
    np.testing.assert_allclose(jax.jit(jax.vmap(final))(rates), expected, rtol=1e-5)
