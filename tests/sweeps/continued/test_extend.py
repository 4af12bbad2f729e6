"""Extended sweeps and static axes, which are bitwise equal to one sweep."""

import json
import threading
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import xarray as xr
from small_problems import same_bits

import gdjax as gd
from gdjax.problems.metrics import described
from gdjax.stores.reader import Stored
from gdjax.sweeps import executor, run_of

OPTIMIZER = partial(optax.sgd, momentum=0.5)
RATES, SEEDS = [0.1, 0.4], [0, 1, 2]
OPTIONS = {
    "make_optimizer": OPTIMIZER,
    "batch_size": 2,
    "record_every": 3,
    "snapshot_every": 6,
}


def cost(w, batch, scale=1.0, *, shape="square"):
    distance = {"square": jnp.square, "wave": lambda x: 1 - jnp.cos(x)}[shape](batch @ w)
    return scale * jnp.mean(distance)


@described(init=lambda problem, w: jnp.zeros(()))
def largest(problem, w, memory):
    return jnp.max(jnp.abs(w)) + memory, memory + 1


def drawn(problem, w, *, key, opt_state):
    return jax.random.normal(key, (2,)) + opt_state[0].trace[:2]


LINE = gd.Problem(
    init=lambda key, shift=0.0: jax.random.normal(key, (3,)) + shift,
    cost=cost,
    data=jnp.arange(12.0).reshape(4, 3) / 10,
    metrics={
        "largest": gd.Metric(largest, every=2),
        "drawn": gd.Metric(drawn, every=2, dims=("draw",)),
    },
)


def sweep_of(path, rates, seeds, steps, **changed):
    grid = gd.axes(learning_rate=rates, seed=seeds)
    return gd.sweep(LINE, grid, steps, store=path, **{**OPTIONS, **changed})


def equal(a, b):
    """Return the names of numeric variables that differ, except states."""
    names = {name for name in a.variables if name != "finished"}
    assert names == {n for n in b.variables if n != "finished" and not n.startswith("carry")}
    text = {name for name in names if a[name].dtype == object}
    assert all(a[name].values.tolist() == b[name].values.tolist() for name in text)
    return [name for name in sorted(names - text) if not same_bits(a[name], b[name])]


def larger(path, to, rates=RATES, seeds=SEEDS, steps=20, **options):
    grid = gd.axes(learning_rate=rates, seed=seeds)
    return gd.extend(path, grid, steps, to=to, problem=LINE, make_optimizer=OPTIMIZER, **options)


@pytest.fixture(scope="module")
def complete_sweep():
    return sweep_of(None, RATES, SEEDS, 20)


def contents(path):
    return {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}


# Larger sweeps


@pytest.mark.long
def test_an_axis_is_extended_without_recomputing_stored_tiles(complete_sweep, tmp_path, computed):
    old, new = tmp_path / "old", tmp_path / "new"
    sweep_of(old, [0.4], [2, 0], 20)
    before = contents(old)
    computed.clear()
    result = larger(old, new)
    assert equal(complete_sweep, result) == []
    assert contents(old) == before
    tiles = Stored(new).finished().size
    assert len(computed) == tiles - 1  # a tile of two runs was copied
    first = json.loads(gd.open_dataset(old).attrs["writers"])
    assert json.loads(result.attrs["writers"]) == first  # both stores have the same writer
    computed.clear()
    assert equal(complete_sweep, larger(old, new)) == []  # all tiles are finished
    assert computed == []
    with xr.open_zarr(new, chunks=None) as plain:  # the complete sweep, stored values first
        assert plain.learning_rate.values.tolist() == [0.4, 0.1]
        assert plain.seed.values.tolist() == [2, 0, 1]
        assert same_bits(plain.cost.sortby(["learning_rate", "seed"]), complete_sweep.cost)
    assert gd.stores.verify(new) == []


@pytest.mark.long
@pytest.mark.parametrize(  # the long sweep records step 9, not step 11
    ("steps", "continuable"), [(9, True), (11, True), (11, False)]
)
def test_further_steps_are_bitwise_equal_to_those_of_one_sweep(
    complete_sweep, tmp_path, continuable, steps, first_steps
):
    sweep_of(tmp_path / "old", RATES, [0, 1], steps, continuable=continuable)
    first_steps.clear()
    if continuable:
        result = larger(tmp_path / "old", tmp_path / "new")
        assert set(first_steps) == {0, steps}
    else:
        with pytest.warns(UserWarning, match=f"which takes {steps * 4} more run-steps"):
            result = larger(tmp_path / "old", tmp_path / "new")
        assert set(first_steps) == {0}
    assert equal(complete_sweep, result) == []
    at = {"learning_rate": 0.1, "seed": 1}
    assert gd.replay(tmp_path / "new", at, problem=LINE, make_optimizer=OPTIMIZER).equal
    run = run_of(tmp_path / "new", {"learning_rate": 0.4, "seed": 1}, LINE)
    assert run.snapshot_step.tolist() == [0, 6, 12, 18, 20]
    assert same_bits(run.params, complete_sweep.params[1, 1])


