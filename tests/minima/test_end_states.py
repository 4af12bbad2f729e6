"""States of the ends of descents, censuses by setting, and decay that the optimizer adds."""

import warnings
from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import xarray as xr
from jax._src import monitoring
from jax.flatten_util import ravel_pytree

import gdjax as gd
from gdjax.base.errors import InputError
from gdjax.curvature.stability_limits import relative_stability
from gdjax.minima import census_table, count_kinds, count_minima
from gdjax.minima.end_states import EndState, end_states
from gdjax.minima.optimizer_decay import optimizer_decay

KEY = jax.random.key(0)


def tanh_network():
    """Return a regression of eight random points with three neurons, which has several minima."""
    rng = np.random.default_rng(3)
    data = rng.normal(size=(8, 2)).astype(np.float32), rng.normal(size=(8, 1)).astype(np.float32)
    network = gd.problems.Network((2, 3, 1), "tanh", "identity", bias_scale=1.0)
    return gd.problems.decayed(network, data, 0.003, biases=True)


@pytest.fixture(scope="module")
def network_runs():
    grid = gd.axes(learning_rate=[0.1], seed=range(32))
    options = {"make_optimizer": lambda learning_rate: optax.sgd(learning_rate, momentum=0.9)}
    return gd.sweep(tanh_network(), grid, 8000, record_every=8000, **options)


@partial(jax.jit, static_argnums=0)
def last_distance(cost, w, noise, rate, data):
    """Return the distance from w after a descent from near it, relative to that at its start."""

    def step(_, u):
        gradient = jax.grad(cost)(u, *data)
        return jax.tree.map(lambda leaf, g: leaf - rate * g, u, gradient)

    end = jax.lax.fori_loop(0, 4000, step, jax.tree.map(jnp.add, w, noise))
    return optax.tree.norm(optax.tree.sub(end, w)) / optax.tree.norm(noise)


def lengthening(problem, census, rate):
    """Return `last_distance` of each minimum of a census; infinite if the descent diverges."""
    points, result = gd.params_of(census, jax.eval_shape(problem.init, KEY), {}), []
    with jax.enable_x64(True):
        data = () if problem.data is None else (jax.tree.map(jnp.asarray, problem.data),)
        for k in range(census.sizes["minimum"]):
            w = jax.tree.map(lambda leaf, k=k: jnp.asarray(leaf[k], float), points)
            noise = optax.tree.random_like(jax.random.key(k), w)
            noise = optax.tree.scale(1e-4 / optax.tree.norm(noise), noise)
            result.append(float(last_distance(problem.cost, w, noise, rate, data)))
    return np.nan_to_num(result, nan=np.inf)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:count_minima")  # starts are no ends
def test_descents_leave_exactly_the_minima_that_cannot_be_held(network_runs):
    """At more than 30 rates and minima of three problems, descents from nearby tell the state."""
    functions = {name: gd.problems.from_function(name) for name in ("himmelblau", "six_hump_camel")}
    starts = {
        name: jax.vmap(problem.init)(jax.random.split(KEY, 40))
        for name, problem in functions.items()
    }
    network = tanh_network()
    starts["network"] = gd.params_of(
        network_runs, jax.eval_shape(network.init, KEY), {"learning_rate": 0.1}
    )
    counted = 0
    for name, problem in {**functions, "network": network}.items():
        known = count_minima(problem, starts[name], key=KEY)
        curvatures = np.sort(known["sharpness"].values)
        bounds = np.concatenate([curvatures[:1] / 2, curvatures, curvatures[-1:] * 2])
        gaps = [(a, b) for a, b in pairwise(bounds) if b > 1.03 * a]
        for low, high in gaps:
            rate = 2 / (low * high) ** 0.5
            census = count_minima(problem, starts[name], key=KEY, learning_rate=rate)
            np.testing.assert_allclose(census["stability"], rate * census["largest"] / 2, rtol=1e-6)
            leaves = lengthening(problem, census, rate) > 2
            unstable = census["minimum_state"].values == EndState.CANNOT_HOLD
            np.testing.assert_array_equal(leaves, unstable, err_msg=f"{name} at {rate}")
            counted += len(leaves)
    assert counted >= 30


