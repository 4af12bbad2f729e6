"""Bitwise replay of stored runs, and resumption of stored sweeps."""

import errno
import os
import shutil
from functools import partial

import numpy as np
import pytest
import zarr
from mutants import reseal
from small_problems import GRID, network, same_bits

from gdjax.base.errors import StoreError
from gdjax.stores import open_dataset
from gdjax.sweeps import axes, sweep
from gdjax.sweeps.continued.replay import replay
from gdjax.sweeps.continued.resume import resume

PROBLEM = network(watched=True)
AT = {"learning_rate": 0.1, "seed": 0, "scale": 1.0}
replay_run = partial(replay, problem=PROBLEM)


@pytest.fixture
def store(stored_sweep, tmp_path):
    """Return the path of a copy of the store that tests may modify."""
    return shutil.copytree(stored_sweep, tmp_path / "s.zarr")


@pytest.mark.long
@pytest.mark.parametrize(("rate", "seed"), [(0.2, 3), (2.0, 0)])
def test_a_replayed_run_is_bitwise_equal(stored_sweep, rate, seed):
    again = replay_run(stored_sweep, {"learning_rate": rate, "seed": seed, "scale": 1})
    assert (again.at, again.changed) == ({"learning_rate": rate, "seed": seed, "scale": 1.0}, {})
    assert (again.equal, again.largest_difference, again.first_step) == (True, 0.0, None)
    place = {"learning_rate": GRID["learning_rate"].index(rate), "seed": seed, "scale": 0}
    other = open_dataset(stored_sweep).isel(place).load()
    assert (other.diverged_at >= 0) == (rate == 2.0)
    assert same_bits(again.dataset, other.drop_vars("finished"))
    stored = {"params.first.bias", "snapshots.first.bias", "cost", "outcome", "largest_weight"}
    assert stored <= set(again.dataset.data_vars)


def test_a_finished_store_on_a_read_only_disk_is_resumed(store, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("gdjax.stores.location.write_file", refuse)
    monkeypatch.setattr(os, "open", refuse)
    assert same_bits(resume(store, problem=PROBLEM), open_dataset(store))
    next((store / ".gdjax/tiles").iterdir()).unlink()
    with pytest.raises(StoreError, match=r"cannot be written \(Read-only file system\)"):
        resume(store, problem=PROBLEM)


def changed(store, name, place, change):
    """Change values of a stored array, and update the record of their tile."""
    array = zarr.open_array(store / name, mode="r+")
    array[place] = change(array[place])
    reseal(store)


def test_a_difference_is_reported_with_its_step(store):
    changed(store, "cost", (1, 2, 0, slice(3, None)), lambda cost: cost + np.float32(0.25))
    again = replay_run(store, {**AT, "learning_rate": 0.2, "seed": 2})
    assert not again.equal
    assert again.first_step == 24
    np.testing.assert_allclose(again.largest_difference, 0.25, rtol=1e-4)
    assert replay_run(store, {**AT, "learning_rate": 0.2, "seed": 3}).equal
    changed(store, "params.first.bias", (1, 3, 0, 0), lambda bias: np.nan)
    again = replay_run(store, {**AT, "learning_rate": 0.2, "seed": 3})
    assert (again.equal, again.largest_difference, again.first_step) == (False, np.inf, 40)
    changed(store, "snapshots.second.weights", (0, 0, 0, 1), lambda weights: -weights)
    assert replay_run(store, AT).first_step == 16
    changed(store, "positive", (0, 3, 0, 1, 0), lambda bits: bits ^ 1)
    again = replay_run(store, {**AT, "seed": 3})
    assert (again.equal, again.first_step, again.largest_difference) == (False, 24, 1.0)
    one_bit = {**AT, "seed": 1}
    changed(store, "cost", (0, 1, 0, 5), lambda cost: np.nextafter(cost, np.float32(np.inf)))
    again = replay_run(store, one_bit)
    assert (again.equal, again.first_step) == (False, 40)
    assert 0 < again.largest_difference < 1e-3


@pytest.mark.long
def test_replay_requires_a_problem_with_the_recorded_metrics(tmp_path):
    grid = axes(learning_rate=[0.1])
    sweep(network(), grid, 3, store=tmp_path / "a", metrics=PROBLEM.metrics)
    with pytest.raises(StoreError, match="its sweep recorded 'largest_weight'"):
        replay(tmp_path / "a", {"learning_rate": 0.1}, problem=network())
    assert replay_run(tmp_path / "a", {"learning_rate": 0.1}).equal
    sweep(PROBLEM, grid, 3, store=tmp_path / "b", metrics={})
    again = replay_run(tmp_path / "b", {"learning_rate": 0.1})
    assert again.equal
    assert "largest_weight" not in again.dataset
