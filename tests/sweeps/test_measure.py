"""Measurements after a run: equal to those along it, at any points, and resumed."""

import dataclasses
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree
from small_problems import network

import gdjax as gd
from gdjax.base.errors import InputError
from gdjax.minima.end_points import classify_end_points
from gdjax.stores.reader import Stored
from gdjax.sweeps import executor
from tests.annotations import skip_with_annotations
from tests.processes import python

PROBLEM = network(watched=True)
GRID = gd.axes(learning_rate=[0.05, 0.4], decay=[0.0, 0.1], seed=range(5))


def scaled_cost(problem, w, *, settings):
    return settings["learning_rate"] * problem.cost(w, problem.data)


METRICS = {
    **PROBLEM.metrics,
    "scaled": scaled_cost,
    "drawn": lambda problem, w, *, key: jax.random.normal(key),
    "now": lambda problem, w, *, step: step,
    "unseen": gd.Metric(gd.problems.evaluate, data=jax.tree.map(lambda a: a[:7], PROBLEM.data)),
}


@pytest.mark.parametrize("batch_size", [None, 5])
def test_measured_values_have_the_bits_of_recorded_ones(batch_size, tmp_path):
    options = {"batch_size": batch_size, "record_every": 2, "snapshot_every": 4}
    every = {name: gd.Metric(getattr(m, "measure", m), every=2) for name, m in METRICS.items()}
    every["unseen"] = gd.Metric(gd.problems.evaluate, every=2, data=METRICS["unseen"].data)
    every["positive"] = gd.Metric(every["positive"].measure, every=2, dims=("b",), dtype="uint8")
    runs = gd.sweep(PROBLEM, GRID, 12, metrics=every, store=tmp_path / "s", **options)
    path = gd.measure({**METRICS, "positive": every["positive"]}, tmp_path / "s",
                      problem=PROBLEM, steps="snapshots")  # fmt: skip
    some = gd.measure(METRICS, runs, problem=PROBLEM, steps=[8], at={"decay": 0.1})
    ends = gd.measure(METRICS, runs, problem=PROBLEM, store=tmp_path / "ends")
    for name in METRICS:
        recorded = runs[name].values
        if name != "positive":
            recorded = recorded[..., ::2]
        np.testing.assert_array_equal(path[name].values, recorded, err_msg=name)
        np.testing.assert_array_equal(ends[name].values, recorded[:, :, :, -1], err_msg=name)
        np.testing.assert_array_equal(some[name].values[:, :, 0], recorded[:, 1, :, 2])
    assert path.scaled.dims == ("learning_rate", "decay", "seed", "snapshot_step")
    assert path.largest_weight.attrs["long_name"] == "largest weight"


