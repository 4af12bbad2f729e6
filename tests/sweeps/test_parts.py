"""A sweep in parts is the sweep: static axes, stores that grow, nothing computed twice."""

import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_problems import same_bits

import gdjax as gd
from gdjax.errors import InputError, StoreError
from gdjax.sweeps import computing, run_of
from gdjax.sweeps.grids import missing, places

OPTIMIZER = partial(optax.sgd, momentum=0.5)
RATES, SEEDS = [0.1, 0.4], [0, 1, 2]
GIVEN = {
    "optimizer": OPTIMIZER,
    "batch_size": 2,
    "record_every": 3,
    "snapshot_every": 6,
    "width": 2,
}


def cost(w, batch, scale=1.0, *, shape="square"):
    distance = {"square": jnp.square, "wave": lambda x: 1 - jnp.cos(x)}[shape](batch @ w)
    return scale * jnp.mean(distance)


def largest(w, data, memory):
    return jnp.max(jnp.abs(w)) + memory, memory + 1


LINE = gd.Problem(
    init=lambda key, shift=0.0: jax.random.normal(key, (3,)) + shift,
    cost=cost,
    data=jnp.arange(12.0).reshape(4, 3) / 10,
    measures={"largest": gd.Measure(largest, every=2, init=lambda w, data: jnp.zeros(()))},
)


def grown(path, rates, seeds, steps, **changed):
    grid = gd.axes(learning_rate=rates, seed=seeds)
    return gd.sweep(LINE, grid, steps, store=path, **{**GIVEN, **changed})


def equal(a, b):
    """Whether two sweeps are equal to the bit, but for who computed them and what more needs."""
    names = {name for name in a.variables if name != "finished"}
    assert names == {n for n in b.variables if n != "finished" and not n.startswith("carry")}
    text = {name for name in names if a[name].dtype == object}
    assert all(a[name].values.tolist() == b[name].values.tolist() for name in text)
    return [name for name in sorted(names - text) if not same_bits(a[name], b[name])]


@pytest.fixture(scope="module")
def whole():
    return grown(None, RATES, SEEDS, 20)


def chunks(path):
    """All tiles' files, and when they were written."""
    files = (f for f in Path(path).rglob("c.*") if f.parent.name == "cost")
    return {f: f.stat().st_mtime_ns for f in files}


# Stores that grow


def test_a_store_grows_along_its_axes_and_computes_nothing_twice(whole, tmp_path):
    first = grown(tmp_path, [0.4], [1], 20)
    before = chunks(tmp_path)
    found = grown(tmp_path, RATES, SEEDS, 20, extend=True)
    assert equal(whole, found) == []
    assert chunks(tmp_path).items() >= before.items()
    assert sum(part.cost.size for part in (first, found)) == first.cost.size + whole.cost.size
    assert equal(first, grown(tmp_path, [0.4], [1], 20)) == []  # asked again: as it was
    for there in (gd.open_dataset(tmp_path), grown(tmp_path, RATES, SEEDS, 20, extend=True)):
        assert equal(whole, there) == []
    assert gd.open_dataset(tmp_path).cost.isel(seed=[2, 0]).sel(learning_rate=0.4).shape == (2, 8)
    assert gd.verify(tmp_path) == []


@pytest.mark.parametrize("continuable", [True, False])
@pytest.mark.parametrize("steps", [9, 11])  # one that the long sweep records, and one it does not
def test_more_steps_are_those_of_one_sweep(whole, tmp_path, continuable, steps):
    grown(tmp_path, RATES, [0, 1], steps, continuable=continuable)
    if continuable:
        found = grown(tmp_path, RATES, SEEDS, 20, extend=True)
    else:
        with pytest.warns(UserWarning, match=f"run again from their start: {steps * 4} run-steps"):
            found = grown(tmp_path, RATES, SEEDS, 20, extend=True)
    assert equal(whole, found) == []
    again = gd.replay(
        tmp_path, {"learning_rate": 0.1, "seed": 1}, problem=LINE, optimizer=OPTIMIZER
    )
    assert again.equal
    assert again.dataset.step.values.tolist() == whole.step.values.tolist()  # of both parts
    run = run_of(tmp_path, {"learning_rate": 0.4, "seed": 1}, LINE)
    assert run.step.tolist() == [0, 6, 12, 18, 20]
    assert same_bits(run.params, whole.params[1, 1])


