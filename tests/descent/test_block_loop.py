"""Recorded steps, and independence of the results from the length of blocks."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax as gd
from gdjax.descent import block, block_loop
from gdjax.descent.batches import Order
from gdjax.descent.block_loop import BlockCapacity, BlockLengthController

X = jnp.asarray(np.random.default_rng(0).normal(size=(30, 4)), jnp.float32)


def cost(w, x, *, temperature=1.0):
    return jnp.mean(jnp.tanh(x @ w / temperature) ** 2) + 0.1 * jnp.sum((w - 1) ** 2)


def plan(first=0, num_steps=40, record_every=1, snapshot_every=None, metric_every=None):
    return block_loop.RecordSchedule(
        first, num_steps, record_every, snapshot_every, metric_every or {}
    )


def adam():
    return optax.adam(0.05)


def config_of(metrics, *, batch_size, buffers=None, stop_tolerance=None):
    problem = gd.Problem(init=jnp.zeros, cost=cost, data=X, metrics=metrics)
    config = block.block_config(
        problem,
        adam,
        batch_size=batch_size,
        record_samples=None,
        divergence_threshold=1e12,
        stop_tolerance=stop_tolerance,
    )
    return config._replace(buffers=tuple((buffers or {}).items()))


def results(
    schedule,
    *,
    batch_size=None,
    buffers=None,
    metrics=None,
    settings=None,
    batches=block_loop.MAX_BLOCK_BATCHES,
    stop_tolerance=None,
    seconds=None,
):
    """Return the results of all blocks of one run."""
    metrics = metrics or {}
    settings = {"cost": settings or {}, "optimizer": {}}
    config = config_of(
        metrics, batch_size=batch_size, buffers=buffers, stop_tolerance=stop_tolerance
    )
    program = block.block_program(config, False, False, False)
    shared = block.Shared(X, X, {name: metric.data for name, metric in metrics.items()})
    order = None
    if batch_size is not None:
        order = block_loop.shared_order(Order([jax.random.key(1)], 30, batch_size))
    carry = block.initial_carry(adam, jnp.zeros(4), None, settings)
    return list(
        block_loop.run_blocks(
            lambda carry, rows, steps: program(carry, settings, rows, None, shared, steps),
            jax.tree.map(lambda a: jnp.array(a, copy=True), carry),
            schedule,
            order,
            capacity=BlockCapacity(128, buffers or {}, batches),
            run_axis=False,
            controller=None if seconds is None else BlockLengthController(target_seconds=seconds),
            stops_early=stop_tolerance is not None,
        )
    )


def costs(results):
    return np.concatenate([result.records.cost for result in results])


# -- schedules


@pytest.mark.parametrize(
    ("first", "steps", "record_every", "is_recorded", "expected"),
    [
        (0, 0, 1, False, [0]),
        (0, 3, 1, False, [0, 1, 2, 3]),
        (0, 7, 3, False, [0, 3, 6, 7]),
        (0, 6, 3, False, [0, 3, 6]),
        (0, 2, 5, False, [0, 2]),
        (10, 5, 1, True, [11, 12, 13, 14, 15]),
        (10, 5, 5, True, [15]),
        (10, 5, 4, True, [12, 15]),
        (12, 4, 4, True, [16]),
        (10, 1, 100, True, [11]),
        (10, 0, 1, True, [10]),  # at least one record
        (10, 5, 5, False, [10, 15]),
        (11, 4, 5, False, [15]),
        (15, 0, 5, False, [15]),
    ],
)
def test_all_multiples_and_both_ends_are_recorded_unless_already_recorded(
    first, steps, record_every, is_recorded, expected
):
    schedule = plan(first, steps, record_every)._replace(first_is_recorded=is_recorded)
    assert schedule.recorded_steps().tolist() == expected


@pytest.mark.parametrize(
    ("steps", "runs", "room"),
    [(10, 1, 128), (127, 1, 128), (128, 1, 256), (10**6, 1, 1024), (10**6, 256, 256)],
)
def test_the_record_capacity_depends_on_the_numbers_of_records_and_runs(steps, runs, room):
    assert block_loop.record_capacity(plan(0, steps, 1), runs) == room
    assert block_loop.record_capacity(plan(0, steps, steps), runs) == 128


def test_buffer_capacities_are_bounded_by_memory_and_by_the_number_of_records():
    small, large = {"w": jnp.zeros(3)}, {"w": jax.ShapeDtypeStruct((2**24,), jnp.float32)}
    few = plan(0, 10, 1, 1, {"bits": 3})
    assert block_loop.buffer_capacity(small, {}, runs=1, schedule=few) == {"snapshots": 11}
    assert block_loop.buffer_capacity(large, {"bits": small["w"]}, runs=1, schedule=few) == {
        "snapshots": 1,
        "bits": 5,
    }
    many = block_loop.buffer_capacity(small, {}, runs=1, schedule=plan(0, 10**6, 1, 1))
    assert many == {"snapshots": block_loop.MIN_BLOCK_RECORDS}
    assert block_loop.buffer_capacity(small, {}, runs=1, schedule=plan(0, 10, 1)) == {}


# -- lengths of blocks


@pytest.mark.parametrize("batch_size", [None, 7])
@pytest.mark.parametrize("record_every", [1, 13])
def test_results_are_bitwise_independent_of_the_length_of_blocks(batch_size, record_every):
    schedule = plan(0, 100, record_every)
    long = results(schedule, batch_size=batch_size, seconds=1e9)
    # Every block exceeds the time limit, or the number of its batches.
    for limits in ({"seconds": 0.0}, {"batches": 5})[: 1 + (batch_size is not None)]:
        short = results(schedule, batch_size=batch_size, **limits)
        assert len(short) > len(long)
        np.testing.assert_array_equal(costs(short), costs(long))
        np.testing.assert_array_equal(short[-1].carry.state.params, long[-1].carry.state.params)
        recorded = np.concatenate([result.recorded_steps for result in short])
        np.testing.assert_array_equal(recorded, schedule.recorded_steps())


def test_a_long_interval_between_records_is_split_into_blocks():
    """Ctrl-C is handled, and the progress bar is updated, between blocks."""
    actual = results(plan(0, 200, 200), seconds=0.0)
    steps = [result.num_steps for result in actual]
    assert max(np.diff([0, *steps])) <= 16
    assert np.concatenate([p.recorded_steps for p in actual]).tolist() == [0, 200]


def test_a_small_snapshot_buffer_keeps_all_snapshots():
    schedule = plan(0, 30, 1, 2)
    few, many = (results(schedule, buffers={"snapshots": slots}) for slots in (3, 16))
    for result in (few, many):
        steps = np.concatenate([p.arrays["snapshots"].steps for p in result if p.arrays])
        assert steps.tolist() == list(range(0, 31, 2))
    a, b = (
        np.concatenate([p.arrays["snapshots"].values for p in f if p.arrays]) for f in (few, many)
    )
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(a[-1], few[-1].carry.state.params)


def test_a_stopped_run_is_evaluated_once_and_its_record_repeated():
    """After the first block the run is constant, so a single record is repeated."""
    metrics = {
        "third": gd.Metric(lambda w, data: jnp.sum(w), every=3),
        "where": gd.Metric(lambda w, data: w, every=4, dims=("coordinate",)),
    }
    schedule = plan(0, 100, 2, 4, metric_every={"third": 3, "where": 4})
    slots = {"snapshots": 30, "where": 2}
    actual = results(schedule, buffers=slots, metrics=metrics, stop_tolerance=1e9)
    assert [result.num_steps for result in actual] == [16, 100]
    recorded = np.concatenate([result.recorded_steps for result in actual])
    np.testing.assert_array_equal(recorded, schedule.recorded_steps())
    rest = actual[1]
    assert rest.arrays["snapshots"].steps.tolist() == list(range(16, 101, 4))
    assert rest.arrays["snapshots"].values.shape == (len(rest.arrays["snapshots"].steps), 4)
    assert len(set(rest.records.cost.tolist())) == 1
    where = rest.arrays["where"]
    assert where.steps.tolist() == [*range(16, 97, 8), 100]
    np.testing.assert_array_equal(where.values, rest.arrays["snapshots"].values[:12])
    taken = ~np.isnan(rest.records.metrics["third"])
    assert rest.recorded_steps[taken].tolist() == [*range(18, 100, 6), 100]


@pytest.mark.parametrize("neighbor_rate", [0.4, 1e-3, 30.0])
def test_a_stopped_run_repeats_its_last_record_beside_any_neighbor(neighbor_rate):
    """At curvature 2, rate 1/2 converges in one step, and a rate above 1 diverges."""

    def count_of(w, data, state, *, opt_state):
        return state + 1.0 + opt_state[0].count, state + 1.0

    metrics = {
        "now": gd.Metric(lambda w, data, *, step: step),
        "uniform": gd.Metric(lambda w, data, *, key: jax.random.uniform(key), every=2),
        "count": gd.Metric(count_of, init=lambda w, data: jnp.zeros(())),
        "vector": gd.Metric(lambda w, data, *, step: w + step, dims=("entry",)),
    }
    bowl = gd.Problem(init=lambda key: jnp.ones(2), cost=lambda w: jnp.sum(w**2), metrics=metrics)

    def optimizer(learning_rate):
        counted = optax.scale_by_schedule(lambda count: 1.0)
        return optax.chain(counted, optax.sgd(learning_rate))

    runs = gd.sweep(
        bowl,
        gd.axes(learning_rate=[0.5, neighbor_rate]),
        400,
        make_optimizer=optimizer,
        record_every=10,
        stop_when_converged=True,
    ).isel(learning_rate=0)
    assert runs["now"].values.tolist() == [0.0, *[10.0] * 40]
    assert runs["count"].values.tolist() == [1.0, *[12.0] * 40]
    assert len(set(runs["uniform"].values[2::2].tolist())) == 1
    np.testing.assert_array_equal(runs["vector"].values[1:], 10.0)