@pytest.mark.long
def test_another_polisher_gives_the_reached_ends_equal_counts(network_runs):
    """Ends that were reached are moved by BFGS to the minima of the census, in equal numbers."""
    from scipy.optimize import minimize

    problem = tanh_network()
    census = count_minima(
        problem, network_runs, make_optimizer=lambda learning_rate: optax.sgd(learning_rate, 0.9)
    )
    reached = np.flatnonzero(census["state"].values == EndState.REACHED)
    ends = gd.params_of(network_runs, jax.eval_shape(problem.init, KEY), {"learning_rate": 0.1})
    counts = np.zeros(census.sizes["minimum"], int)
    with jax.enable_x64(True):
        one = jax.tree.map(lambda leaf: jnp.asarray(leaf[0], float), ends)
        unravel = ravel_pytree(one)[1]
        both = jax.jit(jax.value_and_grad(lambda w: problem.cost(unravel(w), problem.data)))
        for run in reached:
            w = ravel_pytree(jax.tree.map(lambda leaf, run=run: leaf[run], ends))[0]
            options = {"gtol": 1e-9, "maxiter": 2000}
            end = minimize(both, np.asarray(w, float), jac=True, method="BFGS", options=options)
            difference = np.abs(census["minimum_cost"].values - end.fun)
            counts[np.argmin(difference)] += difference.min() < 1e-9
    assert np.min(np.diff(census["minimum_cost"].values)) > 1e-7
    assert counts.tolist() == census["reached"].values.tolist()
    assert len(reached) >= 16
    assert np.sum(counts > 0) >= 3


def test_shares_of_basins_are_those_of_the_ends_that_were_reached():
    """At a rate of 0.12, only the minimum of curvature 13.8 of the two is stable."""
    problem = gd.problems.from_function("quartic")
    runs = gd.sweep(problem, gd.axes(learning_rate=[0.05, 0.12], seed=range(16)), 500)
    with pytest.warns(
        UserWarning, match=r"cannot hold, with a sharpness up to 1.08 .* 0.111 helps"
    ):
        census = count_minima(problem, runs, {"learning_rate": 0.12})
    assert census["minimum_state"].values.tolist() == [EndState.CANNOT_HOLD, EndState.REACHED]
    np.testing.assert_allclose(census["share"], [0, census["count"][1] / 16])
    assert census["cannot_hold"].values.tolist() == [16 - int(census["count"][1]), 0]
    census = count_minima(problem, runs, {"learning_rate": 0.05})
    assert census["state"].values.tolist() == [EndState.REACHED] * 16
    assert float(census["share"].sum()) == pytest.approx(1)


def test_states_need_a_small_gradient_a_short_move_and_a_stable_minimum():
    states = end_states(
        np.array([True, True, True, True, True, False]),
        np.array([1e-6, 1e-2, 1e-6, 1e-6, 1e-6, 1e-6]),
        np.array([0.01, 0.01, 0.5, 0.01, 0.01, 0.01]),
        np.array([0.5, 0.5, 0.5, 1.1, np.nan, 2.0]),
    )
    names = "REACHED NEAR NEAR CANNOT_HOLD REACHED NO_MINIMUM"
    assert [EndState(s).name for s in states] == names.split()
    heavy = relative_stability(optax.sgd, {"learning_rate": 0.1, "momentum": 0.5}, np.array(60.0))
    assert float(heavy) == pytest.approx(2)  # the limit is (2 + 2 momentum) / rate
    assert np.isnan(relative_stability(optax.adam, {"learning_rate": 0.1}, np.array(60.0)))


def sums_of_wells(counted=None):
    """Return (x^2 - 1)^2 + y^2 + decay (x^2 + y^2), with minima at x^2 = 1 - decay / 2."""

    def cost(w, *, decay=0.0):
        if counted is not None:
            counted.append(1)
        return (w[0] ** 2 - 1) ** 2 + w[1] ** 2 + decay * jnp.sum(w**2)

    return gd.Problem(init=lambda key: jax.random.normal(key, (2,)), cost=cost)


