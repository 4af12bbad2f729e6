"""Validation of problems before any computation."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gdjax as gd
from gdjax.base.errors import InputError
from gdjax.problems import bowl, digits, few_digits, from_function
from gdjax.problems.evaluation import KEYS, evaluate, frozen
from gdjax.problems.facts import check_problem
from gdjax.problems.keywords import declared
from gdjax.problems.problem import as_problem
from gdjax.sweeps.factories import problem_from

X = jnp.linspace(-1.0, 1.0, 20)
W = jnp.array([0.5, -2.0])


def problem(cost, data=None, **fields):
    return gd.Problem(init=lambda key: W, cost=cost, data=data, **fields)


def parabola(w, x):
    return jnp.mean((w[0] * x + w[1]) ** 2)


def test_samples_are_the_rows_of_every_array():
    assert problem(parabola, X).samples == 20
    assert problem(parabola, {"a": np.zeros((7, 3)), "b": [np.zeros(7, int)]}).samples == 7
    assert problem(jnp.sum).samples == 0


def test_declared_arguments_are_those_that_can_be_passed_by_name():
    def cost(w, batch, scale=2.0, *, key, temperature=1.0, decay=0):
        return w

    assert declared(cost) == {"scale": 2.0, "temperature": 1.0, "decay": 0}
    assert declared(lambda w, batch, /, scale=2.0, step=1: w) == {"scale": 2.0}
    assert declared(dict) == {}  # `dict` has no signature


# -- check: valid costs


@pytest.mark.parametrize(
    ("cost", "data"),
    [
        *((parabola, X[:samples]) for samples in (1, 2, 3, 12, 20)),
        (lambda w: jnp.sum(w**2), None),
        # Weight decay is equal for all microbatches.
        (lambda w, x: parabola(w, x) + 0.1 * jnp.sum(w**2), X),
        (lambda w, x: parabola(w, x) * jnp.nan, X),  # NaN is an outcome, not an error
        (lambda w, x: jnp.mean(x) * w[0], X),  # the means are about 0 by cancellation
        (lambda w, x: jnp.average((w[0] - x["x"]) ** 2), {"x": X, "unused": X > 0}),
    ],
)
def test_a_valid_cost_is_accepted(cost, data):
    check_problem(problem(cost, data), W)


def test_rounding_in_half_precision_is_not_mistaken_for_a_sum():
    for dtype in (jnp.bfloat16, jnp.float16):
        for seed in range(5):
            x = jax.random.normal(jax.random.key(seed), (12,)).astype(dtype)
            check_problem(problem(parabola, x), W.astype(dtype))


def test_a_problem_can_be_checked_with_shapes_instead_of_parameters():
    shapes = jax.eval_shape(lambda: {"w": W, "deep": [W, (W,)]})
    check_problem(problem(lambda p: jnp.sum(p["w"]) + jnp.sum(p["deep"][1][0])), shapes)


def test_settings_are_passed_to_the_cost():
    def cost(w, x, *, power=2):
        return jnp.mean(jnp.abs(w[0] - x) ** power) if power < 3 else jnp.sum(x)

    check_problem(problem(cost, X), W)
    with pytest.raises(InputError, match="over samples instead of"):
        check_problem(problem(cost, X), W, {"power": 3})


def test_the_check_of_the_mean_compiles_one_program(compilations):
    x = np.linspace(-1, 1, 20, dtype=np.float32)[:, None]
    cost = lambda w, x: jnp.mean(jnp.sum(jnp.tanh(x * w[None]) ** 2, axis=1))  # noqa: E731
    problem = gd.Problem(init=lambda key: jnp.ones(3), cost=cost, data=x)
    check_problem(problem, np.ones(3, np.float32))
    assert len(compilations) == 1


# -- a Problem is a pytree with its data as the only leaf


def test_jitted_functions_of_a_problem_have_no_data_as_constants():
    big = problem(parabola, jnp.ones(100_000))
    assert jax.tree.leaves(big) == [big.data]
    traces = []

    @jax.jit
    def at(problem, w):
        traces.append(problem)
        return evaluate(problem, w)

    assert len(at.lower(big, W).as_text()) < 20_000
    assert float(at(big, W)) == pytest.approx(float(parabola(W, 1.0)), rel=1e-6)
    other = dataclasses.replace(big, data=jnp.zeros(100_000))  # the same functions with other data
    assert float(at(other, W)) == pytest.approx(4.0, rel=1e-6)
    assert len(traces) == 1
    at(dataclasses.replace(big, baseline=1.0), W)  # another problem
    assert len(traces) == 2


def test_a_cost_function_is_converted_to_a_problem_once():
    created = as_problem(parabola, X)
    assert created.samples == 20
    assert jax.tree.structure(created) == jax.tree.structure(as_problem(parabola, X + 1))
    assert as_problem(created) is created
    assert as_problem(created, X[:5]).samples == 5


# -- provenance

REBUILT = {
    "bowl": (lambda: bowl(np.array([1, 10]), minimum=(3, 4)), {"minimum": [3, 4]}),
    "himmelblau": (lambda: from_function("himmelblau"), {"problem": "from_function"}),
    "beale": (lambda: from_function("beale", ((2, 4), (0, 1))), {"domain": [[2, 4], [0, 1]]}),
    "quartic": (lambda: from_function("quartic", (1, 2)), {"domain": [[1, 2]]}),
    "pairs": (lambda: from_function("quartic", ((1, 2),)), {"domain": [[1, 2]]}),
    "digits": (lambda: digits(widths=(8,), activation="tanh", samples=30), {"samples": 30}),
    "few digits": (lambda: few_digits(samples=20, first=50, widths=(2,)), {"first": 50}),
}


@pytest.mark.parametrize(("make", "fields"), REBUILT.values(), ids=REBUILT)
def test_a_problem_is_rebuilt_from_its_provenance(make, fields):
    problem = make()
    assert problem.provenance.items() >= fields.items()
    again = problem_from(problem.provenance, "here")

    def values(problem):
        params = problem.init(jax.random.key(3))
        return jax.tree.leaves((params, problem.data, evaluate(problem, params)))

    for one, other in zip(values(problem), values(again), strict=True):
        np.testing.assert_array_equal(one, other)


# -- the deterministic cost


LEVEL = np.zeros(2)


def noisy(w, x, *, key, scale=1.0, tilt=LEVEL):
    return parabola(w, x) + scale * jax.random.normal(key) + jnp.sum(tilt) * w[0]


def test_the_deterministic_cost_of_a_random_cost_is_its_mean_over_fixed_keys():
    keys = jax.random.split(jax.random.key(0), KEYS)
    expected = np.mean([noisy(W, X, key=key, scale=2.0) for key in keys])
    created = problem(noisy, X)
    assert float(evaluate(frozen(created, scale=2.0), W)) == pytest.approx(expected, rel=1e-5)
    check_problem(created, W)  # it need not be a mean over samples


def moving(w, x, *, model_state, step):
    return (w[0] - model_state) ** 2 + step + 0 * jnp.mean(x), 0.5 * model_state + 0.5 * jnp.mean(x)


def test_the_deterministic_cost_of_a_cost_with_model_state_needs_a_frozen_state():
    created = gd.Problem(init=lambda key: (W, jnp.zeros(())), cost=moving, data=X)
    params, state = created.begin(jax.random.key(0))
    check_problem(created, params)
    assert float(evaluate(frozen(created, model_state=state, step=3), params)) == 3.25
    still = frozen(created, model_state=jnp.ones(()), step=0)
    assert still.init(jax.random.key(0)) is W
    assert float(evaluate(still, params)) == 0.25
    assert not still.stateful
