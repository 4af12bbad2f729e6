"""Lines that errors name."""

import jax.numpy as jnp
import pytest

import gdjax as gd
from gdjax import errors


def test_an_error_of_a_user_function_names_its_line_or_its_definition():
    def scale(w):
        return {"a": 1.0}["b"] * w

    def cost(w, batch):
        return jnp.sum(scale(w))

    def check(data):
        problem = gd.Problem(init=lambda key: jnp.ones(2), cost=cost, data=data)
        gd.problems.check_problem(problem, jnp.ones(2))

    inner, outer = (function.__code__.co_firstlineno for function in (scale, cost))
    with pytest.raises(errors.InputError, match=rf"'b' \(.*, line {inner + 1}, in scale\)"):
        check(jnp.ones(3))
    with pytest.raises(errors.InputError, match=rf"\(cost is defined in .*, line {outer}\)"):
        check(None)
