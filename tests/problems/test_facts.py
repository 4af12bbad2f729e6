"""Compiled programs are reused only if a fresh trace of the user's functions is the same.

Each case changes what a known function reads. Afterwards every verb must compute what an eager
call of the function computes. Bodies of JAX's own transformations that are defined once keep their
first trace in eager calls, too ("as JAX").
"""

import dataclasses
import math
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.interpolate import CubicSpline

import gdjax as gd
from gdjax.curvature.gradient_summary import value_and_gradient
from gdjax.problems.metrics import described
from gdjax.problems.trace import dependent_by_result, trace
from gdjax.sweeps.binding import with_settings

RATE, STEPS, SCALE = 0.1, 3, 1.0


def init(key):
    return jnp.ones(2)


def final_cost(scale, rate=RATE):
    """Return the cost scale |w|^2 after descent from (1, 1)."""
    return scale * 2 * (1 - 2 * rate * scale) ** (2 * STEPS)


def of_global():
    return lambda w: SCALE * jnp.sum(w**2), lambda: globals().update(SCALE=2.0)


def of_holder(make, read, write):
    holder = make()
    return lambda w: jnp.sum(read(holder) * w**2), lambda: write(holder)


def of_partial():
    def cost(holder, w):
        return holder["s"] * jnp.sum(w**2)

    holder = {"s": 1.0}
    return partial(cost, holder), lambda: holder.update(s=2.0)


def of_callable():
    class Cost:
        scale = 1.0

        def __call__(self, w):
            return self.scale * jnp.sum(w**2)

    cost = Cost()
    return cost, lambda: setattr(cost, "scale", 2.0)


HOLDERS = {
    "list": (lambda: [1.0], lambda h: h[0], lambda h: h.__setitem__(0, 2.0)),
    "numpy": (lambda: np.ones(2, np.float32), lambda h: h, lambda h: h.fill(2.0)),
    "jax": (lambda: [jnp.ones(2)], lambda h: h[0], lambda h: h.__setitem__(0, jnp.full(2, 2.0))),
}
CHANGES = {
    function.__name__.removeprefix("of_"): function
    for function in (of_global, of_partial, of_callable)
} | {name: partial(of_holder, *functions) for name, functions in HOLDERS.items()}


def of_jax(transformed):
    """Return a cost through a transformation of JAX of a function that is defined once."""
    holder = [1.0]
    apply = transformed(lambda w: holder[0] * w**2)
    return lambda w: jnp.sum(apply(w)), lambda: holder.__setitem__(0, 2.0)


def scanned(f):
    def body(w, _):
        return f(w), None

    return lambda w: jax.lax.scan(body, w, None, length=1)[0]


AS_JAX = {"jit": jax.jit, "scan": scanned}


def swept(cost):
    problem = gd.Problem(init=init, cost=cost)
    runs = gd.sweep(problem, gd.axes(learning_rate=[RATE]), STEPS)
    return float(runs.cost[0, -1])


def descended(cost):
    key = jax.random.key(0)
    return float(gd.descend(cost, optax.sgd(RATE), jnp.ones(2), STEPS, key=key).cost[-1])


def halved(cost):
    problem, axes = gd.Problem(init=init, cost=cost), gd.axes(learning_rate=[RATE])
    sweep = gd.Sweep(problem, axes, STEPS)
    runs = gd.search.successive_halving(sweep, rungs=(1,), reduction_factor=None)
    return float(runs.cost[0, -1])


VERBS = {"sweep": swept, "descend": descended, "halving": halved}


EACH = [(change, "descend") for change in CHANGES] + [("list", "sweep"), ("list", "halving")]


@pytest.mark.parametrize(("change", "verb"), EACH)
def test_a_change_of_what_a_cost_reads_is_seen(change, verb):
    globals().update(SCALE=1.0)
    cost, make_change = CHANGES[change]()
    np.testing.assert_allclose(VERBS[verb](cost), final_cost(1.0), rtol=1e-5)
    make_change()
    assert float(cost(jnp.ones(2))) == 4.0
    np.testing.assert_allclose(VERBS[verb](cost), final_cost(2.0), rtol=1e-5)


