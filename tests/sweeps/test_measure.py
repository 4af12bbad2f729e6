"""Measurements after a run: equal to those along it, at any points, and resumed."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree
from small_problems import network

import gdjax as gd
from gdjax.base.errors import InputError
from gdjax.sweeps import executor
from tests.annotations import skip_with_annotations

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
    grid = gd.axes(learning_rate=np.linspace(0.01, 0.1, 40), seed=range(8))
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
    params = {str(n): PROBLEM.init(jax.random.key(n)) for n in range(3)}
    metrics = {name: metric for name, metric in METRICS.items() if name != "scaled"}
    measured = gd.measure(metrics, params.items(), problem=PROBLEM, key=jax.random.key(1))
    assert measured.point.values.tolist() == ["0", "1", "2"]
    assert len({*measured.drawn.values.tolist()}) == 3
    for label, w in params.items():
        value = PROBLEM.cost(w, METRICS["unseen"].data)
        np.testing.assert_allclose(measured.unseen.sel(point=label), value, rtol=1e-6)
    with pytest.raises(InputError, match=r"^metrics: 'drawn' .* pass key="):
        gd.measure(metrics, params.items(), problem=PROBLEM)
    one = gd.measure({"sharpness": gd.curvature.Sharpness()}, (PROBLEM, params["1"]))
    flat, unravel = ravel_pytree(params["1"])
    hessian = jax.hessian(lambda v: PROBLEM.cost(unravel(v), PROBLEM.data))(flat)
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
