"""One run of a stored sweep: which one, where it ended, and with which settings."""

import inspect

import google_crc32c
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_problems import network

import gdjax as gd
from gdjax.errors import InputError, StoreError
from gdjax.sweeps import problem_of, run_of
from gdjax.sweeps.axes import axes, position, together
from gdjax.sweeps.keywords import with_settings


def test_a_run_with_its_way_there(tmp_path):
    """On a bowl w_t = (1 - rate * curvature)^t w_0."""
    problem = gd.problems.bowl([1.0, 4.0])
    grid = axes(learning_rate=[0.1, 0.2], seed=range(2))
    gd.sweep(problem, grid, 6, store=tmp_path, snapshot_every=2, record_every=2)
    run = run_of(tmp_path, {"learning_rate": 0.2, "seed": 1})
    start = problem.init(gd.streams(0, seed=1).init)
    expected = np.asarray(start) * (1 - 0.2 * np.array([1.0, 4.0])) ** np.array(
        [[0], [2], [4], [6]]
    )
    np.testing.assert_allclose(run.snapshots, expected, rtol=1e-5)
    np.testing.assert_array_equal(run.params, run.snapshots[-1])
    assert run.step.tolist() == [0, 2, 4, 6]
    assert run.optimizer == {"name": "optax.sgd", "learning_rate": 0.2}
    assert (run.at, run.batch_size) == ({"learning_rate": 0.2, "seed": 1}, None)


def test_a_hole_is_an_error_unless_asked_for(tmp_path):
    grid = axes(learning_rate=[0.1, 0.2], seed=range(2))
    devices = jax.local_devices()[:1]
    gd.sweep(gd.problems.bowl([1.0]), grid, 2, store=tmp_path, width=2, devices=devices)
    (tmp_path / "params" / "c.1.0.0").unlink()
    sound, damaged = ({"learning_rate": rate, "seed": 1} for rate in (0.1, 0.2))
    for read in (run_of, gd.replay):
        with pytest.raises(StoreError, match=r"tile \(1, 0\) is damaged \(params/c.1.0.0: missing"):
            read(tmp_path, sound)
        assert read(tmp_path, sound, skip_damaged=True).at == sound
        with pytest.raises(StoreError, match="this run is not finished"):
            read(tmp_path, damaged, skip_damaged=True)
    with pytest.raises(StoreError, match=r"tile \(1, 0\) is damaged"):
        gd.minima.census_of(tmp_path)
    assert gd.minima.census_of(tmp_path, skip_damaged=True).sizes["run"] == 2


def test_an_outcome_that_no_run_has_is_an_error(tmp_path):
    """Whoever changes a chunk can make its checksum right again."""
    gd.sweep(gd.problems.bowl([1.0]), axes(learning_rate=[0.1]), 2, store=tmp_path)
    (chunk,) = (tmp_path / "outcome").glob("c*")
    numbers = b"\x63" * (chunk.stat().st_size - 4)
    chunk.write_bytes(numbers + google_crc32c.value(numbers).to_bytes(4, "little"))
    with pytest.raises(StoreError, match=r"outcome = .* of this run, expected 0 to"):
        run_of(tmp_path, {"learning_rate": 0.1})


def test_settings_of_the_cost_are_the_runs_own(tmp_path):
    problem = gd.Problem(
        init=lambda key: jnp.ones(2),
        cost=lambda w, *, weight=1.0: weight * jnp.sum(w**2),
        measures={"half": gd.Measure(lambda w, data, *, weight=1.0: weight * w[0] / 2)},
    )
    gd.sweep(problem, axes(weight=[1.0, 3.0]), 0, store=tmp_path, optimizer=lambda: optax.sgd(0.1))
    with pytest.raises(StoreError, match=r"user's own problem; give .*: problem="):
        run_of(tmp_path, {"weight": 3.0})
    with pytest.raises(StoreError, match=r"user's own problem; give .*: problem="):
        problem_of(tmp_path)
    assert problem_of(tmp_path, problem) is problem
    run = run_of(tmp_path, {"weight": 2.9}, problem)
    assert float(run.problem.cost(run.params)) == 6.0
    assert float(run.problem.measures["half"].function(run.params, None)) == 1.5


def test_what_has_no_such_keyword_stays_as_it_is():
    problem = gd.Problem(
        init=lambda key: jnp.ones(2),
        cost=lambda w, *, weight=1.0: weight * jnp.sum(w**2),
        measures={"first": gd.Measure(lambda w, data: w[0])},
    )
    fixed = with_settings(problem, {"weight": 3.0})
    assert float(fixed.cost(jnp.ones(2))) == 6.0
    assert fixed.measures["first"].function is problem.measures["first"].function
    assert with_settings(problem, {}) is problem


def test_without_snapshots_there_is_no_way_and_unfinished_runs_are_said(tmp_path):
    gd.sweep(network(), axes(learning_rate=[0.1], seed=[1]), 3, store=tmp_path)
    at = {"learning_rate": 0.1, "seed": 1}
    run = run_of(tmp_path, at, network())
    assert run.snapshots is None
    assert run.step.tolist() == [3]
    assert jax.tree.structure(run.params) == jax.tree.structure(network().init(jax.random.key(0)))
    (tmp_path / "finished" / "c.0.0").unlink()
    with pytest.raises(StoreError, match="this run is not finished"):
        run_of(tmp_path, at, network())
    with pytest.raises(StoreError, match="no store here"):
        problem_of(tmp_path / "none")


@pytest.mark.parametrize(
    ("at", "index"),
    [
        ({"learning_rate": 0.1, "seed": 3, "b": 4}, (0, 1, 2)),
        ({"learning_rate": 7, "seed": 0, "a": 1e3}, (2, 0, 3)),
        ({"learning_rate": 0.26, "seed": 7, "a": 11, "b": 4.0}, (1, 2, 2)),
    ],
)
def test_the_nearest_run_is_taken(at, index):
    together_ = together(a=[0, 10, 20, 30], b=[1, 3, 4, 4])
    grid = axes(learning_rate=[0.1, 0.4, 1.6], seed=[1, 4, 8], pair=together_)
    assert position(grid, at) == index


@pytest.mark.parametrize(
    ("at", "message"),
    [
        (
            {"seed": 1},
            r"nothing given for learning_rate; .*learning_rate: 0.1, 1; a: 1, 2; b: 5, 6",
        ),
        ({"learning_rate": 1, "seed": 1}, "nothing given for a or b"),
        (
            {"learning_rate": 1, "seed": 1, "a": 1, "rate": 2},
            r"at: rate = 2, expected .*seed: 0, 1",
        ),
        ({"learning_rate": "x", "seed": 1, "a": 1}, "at: learning_rate = 'x', expected a number"),
        ({"learning_rate": np.nan, "seed": 1, "a": 1}, "at: learning_rate = nan"),
    ],
)
def test_every_dimension_needs_a_value(at, message):
    grid = axes(learning_rate=[0.1, 1], pair=together(a=[1, 2], b=[5, 6]), seed=range(2))
    with pytest.raises(InputError, match=message):
        inspect.unwrap(position)(grid, at)
