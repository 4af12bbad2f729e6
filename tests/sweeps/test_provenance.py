"""Provenance of a store: the recorded fields, and rejection of different sweeps."""

import dataclasses
import json
import os
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_problems import network, same_bits, stored

from gdjax import problems
from gdjax.base.documents import plain
from gdjax.base.errors import InputError, StoreError
from gdjax.sweeps import Sweep, factories, identity
from gdjax.sweeps.continued.stored import StoredSweep
from tests.processes import python

# The store of a sweep


@pytest.mark.long
def test_a_store_can_be_read_by_xarray_without_gdjax(stored_sweep):
    code = """
import sys
sys.modules["gdjax"] = None
import json, numpy as np, xarray as xr
with xr.open_zarr(sys.argv[1]) as runs:
    runs.load()
    print(runs.learning_rate.values.tolist(), runs.step.values.tolist())
    print(runs.largest_weight.attrs["long_name"], runs.cost.dims)
    meanings = runs.outcome.attrs["flag_meanings"].split()
    print([meanings[code] for code in np.unique(runs.outcome)])
    print(json.loads(runs.attrs["identity"])["make_optimizer"])
"""
    run = python("-W", "error", "-c", code, stored_sweep, cwd=os.sep)
    assert run.stderr == ""
    assert run.stdout.splitlines() == [
        "[0.1, 0.2, 2.0] [0, 8, 16, 24, 32, 40]",
        "largest weight ('learning_rate', 'seed', 'scale', 'step')",
        "['not_converged', 'diverged']",
        "{'name': 'optax.sgd', 'keywords': {'momentum': 0.9}}",
    ]


def test_no_tile_of_a_finished_store_is_recomputed(stored_sweep, computed):
    before = {f: f.stat().st_mtime_ns for f in stored_sweep.rglob("c.*")}
    result = stored(stored_sweep).load()
    assert not computed
    in_memory = stored(None)
    assert same_bits(result.drop_vars("finished"), in_memory)
    for name, variable in in_memory.variables.items():
        assert result[name].attrs == variable.attrs, name
    assert {f: f.stat().st_mtime_ns for f in stored_sweep.rglob("c.*")} == before


@pytest.mark.long
def test_only_missing_or_damaged_tiles_are_computed(tmp_path, computed):
    complete = stored(tmp_path).load()
    tiles = len(computed)
    assert tiles > 1
    computed.clear()
    tile = ".".join(map(str, (1, 0, 0)))
    raw = bytearray((tmp_path / "cost" / f"c.{tile}.0").read_bytes())
    raw[3] ^= 1
    (tmp_path / "cost" / f"c.{tile}.0").write_bytes(raw)
    with pytest.warns(UserWarning, match=rf"was damaged: cost/c.{tile}.0: checksum differs; tile"):
        again = stored(tmp_path)
    assert computed == [(1, 0, 0)]
    assert same_bits(again, complete)


# Contents of the record


def test_every_field_of_the_specification_is_recorded_and_restored(stored_sweep):
    """Fields are read from `Sweep`, so that new keywords of `sweep` are covered."""
    names = {field.name for field in dataclasses.fields(Sweep)}
    recorded = StoredSweep(stored_sweep).identity
    assert names - set(recorded) == names & set(identity.OPTIONAL)  # absent unless set
    names &= set(recorded)
    problem = network(watched=True)
    again = StoredSweep(stored_sweep, problem).sweep
    for name in names - {"problem", "axes", "make_optimizer", "metrics"}:
        assert plain(getattr(again, name)) == recorded[name]
    assert again.problem is problem
    assert again.make_optimizer.keywords == {"momentum": 0.9}
    assert {name: m.every for name, m in again.recorded_metrics.items()} == {
        "largest_weight": 2,
        "positive": 3,
    }
    assert again.axes.sizes == {"learning_rate": 3, "seed": 4, "scale": 1}


def test_hashes_depend_on_values_shapes_types_names_and_structure():
    tree = {"a": np.arange(6, dtype=np.float32), "b": (np.zeros((2, 0), np.float32), None)}
    assert identity.hash_of(tree) == identity.hash_of(jax.tree.map(jnp.asarray, tree))
    flipped = tree["a"].copy()
    flipped.view(np.uint32)[5] ^= 1
    others = [
        {**tree, "a": flipped},
        {**tree, "a": tree["a"].reshape(2, 3)},
        {**tree, "a": tree["a"].view(np.int32)},
        {"c": tree["a"], "b": tree["b"]},
        {**tree, "b": (None, tree["b"][0])},
    ]
    hashes = {identity.hash_of(other) for other in (tree, *others)}
    assert len(hashes) == 6
    strided = np.arange(12, dtype=np.float32)[::2]
    assert identity.hash_of(strided) == identity.hash_of(strided.copy())


def test_an_optimizer_that_cannot_be_restored_raises_an_error():
    masked = factories.describe(partial(optax.adamw, mask=lambda p: p, weight_decay=0.1))
    assert " at 0x" not in str(masked)  # addresses differ between processes
    with pytest.raises(StoreError, match=r"adamw has the argument mask = '<function .*pass the"):
        factories.optimizer_from(masked, "s")
    with pytest.raises(InputError, match="positional arguments cannot be recorded"):
        factories.describe(partial(optax.sgd, 0.1))


def test_augmented_digits_are_restored_from_their_record():
    problem = problems.digits(samples=5, distortion=problems.Distortion(copies=2, seed=3))
    again = factories.problem_from(json.loads(json.dumps(problem.provenance)), "s")
    np.testing.assert_array_equal(again.data[0], problem.data[0])
    for fields in ({"copies": 1}, {"copies": 1.0, "shift": 0, "turn": 0, "seed": 0}, 3):
        with pytest.raises(StoreError, match="distortion"):
            factories.problem_from({**problem.provenance, "distortion": fields}, "s")
    many = {**problem.provenance["distortion"], "copies": 10**9}
    with pytest.raises(StoreError, match=r"copies = 1000000000, expected"):
        factories.problem_from({**problem.provenance, "distortion": many}, "s")
