"""Golden numbers: final costs, and digests of parameters and records, of twelve tiny models.

`golden_numbers.json` has the numbers of one kind of processor and one version of the libraries;
elsewhere the tests skip. A commit that changes bits says so, and writes the file anew:

    .venv/bin/pytest -n 0 -m "" tests/test_golden_numbers.py --regenerate
"""

import contextlib
import dataclasses
import hashlib
import json
import os
from itertools import product
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny_models
from jax.flatten_util import ravel_pytree
from small_problems import network

import gdjax as gd
from gdjax.base.machine import processor

FILE = Path(__file__).with_suffix(".json").with_stem("golden_numbers")
PLACE = {
    "processor": processor(),
    "versions": f"JAX {jax.__version__}, Optax {optax.__version__}",
    "flags": f"{os.environ['JAX_DISABLE_MOST_OPTIMIZATIONS']} {os.environ.get('XLA_FLAGS', '')}",
}
NAMES = (
    "regression", "logistic", "layers", "attention", "convolution", "recurrent", "embedding",
    "random_cost", "dropout", "rule", "half",
)  # fmt: skip
MODELS = {name: getattr(tiny_models, name) for name in NAMES} | {"network": network}
OPTIMIZERS = {"sgd": optax.sgd, "adam": optax.adam}
ORDERS = {
    "full batch": {},
    "shuffled": {"batch_size": 5},
    "drawn": {"batch_size": 5, "replacement": True},
}
METRICS = {
    "norm": gd.Metric(lambda _, w: optax.tree.norm(w)),
    "signs": gd.Metric(
        lambda _, w: jnp.packbits(ravel_pytree(w)[0][:12] > 0),
        every=2,
        dims=("byte",),
        dtype="uint8",
    ),
}
GRID = gd.axes(learning_rate=[0.05, 0.4], seed=[0, 1])
AT = {"learning_rate": 0.4, "seed": 1}


def digest(arrays):
    return hashlib.sha256(b"".join(np.asarray(array).tobytes() for array in arrays)).hexdigest()[
        :16
    ]


def numbers(runs):
    """Return the final costs of runs, and digests of their parameters and of all other arrays."""
    if isinstance(runs, gd.descent.Descent):
        records = [runs.cost, runs.batch_cost, runs.snapshots, runs.metrics, runs.arrays]
        costs, groups = runs.cost[-1:], (jax.tree.leaves(runs.params), jax.tree.leaves(records))
    else:
        runs = runs.load()
        costs = runs.cost.isel(step=-1).values.ravel()
        names = sorted(
            name for name in runs.data_vars if not name.startswith(("carry", "finished"))
        )
        params = [name for name in names if name.split(".")[0] == "params"]
        groups = ([runs[n].values for n in part] for part in (params, sorted({*names} - {*params})))
    return [" ".join(f"{cost:.9g}" for cost in costs), *map(digest, groups)]


@pytest.fixture(scope="module")
def compare(request):
    """Return a function that compares the numbers of runs, or collects them to be written."""
    stored = json.loads(FILE.read_text()) if FILE.exists() else {}
    if request.config.getoption("regenerate"):
        stored["place"] = PLACE
        yield lambda case, runs: stored.update({case: numbers(runs)})
        lines = (f"{json.dumps(case)}: {json.dumps(values)}" for case, values in stored.items())
        FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
        return
    if stored["place"] != PLACE:
        pytest.skip(f"golden numbers are those of {stored['place']}, this is {PLACE}")

    def check(case, runs):
        assert numbers(runs) == stored[case], case

    yield check


def test_continued_runs_and_a_search_equal_the_golden_numbers(compare, tmp_path):
    problem = dataclasses.replace(tiny_models.random_cost(), metrics=METRICS)
    users = {"problem": problem, "make_optimizer": optax.adam}
    options = {**users, "batch_size": 5, "record_every": 4, "snapshot_every": 4}
    compare("stored", gd.sweep(axes=GRID, num_steps=12, store=tmp_path / "s", **options))
    wider = gd.axes(learning_rate=[0.05, 0.4], seed=[0, 1, 2])
    compare("extended", gd.extend(tmp_path / "s", wider, 20, to=tmp_path / "e", **users))
    leave = gd.axes(branch_step=[4, 12], perturbation=[0.0, 0.1], learning_rate=[0.4, 0.8])
    compare("branches", gd.branch(tmp_path / "e", AT, leave, **users))
    assert gd.replay(tmp_path / "e", AT, **users).equal
    grid = gd.axes(learning_rate=np.geomspace(0.01, 1, 8), seed=[0, 1])
    compare(
        "search", gd.search.successive_halving(gd.Sweep(axes=grid, num_steps=12, **options), (4,))
    )


def test_a_descent_equals_the_golden_numbers(compare):
    problem, keys = tiny_models.random_cost(), gd.run_keys(0, 1)
    params, model_state = problem.begin(keys.init)
    options = {"batch_size": 5, "record_every": 4, "snapshot_every": 4, "metrics": METRICS}
    start = {"start": params, "model_state": model_state, "key": keys}
    compare("descent", gd.descend(problem, optax.adam(0.4), num_steps=12, **start, **options))


@pytest.mark.long
@pytest.mark.parametrize("model", MODELS)
def test_sweeps_equal_the_golden_numbers(model, compare):
    with jax.enable_x64(True) if model == "regression" else contextlib.nullcontext():
        problem = MODELS[model]()
        for (order, batches), (name, make_optimizer) in product(ORDERS.items(), OPTIMIZERS.items()):
            options = {**batches, "record_every": 4, "snapshot_every": 4, "metrics": METRICS}
            runs = gd.sweep(problem, GRID, 12, make_optimizer=make_optimizer, **options)
            compare(f"{model}, {order}, {name}", runs)
