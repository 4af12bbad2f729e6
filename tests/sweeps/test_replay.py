"""Any run of a store can be run again, and says whether it is the same to the last bit."""

import dataclasses
import shutil
from functools import partial

import jax
import numpy as np
import optax
import pytest
import zarr
from small_problems import network, same_bits

from gdjax import problems
from gdjax.errors import StoreError
from gdjax.sweeps import axes, provenance, sweep, together
from gdjax.sweeps.replay import replay, resume
from gdjax.sweeps.tiles import Work


def beale(path, **changed):
    given = {
        "problem": problems.function("beale"),
        "axes": axes(learning_rate=[1e-4, 1e-3, 1e-2, 10.0], seed=range(5)),
        "steps": 40,
        "record_every": 8,
        "snapshot_every": 16,
        "optimizer": partial(optax.sgd, momentum=0.5),
        "bound": float("inf"),
        "width": 1,
        **changed,
    }
    return sweep(store=path, **given)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("replay") / "s.zarr"
    beale(path)
    return path


@pytest.fixture
def store(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "s.zarr")


# Replay


@pytest.mark.parametrize(("rate", "seed"), [(1e-3, 4), (10.0, 0)])
def test_a_run_again_is_equal_to_the_last_bit(whole, rate, seed):
    again = replay(whole, {"learning_rate": rate, "seed": seed})
    assert (again.at, again.changed) == ({"learning_rate": rate, "seed": seed}, {})
    assert (again.equal, again.largest_difference, again.first_step) == (True, 0.0, None)
    there = beale(whole).isel(learning_rate=[1e-4, 1e-3, 1e-2, 10.0].index(rate), seed=seed)
    assert same_bits(again.dataset, there.load().drop_vars("finished"))
    assert {"params", "snapshots", "cost", "outcome"} <= set(again.dataset.data_vars)


def test_mini_batches_and_measures_too(tmp_path):
    problem = network(watched=True)
    grid = axes(pair=together(learning_rate=[0.1, 0.4], scale=[1.0, 0.5]), data_seed=range(3))
    given = {"record_every": 5, "batch_size": 5, "width": 2, "root": 8}
    found = sweep(problem, grid, 50, store=tmp_path, **given)
    again = replay(tmp_path, {"scale": 0.6, "data_seed": 2}, problem=problem)
    assert again.at == {"learning_rate": 0.4, "scale": 0.5, "data_seed": 2}
    assert again.equal
    assert same_bits(again.dataset.largest_weight, found.largest_weight[1, 2])


def test_what_differs_is_said_with_its_step(store):
    cost = zarr.open_array(store / "cost", mode="r+")
    cost[1, 2, 3:] += np.float32(0.25)
    again = replay(store, {"learning_rate": 1e-3, "seed": 2})
    assert not again.equal
    assert again.first_step == 24
    np.testing.assert_allclose(again.largest_difference, 0.25, rtol=1e-4)
    assert replay(store, {"learning_rate": 1e-3, "seed": 3}).equal
    params = zarr.open_array(store / "params", mode="r+")
    params[1, 3, 0] = np.nan
    again = replay(store, {"learning_rate": 1e-3, "seed": 3})
    assert (again.equal, again.largest_difference, again.first_step) == (False, np.inf, 40)
    snapshots = zarr.open_array(store / "snapshots", mode="r+")
    snapshots[0, 0, 1] = -snapshots[0, 0, 1]
    assert replay(store, {"learning_rate": 1e-4, "seed": 0}).first_step == 16


def test_a_last_bit_is_a_difference(store):
    cost = zarr.open_array(store / "cost", mode="r+")
    cost[0, 0, 5] = np.nextafter(cost[0, 0, 5], np.float32(np.inf))
    again = replay(store, {"learning_rate": 1e-4, "seed": 0})
    assert (again.equal, again.first_step) == (False, 40)
    assert 0 < again.largest_difference < 1e-3


def test_on_other_devices_and_versions_it_only_compares(whole, monkeypatch):
    at = {"learning_rate": 1e-2, "seed": 1}
    few = replay(whole, at, devices=jax.local_devices()[:2])
    assert few.changed == {"device": ("4 x cpu", "2 x cpu")}
    assert few.equal  # the same process, so as many threads
    monkeypatch.setattr(Work, "program_hash", lambda self: "another")
    with pytest.raises(StoreError, match=r"program_hash: stored '\w{16}', wanted 'another'"):
        replay(whole, at)
    information = provenance.information
    monkeypatch.setattr(provenance, "information", lambda work: information(work) | {"jax": "0.0"})
    assert replay(whole, at).changed == {"jax": (jax.__version__, "0.0")}


def test_a_run_that_is_not_there_yet(store):
    at = {"learning_rate": 1e-4, "seed": 0}
    (store / "finished" / "c.0.0").unlink()
    with pytest.raises(StoreError, match="this run is not finished"):
        replay(store, at)
    with pytest.raises(StoreError, match="no store here"):
        replay(store / "none", at)


def test_a_users_own_has_to_be_given_and_to_be_the_same(tmp_path):
    problem = network()

    def mine(learning_rate):
        return optax.sgd(learning_rate)

    sweep(problem, axes(learning_rate=[0.1]), 3, store=tmp_path, optimizer=mine)
    at = {"learning_rate": 0.1}
    with pytest.raises(StoreError, match=r"user's own problem; give the one .*: problem=..."):
        replay(tmp_path, at)
    with pytest.raises(StoreError, match=r"none that a record may name; give .*: optimizer=..."):
        replay(tmp_path, at, problem=problem)
    assert replay(tmp_path, at, problem=problem, optimizer=mine).equal
    other = dataclasses.replace(problem, data=jax.tree.map(lambda a: a + 1, problem.data))
    for call in (partial(replay, at=at), resume):
        with pytest.raises(StoreError, match=r"other data than this problem \(data_hash: stored"):
            call(tmp_path, problem=other, optimizer=mine)


def test_a_measure_has_to_be_given_with_its_problem(tmp_path):
    watched = network(watched=True)
    grid = axes(learning_rate=[0.1])
    sweep(network(), grid, 3, store=tmp_path / "a", measures=watched.measures)
    with pytest.raises(StoreError, match="its sweep watched 'largest_weight'"):
        replay(tmp_path / "a", {"learning_rate": 0.1}, problem=network())
    assert replay(tmp_path / "a", {"learning_rate": 0.1}, problem=watched).equal
    sweep(watched, grid, 3, store=tmp_path / "b", measures={})
    again = replay(tmp_path / "b", {"learning_rate": 0.1}, problem=watched)
    assert again.equal
    assert "largest_weight" not in again.dataset


# Resume


def test_resume_computes_what_is_missing_and_nothing_else(store, monkeypatch):
    expected = beale(store).load()
    tiles = []
    compute = Work.compute
    monkeypatch.setattr(
        Work, "compute", lambda self, tile, **kw: tiles.append(tile) or compute(self, tile, **kw)
    )
    for tile in ("0.1", "1.2"):
        (store / "finished" / f"c.{tile}").unlink()
    assert same_bits(resume(store), expected)
    assert tiles == [(0, 1), (1, 2)]
    assert same_bits(resume(store), expected)
    assert len(tiles) == 2
