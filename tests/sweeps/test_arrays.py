"""Names, types and shapes of the arrays of a sweep."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import gdjax as gd
from gdjax.base.arrays import Array
from gdjax.problems.networks import Layer
from gdjax.sweeps import Sweep, arrays, axes, slab_runner
from gdjax.sweeps.arrays import sweep_arrays
from gdjax.sweeps.dataset import named_leaves, storable
from gdjax.sweeps.program import programs_of


@pytest.mark.parametrize(
    ("tree", "names"),
    [
        (1.0, ["params"]),
        ((1.0, [2.0]), ["params.0", "params.1.0"]),
        ({"b": 1.0, "a": {"c": 2.0}}, ["params.a.c", "params.b"]),
        ((Layer(jnp.ones((2, 2)), jnp.ones(2)),), ["params.0.weights", "params.0.bias"]),
        ({"used": 1.0, "not": None}, ["params.used"]),
        # Names that are invalid or ambiguous as file names
        ({"a.b": 1.0, "a": {"b": 2.0}}, ["params.a.b", "params.a%2eb"]),
        ({"": 1.0, "..": 2.0}, ["params.%", "params.%2e%2e"]),
        ({"Dense": {"Kernel": 1.0}}, ["params.Dense.Kernel"]),
        ({"A": 1.0, "a": 2.0}, ["params.%41", "params.a"]),
        ({"é": 1.0, "%c3%a9": 2.0}, ["params.%25c3%25a9", "params.%c3%a9"]),
    ],
)
def test_the_name_of_a_leaf_is_its_path_in_the_tree(tree, names):
    named = named_leaves("params", tree)
    assert list(named) == names
    assert all(a is b for a, b in zip(named.values(), jax.tree.leaves(tree), strict=True))
    bare = [name.removeprefix("params").removeprefix(".") for name in names]
    assert list(named_leaves("", tree)) == bare


KEYS = st.text(st.sampled_from("aAbB.%/~ 0é_") | st.characters(codec="utf-8"), max_size=4)
TREES = st.recursive(
    st.just(1.0), lambda inner: st.dictionaries(KEYS, inner, min_size=1, max_size=4), max_leaves=8
)


@pytest.mark.long
@settings(max_examples=200, deadline=None)
@given(TREES)
def test_names_of_leaves_are_unique_ignoring_case(tree):
    names = list(named_leaves("params", tree))
    assert len({name.lower() for name in names}) == len(jax.tree.leaves(tree))
    assert all(re.fullmatch(r"params(\.[\w%-]+)*", name, re.ASCII) for name in names)


def test_the_model_state_is_stored_with_the_parameters():
    """Counters and keys are stored with fill values that do not occur in results."""
    state = {"count": jnp.array(0), "key": jax.random.key(0), "on": jnp.array(True)}
    problem = gd.Problem(
        init=lambda key: (jnp.ones(3), state),
        cost=lambda w, x, *, model_state: (jnp.mean((w[0] * x) ** 2), model_state),
        evaluation=lambda w, x, *, model_state: jnp.mean((w[0] * x) ** 2),
        data=jnp.ones(9),
    )
    spec = Sweep(problem, axes(seed=range(2), learning_rate=[0.1]), 2, record_samples=7)
    (program,) = programs_of(spec, jax.local_devices())
    variables = sweep_arrays(program).arrays
    kinds = {
        name: (v.dims[2:], np.dtype(v.dtype).name, v.fill_value)
        for name, v in variables.items()
        if name.startswith("model_state.")
    }
    assert kinds == {
        "model_state.count": ((), "int32", -(2**31)),
        "model_state.key": (("model_state.key[0]",), "uint32", 2**32 - 1),
        "model_state.on": ((), "bool", False),
    }
    assert storable(state["key"]).tolist() == [0, 0]
    assert variables["cost"].long_name.startswith("cost over 7 samples")


def test_a_new_array_is_declared_once(tmp_path, monkeypatch):
    """Besides its value, only its declaration is added; stores, Datasets and replays read it."""
    declared, computed = arrays.program_arrays, slab_runner.slab_variables
    total = Array("sum of the recorded costs", ("learning_rate",), "J", dtype=np.float32)

    def declare(program, grid):
        schema = declared(program, grid)
        return dataclasses.replace(schema, arrays={**schema.arrays, "total": total})

    def compute(*arguments):
        values = computed(*arguments)
        return values | {"total": values["cost"].sum(axis=1)}

    monkeypatch.setattr(arrays, "program_arrays", declare)
    monkeypatch.setattr(slab_runner, "slab_variables", compute)
    sweep = gd.problems.bowl([1.0, 9.0]), axes(learning_rate=[0.05, 0.1]), 5
    stored = gd.sweep(*sweep, store=tmp_path / "s")
    assert gd.stores.verify(tmp_path / "s") == []
    assert gd.replay(tmp_path / "s", {"learning_rate": 0.1}).equal
    with xr.open_zarr(tmp_path / "s", chunks=None) as read:
        for runs in (stored, gd.sweep(*sweep), read):
            assert runs.total.attrs == {"long_name": "sum of the recorded costs", "units": "J"}
            np.testing.assert_array_equal(runs.total, runs.cost.sum("step"))