def test_minima_are_counted_for_each_setting_by_one_program():
    counted, decays = [], [0.0, 0.1, 0.4, 3.0]
    problem = sums_of_wells(counted)
    runs = gd.sweep(problem, gd.axes(learning_rate=[0.05], decay=decays, seed=range(12)), 600)
    with pytest.raises(InputError, match=r"the cost differs .* by='decay', or choose one"):
        count_minima(problem, runs)
    with pytest.raises(InputError, match="by = 'rate', expected one or more axes"):
        count_minima(problem, runs, by="rate")
    compiled = []

    def note(event, *_, **__):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(note)
    try:
        one = count_minima(problem, runs, {"decay": 0.1})
        before = len(compiled)
        census = count_minima(problem, runs, by="decay")
    finally:
        monitoring.unregister_event_duration_listener(note)
    assert len(compiled) - before <= before / 4
    assert census["minima"].values.tolist() == [2, 2, 2, 1]
    assert census["minima_reached"].values.tolist() == [2, 2, 2, 1]
    for k, decay in enumerate(decays[:3]):
        x2 = 1 - decay / 2
        at = census.isel(decay=k)
        expected = (x2 - 1) ** 2 + decay * x2
        np.testing.assert_allclose(at["minimum_cost"], expected, atol=1e-9)
        np.testing.assert_allclose(at["barrier_median"], 1 - expected, rtol=1e-6)
        np.testing.assert_allclose(at["sharpness"], max(12 * x2 - 4 + 2 * decay, 2 + 2 * decay))
        assert float(at["share"].sum()) == pytest.approx(1)
    assert np.isnan(census["minimum_cost"][3, 1])
    for name in ("sharpness", "share", "reached", "minimum_state"):
        np.testing.assert_array_equal(census[name][1], one[name])
    rows = census_table(census).splitlines()
    assert rows[0].split()[:4] == ["decay", "minima", "reached", "near"]
    assert rows[4].split()[:4] == ["3.0", "1", "1", "0"]


def decaying(factory):
    return lambda learning_rate: optax.chain(optax.add_decayed_weights(0.2), factory(learning_rate))


def test_minima_of_descents_with_decay_of_the_optimizer_are_those_of_the_cost_they_minimize():
    """With decay d of the optimizer, x^2 = 1 - d / 4, as with a term d |w|^2 / 2 in the cost."""
    problem, make = sums_of_wells(), decaying(optax.sgd)
    grid = gd.axes(learning_rate=[0.05], seed=range(8))
    runs = gd.sweep(problem, grid, 600, make_optimizer=make)
    with pytest.warns(UserWarning, match=r"adds weight decay 0.2 .* cost \+ 0.1 \|params\|\^2"):
        census = count_minima(problem, runs, make_optimizer=make)
    np.testing.assert_allclose(np.abs(census["params"].values[:, 0]), np.sqrt(0.95), rtol=1e-6)
    assert set(census["state"].values) == {EndState.REACHED}
    with pytest.warns(
        UserWarning, match=r"is -0.2 times .*, as if the optimizer added weight decay"
    ):
        count_minima(problem, runs)
    decayed = gd.sweep(problem, grid, 400, make_optimizer=optax.adamw)
    with pytest.raises(InputError, match="adds weight decay that the cost lacks, and no cost"):
        count_minima(problem, decayed)
    plain = gd.sweep(problem, grid, 600)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert count_minima(problem, plain).sizes["minimum"] == 2


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (optax.sgd, [0, 0]),
        (decaying(optax.sgd), [0.2, 0.2]),
        (decaying(lambda rate: optax.sgd(rate, momentum=0.9, nesterov=True)), [0.2, 0.2]),
        (decaying(optax.adam), [0.2, 0.2]),
        (
            lambda learning_rate: optax.chain(
                optax.masked(optax.add_decayed_weights(0.3), {"b": False, "w": True}),
                optax.sgd(learning_rate),
            ),
            [0, 0.3],
        ),
        (  # decay that is added after the momentum, whose sum of gradients is ten gradients
            lambda learning_rate: optax.chain(
                optax.trace(0.9), optax.add_decayed_weights(0.5), optax.scale(-learning_rate)
            ),
            [0.05, 0.05],
        ),
        (optax.adamw, None),
        (optax.lion, None),
    ],
)
def test_the_decay_that_an_optimizer_adds_is_found(make, expected):
    decay = optimizer_decay(make, {"learning_rate": 0.1}, {"w": jnp.ones(3), "b": jnp.ones(2)})
    assert decay == (expected and pytest.approx(expected, rel=1e-6, abs=1e-12))


def test_kinds_that_occur_in_a_census_are_counted():
    census = xr.Dataset({"kind": ("run", [2, 2, 4])})
    assert count_kinds(census) == {"strict minimum": 2, "saddle": 1}
