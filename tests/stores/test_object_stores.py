"""Object stores: contents, exclusive writers and error messages."""

import json
import time

import numpy as np
import pytest
import servers
import small_store
import xarray as xr
from small_store import TILES, all_values, part

from gdjax.errors import StoreError
from gdjax.stores import Store, Tiles, lock, open_dataset, verify
from gdjax.stores.location import MISSING, locate


@pytest.fixture
def url(server, request):
    """Return a URL that only this test uses."""
    return f"{server.url}/{request.node.name.split('[')[0]}.zarr"


def open_store(url, server, **changed):
    return Store(
        locate(url, server.options),
        small_store.layout(),
        identity={**small_store.IDENTITY, **changed},
        writer=small_store.WRITER,
    )


def fill(url, server):
    with open_store(url, server) as store:
        store.repair()
        missing = [tuple(tile) for tile in np.argwhere(~store.finished()).tolist()]
        for tile in missing:
            store.write(tile, part(store, tile))
    return missing


@pytest.mark.long
def test_the_objects_of_a_store_are_bytewise_equal_to_the_files_of_a_folder(url, server, tmp_path):
    assert fill(url, server) == list(np.ndindex(TILES))
    small_store.fill(tmp_path)
    bucket = locate(url, server.options)
    for file in tmp_path.rglob("*"):
        key = str(file.relative_to(tmp_path))
        if file.is_file() and key != ".gdjax/lock":
            assert bucket.read(key, 10**6) == (file.read_bytes(), None), key
    assert verify(url, storage_options=server.options) == []
    assert fill(url, server) == []
    with open_dataset(url, storage_options=server.options) as dataset:
        for name, values in all_values().items():
            assert dataset[name].values.tobytes() == values.tobytes()


def test_xarray_alone_reads_a_url(url, server):
    from zarr.storage import ObjectStore

    fill(url, server)
    store = ObjectStore(locate(url, server.options).store, read_only=True)
    with xr.open_zarr(store, chunks=None) as dataset:
        for name, values in all_values().items():
            assert dataset[name].values.tobytes() == values.tobytes()


def test_damaged_tiles_are_detected_and_rewritten(url, server):
    fill(url, server)
    bucket = locate(url, server.options)
    raw, _ = bucket.read("cost/c.0.0.0", 10**6)
    bucket.write("cost/c.0.0.0", bytes([raw[0] ^ 1]) + raw[1:])
    bucket.remove("outcome/c.2.1")
    bucket.write("params.0.used/c.1.0.0", bucket.read("params.0.used/c.0.1.0", 100)[0])
    bucket.remove("seed/zarr.json")
    damages = verify(url, storage_options=server.options)
    assert [damage.file for damage in damages] == [
        *("seed/zarr.json", "cost/c.0.0.0", "params.0.used/c.1.0.0", "outcome/c.2.1")
    ]
    with pytest.raises(StoreError, match=r"tile \(2, 1\) is damaged \(outcome/c.2.1: missing"):
        open_dataset(url, storage_options=server.options)
    with open_dataset(url, storage_options=server.options, skip_damaged=True) as dataset:
        assert dataset.attrs["tiles_finished"] == 3
    assert fill(url, server) == [(0, 0), (1, 0), (2, 1)]
    assert verify(url, storage_options=server.options) == []


# The lease


def test_a_second_writer_is_rejected_until_the_first_one_ends(url, server):
    with open_store(url, server) as store:
        store.write((0, 0), part(store, (0, 0)))
        message = (
            r"is being written by process \d+ on .*, whose lease lasts until ..:..:.. UTC; "
            r"start again after .*or remove .gdjax/lock to take over immediately"
        )
        with pytest.raises(StoreError, match=message):
            open_store(url, server)
        # workers of the writer need no lease
        tiles = Tiles(locate(url, server.options), small_store.WRITER)
        tiles.write((2, 1), part(tiles, (2, 1)))
        assert verify(url, storage_options=server.options) == []  # reading needs no lease
    assert locate(url, server.options).read(lock.LOCK, 999)[1] == MISSING
    assert len(fill(url, server)) == 4


def test_a_lease_is_renewed_and_an_expired_lease_is_taken_over(url, server, monkeypatch):
    monkeypatch.setattr(lock, "LEASE_SECONDS", 0.8)
    bucket = locate(url, server.options)
    store = open_store(url, server)
    first = json.loads(bucket.read(lock.LOCK, 999)[0])["until"]
    time.sleep(1.2)  # longer than the lease
    assert json.loads(bucket.read(lock.LOCK, 999)[0])["until"] > first
    with pytest.raises(StoreError, match="is being written by"):
        open_store(url, server)
    store._lock._closing.set()  # simulates a killed or paused process
    store._lock._renewer.join()
    time.sleep(1)
    with open_store(url, server) as second:
        second.write((0, 0), part(second, (0, 0)))
        store._lock._closing.clear()
        store._lock._renew()  # the paused process continues
        with pytest.raises(StoreError, match="another process has taken over the lease"):
            store.write((1, 1), part(store, (1, 1)))
        store.close()
        assert bucket.read(lock.LOCK, 999)[1] is None  # the lease belongs to the second writer
    assert bucket.read(lock.LOCK, 999)[1] == MISSING


def test_removing_the_lease_releases_the_store(url, server):
    bucket = locate(url, server.options)
    bucket.write(lock.LOCK, b"what nobody understands")
    with pytest.raises(StoreError, match=r"is being written by another process; start again"):
        open_store(url, server)
    bucket.remove(lock.LOCK)
    open_store(url, server).close()


# Errors


def test_a_lost_connection_raises_an_error_and_other_stores_stay_accessible(server, tmp_path, url):
    kind = server.url.partition(":")[0]
    with servers.serve(kind, tmp_path) as other:
        path = f"{other.url}/s.zarr"
        store = open_store(path, other)
        store.write((0, 0), part(store, (0, 0)))
        chunks = []
        write = type(store.location).write

        def lost(self, key, data, **options):
            chunks.append(key)
            if len(chunks) == 2:  # in the middle of a tile
                other.process.kill()
                other.process.wait()
            write(self, key, data, **options)

        store.location.map = map
        store.location.write = lost.__get__(store.location)
        with pytest.raises(StoreError, match=r"cannot be read or written .*check the connection"):
            store.write((0, 1), part(store, (0, 1)))
        with pytest.raises(StoreError, match="check the connection") as caught:
            verify(path, storage_options=other.options)
        assert "\n" not in str(caught.value)
        store.close()
    fill(url, server)  # other stores remain accessible


def test_wrong_credentials_and_a_missing_bucket_raise_errors(server):
    none = server.url.replace("bucket", "no-such-bucket") + "/s.zarr"
    for call in (open_store, lambda url, server: verify(url, storage_options=server.options)):
        with pytest.raises(StoreError, match="no such bucket or container; create it"):
            call(none, server)
    if server.url.startswith("az"):  # moto checks no credentials
        wrong = server._replace(options={**server.options, "account_key": "d3Jvbmc="})
        with pytest.raises(StoreError, match=r"403 Forbidden.*check .* the credentials") as caught:
            open_store(f"{server.url}/s.zarr", wrong)
        assert "\n" not in str(caught.value)
