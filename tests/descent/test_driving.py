"""The plan of a descent, and blocks whose cuts nobody sees in the results."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

import gdjax as gd
from gdjax.descent import block, driving
from gdjax.descent.batches import Order
from gdjax.descent.descent import Fixed
from gdjax.slabs import Slab

ADAM = Fixed(optax.adam(0.05))
X = jnp.asarray(np.random.default_rng(0).normal(size=(30, 4)), jnp.float32)


def cost(w, x, *, temperature=1.0):
    return jnp.mean(jnp.tanh(x @ w / temperature) ** 2) + 0.1 * jnp.sum((w - 1) ** 2)


def plan(first=0, steps=40, record_every=1, snapshot_every=None, cadence=None):
    return driving.Plan(first, steps, record_every, snapshot_every, cadence or {})


def pieces(plan, *, batch_size=None, slots=None, measures=None, settings=None, **options):
    """Everything that `drive` hands out for one run."""
    measures = measures or {}
    settings = {"cost": settings or {}, "optimizer": {}}
    rule = block.Rule(
        problem=block.bare(cost, None, False),
        optimizer=ADAM,
        measures=block.watch(measures),
        batched=batch_size is not None,
        bound=1e12,
        slots=tuple((slots or {}).items()),
    )
    program = block.program(rule, None, False, False)
    shared = block.Shared(X, X, {name: measure.data for name, measure in measures.items()})
    order = None
    if batch_size is not None:
        order = driving.order_rows(Order([jax.random.key(1)], 30, batch_size))
    carry = block.start(ADAM, jnp.zeros(4), None, settings)
    return list(
        driving.drive(
            lambda carry, rows, agenda: program(carry, settings, rows, None, shared, agenda),
            jax.tree.map(lambda a: jnp.array(a, copy=True), carry),
            plan,
            order,
            slots=slots or {},
            axis=0,
            **options,
        )
    )


def costs(found):
    return np.concatenate([piece.records.cost for piece in found])


# -- plans


@pytest.mark.parametrize(
    ("first", "steps", "record_every", "expected"),
    [
        (0, 0, 1, [0]),
        (0, 3, 1, [0, 1, 2, 3]),
        (0, 7, 3, [0, 3, 6, 7]),
        (0, 6, 3, [0, 3, 6]),
        (0, 2, 5, [0, 2]),
        (10, 5, 1, [11, 12, 13, 14, 15]),  # the start was recorded before
        (10, 5, 5, [15]),
        (10, 5, 4, [12, 15]),
        (12, 4, 4, [16]),
        (10, 1, 100, [11]),
        (10, 0, 1, [10]),  # there is always something to look at
    ],
)
def test_records_are_the_start_the_multiples_and_the_last(first, steps, record_every, expected):
    recorded = plan(first, steps, record_every)._replace(recorded=first > 0)
    assert recorded.records().tolist() == expected


def test_a_step_that_is_not_recorded_yet_is_due():
    assert plan(10, 5, 5).records().tolist() == [10, 15]
    assert plan(11, 4, 5).records().tolist() == [15]
    assert plan(15, 0, 5).records().tolist() == [15]


@examples(deadline=None)
@given(cuts=st.lists(st.integers(0, 30), min_size=1, max_size=4), every=st.integers(1, 12))
def test_a_plan_in_parts_records_what_the_whole_records_and_its_ends(cuts, every):
    whole = plan(0, sum(cuts), every).records().tolist()
    ends = np.cumsum(cuts).tolist()
    parts = [
        plan(end - steps, steps, every).records().tolist()
        for steps, end in zip(cuts, ends, strict=True)
    ]
    assert {step for part in parts for step in part} == {*whole, *ends}


def test_snapshots_are_multiples_and_the_last():
    kept = plan(0, 10, 2, 4)
    assert [s for s in range(11) if kept.is_snapshot(s)] == [0, 4, 8, 10]
    assert not plan(0, 10, 2).is_snapshot(np.arange(11)).any()


@pytest.mark.parametrize(
    ("steps", "runs", "room"),
    [(10, 1, 128), (127, 1, 128), (128, 1, 256), (10**6, 1, 1024), (10**6, 256, 256)],
)
def test_room_for_records_follows_their_number_and_that_of_the_runs(steps, runs, room):
    assert driving.room_for(plan(0, steps, 1), runs) == room
    assert driving.room_for(plan(0, steps, steps), runs) == 128


def test_room_for_snapshots_is_bounded_by_memory_and_by_need():
    small, large = {"w": jnp.zeros(3)}, {"w": jax.ShapeDtypeStruct((2**24,), jnp.float32)}
    few = plan(0, 10, 1, 1, {"bits": 3})
    assert driving.slots_for(small, {}, runs=1, plan=few) == {"snapshots": 11}
    assert driving.slots_for(large, {"bits": small["w"]}, runs=1, plan=few) == {
        "snapshots": 1,
        "bits": 5,
    }
    many = driving.slots_for(small, {}, runs=1, plan=plan(0, 10**6, 1, 1))
    assert many == {"snapshots": driving.RECORDS}
    assert driving.slots_for(small, {}, runs=1, plan=plan(0, 10, 1)) == {}


# -- where blocks end is nobody's business


@pytest.mark.parametrize("batch_size", [None, 7])
@pytest.mark.parametrize("record_every", [1, 13])
def test_blocks_of_any_length_give_the_same_bits(batch_size, record_every):
    todo = plan(0, 100, record_every)
    long = pieces(todo, batch_size=batch_size, pace=driving.Pace(seconds=1e9))
    short = pieces(
        todo, batch_size=batch_size, pace=driving.Pace(seconds=0.0)
    )  # every block took too long
    assert len(short) > len(long)
    np.testing.assert_array_equal(costs(short), costs(long))
    np.testing.assert_array_equal(short[-1].carry.state.params, long[-1].carry.state.params)
    assert np.concatenate([p.steps for p in short]).tolist() == todo.records().tolist()


def test_few_rows_at_a_time_give_the_same_bits():
    found = [pieces(plan(0, 40, 10), batch_size=7, rows=rows) for rows in (5, driving.ROWS)]
    assert len(found[0]) >= 40 / 5
    np.testing.assert_array_equal(costs(found[0]), costs(found[1]))


def test_a_long_way_to_the_next_record_is_cut_too():
    """So that Ctrl-C and the progress bar do not wait for a record."""
    found = pieces(plan(0, 200, 200), pace=driving.Pace(seconds=0.0))
    steps = [piece.step for piece in found]
    assert max(np.diff([0, *steps])) <= 16
    assert np.concatenate([p.steps for p in found]).tolist() == [0, 200]


def test_few_slots_keep_all_snapshots():
    todo = plan(0, 30, 1, 2)
    few, many = (pieces(todo, slots={"snapshots": slots}) for slots in (3, 16))
    for found in (few, many):
        steps = np.concatenate([p.kept["snapshots"].steps for p in found if p.kept])
        assert steps.tolist() == list(range(0, 31, 2))
    a, b = (np.concatenate([p.kept["snapshots"].values for p in f if p.kept]) for f in (few, many))
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(a[-1], few[-1].carry.state.params)


def test_a_piece_says_where_the_descent_is():
    found = pieces(plan(0, 100, 7), pace=driving.Pace(seconds=0.0))
    for piece in found:
        assert np.all(piece.steps <= piece.step)
        assert len(piece.steps) == len(piece.records.cost)
    assert found[-1].step == 100
    assert [piece.done for piece in found] == [False] * (len(found) - 1) + [True]


def test_what_rests_is_looked_at_once_and_repeated():
    """After the first block nothing moves: one more look stands for all records to come."""
    measures = {
        "third": gd.Measure(lambda w, data: jnp.sum(w), every=3),
        "where": gd.Measure(lambda w, data: w, every=4, dims=("coordinate",)),
    }
    todo = plan(0, 100, 2, 4, cadence={"third": 3, "where": 4})
    slots = {"snapshots": 30, "where": 2}
    found = pieces(todo, slots=slots, measures=measures, still=lambda carry: True)
    assert [piece.step for piece in found] == [16, 100]
    assert np.concatenate([p.steps for p in found]).tolist() == todo.records().tolist()
    rest = found[1]
    assert rest.kept["snapshots"].steps.tolist() == list(range(16, 101, 4))
    assert rest.kept["snapshots"].values.shape == (len(rest.kept["snapshots"].steps), 4)
    assert len(set(rest.records.cost.tolist())) == 1
    where = rest.kept["where"]
    assert where.steps.tolist() == [*range(16, 97, 8), 100]
    np.testing.assert_array_equal(where.values, rest.kept["snapshots"].values[:12])
    taken = ~np.isnan(rest.records.measures["third"])
    assert rest.steps[taken].tolist() == [*range(18, 100, 6), 100]


# -- measures


def test_a_measure_sees_the_settings_that_it_declares():
    def seen(w, data, *, temperature=1.0):
        return temperature

    def unaware(w, data):
        return jnp.float32(5)

    found = pieces(
        plan(0, 2, 1, cadence={"seen": 1, "unaware": 1}),
        measures={"seen": gd.Measure(seen), "unaware": gd.Measure(unaware)},
        settings={"temperature": jnp.float32(0.25)},
    )
    assert found[0].records.measures["seen"].tolist() == [0.25] * 3
    assert found[0].records.measures["unaware"].tolist() == [5] * 3


def test_settings_change_the_cost():
    for temperature in (0.5, 2.0):
        (found,) = pieces(plan(0, 0), settings={"temperature": jnp.float32(temperature)})
        expected = cost(jnp.zeros(4), X, temperature=temperature)
        np.testing.assert_allclose(found.records.cost, [expected], rtol=1e-6)


# -- slabs


@pytest.mark.parametrize("own_order", [False, True])
def test_equal_runs_of_a_slab_have_equal_bits_and_follow_the_single_run(own_order):
    slab = Slab(3, tuple(jax.local_devices()[:2]))
    settings = {"cost": {}, "optimizer": {}}
    rule = block.Rule(block.bare(cost, None, False), ADAM, (), batched=True, bound=1e12)
    program = block.program(rule, slab, own_order, False)
    one = block.start(ADAM, jnp.zeros(4), None, settings)
    carry = slab.place(jax.tree.map(lambda a: jnp.stack([a] * slab.runs), one))
    order = Order([jax.random.key(1)], 30, 7)
    repeat = slab.runs if own_order else 1

    def rows(first, count):
        found = np.repeat(order.rows(first, count), repeat, axis=0)
        return found if own_order else found[0]

    def call(carry, rows, agenda):
        placed = slab.place(rows) if own_order else slab.share(rows)
        shared = slab.share(block.Shared(X, X, {}))
        return program(carry, settings, placed, None, shared, agenda)

    found = np.concatenate(
        [p.records.cost for p in driving.drive(call, carry, plan(), rows, slots={}, axis=1)], axis=1
    )
    assert found.shape == (slab.runs, 41)
    np.testing.assert_array_equal(found, np.broadcast_to(found[0], found.shape))
    np.testing.assert_allclose(found[0], costs(pieces(plan(), batch_size=7)), rtol=1e-4)
