"""What results say of themselves: names, shapes and a few numbers, never all of them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gdjax.curvature.eigenpairs import extreme_eigenpairs
from gdjax.descent import descend
from gdjax.problems import Network, Problem, digits
from gdjax.summaries import fields, short


def test_a_problem_says_what_it_is_without_its_data():
    told = repr(digits("mnist5k"))
    assert len(told) < 250
    for part in ("digits", "mnist5k", "4,000 samples", "784-16-16-10", "test_accuracy", "0.9"):
        assert part in told
    own = Problem(init=lambda key: jnp.ones(2), cost=optax.squared_error)
    assert repr(own) == "Problem(cost=squared_error)"


def test_a_descent_says_how_it_ended():
    bowl = Problem(init=lambda key: jnp.ones(2), cost=lambda w: jnp.sum(w["a"] ** 2))
    run = descend(bowl, optax.sgd(0.25), {"a": jnp.ones(2)}, 3, key=jax.random.key(0))
    assert repr(run) == (
        "Descent(3 steps, not_converged; cost 2 to 0.03125; params: {a: [0.125, 0.125]})"
    )


def test_results_are_a_line_a_field():
    pairs = extreme_eigenpairs(lambda w: w @ w, jnp.ones(3), key=jax.random.key(0), largest=2)
    lines = repr(pairs).splitlines()
    assert lines[0] == "Eigenpairs("
    assert lines[1] == "    values = [2, 2]"
    assert len(lines) == len(pairs) + 2
    assert max(map(len, lines)) < 100


def test_numbers_that_are_not_there_are_told():
    assert short(np.array([[1.0, np.nan, np.inf]])) == "float64[1, 3], all 1, 2 not finite"
    assert short(np.full((2, 3), np.nan)) == "float64[2, 3], none finite"
    assert short(np.zeros((0, 3))) == "float64[0, 3]"


def test_traced_values_and_keys_are_told_by_their_shapes():
    seen = []
    jax.jit(lambda x: seen.append(short(x)) or x)(jnp.ones((2, 3)))
    assert seen == ["float32[2, 3]"]
    assert short(jax.random.key(0)) == "key<fry>[]"


def test_a_network_is_its_size_and_a_function_its_name():
    params = Network((784, 16, 16, 10)).init(jax.random.key(0))
    assert short(params) == "13,002 numbers in 6 arrays"
    assert short(fields) == "fields"
    assert len(short("a" * 1000)) <= 60
