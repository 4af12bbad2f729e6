"""Successive halving: the stopped runs, and bitwise equality with a sweep."""

import contextlib
import math
import signal
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_problems import network, read_store, same_bits

import gdjax as gd
from gdjax.base import array_file
from gdjax.base.errors import StoreError
from gdjax.descent import Outcome
from gdjax.search import rungs as rungs_module
from gdjax.search.rungs import Search

ONE = jax.local_devices()[:1]
BOWL = gd.problems.bowl([1.0, 9.0])
SEARCH = {"reduction_factor", "num_brackets", "metric", "direction", "median_over", "store"}


def halved(problem, axes, rungs, **settings):
    """Search a grid on one device, with the settings of the sweep and of the search."""
    settings = {"record_every": math.gcd(*rungs), **settings}
    search = {name: settings.pop(name) for name in SEARCH & settings.keys()}
    sweep = gd.Sweep(problem, axes, rungs[-1], **settings)
    return gd.search.successive_halving(sweep, rungs[:-1], **search, devices=ONE)


def assert_same_runs(runs, full):
    """Assert that a search equals a sweep, up to the end of each run."""
    for name in ("cost", "batch_cost", "gradient_norm", "largest_weight"):
        if name in full:
            known = full[name].where(full.step <= runs.ended_at)
            # The last record of a searched run contains values where that of the sweep may be NaN.
            known = known.where((runs.step != runs.ended_at) | known.notnull(), runs[name])
            np.testing.assert_array_equal(runs[name], known)
    last = (runs.ended_at == full.step[-1]).values
    assert 0 < last.sum() < last.size
    for name in full.data_vars:
        if "step" not in full[name].dims:
            assert same_bits(runs[name].values[last], full[name].values[last]), name


def test_the_best_runs_are_bitwise_equal_to_those_of_the_sweep():
    rates = gd.axes(learning_rate=np.linspace(0.01, 0.24, 24), seed=range(2))
    runs = halved(BOWL, rates, rungs=(4, 16, 64))
    full = gd.sweep(BOWL, rates, 64, record_every=4, devices=ONE)
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
    assert "bracket" not in runs


@pytest.mark.long
def test_batches_metrics_snapshots_and_parameters_equal_those_of_a_sweep_over_static_axes():
    grid = gd.axes(learning_rate=[0.05, 0.1, 0.2, 0.3], batch_size=[6, 8], data_seed=range(2))
    settings = {
        "make_optimizer": partial(optax.sgd, momentum=0.9), "record_every": 4, "snapshot_every": 16,
    }  # fmt: skip
    problem = network(watched=True)
    runs = halved(problem, grid, rungs=(8, 24, 40), **settings)
    full = gd.sweep(problem, grid, 40, **settings)
    assert_same_runs(runs, full)
    best = np.sort(full.cost.sel(step=8).values.ravel())[:4]  # of runs of both batch sizes
    assert set(best.tolist()) == set(runs.cost.sel(step=8).values[runs.rung.values > 0].tolist())
    snapshots = full["snapshots.first.bias"]
    known = snapshots.where(snapshots.snapshot_step <= runs.ended_at)
    np.testing.assert_array_equal(runs["snapshots.first.bias"], known)
    before = full.positive_step <= runs.ended_at
    assert bool((runs.positive_known == (full.positive_known & before)).all())
    short = gd.sweep(problem, grid, 8, **settings)
    ended = (runs.rung == 0).values
    params = "params.first.weights"
    np.testing.assert_allclose(runs[params].values[ended], short[params].values[ended], rtol=1e-5)


