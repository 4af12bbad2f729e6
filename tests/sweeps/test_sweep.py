"""Sweeps compared with separate descents; outcomes; structure of the Dataset."""

import dataclasses
import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats
from small_problems import MOMENTUM, SAMPLES, cost, init, network, same_bits

from gdjax.base.keys import run_keys
from gdjax.descent.batches import Order
from gdjax.descent.schedules import WarmupCosine
from gdjax.problems.problem import Problem
from gdjax.sweeps import axes, sweep, zip_axes

BOWL = Problem(init=lambda key: jnp.ones(2), cost=lambda w: jnp.sum(w**2))
ROOT = 3
GRADIENT = jax.jit(jax.value_and_grad(cost))


def alone(optimizer, steps, *, seed=0, data_seed=0, scale=1.0, decay=0.0, batch_size=None):
    """Compute one run of a sweep with a Python loop, and record every step."""
    data = network().data
    keys = run_keys(ROOT, seed=seed, data_seed=data_seed)
    params = init(keys.init, scale=scale)
    state = optimizer.init(params)
    order = [slice(None)] * steps
    if batch_size is not None:
        order = Order((keys.order,), SAMPLES, batch_size).rows(0, steps)[0]
    costs, batch_costs, norms = [], [np.nan], []
    for step in range(steps + 1):
        value, gradient = GRADIENT(params, data, decay=decay)
        costs.append(value)
        norms.append(optax.tree.norm(gradient))
        if step < steps:
            batch = jax.tree.map(lambda a, rows=order[step]: a[rows], data)
            value, gradient = GRADIENT(params, batch, decay=decay)
            batch_costs.append(value)
            updates, state = optimizer.update(gradient, state, params)
            params = optax.apply_updates(params, updates)
    return SimpleNamespace(cost=costs, batch_cost=batch_costs, gradient_norm=norms, params=params)


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=2e-4, atol=1e-6)


# Comparison with separate descents


def rate_per_layer(first, second):
    labels = {"first": {"weights": "a", "bias": "a"}, "second": {"weights": "b"}}
    return optax.partition({"a": optax.sgd(first), "b": optax.sgd(second)}, labels)


def warm(learning_rate, warmup_steps):
    return optax.sgd(WarmupCosine(learning_rate, warmup_steps, 10))


@pytest.mark.long
@pytest.mark.parametrize(
    ("optimizer", "swept"),
    [
        (optax.sgd, {"learning_rate": [0.02, 0.2], "momentum": [0.0, 0.5, 0.9]}),
        (MOMENTUM, {"learning_rate": [0.1], "nesterov": [True, False]}),  # a static axis
        (optax.adamw, {"learning_rate": [0.01], "weight_decay": [0.0, 0.1, 2.0]}),
        (optax.adam, {"learning_rate": [0.01], "b1": [0.5, 0.9], "b2": [0.9, 0.999]}),
        (rate_per_layer, {"first": [0.0, 0.2], "second": [0.1, 0.3]}),
        (warm, {"learning_rate": [0.1, 0.3], "warmup_steps": [0, 4]}),
    ],
    ids=["momentum", "nesterov", "weight decay", "betas", "layers", "warmup"],
)
def test_axes_set_keywords_of_the_optimizer(optimizer, swept):
    result = sweep(network(), axes(**swept), 10, make_optimizer=optimizer, root_seed=ROOT)
    names = list(swept)
    assert result.cost.dims == (*names, "step")
    assert {name: result[name].values.tolist() for name in names} == swept
    for index in np.ndindex(*result.cost.shape[:-1]):
        at = dict(zip(names, (swept[n][i] for n, i in zip(names, index, strict=True)), strict=True))
        one = alone(optimizer(**at), 10)
        close(result.cost.sel(at), one.cost)
        close(result.gradient_norm.sel(at), one.gradient_norm)
        close(result["params.second.weights"].sel(at), one.params["second"]["weights"])
    last = result.cost.isel(step=-1).values
    assert len(np.unique(last)) == last.size


