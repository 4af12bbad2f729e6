"""A search ends the runs that it should, and the others have the bits of a full sweep."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_problems import network, same_bits

import gdjax as gd
from gdjax.descent import Outcome
from gdjax.errors import InputError

ONE = jax.local_devices()[:1]
BOWL = gd.problems.bowl([1.0, 9.0])
X = np.linspace(-1, 1, 8, dtype=np.float32)[None]


def small_network():
    """A 1-3-1 tanh network, whose runs differ in the last bits between slots of a slab."""

    def init(key):
        first, second = jax.random.split(key)
        weights = jax.random.normal(first, (3, 1)), jax.random.normal(second, (1, 3))
        return {"first": weights[0], "bias": jnp.zeros((3, 1)), "second": weights[1]}

    def cost(w, x):
        output = w["second"] @ jnp.tanh(w["first"] @ x.T + w["bias"])
        return ((output - jnp.sin(3 * x.T)) ** 2).mean()

    return gd.Problem(init=init, cost=cost, data=X.T)


def up_to_the_end(runs, dataset, name):
    """Return a variable of another Dataset, NaN after the end of each run."""
    return dataset[name].where(dataset.step <= runs.ended_at)


def assert_same_runs(runs, full):
    """Assert that the numbers of a search are those of a sweep, up to the end of each run."""
    for name in ("cost", "batch_cost", "gradient_norm", "largest_weight"):
        if name in full:
            known = up_to_the_end(runs, full, name)
            # The record at the end of a run has the values that the last record of a sweep has.
            known = known.where((runs.step != runs.ended_at) | known.notnull(), runs[name])
            np.testing.assert_array_equal(runs[name], known)
    last = (runs.ended_at == full.step[-1]).values
    assert 0 < last.sum() < last.size
    for name in full.data_vars:
        if "step" not in full[name].dims:
            assert same_bits(runs[name].values[last], full[name].values[last]), name


def test_the_best_runs_go_on_and_have_the_bits_of_the_sweep():
    rates = gd.axes(learning_rate=np.linspace(0.01, 0.24, 24), seed=range(2))
    runs = gd.search.successive_halving(BOWL, rates, rungs=(4, 16, 64), width=7, devices=ONE)
    full = gd.sweep(BOWL, rates, 64, record_every=4, width=7, devices=ONE)
    assert_same_runs(runs, full)
    cost = full.cost.stack(run=("learning_rate", "seed")).transpose("run", "step")
    rung = runs.rung.stack(run=("learning_rate", "seed")).values
    after_4, after_16 = cost.sel(step=4).values, cost.sel(step=16).values
    second = np.argsort(after_4, kind="stable")[:12]
    third = second[np.argsort(after_16[second], kind="stable")[:3]]
    expected = np.zeros(48, int)
    expected[second] = 1
    expected[third] = 2
    np.testing.assert_array_equal(rung, expected)
    np.testing.assert_array_equal(runs.ended_at, np.array([4, 16, 64])[runs.rung.values])


def test_a_network_whose_bits_depend_on_the_slot_keeps_them():
    settings = {"record_every": 5, "width": 7, "devices": ONE}
    grid = gd.axes(learning_rate=np.geomspace(0.01, 1, 9), seed=range(4))
    runs = gd.search.successive_halving(
        small_network(), grid, rungs=(5, 20, 40), reduction_factor=3, **settings
    )
    full = gd.sweep(small_network(), grid, 40, **settings)
    assert_same_runs(runs, full)
    params = runs["params.first"].values[runs.rung.values == 0]
    assert np.isfinite(params).all()


@pytest.mark.long
def test_mini_batches_metrics_snapshots_and_parameters_at_the_end():
    grid = gd.axes(learning_rate=[0.05, 0.1, 0.2, 0.3], seed=range(2), data_seed=range(2))
    settings = {
        "make_optimizer": partial(optax.sgd, momentum=0.9), "batch_size": 6, "width": 4,
        "record_every": 4, "snapshot_every": 16, "devices": ONE,
    }  # fmt: skip
    problem = network(watched=True)
    runs = gd.search.successive_halving(problem, grid, rungs=(8, 24, 40), **settings)
    full = gd.sweep(problem, grid, 40, **settings)
    assert_same_runs(runs, full)
    snapshots = full["snapshots.first.bias"]
    known = snapshots.where(snapshots.snapshot_step <= runs.ended_at)
    np.testing.assert_array_equal(runs["snapshots.first.bias"], known)
    before = full.positive_step <= runs.ended_at
    assert bool((runs.positive_known == (full.positive_known & before)).all())
    short = gd.sweep(problem, grid, 8, **settings)
    ended = (runs.rung == 0).values
    params = "params.first.weights"
    np.testing.assert_allclose(runs[params].values[ended], short[params].values[ended], rtol=1e-5)


def test_runs_that_diverge_or_stall_never_go_on():
    def cost(w, *, kind=0):
        shapes = [w**2, jnp.zeros(()) * w + 1, -jnp.expm1(w**2 / 2)]
        return jnp.select([kind == i for i in range(3)], shapes)

    line = gd.Problem(init=lambda key: np.float32(1), cost=cost, baseline=1.0)
    grid = gd.axes(kind=[0, 1, 2], learning_rate=[0.01, 0.1, 0.2])
    runs = gd.search.successive_halving(
        line, grid, rungs=(10, 20), reduction_factor=2, direction="maximize",
        divergence_threshold=1e3,
    )  # fmt: skip
    ended = runs.outcome.where(runs.rung == 0)
    assert (runs.rung.sel(kind=0) == 1).all()
    assert (ended.sel(kind=1) == Outcome.STALLED).all()
    steep = gd.Problem(init=lambda key: np.float32(1), cost=lambda w: w**2)
    rates = gd.axes(learning_rate=[5.0, 6.0, 7.0])
    runs = gd.search.successive_halving(steep, rates, rungs=(40, 80), direction="maximize")
    assert (runs.ended_at == 40).all()
    assert (runs.outcome == Outcome.DIVERGED).all()


def test_equal_values_are_ordered_by_position():
    flat = gd.Problem(init=lambda key: np.float32(1), cost=lambda w: w)
    grid = gd.axes(learning_rate=[0.1], seed=range(6))
    for direction in ("minimize", "maximize"):
        runs = gd.search.successive_halving(
            flat, grid, rungs=(2, 4), reduction_factor=3, direction=direction
        )
        assert runs.rung.values.ravel().tolist() == [1, 1, 0, 0, 0, 0]


def test_dense_slabs_give_the_numbers_up_to_rounding(monkeypatch):
    slabs = []

    def count(table):
        slabs.append(len(table))
        return table

    from gdjax.search import rungs as module

    for name in ("pack", "pack_densely"):
        packs = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args, packs=packs: count(packs(*args)))
    grid = gd.axes(learning_rate=np.geomspace(0.01, 0.1, 8), seed=range(4))
    settings = {"rungs": (5, 20), "width": 4, "devices": ONE}
    kept = gd.search.successive_halving(small_network(), grid, **settings)
    dense = gd.search.successive_halving(small_network(), grid, keep_slots=False, **settings)
    assert slabs[0] == slabs[2] == 8
    assert slabs[1] >= slabs[3] == 2
    np.testing.assert_array_equal(kept.rung, dense.rung)
    np.testing.assert_allclose(kept.cost, dense.cost, rtol=1e-4)


@pytest.mark.long
def test_static_axes_are_compared_with_each_other():
    grid = gd.axes(batch_size=[4, 8], learning_rate=[0.05, 0.1, 0.2, 0.4])
    settings = {"record_every": 4, "width": 2, "devices": ONE}
    runs = gd.search.successive_halving(
        network(), grid, rungs=(4, 12), reduction_factor=2, **settings
    )
    full = gd.sweep(network(), grid, 12, **settings)
    assert_same_runs(runs, full)
    best = np.sort(full.cost.sel(step=4).values.ravel())[:4]
    assert set(best.tolist()) == set(runs.cost.sel(step=4).values[runs.rung.values == 1].tolist())


BAD = {
    "and 10 follows 40": {"rungs": [40, 10]},
    "and 10 follows 10": {"rungs": [10, 10]},
    "rungs: an entry = 0": {"rungs": [0, 10]},
    "reduction_factor = 1,": {"reduction_factor": 1},
    "metric = 'accuracy', expected the name of a recorded number: one of cost": {
        "metric": "accuracy"
    },
    "direction = 'up'": {"direction": "up"},
    "unexpected axis 'rate'": {"axes": gd.axes(rate=[0.1])},
    "axes: rung is a name": {"axes": gd.axes(rung=gd.zip_axes(learning_rate=[0.1, 0.2]))},
    "a multiple of it": {"rungs": [10, 40], "record_every": 4},
    "root_seed = -1": {"root_seed": -1},
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_refused_before_any_work(message, monkeypatch):
    monkeypatch.setattr("gdjax.search.halving.execute", lambda *_, **__: pytest.fail("it worked"))
    settings = {"problem": BOWL, "axes": gd.axes(learning_rate=[0.1, 0.2]), **BAD[message]}
    with pytest.raises(InputError) as caught:
        gd.search.successive_halving(**settings)
    assert message in str(caught.value)


def test_a_metric_that_is_an_array_cannot_be_compared():
    with pytest.raises(InputError, match=r"metric = 'positive', expected .* cost, largest_weight"):
        gd.search.successive_halving(
            network(watched=True), gd.axes(learning_rate=[0.1, 0.2]), rungs=(6, 12),
            metric="positive",
        )  # fmt: skip
