"""Recipes and schedules: steps and learning rates compared with formulas and with Optax."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gdjax.descent import WarmupCosine
from gdjax.descent.recipes import RECIPES, Recipe
from gdjax.problems.networks import Network


@pytest.mark.long
def test_steps_of_a_recipe_equal_the_formula():
    """The recipe has one weight decay per layer, and a warmup-cosine schedule."""
    recipe = Recipe(0.7, epochs=1, warmup_steps=1, decay=0.3, decay_behind=0.05)
    params = Network((3, 2, 2)).init(jax.random.key(0))
    expected = [[np.asarray(a, np.float64) for a in layer] for layer in params]
    rule = recipe.optimizer(3)
    memory = rule.init(params)
    rate = WarmupCosine(0.7, 1, 3)
    for step in range(3):
        gradient = jax.tree.map(lambda w, step=step: jnp.cos(w + step), params)
        updates, memory = rule.update(gradient, memory, params)
        params = optax.apply_updates(params, updates)
        for layer, decay in zip(expected, (0.3, 0.05), strict=True):
            layer[:] = [a - float(rate(step)) * (np.cos(a + step) + decay * a) for a in layer]
    for user_defined, reference in zip(
        jax.tree.leaves(params), [*expected[0], *expected[1]], strict=True
    ):
        np.testing.assert_allclose(user_defined, reference, rtol=1e-5, atol=1e-6)


def test_the_plain_recipe_is_gradient_descent_at_a_constant_rate():
    rule = RECIPES["plain"].optimizer(10)
    w = jnp.array([2.0])
    updates, _ = rule.update(jnp.array([0.5]), rule.init(w), w)
    assert updates.tolist() == [-0.5]


@pytest.mark.parametrize("peak", [0.3, 10.0])
@pytest.mark.parametrize("start", [0.0, 0.01])
@pytest.mark.parametrize("end", [0.0, 0.02])
@pytest.mark.parametrize(("warmup", "total"), [(0, 50), (10, 50), (49, 50)])
def test_the_schedule_equals_that_of_optax(peak, start, end, warmup, total):
    expected = optax.warmup_cosine_decay_schedule(start, peak, warmup, total, end)
    steps = jnp.arange(total + 20)
    result = jax.vmap(WarmupCosine(peak, warmup, total, start=start, end=end))(steps)
    np.testing.assert_allclose(result, jax.vmap(expected)(steps), rtol=1e-6, atol=1e-6 * peak)


def test_the_schedule_equals_the_formula_in_float64(float64):
    rate = WarmupCosine(3.0, 4, 11, start=0.5, end=0.25)
    result = np.array([rate(step) for step in range(14)])
    t = np.arange(14.0)
    fall = 0.25 + 2.75 * (1 + np.cos(np.pi * np.minimum((t - 4) / 7, 1))) / 2
    np.testing.assert_allclose(result, np.where(t < 4, 0.5 + 2.5 * t / 4, fall), rtol=1e-14)


def test_all_arguments_of_the_schedule_can_be_traced_and_vmapped():
    numbers = jnp.array([3.0, 4.0, 11.0, 0.5, 0.25]), jnp.array([1.0, 0.0, 6.0, 0.1, 0.0])

    def rates(peak, warmup, total, start, end):
        return jax.vmap(WarmupCosine(peak, warmup, total, start=start, end=end))(jnp.arange(14))

    swept = jax.vmap(rates)(*jnp.stack(numbers).T)
    for row, (peak, warmup, total, start, end) in zip(swept, numbers, strict=True):
        one = rates(float(peak), int(warmup), int(total), float(start), float(end))
        np.testing.assert_allclose(row, one, rtol=1e-6, atol=1e-7)


def test_a_schedule_without_decay_is_finite():
    result = jax.vmap(WarmupCosine(2.0, 5, 5))(jnp.arange(8))
    np.testing.assert_allclose(result[:6], [0, 0.4, 0.8, 1.2, 1.6, 2.0], rtol=1e-6)
    assert np.isfinite(result).all()