def test_a_store_that_was_left_while_it_grew_is_completed(whole, tmp_path, monkeypatch):
    grown(tmp_path, RATES, [0, 1], 11, continuable=True)
    in_store = computing.in_store

    def cut_off(work, path):
        if path != tmp_path:
            raise KeyboardInterrupt
        in_store(work, path)

    monkeypatch.setattr(computing, "in_store", cut_off)
    with pytest.raises(KeyboardInterrupt):
        grown(tmp_path, RATES, SEEDS, 20, extend=True)
    monkeypatch.undo()
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == ["1", "2"]
    left = gd.open_dataset(tmp_path)
    assert (left.finished.values == 0).all()  # parts that are only begun show no ends
    assert same_bits(left.cost[:, :2, :4], whole.cost[:, :2, :4])
    found = gd.resume(tmp_path, problem=LINE, optimizer=OPTIMIZER)
    assert equal(whole, found.sortby("seed")) == []


@pytest.mark.long
def test_a_kill_while_a_part_is_written_costs_no_bit(tmp_path):
    steps = 3000
    whole = grown(None, RATES, SEEDS, steps)
    grown(tmp_path, RATES, [0, 1], 11, continuable=True)
    code = (
        "import test_parts as t; from gdjax.sweeps import tiles; tiles.SAVE_SECONDS = 0.01; "
        f"t.grown({str(tmp_path)!r}, t.RATES, t.SEEDS, {steps}, extend=True)"
    )
    here = Path(__file__).parent
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(here), str(here.parents[1]))),
        "JAX_NUM_CPU_DEVICES": "4",  # as many threads as here, so the same bits
    }
    states = tmp_path / "parts" / "2" / ".gdjax" / "checkpoints"
    with subprocess.Popen([sys.executable, "-W", "ignore", "-c", code], env=environment) as child:
        while child.poll() is None and not (states.exists() and any(states.iterdir())):
            time.sleep(0.005)
        child.kill()
    assert child.returncode == -signal.SIGKILL
    assert not (gd.open_dataset(tmp_path).finished.values > 0).all()
    assert equal(whole, grown(tmp_path, RATES, SEEDS, steps, extend=True)) == []
    at = {"learning_rate": 0.4, "seed": 0}
    assert gd.replay(tmp_path, at, problem=LINE, optimizer=OPTIMIZER).equal


def test_what_a_store_cannot_grow_to_is_refused_before_any_work(tmp_path):
    grown(tmp_path, RATES, [0, 1], 9)
    before = chunks(tmp_path)
    for message, arguments in (
        ("the store has seed = 1, which is not asked for", (RATES, [0, 2], 9)),
        ("steps = 6, and the store has runs of 9", (RATES, SEEDS, 6)),
    ):
        with pytest.raises(InputError, match=message):
            grown(tmp_path, *arguments, extend=True)
    with pytest.raises(InputError, match="a store grows along the axes that it has"):
        gd.sweep(LINE, gd.axes(learning_rate=RATES), 9, store=tmp_path, extend=True, **GIVEN)
    with pytest.raises(StoreError, match=r"holds another sweep: .*root"):
        grown(tmp_path, RATES, SEEDS, 9, extend=True, root=5)
    with pytest.raises(StoreError, match="holds another sweep"):
        grown(tmp_path, RATES, SEEDS, 9)
    with pytest.raises(InputError, match="extend = True, expected"):
        grown(None, RATES, SEEDS, 9, extend=True)
    assert chunks(tmp_path) == before


def test_a_part_that_is_a_link_or_of_another_sweep_is_refused(tmp_path):
    grown(tmp_path / "a", RATES, [0], 3)
    other = gd.axes(learning_rate=[0.1], shift=[0.0])
    gd.sweep(LINE, other, 3, store=tmp_path / "b", **GIVEN)
    (tmp_path / "a" / "parts").mkdir()
    (tmp_path / "a" / "parts" / "1").symlink_to(tmp_path / "b")
    with pytest.raises(StoreError, match="is a link"):
        gd.open_dataset(tmp_path / "a")
    (tmp_path / "a" / "parts" / "1").unlink()
    shutil.copytree(tmp_path / "b", tmp_path / "a" / "parts" / "1")
    with pytest.raises(StoreError, match="its parts"):
        gd.open_dataset(tmp_path / "a")