def test_axes_set_keywords_of_init_and_cost_and_may_vary_together():
    pair = zip_axes(learning_rate=[0.05, 0.2], scale=[2.0, 0.5])
    grid = axes(pair=pair, decay=[0.0, 0.3], seed=[4, 9])
    result = sweep(network(), grid, 8, root_seed=ROOT)
    assert result.cost.dims == ("pair", "decay", "seed", "step")
    assert result.learning_rate.dims == result.scale.dims == ("pair",)
    for i, (rate, scale) in enumerate([(0.05, 2.0), (0.2, 0.5)]):
        for decay in (0.0, 0.3):
            one = alone(optax.sgd(rate), 8, seed=9, scale=scale, decay=decay)
            close(result.cost.sel(pair=i, decay=decay, seed=9), one.cost)


@pytest.mark.long
def test_data_seeds_set_the_order_of_mini_batches():
    grid = axes(data_seed=[7, 0], seed=[2], learning_rate=[0.1])
    result = sweep(network(), grid, 10, root_seed=ROOT, batch_size=4).isel(seed=0, learning_rate=0)
    for data_seed in (0, 7):
        one = alone(optax.sgd(0.1), 10, seed=2, data_seed=data_seed, batch_size=4)
        close(result.cost.sel(data_seed=data_seed), one.cost)
        close(result.batch_cost.sel(data_seed=data_seed), one.batch_cost)
    shared = sweep(
        network(), axes(seed=[2, 5], learning_rate=[0.1]), 10, root_seed=ROOT, batch_size=4
    )
    for seed in (2, 5):  # without the axis, all runs share one order
        one = alone(optax.sgd(0.1), 10, seed=seed, batch_size=4)
        close(shared.cost.sel(seed=seed)[0], one.cost)


@pytest.mark.long
def test_final_costs_over_64_seeds_are_distributed_as_those_of_separate_descents():
    """At this rate full-batch descent is chaotic; only distributions are comparable."""
    problem, steps, rate = network(), 400, 0.4

    @jax.jit
    def last_cost(params):
        def step(_, w):
            return jax.tree.map(lambda a, g: a - rate * g, w, jax.grad(cost)(w, problem.data))

        return cost(jax.lax.fori_loop(0, steps, step, params), problem.data)

    grid = axes(seed=range(64), learning_rate=[rate])
    result = sweep(problem, grid, steps, root_seed=ROOT, record_every=steps).cost.values[:, 0, -1]
    starts = (init(run_keys(ROOT, seed=seed).init) for seed in range(64))
    # Starts are perturbed, so that runs differ even if both programs round identically.
    moved = (jax.tree.map(lambda a: a * np.float32(1 + 1e-6), start) for start in starts)
    apart = np.array([last_cost(start) for start in moved])
    assert np.mean(np.abs(result - apart) > 1e-2 * apart) > 0.2  # the runs differ
    assert stats.ks_2samp(result, apart).pvalue > 0.01


# Outcomes


@pytest.fixture(scope="module")
def spread():
    """Sweep rates on a quadratic bowl of curvature 2, where rates above 1 diverge."""
    return sweep(BOWL, axes(learning_rate=[0.1, 0.5, 1.0, 1.1, 4.0], seed=range(3)), 60)


def test_a_diverged_run_has_records_up_to_divergence(spread):
    for rate in (1.1, 4.0):
        factor = (1 - 2 * rate) ** 2
        exact = 2.0 * factor ** np.arange(61.0)
        run = spread.sel(learning_rate=rate, seed=0)
        at = int(run.diverged_at)
        if exact.max() < 1e12:
            assert at == -1
            continue
        assert at == int(np.argmax(exact > 1e12))
        np.testing.assert_allclose(run.cost[:at], exact[:at], rtol=1e-4)
        assert np.isposinf(run.cost[at:]).all()
    assert (spread.diverged_at.sel(learning_rate=4.0) > 0).all()
    assert not np.isnan(spread.cost).any()


def test_costs_that_are_nan_at_every_start_cause_a_warning():
    nowhere = dataclasses.replace(BOWL, cost=lambda w: jnp.log(-1.5 - jnp.sum(w**2)))
    with pytest.warns(UserWarning, match="cost of every run is not finite"):
        assert (sweep(nowhere, axes(learning_rate=[0.1]), 1).outcome == 3).all()