def test_an_interrupted_measurement_continues(tmp_path, monkeypatch):
    grid = gd.axes(learning_rate=np.linspace(0.01, 0.1, 20), seed=range(8))
    runs = gd.sweep(PROBLEM, grid, 1)
    metrics = {"scaled": scaled_cost}
    place = {"problem": PROBLEM, "devices": jax.local_devices()[:1]}
    whole, run_tiles, calls = gd.measure(metrics, runs, **place), executor.run_tiles, []

    def stopped(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return run_tiles(*arguments)

    monkeypatch.setattr(executor, "run_tiles", stopped)
    with pytest.raises(KeyboardInterrupt, match="repeat the call with this store"):
        gd.measure(metrics, runs, store=tmp_path, **place)
    count = len(calls)
    again = gd.measure(metrics, runs, store=tmp_path, **place)
    np.testing.assert_array_equal(again.scaled, whole.scaled)
    assert len(calls) > count
    with pytest.raises(gd.errors.StoreError):
        gd.measure({"scaled": lambda problem, w: jnp.sum(w["first"]["bias"])}, runs,
                   store=tmp_path, **place)  # fmt: skip


KILLED = """
import os, signal, sys
import gdjax as gd
from gdjax.sweeps import executor
from small_problems import network

run_tiles, calls = executor.run_tiles, []

def killed(*arguments):
    calls.append(arguments)
    if len(calls) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return run_tiles(*arguments)

executor.run_tiles = killed
problem, (source, store) = network(watched=True), sys.argv[1:]
metrics = {"largest_weight": problem.metrics["largest_weight"]}
gd.measure(metrics, source, problem=problem, store=store)
"""


@pytest.mark.long
def test_a_killed_measurement_continues(tmp_path):
    grid = gd.axes(learning_rate=np.linspace(0.01, 0.1, 40), seed=range(8))
    source, store, weights = tmp_path / "s", tmp_path / "m", PROBLEM.metrics["largest_weight"]
    runs = gd.sweep(PROBLEM, grid, 1, metrics={"weight": weights.measure}, store=source)
    here = Path(__file__).parent
    paths = {**os.environ, "PYTHONPATH": f"{here}:{here.parents[1]}"}
    python("-c", KILLED, source, store, status=-signal.SIGKILL, env=paths)
    finished = Stored(store).finished()
    assert finished.any()
    assert not finished.all()
    files = {path: path.stat().st_mtime_ns for path in store.rglob("c/*") if path.is_file()}
    again = gd.measure({"largest_weight": weights}, source, problem=PROBLEM, store=store)
    np.testing.assert_array_equal(again.largest_weight, runs.weight[..., -1])
    assert {path: path.stat().st_mtime_ns for path in files} == files


class Bare(NamedTuple):
    a: Any
    tree: Any


def several(problem, w):
    flat, _ = ravel_pytree(w)
    return {"sum": jnp.sum(flat), "pair": flat[:2], "positive": jnp.sum(flat > 0)}


def test_a_value_may_be_a_dict_or_a_named_tuple_that_declares_its_arrays(tmp_path):
    bowl = gd.problems.bowl([1.0, 9.0, 3.0])
    ends = partial(gd.curvature.extreme_eigenpairs, largest=2, smallest=1)
    metrics = {"ends": ends, "some": several}
    grid = gd.axes(learning_rate=[0.1, 1.0], seed=range(3))
    runs = gd.sweep(bowl, grid, 6, metrics=metrics, store=tmp_path / "runs", record_every=2,
                    snapshot_every=2, continuable=True)  # fmt: skip
    path = gd.measure(metrics, tmp_path / "runs", steps="snapshots")
    for name in path.data_vars:
        np.testing.assert_array_equal(path[name], runs[name].values, err_msg=name)
    np.testing.assert_allclose(path.ends_values, np.broadcast_to([9.0, 3.0, 1.0], (2, 3, 4, 3)))
    assert path.ends_status.attrs["flag_meanings"].startswith("converged")
    np.testing.assert_array_equal(path.some_pair, path.some_pair.copy(data=runs.snapshots[..., :2]))
    assert path.some_positive.dtype == np.int32
    longer = gd.extend(
        tmp_path / "runs",
        num_steps=8,
        to=tmp_path / "more",
        problem=dataclasses.replace(bowl, metrics=metrics),
    )
    np.testing.assert_array_equal(longer.some_sum[..., :4], runs.some_sum)
    run = gd.descend(bowl, optax.sgd(0.1), jnp.ones(3), 2, key=jax.random.key(0), metrics=metrics)
    np.testing.assert_allclose(run.arrays["ends"].values.values[0], [9, 3, 1], rtol=1e-5)
    line = gd.landscape.line(bowl, jnp.zeros(3), jnp.ones(3), [0, 2], metrics={"some": several})
    np.testing.assert_array_equal(line.some_pair, [[0, 0], [2, 2]])
    bare = gd.measure({"bare": lambda problem, w: Bare(w, {"b": w})}, (bowl, jnp.ones(3)))
    assert dict(bare.sizes) == {"bare_a_0": 3}
    assert list(bare.data_vars) == ["bare_a"]


def test_quantities_of_curvature_are_measured_as_they_are_computed():
    problem, key = network(), jax.random.key(0)
    params = problem.init(jax.random.key(1))
    quantities = {
        "ends": partial(gd.curvature.extreme_eigenpairs, key=key),
        "trace": partial(gd.curvature.hessian_trace, key=key),
        "density": partial(gd.curvature.spectral_density, key=key),
        "gradient": gd.landscape.gradient_norm,
        "summary": gd.curvature.gradient_summary,
        "batches": partial(gd.curvature.batch_sharpness, key=key, batch_size=5),
        "noise": partial(gd.descent.gradient_noise, key=key, batch_size=5, batches=3),
        "dual": partial(gd.curvature.dual_gradient_norm, norm="linf"),
        "critical": gd.curvature.critical_sharpness,
    }
    measured = gd.measure(quantities, (problem, params))
    for name, quantity in quantities.items():
        value = quantity(problem, params)
        for field, part in (value._asdict() if hasattr(value, "_fields") else {"": value}).items():
            stored = measured.get(f"{name}_{field}".rstrip("_"))
            if stored is not None:
                np.testing.assert_allclose(stored, part, rtol=1e-4, atol=1e-5, err_msg=name)
    assert {n.split("_")[0] for n in measured.data_vars} == {*quantities}


def test_snapshots_keep_the_model_state():
    problem = gd.Problem(
        init=lambda key: (jax.random.normal(key, (2,)), jnp.zeros(())),
        cost=lambda w, x, *, model_state: (
            jnp.mean((w[0] * x + w[1] - model_state) ** 2), 0.8 * model_state + jnp.mean(x)
        ),
        evaluation=lambda w, x, *, model_state: jnp.mean((w[0] * x + w[1] - model_state) ** 2),
        data=np.arange(6, dtype=np.float32),
    )  # fmt: skip
    metrics = {
        "seen": lambda problem, w, *, model_state: model_state,
        "cost_of": gd.problems.evaluate,
    }
    options = {"metrics": metrics, "snapshot_every": 2, "record_every": 2}
    runs = gd.sweep(problem, gd.axes(learning_rate=[0.01, 0.1], seed=range(2)), 6, **options)
    path = gd.measure(metrics, runs, problem=problem, steps="snapshots")
    for name in metrics:
        np.testing.assert_array_equal(path[name], runs[name].values)
    assert len(np.unique(path.seen)) == 4
    np.testing.assert_array_equal(runs.snapshot_model_state[..., -1], runs.model_state)
    with pytest.raises(InputError, match=r"'seen' .* `model_state`, but snapshots do not have it"):
        gd.measure(metrics, runs.drop_vars("snapshot_model_state"), problem=problem,
                   steps="snapshots")  # fmt: skip


def test_end_points_are_measured():
    problem = gd.problems.bowl([1.0, 10.0])
    starts = jax.vmap(problem.init)(jax.random.split(jax.random.key(0), 4))
    ends = classify_end_points(problem, starts, key=jax.random.key(1))
    metrics = {"norm": lambda problem, w: jnp.linalg.norm(w), "top": gd.curvature.Sharpness()}
    measured = gd.measure(metrics, ends, problem=problem)
    assert measured.norm.dims == ("run",)
    np.testing.assert_allclose(measured.norm, np.linalg.norm(ends.params, axis=1), atol=1e-12)
    np.testing.assert_allclose(measured.top, 10)


def test_the_state_of_the_optimizer_is_that_of_a_continuable_store(tmp_path):
    trace = {"trace": lambda problem, w, *, opt_state: optax.tree.norm(opt_state[0].trace)}
    heavy = {"make_optimizer": lambda learning_rate: optax.sgd(learning_rate, momentum=0.9)}
    grid = gd.axes(learning_rate=[0.01, 0.1])
    runs = gd.sweep(PROBLEM, grid, 6, metrics=trace, store=tmp_path, continuable=True, **heavy)
    ends = gd.measure(trace, tmp_path, problem=PROBLEM, **heavy)
    np.testing.assert_array_equal(ends.trace, runs.trace[:, -1])
    with pytest.raises(InputError, match=r"'trace' .* `opt_state`, but where did not keep it"):
        gd.measure(trace, runs.drop_vars([n for n in runs if "carry" in n]), problem=PROBLEM,
                   **heavy)  # fmt: skip


def test_points_are_measured_with_labels_and_keys():
    init, cost = jax.jit(PROBLEM.init), jax.jit(PROBLEM.cost)
    params = {str(n): init(jax.random.key(n)) for n in range(3)}
    metrics = {name: metric for name, metric in METRICS.items() if name != "scaled"}
    measured = gd.measure(metrics, params.items(), problem=PROBLEM, key=jax.random.key(1))
    assert measured.point.values.tolist() == ["0", "1", "2"]
    assert len({*measured.drawn.values.tolist()}) == 3
    for label, w in params.items():
        value = cost(w, METRICS["unseen"].data)
        np.testing.assert_allclose(measured.unseen.sel(point=label), value, rtol=1e-6)
    with pytest.raises(InputError, match=r"^metrics: 'drawn' .* pass key="):
        gd.measure(metrics, params.items(), problem=PROBLEM)
    one = gd.measure({"sharpness": gd.curvature.Sharpness()}, (PROBLEM, params["1"]))
    flat, unravel = ravel_pytree(params["1"])
    hessian = jax.jit(jax.hessian(lambda v: PROBLEM.cost(unravel(v), PROBLEM.data)))(flat)
    assert one.sharpness.item() == pytest.approx(np.linalg.eigvalsh(hessian)[-1], rel=1e-3)


@skip_with_annotations
@pytest.mark.parametrize(
    ("where", "options", "match"),
    [
        (3, {}, "where = 3"),
        ([(0, jnp.ones(2))], {}, "problem = None"),
        ([(0, jnp.ones(2)), (1, jnp.ones(3))], {"problem": PROBLEM}, "params of 1"),
    ],
)
def test_wrong_points_are_named(where, options, match):
    with pytest.raises(InputError, match=match):
        gd.measure({"now": lambda problem, w: 0.0}, where, **options)