# Static axes


def test_static_axes_are_one_dataset_with_a_program_a_value(tmp_path):
    grid = gd.axes(shape=["wave", "square"], batch_size=[2, 4], learning_rate=[0.1, 0.2])
    given = {"optimizer": OPTIMIZER, "record_every": 3, "width": 2}
    runs = gd.sweep(LINE, grid, 6, store=tmp_path, **given)
    assert runs.cost.dims == ("shape", "batch_size", "learning_rate", "step")
    assert runs.coords["shape"].values.tolist() == ["wave", "square"]
    at = {"shape": "square", "batch_size": 4}
    alone = gd.sweep(LINE, gd.axes(learning_rate=[0.1, 0.2]), 6, **given, batch_size=4)
    for name in ("cost", "batch_cost", "params", "largest"):
        assert same_bits(runs[name].sel(at), alone[name])
    assert len(np.unique(runs.cost.values[..., 0, -1])) == 4
    assert equal(runs, gd.resume(tmp_path, problem=LINE, optimizer=OPTIMIZER)) == []
    where = {**at, "learning_rate": 0.2}
    assert gd.replay(tmp_path, where, problem=LINE, optimizer=OPTIMIZER).equal
    run = run_of(tmp_path, {**where, "shape": "wave"}, LINE)
    assert (run.batch_size, run.at["shape"]) == (4, "wave")
    expected = cost(run.params, LINE.data, shape="wave")
    assert float(run.problem.cost(run.params, LINE.data)) == float(expected)
    with pytest.raises(InputError, match="at: shape = 'round' is not in the grid"):
        run_of(tmp_path, {**where, "shape": "round"}, LINE)


def test_a_truth_value_of_an_optimizer_is_its_own_program():
    grid = gd.axes(nesterov=[True, False], learning_rate=[0.1])
    runs = gd.sweep(LINE, grid, 5, optimizer=OPTIMIZER)
    assert runs.nesterov.values.tolist() == [True, False]  # as asked for
    for nesterov in (True, False):
        alone = gd.sweep(
            LINE, gd.axes(learning_rate=[0.1]), 5, optimizer=partial(OPTIMIZER, nesterov=nesterov)
        )
        assert same_bits(runs.params.sel(nesterov=nesterov), alone.params)
    assert not same_bits(runs.params[0], runs.params[1])


def test_a_static_axis_without_effect_is_refused():
    grid = gd.axes(nesterov=[False, True], learning_rate=[0.1])
    with pytest.raises(InputError, match=r"nesterov has no effect .* needs a momentum"):
        gd.sweep(LINE, grid, 3, optimizer=optax.sgd)


def test_what_is_an_axis_is_given_once():
    grid = gd.axes(batch_size=[2, 4], learning_rate=[0.1])
    with pytest.raises(InputError, match="batch_size = 2, and it is an axis"):
        gd.sweep(LINE, grid, 3, batch_size=2)
    with pytest.raises(InputError, match="batch_size = 5, expected 1 to 4"):
        gd.sweep(LINE, gd.axes(batch_size=[5], learning_rate=[0.1]), 3)


def test_a_sweep_in_memory_says_as_much_as_a_store(whole, tmp_path):
    stored = grown(tmp_path, RATES, SEEDS, 20)
    for name in ("identity", "origins"):
        there = dict(stored.attrs)[name]
        here = whole.attrs[name]
        if name == "identity":
            there = {k: v for k, v in there.items() if k != "layout"}
        assert here == there


# Boxes


def test_boxes_cover_what_is_missing_once():
    random = np.random.default_rng(0)
    grid = gd.axes(a=range(4), b=range(5), c=range(3))
    for _ in range(20):
        smaller = grid.box(
            tuple(np.sort(random.choice(n, random.integers(1, n + 1), False)) for n in grid.shape)
        )
        count = np.zeros(grid.shape, int)
        for box in [smaller, *missing(grid, [smaller])]:
            count[np.ix_(*places(grid, box))] += 1
        assert (count == 1).all()