def of_equal_objects():
    class Cost:
        scale = 1.0
        __hash__ = object.__hash__

        def __eq__(self, other):
            return True

        def __call__(self, w):
            return self.scale * jnp.sum(jnp.cosh(w))

    earlier = Cost()
    return earlier, Cost(), lambda: setattr(earlier, "scale", 2.0)


def of_fewer_arguments():
    def cost(*scales_and_w):
        *scales, w = scales_and_w
        return math.prod(scale[0] for scale in scales) * jnp.sum(jnp.sinh(w))

    scale, other = [1.0], [1.0]
    return partial(cost, scale, other), partial(cost, scale), lambda: other.__setitem__(0, 2.0)


@pytest.mark.parametrize("costs", [of_equal_objects, of_fewer_arguments])
def test_an_earlier_cost_that_has_changed_since_is_not_used(costs):
    """No other test has a cost of these traces, so that it is the earlier one."""
    earlier, cost, make_change = costs()
    at = jnp.ones(2)
    trace(earlier, (at,))
    make_change()
    assert trace(cost, (at,)).function(at) == cost(at) != earlier(at)


@pytest.mark.parametrize("transformation", AS_JAX)
def test_bodies_of_jax_s_transformations_are_as_in_an_eager_call(transformation):
    cost, make_change = of_jax(AS_JAX[transformation])
    swept(cost)
    make_change()
    eager = float(jax.jit(partial(cost))(jnp.ones(2))) / 2
    np.testing.assert_allclose(swept(cost), final_cost(eager), rtol=1e-5)


def test_a_derivative_rule_that_the_cost_does_not_show_is_compared():
    """The rule is the user's, also where the function is that of JAX."""
    factor, square = [1.0], jax.custom_vjp(jnp.square)
    square.defvjp(lambda w: (w**2, w), lambda w, g: (2 * factor[0] * w * g,))
    for factor[0] in (1.0, 2.0):
        cost = swept(lambda w: jnp.sum(square(w)))
        np.testing.assert_allclose(cost, final_cost(1.0, factor[0] * RATE), rtol=1e-5)


def with_rule(function, factor):
    """Return a function whose derivative is multiplied by `factor(x)`."""
    made = jax.custom_jvp(function)
    made.defjvp(lambda w, t: (function(*w), jax.jvp(function, w, t)[1] * factor(*w)))
    return made


def test_a_rule_within_a_rule_is_compared():
    """Only second derivatives show the rule of the factor."""
    scale, key, w = [1.0], jax.random.key(0), jnp.ones(2)

    def cost(w):
        factor = with_rule(jnp.cos, lambda x: scale[0])
        return jnp.sum(with_rule(jnp.sin, factor)(w))

    for scale[0] in (1.0, 3.0):
        expected = jax.hessian(partial(cost))(w)[0, 0]
        pairs = gd.curvature.extreme_eigenpairs(cost, w, key=key)
        np.testing.assert_allclose(pairs.values, expected, rtol=1e-5)
        trace = gd.curvature.hessian_trace(cost, w, key=key)
        np.testing.assert_allclose(trace.value, 2 * expected, rtol=1e-5)


def test_a_rule_that_calls_its_own_function_is_reused():
    def square(x):
        return x**2

    made = jax.custom_jvp(square)
    made.defjvp(lambda w, t: (made(*w), 2 * w[0] * t[0]))
    first, second = (trace(lambda w: jnp.sum(made(w)), (jnp.ones(2),)) for _ in range(2))
    assert first.function == second.function
    assert not first.nested_rules


DRAWS = {
    "sweep": swept,
    "descend": descended,
    "curvature": lambda cost: value_and_gradient(cost, jnp.ones(2)),
    "landscape": lambda cost: gd.landscape.line(cost, jnp.ones(2), jnp.ones(2), [0.0, 1.0]),
}


