"""Object stores: contents, sweeps, exclusive writers and error messages."""

import json
import pickle
import time

import jax
import numpy as np
import pytest
import servers
import xarray as xr
import zarr.storage
from small_problems import same_bits
from small_store import TILES, WRITER, all_values, fill, open_store, part

import gdjax as gd
from gdjax.base.errors import StoreError
from gdjax.stores import lock, open_dataset, verify
from gdjax.stores.location import MISSING, locate
from gdjax.stores.writer import Tiles


@pytest.fixture(scope="session", params=["s3", "az"])
def server(request, tmp_path_factory):
    """Return an object store with an empty bucket."""
    with servers.serve(request.param, tmp_path_factory.mktemp(request.param)) as started:
        yield started


@pytest.fixture
def bucket(server, request):
    """Return the location of a store that only this test uses."""
    return locate(f"{server.url}/{request.node.name.split('[')[0]}.zarr", **server.options)


def test_the_objects_of_a_store_equal_the_files_of_a_folder_and_are_read_by_xarray_alone(
    bucket, server, tmp_path
):
    assert fill(bucket) == list(np.ndindex(TILES))
    fill(tmp_path)
    for file in tmp_path.rglob("*"):
        key = str(file.relative_to(tmp_path))
        if file.is_file() and key != ".gdjax/lock":
            assert bucket.read(key, 10**6) == (file.read_bytes(), None), key
    assert verify(locate(str(bucket), **server.options)) == []
    assert fill(bucket) == []
    objects = zarr.storage.ObjectStore(bucket.store, read_only=True)
    for opened in (
        open_dataset(pickle.loads(pickle.dumps(bucket))),
        xr.open_zarr(objects, chunks=None),
    ):
        with opened as dataset:
            for name, values in all_values().items():
                assert dataset[name].values.tobytes() == values.tobytes()


def test_damaged_tiles_are_detected_and_rewritten(bucket):
    fill(bucket)
    raw, _ = bucket.read("cost/c.0.0.0", 10**6)
    bucket.write("cost/c.0.0.0", bytes([raw[0] ^ 1]) + raw[1:])
    bucket.remove("outcome/c.2.1")
    bucket.write("params.0.used/c.1.0.0", bucket.read("params.0.used/c.0.1.0", 100)[0])
    bucket.remove("seed/zarr.json")
    assert [damage.file for damage in verify(bucket)] == [
        *("seed/zarr.json", "cost/c.0.0.0", "params.0.used/c.1.0.0", "outcome/c.2.1")
    ]
    with pytest.raises(StoreError, match=r"tile \(2, 1\) is damaged \(outcome/c.2.1: missing"):
        open_dataset(bucket)
    with open_dataset(bucket, skip_damaged=True) as dataset:
        assert dataset.attrs["tiles_finished"] == 3
    assert fill(bucket) == [(0, 0), (1, 0), (2, 1)]
    assert verify(bucket) == []


@pytest.mark.parametrize("server", ["s3"], indirect=True)
def test_all_functions_that_take_a_store_accept_a_location(server, tmp_path):
    bowl, at = gd.problems.bowl([1.0, 10.0]), {"learning_rate": 0.1, "seed": 1}
    store, larger = (
        locate(f"{server.url}/{name}.zarr", **server.options) for name in ("all", "larger")
    )
    devices, leave = jax.local_devices()[:1], gd.axes(branch_step=[4])
    few, more = (gd.axes(learning_rate=r, seed=[0, 1]) for r in ([0.05, 0.1], [0.05, 0.1, 0.15]))
    local = gd.sweep(bowl, few, 8, store=tmp_path / "s", devices=devices).load()
    assert same_bits(gd.sweep(bowl, few, 8, store=store, devices=devices).load(), local)
    assert gd.stores.verify(store) == []
    with gd.open_dataset(store) as dataset:
        assert dataset.attrs["tiles_finished"] == dataset.attrs["tiles"]
    assert gd.replay(store, at).equal
    run = gd.sweeps.run_of(store, at)
    assert run.snapshot_step.tolist() == [8]
    assert run.problem.provenance["eigenvalues"] == [1.0, 10.0]
    with pytest.warns(UserWarning, match="more steps help"):
        assert gd.minima.count_minima(None, store).sizes["run"] == 4
    branches = gd.branch(store, at, leave)
    assert same_bits(branches.cost, gd.branch(tmp_path / "s", at, leave).cost)
    extended = gd.extend(store, more, to=larger).load()
    assert same_bits(extended.cost, gd.sweep(bowl, more, 8, devices=devices).cost)
    assert same_bits(gd.extend(store, more, to=tmp_path / "copy").cost, extended.cost)
    assert same_bits(gd.resume(store).load().cost, local.cost)


