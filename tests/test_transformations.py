"""Public functions in `jit`, `vmap`, `grad` and `scan`: the table of docs/how_to/own_loop.md."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax as gd

PAGE = Path(__file__).parents[1] / "docs" / "how_to" / "own_loop.md"
KEY = jax.random.key(0)
W = jnp.array([0.3, 0.2, -0.1])
PROBLEM = gd.Problem(
    init=lambda key: jax.random.normal(key, (3,)),
    cost=lambda w, batch: jnp.mean((jnp.tanh(batch @ w) - 1) ** 2) + 0.01 * w @ w,
    data=jax.random.normal(KEY, (8, 3)),
)


def step(w):
    state = gd.descent.init(optax.sgd(0.1), w)
    return gd.descent.step(PROBLEM.cost, optax.sgd(0.1), state, PROBLEM.data)[1].cost


FUNCTIONS = {
    "gd.problems.evaluate": lambda w: gd.problems.evaluate(PROBLEM, w),
    "gd.descent.step": step,
    "gd.curvature.gradient_summary": lambda w: gd.curvature.gradient_summary(PROBLEM, w).norm,
    "gd.curvature.HessianOperator": lambda w: gd.curvature.HessianOperator(PROBLEM, w).mv(w),
    "gd.curvature.hessian_trace": lambda w: gd.curvature.hessian_trace(PROBLEM, w, key=KEY).value,
    "gd.curvature.polish": lambda w: gd.curvature.polish(PROBLEM, w),
    "gd.dynamics.gradient_flow": lambda w: (
        gd.dynamics.gradient_flow(PROBLEM, w, times=jnp.array([0.0, 1.0])).cost
    ),
    "gd.dynamics.central_flow": lambda w: gd.dynamics.central_flow(PROBLEM, w, 0.1, 1.0),
    "gd.minima.path_cost": lambda w: gd.minima.path_cost(
        PROBLEM, gd.minima.linear_path(w, w + 1), points=3
    ),
    "gd.descend": lambda w: gd.descend(PROBLEM, optax.sgd(0.1), w, 2, key=KEY).cost,
}
TRANSFORMATIONS = {
    "jit": lambda f: jax.jit(f)(W),
    "vmap": lambda f: jax.vmap(f)(jnp.stack([W, 2 * W])),
    "grad": lambda f: jax.grad(lambda w: total(f(w)))(W),
    "scan": lambda f: jax.lax.scan(lambda carry, w: (carry, f(w)), 0, jnp.stack([W, 2 * W])),
}


def total(result):
    leaves = jax.tree.leaves(result)
    return sum(jnp.sum(a) for a in leaves if jnp.issubdtype(a.dtype, jnp.floating))


def table():
    rows = re.findall(r"^\| `([\w.]+)` \| (.*) \|$", PAGE.read_text("utf8"), re.M)
    return {
        name: dict(zip(TRANSFORMATIONS, cells.split(" | "), strict=True)) for name, cells in rows
    }


def test_the_page_has_a_row_for_each_function():
    assert list(table()) == list(FUNCTIONS)


@pytest.mark.long
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_table_says_what_composes(name):
    plain = FUNCTIONS[name](W)
    for how, transform in TRANSFORMATIONS.items():
        if table()[name][how] == "yes":
            result = transform(FUNCTIONS[name])
            if how == "jit":
                pairs = zip(jax.tree.leaves(plain), jax.tree.leaves(result), strict=True)
                for one, other in pairs:
                    np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)
        else:
            with pytest.raises((gd.errors.InputError, ValueError, TypeError)):
                transform(FUNCTIONS[name])