@pytest.mark.parametrize("verb", DRAWS)
def test_random_numbers_of_numpy_are_refused_by_every_verb(verb):
    random = np.random.default_rng(0)
    with pytest.raises(gd.errors.InputError, match=r"cost: tracing it twice .* in mul \(test_fa"):
        DRAWS[verb](lambda w: jnp.sum((w * random.normal()) ** 2))


class Scaled:
    """A function of the host, with a comparison that ignores what it computes with."""

    __hash__ = object.__hash__

    def __init__(self, scale):
        self.scale = scale

    def __eq__(self, other):
        return True

    def __call__(self, w):
        return np.float32(self.scale * w)


def of_host(function):
    return lambda w: jax.pure_callback(function, jax.ShapeDtypeStruct((), w.dtype), w)


def local(scale):
    return lambda w: np.float32(scale * w)


@pytest.mark.parametrize("host", [Scaled, local, lambda scale: partial(np.multiply, scale)])
def test_functions_of_the_host_are_compared_by_what_they_compute(host):
    like = jnp.ones(())
    one, same, other = (trace(of_host(host(s)), (like,)).function for s in (1.0, 1.0, 2.0))
    assert one == same
    assert other != one


def noisy(w):
    jax.debug.print("{}", w)
    return w**2


@pytest.mark.parametrize(
    ("cost", "calls_host"),
    [
        (of_host(np.sin), False),
        (lambda w: eqx.error_if(w, w > 9, "large"), False),
        (noisy, False),
        (of_host(local(2.0)), True),
        (of_host(Scaled(2.0)), True),
        (of_host(partial(np.multiply, 2)), True),
        (of_host(np.float32(2.0).__mul__), True),
        (of_host(CubicSpline([0.0, 1.0], [0.0, 2.0])), True),
    ],
)
def test_functions_of_known_packages_that_hold_no_numbers_are_known(cost, calls_host):
    assert trace(cost, (jnp.ones(()),)).has_callback == calls_host


@pytest.mark.parametrize("ordered", [False, True])
def test_only_steps_of_runs_print(capfd, ordered):
    """A descent of two steps prints at its three points; checks and runs that fill slabs do not."""

    def cost(w, x):
        jax.debug.print("at {}", w, ordered=ordered)
        return jnp.mean((w - x) ** 2)

    problem = gd.Problem(lambda key: jnp.float32(7), cost, data=jnp.arange(12.0))
    gd.descend(problem, optax.sgd(RATE), problem.init(None), 2, key=jax.random.key(0))
    if not ordered:  # JAX cannot map ordered prints over runs
        gd.sweep(problem, gd.axes(learning_rate=[RATE, 2 * RATE]), 2)
    jax.effects_barrier()
    assert capfd.readouterr().out.count("at ") == (3 if ordered else 9)


def test_an_object_that_cannot_be_compared_is_computed_anew():
    iterators = iter([1]), iter([1])
    one, other = (
        trace(of_host(lambda w, i=i: np.float32(w)), (jnp.ones(()),)).function for i in iterators
    )
    assert one != other


def test_a_product_calls_the_function_of_its_own_user(compilations):
    """Two operators of equal traces share programs; a later change of one is not in the other."""
    scales, w, key = ([1.0], [1.0]), jnp.ones(2), jax.random.key(0)
    costs = [lambda w, s=s: s[0] * jnp.sum(w**2 + w**4) for s in scales]
    second = gd.curvature.HessianOperator(costs[1], w)
    gd.curvature.extreme_eigenpairs(costs[0], w, key=key)
    before = len(compilations)
    gd.curvature.extreme_eigenpairs(costs[1], w, key=key)
    assert len(compilations) == before
    scales[0][0] = 5.0
    np.testing.assert_allclose(second.mv(w), 14.0)


