"""Requests to a store, and parses of its root, by each function that opens it."""

from collections import Counter

import jax
import pytest

import gdjax as gd
from gdjax.stores import location, reader
from gdjax.stores.schema import TILES

AT = {"learning_rate": 0.1, "seed": 1}


@pytest.fixture
def counted(monkeypatch):
    """Return a function that counts the parses and requests of a call."""
    counts = Counter()

    def count(owner, name, kind):
        original = getattr(owner, name)

        def counting(*arguments, **options):
            counts[kind] += 1
            return original(*arguments, **options)

        monkeypatch.setattr(owner, name, counting)

    count(reader, "parse_root", "parses")
    for name, kind in {"read": "reads", "write": "writes", "sizes": "lists"}.items():
        count(location.Folder, name, kind)

    def of(function, *arguments, **options):
        counts.clear()
        function(*arguments, **options)
        return dict(counts)

    return of


def test_the_root_of_a_store_is_parsed_once_by_each_function(counted, tmp_path):
    store, grid = gd.stores.locate(tmp_path / "s"), gd.axes(learning_rate=[0.05, 0.1], seed=[0, 1])
    sweep = gd.problems.bowl([1.0, 9.0]), grid, 5
    options = {"store": store, "devices": jax.local_devices()[:1]}
    assert "parses" not in counted(gd.sweep, *sweep, **options)
    num_arrays = len(list((tmp_path / "s").glob("*/zarr.json")))
    opened = counted(gd.open_dataset, store)
    # a list of each array, three coordinates, the root and the record of the only tile
    assert opened["parses"] == 1
    assert opened["reads"] + opened["lists"] <= num_arrays + 8
    calls = {
        "replay": (gd.replay, store, AT),
        "run_of": (gd.sweeps.run_of, store, AT),
        "verify": (gd.stores.verify, store),
        "resume": (gd.resume, store),
    }
    for name, call in calls.items():
        assert counted(*call)["parses"] == 1, name
    assert counted(gd.sweep, *sweep, **options)["parses"] == 1
    for call in (lambda: gd.sweep(*sweep, **options), lambda: gd.resume(store)):
        store.remove(f"{TILES}/0.0")
        assert counted(call)["parses"] == 1
