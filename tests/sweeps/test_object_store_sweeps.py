"""Sweeps in object stores: URLs, and results equal to those in a folder."""

import jax
import pytest
from small_problems import same_bits

import gdjax as gd
from gdjax.sweeps import run_of
from tests.stores import servers

RATES, AT = [0.05, 0.1], {"learning_rate": 0.1, "seed": 1}
BOWL = gd.problems.bowl([1.0, 10.0])


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    if reason := servers.missing("s3"):
        pytest.skip(reason)
    with servers.serve("s3", tmp_path_factory.mktemp("s3")) as started:
        yield started


def sweep(store, options=None, rates=RATES):
    grid = gd.axes(learning_rate=rates, seed=range(2))
    devices = jax.local_devices()[:1]
    return gd.sweep(BOWL, grid, 8, store=store, storage_options=options, devices=devices)


@pytest.mark.long
def test_all_functions_that_take_a_store_accept_a_url(server, tmp_path):
    url, options = f"{server.url}/all.zarr", {"storage_options": server.options}
    local = sweep(tmp_path / "s").load()
    assert same_bits(sweep(url, server.options).load(), local)
    assert gd.verify(url, **options) == []
    with gd.open_dataset(url, **options) as dataset:
        assert dataset.attrs["tiles_finished"] == dataset.attrs["tiles"] == 2
    assert gd.replay(url, AT, **options).equal
    run = run_of(url, AT, **options)
    assert run.snapshot_step.tolist() == [8]
    assert run.problem.provenance["eigenvalues"] == [1.0, 10.0]
    assert gd.minima.count_minima(None, url, **options).sizes["run"] == 4
    other = gd.branch(url, AT, gd.axes(branch_step=[4]), storage_options=server.options)
    assert same_bits(other.cost, gd.branch(tmp_path / "s", AT, gd.axes(branch_step=[4])).cost)
    grid = gd.axes(learning_rate=[*RATES, 0.15], seed=range(2))
    larger = gd.extend(url, grid, to=f"{server.url}/larger.zarr", **options).load()
    assert same_bits(larger.cost, sweep(None, rates=[*RATES, 0.15]).cost)
    assert same_bits(gd.extend(url, grid, to=tmp_path / "copy", **options).cost, larger.cost)
    assert same_bits(gd.resume(url, **options).load().cost, local.cost)