@pytest.mark.long
def test_an_unfinished_store_is_extended(complete_sweep, tmp_path, computed):
    old = tmp_path / "old"
    sweep_of(old, RATES, [0, 1], 20, devices=jax.local_devices()[:1])
    records = sorted((old / ".gdjax/tiles").iterdir())
    records[0].unlink()
    (old / "cost" / f"c.{records[1].name}.0").write_bytes(b"damaged")
    computed.clear()
    assert equal(complete_sweep, larger(old, tmp_path / "new")) == []
    assert len(computed) == Stored(tmp_path / "new").finished().size - len(records) + 2


def test_an_interrupted_extension_resumes(complete_sweep, tmp_path, monkeypatch):
    old, new = tmp_path / "old", tmp_path / "new"
    sweep_of(old, RATES, [0, 1], 11, continuable=True)
    compute, first = executor.run_tiles, threading.Event()

    def interrupt(plan, tiles, *rest):
        if tiles[0] != (0, 0):
            first.wait(timeout=60)  # otherwise the first tile may be stopped
            raise KeyboardInterrupt
        result = compute(plan, tiles, *rest)
        first.set()
        return result

    monkeypatch.setattr(executor, "run_tiles", interrupt)
    with pytest.raises(KeyboardInterrupt):
        larger(old, new)
    monkeypatch.undo()
    assert 0 < (gd.open_dataset(new).finished.values > 0).sum() < 6
    assert equal(complete_sweep, larger(old, new)) == []


# Static axes


@pytest.mark.long
def test_a_static_axis_gives_one_dataset_and_one_program_per_value(tmp_path, computed):
    values = {"batch_size": [2, 4], "learning_rate": [0.1, 0.2]}
    grid, few = (gd.axes(shape=shapes, **values) for shapes in (["wave", "square"], ["square"]))
    options = {"make_optimizer": OPTIMIZER, "record_every": 3}
    users = {"problem": LINE, "make_optimizer": OPTIMIZER}
    store = tmp_path / "s"
    runs = gd.sweep(LINE, grid, 6, store=store, **options)
    assert runs.cost.dims == ("shape", "batch_size", "learning_rate", "step")
    assert runs.coords["shape"].values.tolist() == ["wave", "square"]
    at = {"shape": "square", "batch_size": 4}
    alone = gd.sweep(LINE, gd.axes(learning_rate=[0.1, 0.2]), 6, **options, batch_size=4)
    for name in ("cost", "batch_cost", "params", "largest"):
        assert same_bits(runs[name].sel(at), alone[name])
    assert len(np.unique(runs.cost.values[..., 0, -1])) == 4
    assert equal(runs, gd.resume(store, **users)) == []
    where = {**at, "learning_rate": 0.2}
    assert gd.replay(store, where, **users).equal
    run = run_of(store, {**where, "shape": "wave"}, LINE)
    assert (run.batch_size, run.at["shape"]) == (4, "wave")
    expected = cost(run.params, LINE.data, shape="wave")
    assert float(run.problem.cost(run.params, LINE.data)) == float(expected)
    gd.sweep(LINE, few, 6, store=tmp_path / "few", **options)
    computed.clear()
    assert equal(runs, gd.extend(tmp_path / "few", grid, to=tmp_path / "new", **users)) == []
    assert sorted(computed) == [(1, 0, 0), (1, 1, 0)]  # stored values of an axis are the first ones


def test_a_sweep_in_memory_has_the_attributes_of_a_store(complete_sweep, tmp_path):
    stored = sweep_of(tmp_path, RATES, SEEDS, 20)
    assert complete_sweep.attrs["writers"] == stored.attrs["writers"]
    other = json.loads(stored.attrs["identity"])
    for name in ("layout", "functions", "callbacks", "environment"):  # compared only in a store
        del other[name]
    assert json.loads(complete_sweep.attrs["identity"]) == other | {"continuable": False}


def test_attributes_can_be_written_to_netcdf(tmp_path):
    sweep_of(tmp_path / "s", RATES, SEEDS, 20)
    with gd.open_dataset(tmp_path / "s") as dataset:
        dataset[["cost", "params"]].astype("f4").to_netcdf(tmp_path / "s.nc", engine="scipy")
        with xr.open_dataset(tmp_path / "s.nc", engine="scipy") as again:
            assert again.attrs["identity"] == dataset.attrs["identity"]
            assert again.params.dims == ("learning_rate", "seed", "params[0]")


@pytest.mark.long
def test_the_devices_hold_the_data_of_at_most_two_programs(monkeypatch):
    problem = gd.Problem(
        init=lambda key: jax.random.normal(key, (7,)),
        cost=lambda w, batch: jnp.mean((batch @ w) ** 2),
        data=np.ones((13, 7), np.float32),
    )
    copies = []
    compute = executor.run_tiles

    def counted(*arguments):
        arrays = compute(*arguments)
        copies.append(sum(a.shape == (13, 7) for a in jax.live_arrays()))
        return arrays

    monkeypatch.setattr(executor, "run_tiles", counted)
    grid = gd.axes(batch_size=[1, 2, 4, 8, 3, 13, 11], learning_rate=[0.1])
    gd.sweep(problem, grid, 2, devices=jax.local_devices()[:1])
    assert len(copies) == 7
    assert copies == [2, *6 * [4]]  # those of a group are released when the next one is computed
