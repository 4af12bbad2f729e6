"""Storage of the states needed for further steps: default and explicit settings.

continuable=None:  bytes(optimizer and metric states) <= bytes(parameters and records)
"""

import json
from functools import partial

import jax.numpy as jnp
import optax
import pytest
import xarray as xr

import gdjax as gd
from gdjax.problems.metrics import described
from gdjax.sweeps import fit
from gdjax.sweeps.continued.stored import StoredSweep

PARAMS = 30
BOWL = gd.Problem(
    init=lambda key: jnp.linspace(0.5, 1.5, PARAMS), cost=lambda w: jnp.mean(w**2), data=None
)
RATES = gd.axes(learning_rate=[0.1, 0.4])
MOMENTUM = partial(optax.sgd, momentum=0.5)


def swept(path, steps, make_optimizer, problem=BOWL, **settings):
    """Return the Dataset of a sweep, and whether its runs are continuable."""
    dataset = gd.sweep(problem, RATES, steps, make_optimizer=make_optimizer, store=path, **settings)
    return dataset, json.loads(dataset.attrs["identity"])["continuable"]


def arrays(store):
    """Return the arrays of a store that are not coordinates, read by xarray alone."""
    return dict(xr.open_zarr(store, chunks=None).data_vars)


@pytest.mark.parametrize(
    ("make_optimizer", "steps", "kept"),
    [
        (MOMENTUM, 2, True),
        (optax.adam, 14, False),  # 61 = 2 * 30 + 1 state numbers > 30 parameters + 15 * 2 records
        (optax.adam, 15, True),  # 61 <= 30 + 16 * 2 = 62
    ],
)
def test_the_default_depends_on_the_size_of_the_optimizer_state(
    tmp_path, make_optimizer, steps, kept
):
    assert swept(tmp_path / "s", steps, make_optimizer)[1] is kept
    assert kept == any(name.startswith("carry.") for name in arrays(tmp_path / "s"))


def test_the_default_depends_on_the_size_of_the_metric_state(tmp_path):
    begin = described(init=lambda problem, w: jnp.zeros((3, PARAMS)))
    metric = begin(lambda problem, w, state: (jnp.sum(w), state))
    assert not swept(tmp_path / "s", 2, optax.sgd, metrics={"large": metric})[1]


def test_parameters_are_stored_once(tmp_path):
    runs, _ = swept(tmp_path / "s", 2, MOMENTUM)
    stored = arrays(tmp_path / "s")
    large = {name for name, array in stored.items() if array.shape == (2, PARAMS)}
    assert large == {"params", "carry.state.opt_state.0.trace"}
    assert set(runs) == {n for n in stored if not n.startswith("carry.")}


@pytest.mark.parametrize("continuable", [True, False])
@pytest.mark.parametrize("make_optimizer", [optax.sgd, optax.adam])
def test_the_setting_of_an_existing_store_determines_whether_runs_can_continue(
    tmp_path, continuable, make_optimizer
):
    created, _ = swept(tmp_path / "s", 3, make_optimizer, continuable=continuable)
    again, stored = swept(tmp_path / "s", 3, make_optimizer)
    assert again.equals(created)
    assert stored is continuable
    with pytest.raises(gd.errors.StoreError, match="continuable: stored"):
        swept(tmp_path / "s", 3, make_optimizer, continuable=not continuable)


def test_a_store_that_contains_the_parameters_twice_is_accepted(tmp_path, monkeypatch):
    monkeypatch.setattr(fit, "stored_name", lambda name, **_: name)
    created, _ = swept(tmp_path / "s", 3, MOMENTUM)
    monkeypatch.undo()
    assert "carry.state.params" in arrays(tmp_path / "s")
    assert swept(tmp_path / "s", 3, MOMENTUM)[0].equals(created)
    assert gd.resume(tmp_path / "s", problem=BOWL, make_optimizer=MOMENTUM).equals(created)
    wide = gd.axes(learning_rate=[0.1, 0.4, 0.2])
    more = gd.extend(tmp_path / "s", wide, to=tmp_path / "m", problem=BOWL, make_optimizer=MOMENTUM)
    assert more.cost.shape == (3, 4)
    assert "carry.state.params" in arrays(tmp_path / "m")
    assert StoredSweep(tmp_path / "m").identity["continuable"] is True
