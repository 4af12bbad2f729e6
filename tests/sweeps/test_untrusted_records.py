"""Untrusted stores: recorded names are looked up in tables, and never executed."""

import json
import os
import shutil
import sys
from functools import partial

import jax
import numpy as np
import optax
import pytest
from mutants import OPTIMIZERS, PROBLEMS, reseal

import gdjax as gd
from gdjax.base.errors import StoreError
from gdjax.data import sets
from gdjax.descent import WarmupCosine
from gdjax.stores.reader import Stored
from gdjax.sweeps import factories, run_of

AT = {"learning_rate": 0.1, "seed": 1}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("stranger") / "s"
    gd.sweep(gd.problems.bowl([1.0, 4.0]), gd.axes(learning_rate=[0.1], seed=[0, 1]), 2, store=path)
    return path


@pytest.fixture
def altered(path, tmp_path):
    """Return a function that writes a copy of the store with changed entries of its identity."""

    def written(**changed):
        copied = shutil.copytree(path, tmp_path / "altered")
        reseal(copied, **changed)
        assert gd.stores.verify(copied) == []
        return copied

    return written


@pytest.fixture
def forbid_execution(monkeypatch):
    done = []
    monkeypatch.setattr(os, "system", done.append)
    before = set(sys.modules)
    yield
    assert not done
    assert "this" not in set(sys.modules) - before


def resume(store, at):
    gd.resume(store)


def count_minima(store, at):
    gd.minima.count_minima(None, store)


@pytest.mark.usefixtures("forbid_execution")
@pytest.mark.parametrize(
    ("name", "record", "calls", "message"),
    [
        *(("make_optimizer", r, (gd.replay, resume), "optimizer") for r in OPTIMIZERS),
        *(("problem", r, (gd.replay, run_of, count_minima), r"problem=\.\.\.") for r in PROBLEMS),
    ],
)
def test_an_invalid_record_of_an_optimizer_or_a_problem_is_rejected(
    altered, name, record, calls, message
):
    path = altered(**{name: record})
    for call in calls:
        with pytest.raises(StoreError, match=message) as caught:
            call(path, AT)
        assert "\n" not in str(caught.value)


def test_a_recorded_data_set_that_is_not_prepared_is_not_downloaded(monkeypatch):
    monkeypatch.setattr(sets, "prepare", lambda *_, **__: pytest.fail("downloads"))
    monkeypatch.setattr(sets, "available", lambda *_: [])
    recorded = {"problem": "digits", "name": "fashion_mnist", "hash": "0" * 16}
    with pytest.raises(
        StoreError, match="'fashion_mnist', which is not prepared on this machine, and r"
    ):
        factories.problem_from(recorded, "s")


def test_changed_data_raise_an_error_in_every_function_that_rebuilds_the_problem(altered):
    digits = gd.problems.digits("mnist5k", widths=(2,), samples=10)
    recorded = dict(digits.provenance)
    assert factories.problem_from(recorded, "s").provenance == recorded
    with pytest.raises(StoreError, match=r"digits had hash = '0+', .* the data set has changed"):
        factories.problem_from({**recorded, "hash": "0" * 16}, "s")
    path = altered(data_hash="0" * 16)
    for call in (gd.replay, run_of, count_minima):
        with pytest.raises(StoreError, match="another sweep: data_hash: stored"):
            call(path, AT)


@pytest.mark.parametrize(
    "changed",
    [
        {"axes": []},
        {"axes": {"seed": [0, 1]}},
        {"axes": {"seed": {"seed": ["x"]}}},
        {"axes": {"seed": {"seed": [[0]]}}},
        {"axes": {"seed": {"seed": []}}},
        {"axes": {"learning_rate": {"learning_rate": [0.1]}, "other": {"seed": [0, 1]}}},
        {"num_steps": "3"},
        {"num_steps": 10**20},
        {"batch_size": -1},
        {"root_seed": 2**40},
        {"divergence_threshold": "x"},
        {"gradient_tolerance": None},
        {"stop_when_converged": 1},
        {"record_every": 0},
        {"snapshot_every": "1"},
        {"metrics": {"os.system": {"every": 1}}},
        {"metrics": [1]},
        {"samples": "\x1b[31m"},
    ],
    ids=str,
)
@pytest.mark.usefixtures("user_settings")
def test_an_invalid_record_raises_an_error(altered, changed):
    with pytest.raises(StoreError):
        gd.replay(altered(**changed), AT)


@pytest.mark.parametrize("named", [{"sed": [0, 1]}, {"seed": [0, 1], "scale": [1.0, 2.0]}])
def test_a_recorded_axis_that_is_not_an_axis_of_the_arrays_raises_a_store_error(altered, named):
    path = altered(axes={"learning_rate": {"learning_rate": [0.1]}, "seed": named})
    for call in (gd.replay, run_of, resume):
        with pytest.raises(StoreError, match="which is not an axis of its arrays"):
            call(path, AT)


def test_a_record_of_more_programs_than_the_axes_need_is_rejected(path, altered):
    functions = Stored(path).identity["functions"]
    path = altered(functions={name: hashes * 2 for name, hashes in functions.items()})
    more = gd.axes(learning_rate=[0.1], seed=[0, 1, 2])
    for call in (partial(gd.extend, axes=more, to=path.parent / "to"), partial(gd.replay, at=AT)):
        with pytest.raises(StoreError, match=r"another sweep: functions\.init: stored \["):
            call(path)


def test_a_store_without_the_arrays_of_its_recorded_optimizer_is_not_extended(altered):
    """The record of versions is altered as well, so that the programs cannot be compared."""
    adam = {"name": "optax.adam", "keywords": {}}
    path = altered(make_optimizer=adam, environment={})
    more = gd.axes(learning_rate=[0.1], seed=[0, 1, 2])
    with pytest.raises(StoreError, match=r"has no array 'carry\.state\.opt_state"):
        gd.extend(path, more, to=path.parent / "to", allow_unverified=True)


def test_every_optimizer_of_the_table_can_be_restored():
    """Nested partials, schedules, dtypes and infinite arguments are restored as well."""
    for name, factory in factories.OPTIMIZERS.items():
        described = factories.describe(factory)
        assert described == {"name": name, "keywords": {}}
        assert factories.optimizer_from(described, "s") is factory
    text = {"name": "optax.adam", "keywords": {"eps": 1e-3, "mu_dtype": "bfloat16"}}
    created = factories.optimizer_from(text, "s")(learning_rate=0.1)
    memory = jax.eval_shape(created.init, np.zeros(2, np.float32))
    assert memory[0].mu.dtype == "bfloat16"
    rate = WarmupCosine(1.0, 2, 6, end=0.1)
    described = factories.describe(partial(optax.sgd, learning_rate=rate))
    again = factories.optimizer_from(json.loads(json.dumps(described)), "s")
    assert again.keywords == {"learning_rate": rate}
    nested = factories.describe(partial(partial(optax.adam, b1=0.5, b2=0.6), b1=0.7))
    assert nested == {"name": "optax.adam", "keywords": {"b1": 0.7, "b2": 0.6}}
    infinite = {"name": "optax.sgd", "keywords": {"momentum": "inf"}}
    assert factories.optimizer_from(infinite, "s").keywords == {"momentum": float("inf")}