@pytest.mark.parametrize("size", [1000, 3])
def test_a_change_for_microbatches_of_one_size_only_is_seen(size):
    scale = [1.0]

    def cost(w, x):
        return (scale[0] if x.shape[0] == size else 1.0) * jnp.mean(x) * jnp.sum(w**2)

    problem = gd.Problem(init=init, cost=cost, data=np.ones(2003, np.float32))
    values = []
    for scale[0] in (1.0, 2.0):
        values.append(float(value_and_gradient(problem, jnp.ones(2))[0]))
    share = 2000 / 2003 if size == 1000 else 3 / 2003
    np.testing.assert_allclose(values, [2, 2 + 2 * share], rtol=1e-5)


def test_an_array_that_shares_memory_with_numpy_is_compared_by_its_bytes():
    memory = np.ones(64, np.float32)
    for shared in (jnp.from_dlpack(memory), jax.device_put(memory)):
        costs = []
        for memory[:] in (1.0, 2.0):
            problem = gd.Problem(init=init, cost=lambda w, a=shared: jnp.mean(a) * jnp.sum(w**2))
            runs = gd.sweep(problem, gd.axes(learning_rate=[RATE]), 0)
            costs.append((runs.cost.item(), 2 * float(np.asarray(shared).mean())))
        np.testing.assert_allclose(*np.transpose(costs), rtol=1e-6)


@pytest.mark.long
def test_a_census_and_a_hypergradient_see_a_change():
    goal, key = [1.0], jax.random.key(0)
    problem = gd.Problem(init, lambda w: jnp.sum((w - goal[0]) ** 2))
    for goal[0] in (1.0, 2.0):
        census = gd.minima.count_minima(problem, jnp.zeros((1, 2)), key=key)
        np.testing.assert_allclose(census.params[0], goal[0], rtol=1e-6)
        descent = (lambda learning_rate: optax.sgd(learning_rate / goal[0]), jnp.zeros(2), [0.5], 1)
        cost = gd.dynamics.hypergradient(problem, *descent, key=key, check=False).cost
        np.testing.assert_allclose(cost, 2 * (goal[0] - 1) ** 2, atol=1e-6)


def test_a_change_for_batches_of_one_size_only_is_seen():
    scale = [1.0]

    def cost(w, x):
        return (scale[0] if x.shape[0] == 2 else 1.0) * jnp.mean(x) * jnp.sum(w**2)

    problem = gd.Problem(init=init, cost=cost, data=jnp.ones(8))
    for scale[0] in (1.0, 2.0):
        runs = gd.sweep(problem, gd.axes(learning_rate=[RATE]), STEPS, batch_size=2)
        expected = final_cost(scale[0]) / scale[0]  # records use all samples
        np.testing.assert_allclose(runs.cost[0, -1], expected, rtol=1e-5)


def test_other_functions_of_a_sweep_are_compared():
    start, rate, unit, shift = [1.0], [RATE], [1.0], [0.0]
    problem = gd.Problem(
        init=lambda key: start[0] * jnp.ones(2),
        cost=lambda w: jnp.sum(w**2),
        evaluation=lambda w: unit[0] * jnp.sum(w**2),
        metrics={
            "size": gd.Metric(lambda _, w: unit[0] * jnp.sum(w)),
            "steps": described(init=lambda problem, w: shift[0])(
                lambda problem, w, count: (count, count + 1)
            ),
        },
    )

    def run():
        return gd.sweep(
            problem,
            gd.axes(seed=[0]),
            1,
            make_optimizer=lambda: optax.sgd(rate[0]),
            eval_params_fn=lambda state, w: w + shift[0],
        )

    def check(runs):
        w = start[0] * np.array([1, 1 - 2 * rate[0]]) + shift[0]
        np.testing.assert_allclose(runs.cost[0], unit[0] * 2 * w**2, rtol=1e-5)
        np.testing.assert_allclose(runs.size[0], unit[0] * 2 * w, rtol=1e-5)
        np.testing.assert_allclose(runs.steps[0], shift[0] + np.arange(2), rtol=1e-5)

    check(run())
    for holder, value in ((start, 3.0), (rate, 0.3), (unit, 2.0), (shift, 0.5)):
        holder[0] = value
        check(run())


