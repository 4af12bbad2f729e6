"""Recipes: steps compared with formulas, and rejection of invalid values."""

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