def test_diverged_and_stalled_runs_are_not_continued():
    def cost(w, *, kind=0):
        shapes = [w**2, jnp.zeros(()) * w + 1, -jnp.expm1(w**2 / 2)]
        return jnp.select([kind == i for i in range(3)], shapes)

    line = gd.Problem(init=lambda key: np.float32(1), cost=cost, baseline=1.0)
    grid = gd.axes(kind=[0, 1, 2], learning_rate=[0.01, 0.1, 0.2])
    runs = halved(
        line, grid, rungs=(10, 20), reduction_factor=2, direction="maximize",
        divergence_threshold=1e3,
    )  # fmt: skip
    ended = runs.outcome.where(runs.rung == 0)
    assert (runs.rung.sel(kind=0) == 1).all()
    assert (ended.sel(kind=1) == Outcome.STALLED).all()
    steep = gd.Problem(init=lambda key: np.float32(1), cost=lambda w: w**2)
    rates = gd.axes(learning_rate=[5.0, 6.0, 7.0])
    runs = halved(steep, rates, rungs=(40, 80), direction="maximize")
    assert (runs.ended_at == 40).all()
    assert (runs.outcome == Outcome.DIVERGED).all()


def test_without_a_reduction_factor_only_stopped_runs_end(monkeypatch):
    computed = []
    compute = Search.compute

    def count(search, program, rung, *arguments):
        computed.append(rung)
        return compute(search, program, rung, *arguments)

    monkeypatch.setattr(Search, "compute", count)
    # Rates above 2 / 9 diverge. The smaller the others are, the later the gradient vanishes.
    rates = gd.axes(learning_rate=np.geomspace(0.4, 0.002, 24))
    settings = {"gradient_tolerance": 1e-3, "divergence_threshold": 1e3}
    runs = halved(BOWL, rates, rungs=(20, 80, 320), reduction_factor=None, **settings)
    full = gd.sweep(BOWL, rates, 320, record_every=20, **settings)
    assert_same_runs(runs, full)
    for rung in (20, 80):
        diverged = (full.diverged_at >= 0) & (full.diverged_at <= rung)
        stopped = diverged | (full.gradient_norm <= 1e-3).sel(step=rung)
        np.testing.assert_array_equal(runs.ended_at <= rung, stopped)
    slabs = [-(-int((runs.rung >= rung).sum()) // 4) for rung in range(3)]
    assert [computed.count(rung) for rung in range(3)] == slabs
    assert 6 == slabs[0] >= slabs[1] > slabs[2] > 0


def test_ties_are_resolved_by_position():
    flat = gd.Problem(init=lambda key: np.float32(1), cost=lambda w: w)
    grid = gd.axes(learning_rate=[0.1], seed=range(6))
    for direction in ("minimize", "maximize"):
        runs = halved(flat, grid, rungs=(2, 4), reduction_factor=3, direction=direction)
        assert runs.rung.values.ravel().tolist() == [1, 1, 0, 0, 0, 0]


def test_medians_of_large_numbers_do_not_overflow():
    """After four steps, the metric is 1e38 times the slope, for both seeds."""
    metrics = {"large": gd.Metric(lambda _, w: -1e38 * w)}
    line = gd.Problem(lambda key: np.float32(0), lambda w, *, slope: slope * w, metrics=metrics)
    grid = gd.axes(slope=[3.0, 2.0], learning_rate=[0.25], seed=range(2))
    search = {"metric": "large", "median_over": "seed", "reduction_factor": 2}
    runs = halved(line, grid, rungs=(4, 5), **search)
    assert runs.rung.sel(seed=0).values.ravel().tolist() == [0, 1]


@pytest.mark.parametrize("num_brackets", [1, None])
def test_settings_are_compared_by_their_median_over_seeds(num_brackets):
    """Of each setting, one of five seeds starts so far away that it diverges."""

    def init(key):
        return jnp.where(jax.random.uniform(key) < 0.2, 1e9, 1.0) * jax.random.normal(key, (2,))

    problem = gd.Problem(init=init, cost=BOWL.cost)
    grid = gd.axes(seed=range(5), learning_rate=np.linspace(0.01, 0.21, 16))
    search = {"median_over": "seed", "num_brackets": num_brackets}
    runs = halved(problem, grid, rungs=(4, 16), **search)
    full = gd.sweep(problem, grid, 16, record_every=4, devices=ONE)
    cost = (
        full.cost.sel(step=4).where(full.outcome != Outcome.DIVERGED, np.inf).transpose("seed", ...)
    )
    diverged = (runs.outcome == Outcome.DIVERGED).transpose("seed", ...).values
    assert 0 < diverged.sum() < 40
    medians = np.median(cost, axis=0)
    reached = (runs.rung == 1).transpose("seed", ...).values
    first = np.ones(16, bool)
    if num_brackets is None:
        bracket = runs.bracket.transpose("seed", ...).values
        assert (bracket == bracket[0]).all()
        first = bracket[0] == 0
        assert reached[:, ~first][~diverged[:, ~first]].all()
    best = np.flatnonzero(first)[np.argsort(medians[first])[: first.sum() // 4]]
    expected = np.isin(np.arange(16), best) & ~diverged
    np.testing.assert_array_equal(reached[:, first], expected[:, first])


def test_the_worst_runs_of_each_bracket_end_at_its_rungs():
    rates = gd.axes(learning_rate=np.linspace(0.01, 0.24, 24), seed=range(2))
    runs = halved(BOWL, rates, rungs=(4, 16, 64), num_brackets=None)
    full = gd.sweep(BOWL, rates, 64, record_every=4)
    assert_same_runs(runs, full)
    bracket, rung = runs.bracket.values.ravel(), runs.rung.values.ravel()
    ended = [np.bincount(rung[bracket == b], minlength=3).tolist() for b in range(3)]
    assert ended == [[24, 6, 1], [0, 9, 2], [0, 0, 6]]
    cost = full.cost.values.reshape(48, -1)
    for b, r, step in ((0, 0, 1), (0, 1, 4), (1, 1, 4)):
        members = (bracket == b) & (rung >= r)
        assert cost[members & (rung > r), step].max() <= cost[members & (rung == r), step].min()


GRID = gd.axes(learning_rate=np.geomspace(0.02, 1, 6), seed=range(4))
SETTINGS = {
    "problem": network(watched=True), "axes": GRID, "rungs": (6, 24, 48), "record_every": 2,
    "snapshot_every": 12, "make_optimizer": partial(optax.sgd, momentum=0.5),
    "reduction_factor": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def in_memory():
    return halved(**SETTINGS)


def interrupt(monkeypatch, store, after):
    """Run a search, stop it after `after` slabs, and return the number of slabs that took steps."""
    computed = []
    start = rungs_module.start_blocks

    def counted(program, values, device, state, *, last, **settings):
        if state is None or state.step < last:
            if len(computed) == after:
                raise InterruptedError
            computed.append(values)
        return start(program, values, device, state, last=last, **settings)

    with monkeypatch.context() as patch, contextlib.suppress(InterruptedError):
        patch.setattr(rungs_module, "start_blocks", counted)
        halved(**SETTINGS, store=store).close()
    return len(computed)


@pytest.mark.long
def test_a_stored_search_resumes_after_interruptions_and_is_bitwise_equal(
    tmp_path, monkeypatch, in_memory
):
    store = tmp_path / "s.zarr"
    counts = [interrupt(monkeypatch, store, after) for after in (3, 4, 2, 100)]
    slabs = interrupt(monkeypatch, tmp_path / "whole.zarr", 100)
    assert counts[:3] == [3, 4, 2]
    assert sum(counts) == slabs
    assert same_bits(read_store(store), in_memory)
    assert not list((store / ".gdjax" / "checkpoints").iterdir())
    assert interrupt(monkeypatch, store, 0) == 0


@pytest.mark.long
def test_fewer_slabs_are_computed_to_repair_a_damaged_tile(tmp_path, monkeypatch, in_memory):
    slabs = interrupt(monkeypatch, tmp_path, 100)
    with gd.open_dataset(tmp_path) as runs:
        tile = int(runs.rung.argmax(...)["learning_rate"]) // runs.cost.encoding["chunks"][0]
    chunk = tmp_path / "cost" / f"c.{tile}.0.0"
    raw = bytearray(chunk.read_bytes())
    raw[5] ^= 1
    chunk.write_bytes(raw)
    with pytest.warns(UserWarning, match="was damaged"):
        again = interrupt(monkeypatch, tmp_path, 100)
    assert 0 < again < slabs
    assert same_bits(read_store(tmp_path), in_memory)


def test_invalid_saved_runs_are_ignored(tmp_path, monkeypatch, in_memory):
    interrupt(monkeypatch, tmp_path, 3)
    folder = tmp_path / ".gdjax" / "checkpoints"
    saved = sorted(folder.iterdir())
    assert len(saved) == 3
    arrays, meta = array_file.unpack(saved[0].read_bytes())
    bad = [
        {**arrays, "runs": arrays["runs"] + 10**6},
        {**arrays, "runs": arrays["runs"] * 0},
        {**arrays, "records.cost": arrays["records.cost"][:, :1]},
    ]
    for number, changed in enumerate(bad):
        name = f"rung.0.0.{100 + number}"
        own_place = {**meta, "key": f".gdjax/checkpoints/{name}"}
        (folder / name).write_bytes(array_file.pack(changed, own_place))
    saved[0].unlink()
    saved[1].write_bytes(b"damaged")
    (folder / "rung.0.0.x").mkdir()
    interrupt(monkeypatch, tmp_path, 100)
    assert same_bits(read_store(tmp_path), in_memory)


def test_a_store_of_a_search_rejects_other_searches_and_operations_on_sweeps(tmp_path):
    store = tmp_path / "s.zarr"
    rates = gd.axes(learning_rate=[0.1, 0.2])
    settings = {"rungs": (2, 4), "reduction_factor": 2, "store": store}
    halved(BOWL, rates, **settings).close()
    with pytest.raises(StoreError, match="contains another sweep: reduction_factor: stored 2, exp"):
        halved(BOWL, rates, **{**settings, "reduction_factor": 3})
    with pytest.raises(StoreError, match="contains another sweep: rungs: stored"):
        gd.sweep(BOWL, rates, 4, store=store, record_every=2)
    for function in (gd.resume, lambda store: gd.replay(store, {"learning_rate": 0.1})):
        with pytest.raises(StoreError, match="contains a search"):
            function(store)
    with gd.open_dataset(store) as runs:
        assert [len(run.step) for run in gd.sweeps.histories(runs)] == [3, 3]


@pytest.mark.parametrize("rung", [0, 2])
def test_an_interrupted_slab_resumes_at_its_step(tmp_path, monkeypatch, in_memory, rung):
    store, begins = tmp_path / "s.zarr", []
    start, compute = rungs_module.start_blocks, Search.compute

    def stop_at_a_block(self, program, number, should_stop, *arguments):
        if number == rung:
            program.controller.num_steps = 3  # several blocks before the rung
            signal.raise_signal(signal.SIGINT)
        return compute(self, program, number, should_stop, *arguments)

    def begin(program, values, device, state=None, **settings):
        begins.append(0 if state is None else state.step)
        return start(program, values, device, state, **settings)

    monkeypatch.setattr(rungs_module, "start_blocks", begin)
    monkeypatch.setattr(Search, "compute", stop_at_a_block)
    with pytest.raises(KeyboardInterrupt):
        halved(**SETTINGS, store=store)
    assert list((store / ".gdjax" / "checkpoints").glob(f"rung.{rung}.*"))
    monkeypatch.setattr(Search, "compute", compute)
    begins.clear()
    halved(**SETTINGS, store=store).close()
    assert any((0, 6, 24)[rung] < step < (6, 24, 48)[rung] for step in begins)
    assert not list((store / ".gdjax" / "checkpoints").iterdir())
    assert same_bits(read_store(store), in_memory)
    assert gd.stores.verify(store) == []
