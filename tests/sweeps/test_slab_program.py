"""Inputs of a slab: those of each run depend only on its axis values."""

import dataclasses

import jax
import numpy as np
import pytest
from small_problems import network, same_bits

import gdjax as gd
from gdjax.descent import block_loop
from gdjax.sweeps import Sweep, fit
from gdjax.sweeps.program import programs_of

PROBLEM = network()


DEVICE = jax.local_devices()[0]


@pytest.fixture(autouse=True)
def slabs_of_four_runs(monkeypatch):
    monkeypatch.setattr(fit, "CPU_WIDTHS", ((4, 2**60),))


def inputs(problem=PROBLEM, batch_size=6, metrics=None, **axes):
    axes = gd.axes(**{"learning_rate": [0.1, 0.2], **axes})
    spec = Sweep(problem, axes, 3, batch_size=batch_size, metrics=metrics or {}, root_seed=7)
    (program,) = programs_of(spec, [DEVICE])
    return dataclasses.replace(program, width=fit.slab_width(program))


def test_keys_of_initial_parameters_equal_those_of_the_seeds():
    options = inputs(seed=[3, 9, 4])
    seeds = np.array([4, 3, 9, 9])
    keys, settings = options.starts({"learning_rate": np.full(4, 0.1), "seed": seeds}, DEVICE)
    expected = gd.run_keys(7, seed=seeds).init
    assert same_bits(jax.random.key_data(keys), jax.random.key_data(expected))
    assert settings["optimizer"]["learning_rate"].dtype == np.float32
    assert settings.keys() == {"init", "cost", "optimizer"}


def test_runs_share_an_order_of_samples_unless_data_seed_is_an_axis():
    rates = {"learning_rate": np.full(4, 0.1)}
    shared = inputs()
    assert (shared.has_own_order, shared.batch_capacity) == (False, block_loop.MAX_BLOCK_BATCHES)
    assert shared.samples(DEVICE).shape == (block_loop.MAX_BLOCK_BATCHES, 6)
    alone = shared.order(rates)(2, 3)
    assert alone.shape == (3, 6)
    own = inputs(data_seed=[0, 5])
    assert own.has_own_order
    assert own.samples(DEVICE).shape == (4, own.batch_capacity, 6)
    rows = own.order({**rates, "data_seed": np.array([5, 0, 5, 0])})(2, 3)
    np.testing.assert_array_equal(rows[0], rows[2])
    np.testing.assert_array_equal(rows[1], alone)
    assert (rows[0] != rows[1]).any()
    assert inputs(batch_size=None).order(rates) is None
    assert inputs(batch_size=None).samples(DEVICE) is None


@pytest.mark.parametrize(
    ("runs", "rows"), [(4, block_loop.MAX_BLOCK_BATCHES), (1000, 699), (100_000, 64)]
)
def test_blocks_of_many_runs_with_separate_orders_have_fewer_rows(runs, rows, monkeypatch):
    monkeypatch.setattr(fit, "CPU_WIDTHS", ((runs, 2**60),))
    assert inputs(data_seed=[0, 5]).batch_capacity == rows


def test_only_random_costs_and_metrics_are_called_with_keys():
    def random(w, batch, *, key):
        return PROBLEM.cost(w, batch) + jax.random.normal(key) * 0

    noisy = gd.Problem(init=PROBLEM.init, cost=random, data=PROBLEM.data)
    values = {"learning_rate": np.full(4, 0.1), "seed": np.arange(4)}
    assert inputs(seed=range(4)).noise(values, DEVICE) is None
    streams = gd.run_keys(7, seed=np.arange(4))
    result = inputs(problem=noisy, seed=range(4)).noise(values, DEVICE)
    assert same_bits(jax.random.key_data(result), jax.random.key_data(streams.noise))
    one = inputs(problem=noisy).noise(values, DEVICE)
    assert same_bits(jax.random.key_data(one), jax.random.key_data(gd.run_keys(7).noise))
    drawing = gd.Metric(lambda w, data, *, key: jax.random.normal(key))
    probes = inputs(seed=range(4), metrics={"m": drawing}).starts(values, DEVICE)[1]["probes"]
    assert same_bits(jax.random.key_data(probes), jax.random.key_data(streams.probes))


def test_the_initial_carry_of_a_slab_equals_that_of_each_run():
    options = inputs(seed=range(4))
    carry = options.start_program(
        *options.starts({"learning_rate": np.full(4, 0.1), "seed": np.arange(4)}, DEVICE),
        options.shared(DEVICE),
    )
    for seed in range(4):
        start = PROBLEM.init(gd.run_keys(7, seed=seed).init)
        for result, expected in zip(
            jax.tree.leaves(carry.state.params), jax.tree.leaves(start), strict=True
        ):
            np.testing.assert_allclose(result[seed], expected, rtol=1e-6)


def test_the_evaluation_parameters_of_all_slabs_are_computed_by_one_program():
    counts = []
    for runs in (2, 6):
        traces = []

        def evaluated(opt_state, params, traces=traces, factor=1 / runs):  # two programs
            traces.append(params)
            return jax.tree.map(lambda w: factor * w, params)

        grid = gd.axes(learning_rate=np.linspace(0.1, 0.2, runs))
        options = {"devices": jax.local_devices()[:1], "eval_params_fn": evaluated}
        gd.sweep(gd.problems.bowl([1.0, 9.0]), grid, 2, **options)
        counts.append(len(traces))
    assert counts[1] == counts[0]
