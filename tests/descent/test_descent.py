"""Records, snapshots and continuation of `descend`, compared with NumPy loops."""

import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdjax as gd
from gdjax.base import slabs
from gdjax.descent.batches import Order
from gdjax.descent.outcome import Outcome
from gdjax.descent.step import objective
from gdjax.problems.metrics import described

KEY = jax.random.key(0)
SGD, ADAM, MOMENTUM = optax.sgd(0.1), optax.adam(0.05), optax.sgd(0.05, momentum=0.9)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 3)).astype(np.float32)
Y = (X @ [1.0, -2.0, 0.5] + 0.1 * RNG.normal(size=30)).astype(np.float32)
START = jnp.zeros(3)


def mean_square(w, batch):
    return jnp.mean((batch[0] @ w - batch[1]) ** 2)


def line(**fields):
    return gd.Problem(init=lambda key: START, cost=mean_square, data=(X, Y), **fields)


LINE = line()
BOWL = gd.Problem(init=lambda key: jnp.ones(2), cost=lambda w: jnp.sum(w**2))


def by_hand(rate, steps, rows=None):
    """Return float64 parameters, full-batch costs and mini-batch costs at all steps."""
    x, y, w = X.astype(float), Y.astype(float), np.zeros(3)
    path, complete, part = [], [], []
    for t in range(steps + 1):
        xb, yb = (x, y) if rows is None else (x[rows[t]], y[rows[t]])
        r = xb @ w - yb
        path.append(w)
        complete.append(np.mean((x @ w - y) ** 2))
        part.append(np.mean(r**2))
        w = w - rate * 2 * xb.T @ r / len(r)
    return np.array(path), np.array(complete), np.array(part)


def assert_same_bits(a, b):
    for left, right in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(left, right)


# -- records


@pytest.mark.parametrize("batch_size", [None, 1, 7, 30])
def test_a_descent_equals_a_numpy_loop(batch_size):
    """The recorded cost is that of the full batch before the update."""
    metrics = {
        "first": gd.Metric(lambda _, w: w[0]),
        "sum": gd.Metric(lambda problem, w: jnp.sum(problem.data * w), data=jnp.ones(3), every=3),
    }
    options = {"record_every": 4, "snapshot_every": 8, "metrics": metrics}
    run = gd.descend(LINE, SGD, START, 25, key=KEY, batch_size=batch_size, **options)
    is_whole = batch_size is None
    rows = None if is_whole else Order([KEY], 30, batch_size).rows(0, 26)[0]
    path, complete, part = by_hand(0.1, 25, rows)
    at, rtol = run.recorded_steps, 1e-5 if is_whole else 1e-4
    assert (run.num_steps, at.tolist()) == (25, [*range(0, 25, 4), 25])
    np.testing.assert_allclose(run.cost, complete[at], rtol=rtol)
    np.testing.assert_allclose(run.params, path[25], rtol=rtol)
    # There is no batch before the first step, and none at all without mini-batches.
    batch_costs = [part[a:b].mean() for a, b in itertools.pairwise(at)]
    expected = np.full(8, np.nan) if is_whole else [np.nan, *batch_costs]
    np.testing.assert_allclose(run.batch_cost, expected, rtol=rtol)
    slopes = np.linalg.norm((path[at] @ X.T - Y) @ X * 2 / 30, axis=1)
    slopes[:-1] += 0 if is_whole else np.nan  # mini-batches have one at the last record only
    np.testing.assert_allclose(run.gradient_norm, slopes, rtol=10 * rtol)
    assert run.snapshot_step.tolist() == [0, 8, 16, 24, 25]
    np.testing.assert_allclose(run.snapshots, path[run.snapshot_step], rtol=rtol)
    assert_same_bits(run.snapshots[-1], run.params)
    np.testing.assert_allclose(run.metrics["first"], path[at, 0], rtol=rtol)
    sums = np.where((at % 12 == 0) | (at == 25), path[at].sum(axis=1), np.nan)
    np.testing.assert_allclose(run.metrics["sum"], sums, rtol=10 * rtol)


