"""Selection of one run of a stored sweep: its values, end point and settings."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import zarr
from mutants import reseal
from small_problems import network

import gdjax as gd
from gdjax.base.errors import InputError, StoreError
from gdjax.sweeps import run_of
from gdjax.sweeps.axes import axes, position, zip_axes


def test_a_selected_run_has_its_trajectory_and_settings(tmp_path):
    """On a quadratic cost, w_t = (1 - rate * curvature)^t w_0."""
    problem = gd.problems.bowl([1.0, 4.0])
    grid = axes(learning_rate=[0.1, 0.2], seed=range(2))
    gd.sweep(problem, grid, 6, store=tmp_path, snapshot_every=2, record_every=2)
    run = run_of(tmp_path, {"learning_rate": 0.2, "seed": 1})
    start = problem.init(gd.run_keys(0, seed=1).init)
    expected = np.asarray(start) * (1 - 0.2 * np.array([1.0, 4.0])) ** np.array(
        [[0], [2], [4], [6]]
    )
    np.testing.assert_allclose(run.snapshots, expected, rtol=1e-5)
    np.testing.assert_array_equal(run.params, run.snapshots[-1])
    assert run.snapshot_step.tolist() == [0, 2, 4, 6]
    assert run.optimizer == {"name": "optax.sgd", "learning_rate": 0.2}
    assert (run.at, run.batch_size) == ({"learning_rate": 0.2, "seed": 1}, None)


@pytest.mark.long
def test_a_damaged_tile_raises_an_error_unless_skipped(tmp_path):
    grid = axes(learning_rate=[0.1, 0.2], seed=range(2))
    devices = jax.local_devices()[:1]
    gd.sweep(gd.problems.bowl([1.0]), grid, 2, store=tmp_path, devices=devices)
    (tmp_path / "params" / "c.1.0.0").unlink()
    sound, damaged = ({"learning_rate": rate, "seed": 1} for rate in (0.1, 0.2))
    for read in (run_of, gd.replay):
        with pytest.raises(StoreError, match=r"tile \(1, 0\) is damaged \(params/c.1.0.0: missing"):
            read(tmp_path, sound)
        assert read(tmp_path, sound, skip_damaged=True).at == sound
        with pytest.raises(StoreError, match="this run is not finished"):
            read(tmp_path, damaged, skip_damaged=True)
    with pytest.raises(StoreError, match=r"tile \(1, 0\) is damaged"):
        gd.minima.count_minima(None, tmp_path)
    with pytest.warns(UserWarning, match="more steps help"):
        assert gd.minima.count_minima(None, tmp_path, skip_damaged=True).sizes["run"] == 2


def test_an_invalid_outcome_raises_an_error(tmp_path):
    """The checksum is valid, since an attacker who changes a chunk can update it."""
    gd.sweep(gd.problems.bowl([1.0]), axes(learning_rate=[0.1]), 2, store=tmp_path)
    zarr.open_array(tmp_path / "outcome", mode="r+")[...] = 99
    reseal(tmp_path)
    with pytest.raises(StoreError, match=r"outcome = .* expected 0 to 3;"):
        run_of(tmp_path, {"learning_rate": 0.1})


def test_the_cost_and_metrics_of_a_selected_run_use_the_settings_of_the_run(tmp_path):
    problem = gd.Problem(
        init=lambda key: jnp.ones(2),
        cost=lambda w, *, weight=1.0: weight * jnp.sum(w**2),
        metrics={"half": lambda problem, w: problem.cost(w) / 4},
    )
    gd.sweep(
        problem, axes(weight=[1.0, 3.0]), 0, store=tmp_path, make_optimizer=lambda: optax.sgd(0.1)
    )
    with pytest.raises(StoreError, match=r"its problem is user-defined; pass .*: problem="):
        run_of(tmp_path, {"weight": 3.0})
    run = run_of(tmp_path, {"weight": 3.0}, problem)
    assert float(run.problem.cost(run.params)) == 6.0
    assert float(run.problem.metrics["half"].measure(run.problem, run.params)) == 1.5


def test_a_run_without_snapshots_has_no_trajectory_and_an_unfinished_run_raises_an_error(tmp_path):
    gd.sweep(network(), axes(learning_rate=[0.1], seed=[1]), 3, store=tmp_path)
    at = {"learning_rate": 0.1, "seed": 1}
    run = run_of(tmp_path, at, network())
    assert run.snapshots is None
    assert run.snapshot_step.tolist() == [3]
    assert jax.tree.structure(run.params) == jax.tree.structure(network().init(jax.random.key(0)))
    (tmp_path / ".gdjax/tiles/0.0").unlink()
    with pytest.raises(StoreError, match="this run is not finished"):
        run_of(tmp_path, at, network())
    with pytest.raises(StoreError, match="no store at this path"):
        run_of(tmp_path / "none", at)


TOGETHER = axes(
    learning_rate=[0.1, 0.4, 1.6],
    seed=[1, 4, 8],
    pair=zip_axes(a=[0, 10, 20, 30], b=[1, 3, 4, 4]),
)


@pytest.mark.parametrize(
    ("at", "index"),
    [
        ({"learning_rate": 0.1, "seed": 4, "b": 3}, (0, 1, 1)),
        ({"learning_rate": np.float32(0.1), "seed": 4.0, "a": 30}, (0, 1, 3)),
        ({"learning_rate": float(np.float32(1.6)), "seed": 8, "a": 20, "b": 4}, (2, 2, 2)),
    ],
)
def test_values_select_a_run_up_to_rounding(at, index):
    assert position(TOGETHER, at) == index


@pytest.mark.parametrize(
    ("at", "message"),
    [
        ({"learning_rate": 0.5}, r"at: learning_rate = 0.5 is not .* nearest .* are 0.4, 0.1, 1.6"),
        ({"seed": 77}, r"at: seed = 77 is not in the grid; the nearest values are 8, 4, 1"),
        ({"a": 10, "b": 4}, r"at: no run has a = 10, b = 4; expected values that vary together"),
        ({"b": 4}, r"at: several runs have b = 4; also pass a"),
    ],
)
def test_values_that_match_no_run_raise_an_error(at, message):
    at = {"learning_rate": 0.1, "seed": 1, **({} if {"a", "b"} & at.keys() else {"a": 0}), **at}
    with pytest.raises(InputError, match=message):
        position(TOGETHER, at)


def test_strings_and_booleans_are_matched_exactly():
    grid = axes(activation=["tanh", "relu"], nesterov=[True, False])
    assert position(grid, {"activation": "relu", "nesterov": 0.0}) == (1, 1)
    with pytest.raises(InputError, match=r"activation = 'sigmoid' is not .* are tanh, relu"):
        position(grid, {"activation": "sigmoid", "nesterov": True})
    with pytest.raises(InputError, match=r"nesterov = 0.2 is not in the grid"):
        position(grid, {"activation": "relu", "nesterov": 0.2})