def test_outcomes_are_integers_with_flag_meanings(spread):
    meanings = spread.outcome.attrs["flag_meanings"].split()
    assert spread.outcome.attrs["flag_values"] == [0, 1, 2, 3, -1]
    ended = [meanings[code] for code in spread.outcome.isel(seed=0).values]
    assert ended == ["converged", "converged", "not_converged", "not_converged", "diverged"]


def test_a_saturated_run_stalls_and_a_slow_run_does_not():
    """The best constant output gives sigma^2 + (1 - sigma)^2 = 1/2."""

    def cost(w):
        return jax.nn.sigmoid(w) ** 2 + (1 - jax.nn.sigmoid(w)) ** 2

    problem = dataclasses.replace(BOWL, init=lambda key: jnp.ones(()), cost=cost, baseline=0.5)
    runs = sweep(problem, axes(learning_rate=[0.01, 60.0]), 20)
    names = runs.outcome.attrs["flag_meanings"].split()
    assert [names[code] for code in runs.outcome.values] == ["not_converged", "stalled"]
    assert (runs.gradient_norm[:, -1] > 1e-5).all()


def test_float64_is_used_if_enabled():
    with jax.enable_x64(True):
        result = sweep(BOWL, axes(learning_rate=[0.1, 0.3]), 20)
    assert (result.cost.dtype, result["params"].dtype) == (np.float64, np.float64)
    for rate in (0.1, 0.3):
        exact = 2 * (1 - 2 * rate) ** (2 * np.arange(21.0))
        np.testing.assert_allclose(result.cost.sel(learning_rate=rate), exact, rtol=1e-13)


# The Dataset


def test_the_dataset_has_the_expected_dimensions_coordinates_and_variables():
    result = sweep(
        network(watched=True),
        axes(learning_rate=[0.1, 0.2], **{"init.scale": [1.0]}),
        7,
        batch_size=6,
        record_every=3,
        snapshot_every=6,
    )
    assert {"learning_rate": 2, "init.scale": 1, "step": 4}.items() <= dict(result.sizes).items()
    assert result.step.values.tolist() == [0, 3, 6, 7]
    assert result.snapshot_step.values.tolist() == [0, 6, 7]
    assert set(result.data_vars) == {
        *("cost", "batch_cost", "gradient_norm", "largest_weight", "outcome", "diverged_at"),
        *("positive", "positive_known"),
        *(f"params.{n}" for n in ("first.weights", "first.bias", "second.weights")),
        *(f"snapshots.{n}" for n in ("first.weights", "first.bias", "second.weights")),
    }
    assert result["params.first.weights"].dims == (
        *("learning_rate", "init.scale"),
        *("first.weights[0]", "first.weights[1]"),
    )
    assert result.positive_step.values.tolist() == [0, 7]
    assert result.positive.dims == ("learning_rate", "init.scale", "positive_step", "byte")
    assert result.largest_weight.attrs == {"long_name": "largest weight", "units": "1"}
    assert result["init.scale"].attrs["long_name"] == "init scale"
    for name in set(result.variables) - {"outcome"}:
        assert result[name].attrs["units"] == "1", name
        assert result[name].attrs["long_name"], name
    assert np.isnan(result.largest_weight).values[0, 0].tolist() == [False, True, False, False]
    assert np.isnan(result.gradient_norm).values[0, 0].tolist() == [True, True, True, False]
    assert json.loads(result.attrs["writers"])[0][0]["platform"] == "cpu"
    assert result.attrs["seconds"] > 0
    assert same_bits(
        result["snapshots.first.bias"].isel(snapshot_step=-1), result["params.first.bias"]
    )


def test_parameters_larger_than_max_param_bytes_are_omitted_with_a_warning():
    omitted = r"parameters are more than max_param_bytes = 0 MiB and are omitted"
    with pytest.warns(UserWarning, match=omitted) as caught:
        light = sweep(BOWL, axes(learning_rate=[0.1], seed=range(3)), 3, max_param_bytes=23)
    full = sweep(BOWL, axes(learning_rate=[0.1], seed=range(3)), 3, max_param_bytes=24)
    assert set(full.variables) - set(light.variables) == {"params"}
    assert same_bits(light, full.drop_vars("params"))
    assert [warning.filename for warning in caught] == [__file__]  # that called gdjax