# The lease


def test_a_second_writer_is_rejected_until_the_first_one_ends(bucket):
    with open_store(bucket) as store:
        store.write((0, 0), part(store, (0, 0)))
        message = (
            r"is being written by process \d+ on .*, whose lease lasts until ..:..:.. UTC; "
            r"start again after .*or remove .gdjax/lock to take over immediately"
        )
        with pytest.raises(StoreError, match=message):
            open_store(bucket)
        # workers of the writer need no lease
        tiles = Tiles(bucket, WRITER)
        tiles.write((2, 1), part(tiles, (2, 1)))
        assert verify(bucket) == []  # reading needs no lease
    assert bucket.read(lock.LOCK, 999)[1] == MISSING
    assert len(fill(bucket)) == 4


def test_a_lease_is_renewed_and_an_expired_lease_is_taken_over(bucket, monkeypatch):
    monkeypatch.setattr(lock, "LEASE_SECONDS", 0.8)
    store = open_store(bucket)
    first = json.loads(bucket.read(lock.LOCK, 999)[0])["until"]
    time.sleep(1.2)  # longer than the lease
    assert json.loads(bucket.read(lock.LOCK, 999)[0])["until"] > first
    with pytest.raises(StoreError, match="is being written by"):
        open_store(bucket)
    store._lock._closing.set()  # simulates a killed or paused process
    store._lock._renewer.join()
    time.sleep(1)
    with open_store(bucket) as second:
        second.write((0, 0), part(second, (0, 0)))
        store._lock._closing.clear()
        store._lock._renew()  # the paused process continues
        with pytest.raises(StoreError, match="another process has taken over the lease"):
            store.write((1, 1), part(store, (1, 1)))
        store.close()
        assert bucket.read(lock.LOCK, 999)[1] is None  # the lease belongs to the second writer
    assert bucket.read(lock.LOCK, 999)[1] == MISSING


def test_removing_the_lease_releases_the_store(bucket):
    bucket.write(lock.LOCK, b"what nobody understands")
    with pytest.raises(StoreError, match=r"is being written by another process; start again"):
        open_store(bucket)
    bucket.remove(lock.LOCK)
    open_store(bucket).close()


# Errors


def test_a_lost_connection_raises_an_error_and_other_stores_stay_accessible(
    server, tmp_path, bucket
):
    with servers.serve(server.url.partition(":")[0], tmp_path) as other:
        location = locate(f"{other.url}/s.zarr", **other.options)
        store = open_store(location)
        other.process.kill()
        other.process.wait()
        for call in (lambda: store.write((0, 0), part(store, (0, 0))), lambda: verify(location)):
            with pytest.raises(
                StoreError, match=r"read or written .*check the connection"
            ) as caught:
                call()
            assert "\n" not in str(caught.value)
        store.close()
    fill(bucket)  # other stores remain accessible


def test_wrong_credentials_and_a_missing_bucket_raise_errors(server):
    none = locate(server.url.replace("bucket", "no-such-bucket") + "/s.zarr", **server.options)
    for call in (open_store, verify):
        with pytest.raises(StoreError, match="no such bucket or container; create it"):
            call(none)
    if server.url.startswith("az"):  # moto checks no credentials
        wrong = {**server.options, "account_key": "d3Jvbmc="}
        with pytest.raises(StoreError, match=r"403 Forbidden.*check .* the credentials") as caught:
            open_store(locate(f"{server.url}/s.zarr", **wrong))
        assert "\n" not in str(caught.value)
