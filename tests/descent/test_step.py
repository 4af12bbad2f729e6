"""A single step: updates, evaluation, and the divergence criterion."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gdjax.descent.step import State, init, is_within_limits, norm, step

SGD = optax.sgd(0.1)
INF, NAN = jnp.inf, jnp.nan


def test_a_diverged_run_keeps_its_state():
    def cliff(w, *, model_state):
        return jnp.where(w > 0.5, -w, NAN), model_state + 1

    optimizer = optax.sgd(-1.0, momentum=0.9)  # gradient ascent, into the region of NaN cost
    states = [init(optimizer, jnp.array(1.2), jnp.array(0))]
    for t in range(5):
        state, info = step(cliff, optimizer, states[-1], step=t)
        states.append(state)
        assert bool(info.is_active) == (t == 0)
    assert [int(s.diverged_at) for s in states] == [-1, -1, 1, 1, 1, 1]
    assert [float(s.params) for s in states[1:]] == [pytest.approx(0.2)] * 5
    assert [int(s.model_state) for s in states] == [0, 1, 1, 1, 1, 1]
    memory = [jax.tree.leaves(s.opt_state)[0] for s in states[1:]]
    assert all(m == memory[0] for m in memory)
    at_once, info = step(cliff, optimizer, init(optimizer, jnp.array(0.2), jnp.array(0)), step=0)
    assert (int(at_once.diverged_at), bool(info.is_active)) == (0, False)
    assert float(at_once.params) == pytest.approx(0.2)


def test_a_step_passes_key_step_number_and_model_state_to_the_cost():
    def cost(w, x, *, key, step, model_state):
        observed = jax.random.normal(key) + 10 * step + 100 * model_state
        return jnp.mean(x * w) * observed, model_state + 1

    key = jax.random.key(3)
    state = init(SGD, jnp.array(1.0), jnp.array(2.0))
    after, info = step(cost, SGD, state, jnp.array([1.0, 3.0]), key=key, step=4)
    expected = 2 * (float(jax.random.normal(key)) + 40 + 200)
    np.testing.assert_allclose([info.cost, info.gradient], expected, rtol=1e-6)
    np.testing.assert_allclose(after.params, 1 - 0.1 * expected, rtol=1e-6)
    assert float(after.model_state) == 3


def test_a_line_search_uses_the_batch_key_and_model_state_of_its_step():
    """The first trial step is rejected, so the line search compares costs."""

    def cost(w, x, *, key, model_state):
        target = jnp.mean(x) + jax.random.normal(key) + model_state
        return (w - target) ** 2, model_state + 1

    optimizer = optax.chain(
        optax.sgd(1.0), optax.scale_by_backtracking_linesearch(20, max_learning_rate=4.0)
    )
    for key, state in ((jax.random.key(1), 0.0), (jax.random.key(2), 5.0)):
        begin = init(optimizer, jnp.array(1.0), jnp.array(state))
        after, _ = step(cost, optimizer, begin, jnp.array([2.0, 4.0]), key=key)

        def alone(w, key=key, state=state):
            return (w - (3.0 + jax.random.normal(key) + state)) ** 2

        value, gradient = jax.value_and_grad(alone)(1.0)
        updates, _ = optimizer.update(
            gradient,
            optimizer.init(jnp.array(1.0)),
            jnp.array(1.0),
            value=value,
            grad=gradient,
            value_fn=alone,
        )
        np.testing.assert_allclose(after.params, 1.0 + updates, rtol=1e-5)
        assert float(after.model_state) == state + 1  # updated once per step


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
        (0.0, [1e19, -1e19], True),
        (0.0, [1e20, 0.0], False),  # its square overflows
    ],
)
def test_limits_require_a_finite_gradient_norm_and_a_value_up_to_the_threshold(
    value, gradient, expected
):
    tree = {"a": jnp.array(gradient[:1]), "b": jnp.array(gradient[1:])}
    assert bool(jax.jit(is_within_limits)(jnp.float32(value), norm(tree), 1e12)) is expected
    assert bool(is_within_limits(jnp.float32(value), norm(tree), INF)) is (
        expected or value == 1.01e12
    )


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_finiteness_is_checked_without_overflow_in_half_precision(dtype):
    # The sum of the squares exceeds the largest float16, 65,504.
    one, many = jnp.ones((), dtype), jnp.full(20_000, 10, dtype)
    assert bool(is_within_limits(one, norm(many), 1e12))
    assert not bool(is_within_limits(one, norm(many.at[7].set(INF)), 1e12))
    assert not bool(is_within_limits(one * INF, norm(many), 1e12))


def test_a_step_can_be_vmapped_and_scanned():
    rates = jnp.array([0.1, 0.3])

    def final(rate):
        optimizer = optax.sgd(rate)
        begin = init(optimizer, jnp.ones(2))

        def body(state, _) -> tuple[State, jax.Array]:
            state, info = step(lambda w: jnp.sum(w**2), optimizer, state)
            return state, info.cost

        return jax.lax.scan(body, begin, None, length=10)[1]

    expected = 2 * (1 - 2 * np.array([[0.1], [0.3]])) ** (2 * np.arange(10))
    np.testing.assert_allclose(jax.jit(jax.vmap(final))(rates), expected, rtol=1e-5)