def test_a_numeric_setting_of_jax_is_compared():
    problem = gd.Problem(lambda key: jax.random.normal(key, (4,)), lambda w: jnp.sum(w**2))

    def check():
        key = gd.run_keys(0, seed=3).init
        runs = gd.sweep(problem, gd.axes(learning_rate=[RATE], seed=[3]), 0)
        expected = float(jnp.sum(jax.random.normal(key, (4,)) ** 2))
        np.testing.assert_allclose(runs.cost.item(), expected, rtol=1e-6)
        return expected

    first = check()
    with jax.threefry_partitionable(not jax.config.jax_threefry_partitionable):
        assert check() != first


def test_point_functions_see_a_change():
    cost, make_change = CHANGES["list"]()
    w, key = jnp.ones(2), jax.random.key(0)

    def values():
        line = gd.landscape.line(cost, w, w, [0.0, 1.0]).cost[1]
        pairs = gd.curvature.extreme_eigenpairs(cost, w, key=key)
        barriers = gd.minima.pairwise_barriers(
            gd.Problem(init=init, cost=cost), jnp.array([[1.0, 0.0], [-1.0, 0.0]]), key=key
        )
        slope = value_and_gradient(cost, w)[1][0]
        return [float(line), float(np.max(pairs.values)), -float(barriers.cost.min()), float(slope)]

    before = values()
    make_change()
    np.testing.assert_allclose(values(), 2 * np.array(before), rtol=1e-5, atol=1e-6)


@pytest.mark.long
def test_a_census_sees_a_changed_prediction():
    used, data = [1.0], (np.ones((2, 1), np.float32), np.ones(2, np.float32))
    problem = gd.Problem(
        lambda key: jnp.ones(1), lambda w, batch: jnp.sum((w**2 - jnp.mean(batch[0])) ** 2),
        data=data, predict=lambda w, x: used[0] * x * w[None],
    )  # fmt: skip
    for used[0], functions in ((1.0, 2), (0.0, 1)):
        starts = jnp.array([[0.9], [-0.9]])
        census = gd.minima.count_minima(problem, starts, key=jax.random.key(0))
        assert int(census.functions) == functions


def test_the_settings_of_a_cost_are_those_of_its_loss():
    problem = gd.Problem(init, lambda w, *, a: a * w[0], loss=lambda output, target, *, a: a)
    assert with_settings(problem, {"a": 4.0}).loss(0.0, 0.0) == 4


def test_problems_with_different_costs_are_different():
    cost = partial(lambda w, *, a: a * jnp.sum(w**2), a=1.0)
    problems = [gd.Problem(init=init, cost=c) for c in (cost, partial(cost))]
    one, other = (jax.tree.structure(problem) for problem in problems)
    assert one != other
    assert one == jax.tree.structure(dataclasses.replace(problems[0]))


def test_what_a_called_function_computes_of_its_data_alone_does_not_depend_on_the_parameters():
    inner = jax.jit(lambda a, b: jnp.sum(a) + jnp.sum(jnp.sin(b)))
    traced = trace(lambda w, x: [inner(w, x)], (jnp.ones(2), jnp.ones(1000)))
    (equations,) = dependent_by_result(traced)
    assert sum(equation.nbytes for equation in equations) == 2 * 4  # a sum and an addition


@pytest.mark.parametrize(
    ("is_large", "nbytes"),
    [
        (lambda w, x: x[0] > 0, 2 * 3000 * 4 + 4 + 4),  # w x and its sine, a sum, the result
        (lambda w, x: w[0] > 0, 4 + 4 + 1 + 4 + 2 * 3000 * 4 + 4 + 4),  # also w[0] > 0, as index
    ],
)
def test_what_a_branch_computes_of_the_parameters_depends_on_them(is_large, nbytes):
    def cost(w, x):
        large = lambda w, x: jnp.sum(jnp.sin(w[0] * x))  # noqa: E731
        return [jax.lax.cond(is_large(w, x), large, lambda w, x: x[0], w, x)]

    (equations,) = dependent_by_result(trace(cost, (jnp.ones(1), jnp.ones(3000))))
    assert sum(equation.nbytes for equation in equations) == nbytes