def test_microbatches_of_unequal_length_give_the_mean_over_all_samples(float64):
    """2,003 samples form microbatches of 1,000, 1,000 and 3 samples."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2003, 4)), rng.normal(size=2003)
    problem = gd.Problem(init=lambda key: jnp.zeros(4), cost=mean_square, data=(x, y))
    run = gd.descend(problem, SGD, jnp.zeros(4), 1, key=KEY)
    np.testing.assert_allclose(run.cost[0], np.mean(y**2), rtol=1e-12)
    np.testing.assert_allclose(run.params, 0.1 * 2 * x.T @ y / 2003, rtol=1e-11)


def test_a_line_search_evaluates_all_samples_in_microbatches(float64):
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(2003, 4)) * np.array([1, 2, 5, 9]), rng.normal(size=2003)
    observed = []

    def cost(w, batch):
        observed.append(len(batch[1]))
        return mean_square(w, batch)

    requested = objective(cost, (x, y), microbatch=1000)
    np.testing.assert_allclose(requested.value(jnp.zeros(4)), np.mean(y**2), rtol=1e-12)
    gradient = requested.gradient(jnp.zeros(4))
    np.testing.assert_allclose(gradient, -2 * x.T @ y / 2003, rtol=1e-11)
    assert set(observed) == {1000, 3}


# -- metrics


def counter(every=1):
    """Return a metric that counts its earlier evaluations."""
    begin = described(init=lambda problem, w: 0)
    return gd.Metric(begin(lambda problem, w, count: (count, count + 1)), every=every)


def test_a_metric_may_have_a_state():
    run = gd.descend(LINE, SGD, START, 7, key=KEY, metrics={"asked": counter(2)})
    np.testing.assert_array_equal(run.metrics["asked"], [0, np.nan, 1, np.nan, 2, np.nan, 3, 4])
    more = gd.descend(LINE, SGD, run, 2, key=KEY, metrics={"asked": counter()})
    assert more.metrics["asked"].tolist() == [5, 6]


def test_metrics_of_the_problem_are_recorded_unless_metrics_are_passed():
    problem = line(metrics={"own": gd.Metric(lambda _, w: w[0])})
    assert set(gd.descend(problem, SGD, START, 1, key=KEY).metrics) == {"own"}
    assert set(gd.descend(problem, SGD, START, 1, key=KEY, metrics={}).metrics) == set()


# -- continuation


@pytest.mark.long
@pytest.mark.parametrize("batch_size", [None, 7])
@pytest.mark.parametrize(
    "optimizer",
    [SGD, ADAM, MOMENTUM, optax.sgd(optax.cosine_decay_schedule(0.1, 100)), optax.lbfgs()],
    ids=["sgd", "adam", "momentum", "schedule", "lbfgs"],
)
def test_ten_and_ninety_further_steps_equal_a_hundred_steps(optimizer, batch_size):
    options = {"key": KEY, "batch_size": batch_size, "record_every": 5}
    complete = gd.descend(LINE, optimizer, START, 100, **options)
    first = gd.descend(LINE, optimizer, START, 10, **options)
    rest = gd.descend(LINE, optimizer, first, 90, **options)
    assert_same_bits(rest.params, complete.params)
    assert_same_bits(rest.carry.state.opt_state, complete.carry.state.opt_state)
    for name in ("recorded_steps", "cost", "batch_cost"):
        joined = np.concatenate([getattr(first, name), getattr(rest, name)])
        np.testing.assert_array_equal(joined, getattr(complete, name))
    assert rest.num_steps == 100


@pytest.mark.parametrize("batch_size", [None, 7])
def test_continuing_a_descent_for_zero_steps_changes_nothing(batch_size):
    """A converged descent remains converged, since it is evaluated on the full batch."""
    problem = gd.Problem(init=lambda key: START, cost=mean_square, data=(X, X @ np.ones(3)))
    first = gd.descend(problem, SGD, START, 400, key=KEY, batch_size=batch_size)
    again = gd.descend(problem, SGD, first, 0, key=KEY, batch_size=batch_size)
    assert first.outcome == again.outcome == Outcome.CONVERGED
    assert_same_bits(again.params, first.params)
    assert_same_bits(again.carry.state, first.carry.state)
    assert (again.num_steps, again.recorded_steps.tolist()) == (400, [400])
    assert (again.cost[0], again.gradient_norm[0]) == (first.cost[-1], first.gradient_norm[-1])


def test_a_finished_descent_can_be_continued_more_than_once():
    first = gd.descend(LINE, ADAM, START, 10, key=KEY)
    before = np.array(first.params)
    ends = [gd.descend(LINE, ADAM, first, 5, key=KEY).params for _ in range(2)]
    assert_same_bits(*ends)
    assert_same_bits(first.params, before)


def test_a_descent_continued_on_another_problem_uses_its_gradient():
    """The first step uses the new cost, or the full batch instead of mini-batches."""
    first = gd.descend(BOWL, SGD, jnp.ones(2), 3, key=KEY)
    moved = gd.Problem(init=BOWL.init, cost=lambda w: jnp.sum((w - 5) ** 2))
    continued = gd.descend(moved, SGD, first, 1, key=KEY)
    np.testing.assert_allclose(continued.params, first.params - 0.2 * (first.params - 5), rtol=1e-6)
    batched = gd.descend(LINE, SGD, START, 3, key=KEY, batch_size=2)
    complete = gd.descend(LINE, SGD, batched, 1, key=KEY)
    slope = 2 * X.T @ (X @ np.asarray(batched.params) - Y) / 30
    np.testing.assert_allclose(complete.params, batched.params - 0.1 * slope, rtol=1e-5)


# -- unchanged arguments, and compilation


@pytest.mark.parametrize(
    "mine",
    [
        lambda: jnp.ones(2),
        lambda: jax.device_put(jnp.ones(2), jax.devices()[2]),
        lambda: np.ones(2, np.float32),
        lambda: [1.0, 1.0],
    ],
    ids=["jax", "on another device", "numpy", "numbers"],
)
def test_the_initial_parameters_of_the_caller_are_unchanged(mine):
    start, problem = mine(), gd.Problem(init=BOWL.init, cost=lambda w: w[0] ** 2 + w[1] ** 2)
    result = [gd.descend(problem, SGD, start, 200, key=KEY) for _ in range(2)]
    assert np.asarray(start).tolist() == [1.0, 1.0]
    for run in result:
        np.testing.assert_allclose(run.params, 0.8**200, rtol=1e-4)
        np.testing.assert_allclose(run.cost[:3], [2, 2 * 0.8**2, 2 * 0.8**4], rtol=1e-6)


SCALES = itertools.count(1)  # so that no test compiles the program of another


@pytest.mark.long
@pytest.mark.parametrize("batch_size", [None, 7])
@pytest.mark.parametrize(
    "start", [START, 0.0, jax.device_put(START, jax.devices()[1])], ids=["array", "number", "there"]
)
def test_a_descent_compiles_its_program_once(batch_size, start):
    """An equal cost is traced to be compared, but not to be compiled for other numbers of steps."""
    traces, scale = [], next(SCALES)
    for steps in (5, 1001):
        count = []

        def cost(w, batch, count=count):
            count.append(1)
            return scale * jnp.mean((batch[0] @ (w + jnp.zeros(3)) - batch[1]) ** 2)

        problem = gd.Problem(init=lambda key: START, cost=cost, data=(X, Y))
        run = gd.descend(problem, ADAM, start, steps, key=KEY, batch_size=batch_size)
        assert run.num_steps == steps
        traces.append(len(count))
    assert traces[1] < traces[0]


@pytest.fixture
def lowered(monkeypatch):
    """Return a list to which every called program appends its lowered text."""
    texts = []

    def call(self, *arguments):
        texts.append(self.jitted.lower(*arguments).as_text())
        return self.compile(*arguments).executable(*arguments)

    monkeypatch.setattr(slabs.CompiledFunction, "__call__", call)
    return texts


@pytest.mark.long
@pytest.mark.parametrize("batch_size", [None, 7])
def test_data_are_arguments_of_the_program_and_not_constants(lowered, batch_size):
    x = RNG.normal(size=(500, 20)).astype(np.float32)
    y = x[:, 0]
    metric = gd.Metric(lambda problem, w: jnp.mean(problem.data @ w), data=jnp.asarray(x))
    problem = gd.Problem(
        init=lambda key: jnp.zeros(20), cost=mean_square, data=(x, y), metrics={"m": metric}
    )
    gd.descend(problem, SGD, jnp.zeros(20), 2, key=KEY, batch_size=batch_size)
    constants = re.findall(r"dense<[^>]*>", "".join(lowered))
    assert max(map(len, constants)) < 2000


@pytest.mark.parametrize("make_optimizer", [optax.sgd, optax.adam, optax.adamw])
def test_another_rate_compiles_nothing(make_optimizer):
    """The numbers of an optimizer are arguments of the program, and its results are unchanged."""
    calls = []

    def cost(w):
        calls.append(1)
        return jnp.sum(jnp.cosh(w) + w**4)

    counts, start = [], jnp.array([1.0, -0.5])
    for rate in (0.01, 0.02, 0.03):
        calls.clear()
        run = gd.descend(cost, make_optimizer(rate), start, 3, key=jax.random.key(0))
        counts.append((len(calls), run.seconds["compile"] > 0))
        state = gd.descent.init(make_optimizer(rate), start)
        for _ in range(3):
            state, _ = gd.descent.step(cost, make_optimizer(rate), state)
        np.testing.assert_allclose(run.params, state.params, rtol=1e-6)
    assert counts[0][1]
    assert counts[1] == counts[2] == (1, False)
