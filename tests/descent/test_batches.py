"""Order of mini-batches, conversion of epochs to steps, and samples of a record."""

import itertools

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gdjax.descent.batches import Order, argsort_on_host, recorded_samples, steps_for
from gdjax.problems.problem import Problem

SIZES = st.integers(1, 30).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n)))


def order(samples, batch_size, *seeds, **options):
    return Order(jax.vmap(jax.random.key)(np.array(seeds or (0,))), samples, batch_size, **options)


@pytest.mark.long
@settings(max_examples=10, deadline=None)
@given(sizes=SIZES, passes=st.integers(1, 3))
def test_every_pass_contains_each_sample_once(sizes, passes):
    samples, batch_size = sizes
    steps = -(-passes * samples // batch_size)
    stream = order(samples, batch_size).rows(0, steps).ravel()
    assert stream.size == steps * batch_size  # all batches have the full size
    for number in range(passes):
        one = stream[number * samples : (number + 1) * samples]
        assert sorted(one) == list(range(samples))


@settings(max_examples=10, deadline=None)
@given(sizes=SIZES, data=st.data())
def test_any_range_of_rows_is_a_slice_of_the_sequence(sizes, data):
    samples, batch_size = sizes
    complete = order(samples, batch_size, 3).rows(0, 40)
    jumping = order(samples, batch_size, 3)
    for _ in range(4):
        first = data.draw(st.integers(0, 39))
        count = data.draw(st.integers(1, 40 - first))
        np.testing.assert_array_equal(
            jumping.rows(first, count), complete[:, first : first + count]
        )


@pytest.mark.parametrize("replacement", [False, True])
def test_a_stream_of_samples_depends_on_neither_other_streams_nor_the_batch_size(replacement):
    kind = {"replacement": replacement}
    together = order(7, 3, 5, 6, 7, **kind).rows(2, 9)
    assert (together.min(), together.max()) == (0, 6)
    for row, seed in zip(together, (5, 6, 7), strict=True):
        np.testing.assert_array_equal(row, order(7, 3, seed, **kind).rows(2, 9)[0])
    streams = [order(12, size, 4, **kind).rows(0, 24 // size).ravel() for size in (1, 3, 4, 12)]
    assert all(np.array_equal(stream, streams[0]) for stream in streams)
    assert (len(set(streams[0][:12])) < 12) == replacement  # otherwise it is a permutation


def test_all_orders_are_equally_likely():
    """The chi-squared statistic of the 24 orders exceeds 53 with probability 0.04 %."""
    result = order(4, 4, *range(2400)).rows(0, 1)[:, 0]
    counts = [np.all(result == p, axis=1).sum() for p in itertools.permutations(range(4))]
    assert sum(counts) == 2400
    assert sum((c - 100) ** 2 / 100 for c in counts) < 53


def test_positions_in_successive_streams_and_passes_are_uncorrelated():
    """Positions of sample 0 are compared for successive seeds and successive passes."""
    place = np.argmax(order(4, 4, *range(4000)).rows(0, 2) == 0, axis=-1)
    for a, b in ((place[:-1, 0], place[1:, 0]), (place[:, 0], place[:, 1])):
        assert abs(np.corrcoef(a, b)[0, 1]) < 4 / np.sqrt(len(a))


@pytest.mark.parametrize("dtype", [np.uint32, np.uint64])
def test_the_argsort_on_the_host_is_stable_and_equals_that_of_jax(dtype):
    numbers = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (3, 500), dtype)
    numbers[:, ::7] = numbers[:, :1]  # ties
    numbers[:, 3] = np.iinfo(dtype).max
    with jax.enable_x64(True):
        expected = jax.numpy.argsort(numbers, axis=-1)
    np.testing.assert_array_equal(argsort_on_host(numbers), expected)


@pytest.mark.parametrize(
    ("epochs", "samples", "batch_size", "steps"),
    [(10, 60_000, 32, 18_750), (1, 10, 3, 4), (3, 10, 10, 3), (7, 4000, None, 7), (0, 9, 2, 0)],
)
def test_epochs_are_converted_to_steps(epochs, samples, batch_size, steps):
    assert steps_for(epochs, samples, batch_size) == steps


DATA = {"x": np.arange(40.0).reshape(20, 2), "y": np.arange(20)}
PROBLEM = Problem(init=lambda key: np.zeros(2), cost=lambda w, batch: 0.0, data=DATA)


def test_record_samples_are_distinct_sorted_and_reproducible():
    few = recorded_samples(PROBLEM, 7)
    assert len(np.unique(few["y"])) == 7
    assert np.all(np.diff(few["y"]) > 0)
    np.testing.assert_array_equal(few["x"], DATA["x"][few["y"]])
    np.testing.assert_array_equal(few["y"], recorded_samples(PROBLEM, 7)["y"])
    np.testing.assert_array_equal(recorded_samples(PROBLEM, 20)["y"], DATA["y"])


def test_samples_with_replacement_are_uniform_and_independent():
    """The chi-squared statistic of the 16 pairs exceeds 44 with probability 0.01 %."""
    stream = order(4, 2, *range(2000), replacement=True).rows(0, 4)  # two passes
    for first, second in ((0, 1), (1, 2), (0, 2)):  # within a pass, and between passes
        pairs = 4 * stream[:, first, 0] + stream[:, second, 1]
        counts = np.bincount(pairs, minlength=16)
        assert np.sum((counts - 125) ** 2 / 125) < 44
