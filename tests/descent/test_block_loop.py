"""Recorded steps, and independence of the results from the length of blocks."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax as gd
from gdjax.descent import block_loop
from gdjax.descent.block_loop import BlockLengthController, RecordSchedule
from gdjax.problems.metrics import described

X = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)


def cost(w, x):
    return jnp.mean(jnp.tanh(x @ w) ** 2) + 0.1 * jnp.sum((w - 1) ** 2)


@pytest.fixture
def lengths(monkeypatch):
    """Return a list to which the number of steps of each block is appended."""
    steps = []
    monkeypatch.setattr(BlockLengthController, "update", lambda _, num, seconds: steps.append(num))
    return steps


# -- schedules


@pytest.mark.parametrize(
    ("first", "steps", "record_every", "is_recorded", "expected"),
    [
        (0, 0, 1, False, [0]),
        (0, 7, 3, False, [0, 3, 6, 7]),
        (0, 2, 5, False, [0, 2]),
        (10, 5, 4, True, [12, 15]),
        (12, 4, 4, True, [16]),
        (10, 0, 1, True, [10]),  # at least one record
        (10, 5, 5, False, [10, 15]),
        (11, 4, 5, False, [15]),
        (15, 0, 5, False, [15]),
    ],
)
def test_all_multiples_and_both_ends_are_recorded_unless_already_recorded(
    first, steps, record_every, is_recorded, expected
):
    schedule = RecordSchedule(first, steps, record_every, None, {}, is_recorded)
    assert schedule.recorded_steps().tolist() == expected


# -- lengths of blocks

LIMITS = {
    "steps": ("BlockLengthController", partial(BlockLengthController, 3)),
    "mini-batches": ("MAX_BLOCK_BATCHES", 5),
    "snapshots": ("MAX_BUFFER_BYTES", 3 * 4 * X.itemsize),
}


@pytest.mark.parametrize(
    ("limit", "batch_size"),
    [("steps", None), ("steps", 7), ("mini-batches", 7), ("snapshots", None)],
)
@pytest.mark.parametrize("record_every", [1, 13])
def test_results_are_bitwise_independent_of_the_length_of_blocks(
    limit, batch_size, record_every, lengths, monkeypatch
):
    problem = gd.Problem(init=jnp.zeros, cost=cost, data=X)
    options = {"batch_size": batch_size, "key": jax.random.key(1)}
    options |= {"record_every": record_every, "snapshot_every": record_every}

    def run():
        return gd.descend(problem, optax.adam(0.05), jnp.zeros(4), 100, **options)

    monkeypatch.setattr(block_loop, "BlockLengthController", partial(BlockLengthController, 1000))
    long = run()
    assert len(lengths) == 1
    monkeypatch.setattr(block_loop, *LIMITS[limit])
    short = run()
    assert max(lengths[1:]) <= {"steps": 3, "mini-batches": 5, "snapshots": 3 * record_every}[limit]
    for name in ("recorded_steps", "cost", "batch_cost", "snapshot_step", "snapshots", "params"):
        np.testing.assert_array_equal(getattr(short, name), getattr(long, name))
    assert long.recorded_steps.tolist() == [*range(0, 100, record_every), 100]


def test_a_stopped_run_is_evaluated_once_and_its_record_repeated(lengths, monkeypatch):
    """Every gradient counts as zero, so the run stops at its first step."""
    metrics = {
        "third": gd.Metric(lambda _, w: jnp.sum(w), every=3),
        "where": gd.Metric(lambda _, w: w, every=4, dims=("coordinate",)),
    }
    problem = gd.Problem(lambda key: jnp.ones(4), cost, data=X, metrics=metrics)
    runs = gd.sweep(
        problem,
        gd.axes(learning_rate=[0.1]),
        100,
        record_every=2,
        snapshot_every=4,
        stop_when_converged=True,
        gradient_tolerance=1e9,
    ).isel(learning_rate=0)
    assert lengths == [16, 1]
    np.testing.assert_allclose(runs.cost, cost(jnp.ones(4), X), rtol=1e-6)
    assert runs.snapshot_step.values.tolist() == [*range(0, 101, 4)]
    assert runs.where_step.values.tolist() == [*range(0, 97, 8), 100]
    assert np.all(runs.snapshots == 1)
    assert np.all(runs["where"] == 1)
    assert runs.step[~np.isnan(runs.third)].values.tolist() == [*range(0, 100, 6), 100]


def test_steps_after_the_last_one_of_a_chunk_change_nothing_on_an_accelerator(monkeypatch):
    of_gpu = partial(lambda f, every, _: f(every, "gpu"), block_loop.chunk_steps)
    monkeypatch.setattr(block_loop, "chunk_steps", of_gpu)

    def cost(w, *, step):  # would diverge after the last step
        return jnp.where(step > 7, jnp.inf, jnp.sum(w**2))

    problem = gd.Problem(lambda key: jnp.ones(2), cost)
    run = gd.descend(problem, optax.sgd(0.1), jnp.ones(2), 7, key=jax.random.key(0), record_every=5)
    np.testing.assert_allclose(run.cost, 2 * 0.8 ** (2 * np.array([0, 5, 7])), rtol=1e-5)
    assert run.diverged_at is None


@pytest.mark.parametrize("neighbor_rate", [0.4, 1e-3, 30.0])
def test_a_stopped_run_repeats_its_last_record_beside_any_neighbor(neighbor_rate):
    """At curvature 2, rate 1/2 converges in one step, and a rate above 1 diverges.

    At curvature 0, the run stops at its start.
    """

    @described(init=lambda problem, w: jnp.zeros(()))
    def count_of(problem, w, state, *, opt_state):
        return state + 1.0 + opt_state[0].count, state + 1.0

    metrics = {
        "now": gd.Metric(lambda _, w, *, step: step),
        "uniform": gd.Metric(lambda _, w, *, key: jax.random.uniform(key), every=2),
        "count": count_of,
        "vector": gd.Metric(lambda _, w, *, step: w + step, dims=("entry",)),
    }

    def cost(w, *, scale):
        return scale * jnp.sum(w**2)

    bowl = gd.Problem(init=lambda key: jnp.ones(2), cost=cost, metrics=metrics)

    def optimizer(learning_rate):
        counted = optax.scale_by_schedule(lambda count: 1.0)
        return optax.chain(counted, optax.sgd(learning_rate))

    runs = gd.sweep(
        bowl,
        gd.axes(learning_rate=[0.5, neighbor_rate], scale=[1.0, 0.0]),
        400,
        make_optimizer=optimizer,
        record_every=10,
        stop_when_converged=True,
    ).isel(learning_rate=0)
    assert runs["now"].sel(scale=0).values.tolist() == [0.0] * 41
    runs = runs.sel(scale=1)
    assert runs["now"].values.tolist() == [0.0, *[10.0] * 40]
    assert runs["count"].values.tolist() == [1.0, *[12.0] * 40]
    assert len(set(runs["uniform"].values[2::2].tolist())) == 1
    np.testing.assert_array_equal(runs["vector"].values[1:], 10.0)
