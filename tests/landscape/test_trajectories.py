"""Projections of descents on planes, and distances from these planes."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import xarray as xr

import gdjax as gd
from gdjax.landscape import trajectories
from gdjax.landscape.trajectories import descent_on_slice
from gdjax.problems import digits


def bowl(w):
    return jnp.sum(jnp.arange(1.0, 9.0, dtype=w["w"].dtype) * w["w"] ** 2)


def on_a_plane(lift=0.0):
    """Return ten points near a plane in R^8, its directions, and coordinates.

    Points are displaced by `lift` to alternate sides; the last one is in the plane.
    """
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 3)))[0].T
    t = np.linspace(0, 1, 10)
    lifts = lift * np.where(np.arange(10) % 2, 1.0, -1.0)
    lifts[-1] = 0
    c = np.stack([5 * (1 - t), 2 * np.sin(3 * (1 - t)), lifts], axis=1)
    return {"w": 0.3 + c @ basis}, {"x": {"w": basis[0]}, "y": {"w": basis[1]}}, c


def test_a_descent_in_a_plane_has_zero_distance_from_it(float64):
    points, _, _ = on_a_plane()
    result = trajectories.trajectory_plane(bowl, points, points=5)
    assert float(result.path_off.max()) < 1e-12
    np.testing.assert_allclose(result.path_cost, result.path_cost_in_slice, rtol=1e-12)
    w = points["w"]
    np.testing.assert_allclose(result.path_cost, (np.arange(1, 9) * w**2).sum(1), rtol=1e-12)
    assert float(result.explained[:2].sum()) == pytest.approx(1, abs=1e-12)
    for axis in "ab":  # the plane and the descent have one center
        sides = result[axis].values, result[f"path_{axis}"].values
        middles = [(side.min() + side.max()) / 2 for side in sides]
        assert middles[0] == pytest.approx(middles[1], abs=1e-12)


def test_the_distance_from_the_plane_equals_the_known_offset(float64):
    points, directions, c = on_a_plane(lift=0.7)
    origin = jax.tree.map(lambda a: a[-1], points)
    result = descent_on_slice(bowl, origin, directions, points, step=10 * np.arange(10))
    np.testing.assert_allclose(result.path_a, c[:, 0], atol=1e-12)
    np.testing.assert_allclose(result.path_b, c[:, 1], atol=1e-12)
    np.testing.assert_allclose(result.path_off, np.abs(c[:, 2]), atol=1e-12)
    assert result.snapshot_step.values.tolist() == list(range(0, 100, 10))
    w = points["w"]
    np.testing.assert_allclose(result.path_cost, (np.arange(1, 9) * w**2).sum(1), rtol=1e-12)
    inside = origin["w"] + c[:, :1] * directions["x"]["w"] + c[:, 1:2] * directions["y"]["w"]
    np.testing.assert_allclose(
        result.path_cost_in_slice, (np.arange(1, 9) * inside**2).sum(1), rtol=1e-12
    )
    assert np.abs(result.path_cost - result.path_cost_in_slice).max() > 0.1


@pytest.fixture(scope="module")
def descent():
    problem = digits("mnist5k", samples=300)
    start = jax.jit(problem.init)(jax.random.key(0))
    run = gd.descend(
        problem, optax.sgd(1.0), start, 60, key=jax.random.key(1), snapshot_every=5, metrics={}
    )
    dataset = trajectories.trajectory_plane(
        problem, run.snapshots, step=run.snapshot_step, points=7, metrics=problem.metrics
    )
    return problem, run, dataset


@pytest.mark.long
def test_trajectory_plane_records_distances_from_the_plane(descent):
    _, run, dataset = descent
    rows = np.concatenate([a.reshape(len(a), -1) for a in jax.tree.leaves(run.snapshots)], axis=1)
    offsets = np.asarray(rows, float) - rows[-1]
    _, s, v = np.linalg.svd(offsets, full_matrices=False)
    np.testing.assert_allclose(dataset.explained, (s**2 / (s**2).sum())[:10], atol=1e-5)
    off = np.linalg.norm(offsets - offsets @ v[:2].T @ v[:2], axis=1)
    np.testing.assert_allclose(dataset.path_off, off, rtol=1e-2, atol=1e-5)
    # The costs equal those of the descent, and the origin is its end point.
    recorded = run.cost[np.isin(run.recorded_steps, run.snapshot_step)]
    np.testing.assert_allclose(dataset.path_cost, recorded, rtol=1e-5)
    end = dataset.isel(snapshot_step=-1)
    assert float(abs(end.path_a) + abs(end.path_b) + end.path_off) < 1e-6
    assert float(end.path_cost_in_slice) == pytest.approx(float(end.path_cost), rel=1e-5)
    # The plane extends beyond the descent by a fifth of its extent.
    first, second = dataset.a.values, dataset.b.values
    margin = dataset.path_a.values.min() - first[0]
    assert margin == pytest.approx(0.2 * np.ptp(dataset.path_a.values), rel=1e-5)
    assert second[0] < dataset.path_b.values.min() <= dataset.path_b.values.max() < second[-1]
    assert np.ptp(second) / np.ptp(first) >= 0.6 - 1e-6
    assert dataset.test_accuracy.dims == ("a", "b")
    assert dataset.test_accuracy.shape == (7, 7)
    assert dataset.attrs["evaluated"] == "as a smaller network"
    assert f"{float(dataset.explained[0]):.1%}" in dataset.a.attrs["long_name"]


def test_trajectory_plane_can_be_stored(descent, tmp_path):
    _, _, dataset = descent
    dataset.to_zarr(tmp_path / "plane.zarr", zarr_format=3, consolidated=False)
    xr.testing.assert_identical(xr.open_zarr(tmp_path / "plane.zarr", consolidated=False), dataset)


def test_trajectory_plane_keeps_the_finite_part_of_a_diverged_descent(float64):
    points, _, _ = on_a_plane(lift=0.1)
    blown = {"w": np.concatenate([points["w"], np.full((2, 8), np.nan), np.full((1, 8), np.inf)])}
    result = trajectories.trajectory_plane(bowl, blown, points=3, step=np.arange(13))
    full_plane = trajectories.trajectory_plane(bowl, points, points=3)
    assert result.attrs["snapshots_left_out"] == 3
    np.testing.assert_array_equal(result.cost, full_plane.cost)
    assert result.snapshot_step.values.tolist() == list(range(10))


@pytest.mark.long
def test_the_plane_of_a_straight_descent_has_a_nonzero_height(float64):
    line = {"w": np.linspace(1, 0, 5)[:, None] * np.ones(8)}
    result = trajectories.trajectory_plane(bowl, line, points=5)
    assert float(result.explained[0]) == pytest.approx(1)
    assert np.all(np.diff(result.b) > 0)
    assert np.isfinite(result.cost).all()
