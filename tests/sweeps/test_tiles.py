"""Bitwise independence of a run from its position in a slab and from other runs.

Bitwise equality requires equal numbers of threads. Unless stated otherwise, four CPU devices
compute slabs of two runs.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_problems import network, same_bits

from gdjax.problems.bowl import bowl
from gdjax.problems.metrics import Metric
from gdjax.problems.problem import Problem
from gdjax.sweeps import Sweep, axes, fit, params_of, sweep
from gdjax.sweeps.check import Asked, check
from gdjax.sweeps.slab_runner import SlabMonitor, restore_state, run_tiles


class MemorySink:
    """In-memory storage for the checkpoints of a tile."""

    def __init__(self):
        self.saved, self.steps = None, []

    def load_checkpoint(self, _tile):
        return self.saved

    def save_checkpoint(self, _tile, arrays, meta):
        self.saved = {name: np.array(a) for name, a in arrays.items()}, dict(meta)
        self.steps.append((meta["slabs"], meta.get("step", 0)))


def tile_of(fitted, sink, *, stop=False, show=lambda shares: None):
    tiles = [(0,) * len(fitted.schema.tile)]
    monitor = SlabMonitor(sink, tiles, lambda: stop, show)
    result = run_tiles(fitted, tiles, jax.local_devices()[0], monitor)
    return None if result is None else result[0]


def runs_of(grid, steps=60, *, problem=None, **changed):
    options = {"record_every": 10, "root_seed": 3, **changed}
    return sweep(problem or network(), grid, steps, **options)


# Bitwise equality


def test_a_diverged_run_does_not_change_other_runs():
    exploding = runs_of(axes(learning_rate=[0.3, 1e6, 0.4], seed=range(3)))
    tame = runs_of(axes(learning_rate=[0.3, 0.2, 0.4], seed=range(3)))
    assert (exploding.outcome.isel(learning_rate=1) == 3).all()
    rest = {"learning_rate": [0, 2]}
    assert same_bits(exploding.isel(rest), tame.isel(rest))


# Resumption

SPOILED = [
    (0, lambda arrays, meta: meta.update(slabs=5)),
    (0, lambda arrays, meta: meta.update(slabs="1")),
    (0, lambda arrays, meta: arrays.pop("done.cost")),
    (0, lambda arrays, meta: arrays.update({"done.cost": arrays["done.cost"][:, 1:]})),
    (0, lambda arrays, meta: arrays.update({"done.more": np.ones(2)})),
    (1, lambda arrays, meta: arrays.pop("carry.1")),
    (1, lambda arrays, meta: arrays.pop("kept.snapshots.0")),
    (1, lambda arrays, meta: arrays.update({"records.more": np.ones(2)})),
    (1, lambda arrays, meta: meta.update(step=1.5)),
    (1, lambda arrays, meta: meta.update(step=10**9)),
    (1, lambda arrays, meta: meta.pop("step")),
]


def test_invalid_parts_of_a_checkpoint_are_discarded(monkeypatch):
    monkeypatch.setattr("gdjax.descent.block_loop.BlockLengthController.update", lambda *_: None)
    monkeypatch.setattr(fit, "MAX_GATHERED_FILES", 0)
    grid = axes(learning_rate=[0.1, 0.3], seed=range(4))
    spec = Sweep(network(), grid, 60, record_every=10, snapshot_every=20)
    fitted, sink = fit.fit(check(Asked(spec))), MemorySink()
    while sink.steps[-1:] != [(1, 32)]:
        assert tile_of(fitted, sink, stop=True) is None
    for num_done, spoil in [(1, None), *SPOILED]:
        spoiled = MemorySink()
        spoiled.saved = tuple(map(dict, sink.saved))
        if spoil is not None:
            spoil(*spoiled.saved)
        monitor = SlabMonitor(spoiled, [(0, 0)], lambda: False)
        state = monitor.load(fitted.programs[0], 8)
        assert (len(monitor.done), state is None) == (num_done, spoil is not None)
        if spoil is None:
            monitor.save(state)
            assert jax.tree.all(jax.tree.map(same_bits, spoiled.saved, sink.saved))
    # A state before the first record would shift the records.
    early = fitted.programs[0].state_shapes(0, 8).named()
    arrays = {name: np.zeros(array.shape, array.dtype) for name, array in early.items()}
    assert restore_state(fitted.programs[0], arrays, {"step": 0}, 8) is None


def test_the_first_report_of_a_resumed_tile_is_its_earlier_progress(monkeypatch):
    """It took no time, so the estimate of the time left must not count it as fast work."""
    monkeypatch.setattr("gdjax.descent.block_loop.BlockLengthController.update", lambda *_: None)
    spec = Sweep(network(), axes(learning_rate=[0.1]), 60, record_every=10)
    fitted, sink, reports = fit.fit(check(Asked(spec))), MemorySink(), []
    assert tile_of(fitted, sink, stop=True) is None
    assert tile_of(fitted, sink, show=reports.append) is not None
    work, step = fitted.programs[0].work, sink.steps[0][1]
    np.testing.assert_allclose(reports[0], [step / 60, work(step) / work(60)])
    assert (np.diff(reports, axis=0) >= 0).all()


def test_a_repeated_sweep_restores_the_damaged_root_of_its_store(tmp_path):
    computed = (bowl([1.0, 9.0]), axes(learning_rate=[0.1, 0.2]), 4)
    runs = sweep(*computed, store=tmp_path).load()
    (tmp_path / "zarr.json").write_text("{")
    with pytest.warns(UserWarning, match=r"zarr.json"):
        again = sweep(*computed, store=tmp_path)
    assert again.equals(runs)


# Early stopping


def test_stop_when_converged_takes_no_step_after_the_last_run_has_stopped():
    """At curvature 2, rate 1/2 converges in one step, and rate 2 never converges."""
    work_done = []

    def cost(w):
        jax.debug.callback(lambda: work_done.append(1))
        return jnp.sum(w**2)

    problem = Problem(
        init=lambda key: jnp.ones(2),
        cost=cost,
        metrics={"size": Metric(lambda _, w: jnp.max(jnp.abs(w)), every=3)},
    )
    grid = axes(learning_rate=[0.5, 2.0])
    options = {"problem": problem, "record_every": 1, "divergence_threshold": 100.0}
    runs = runs_of(grid, 2000, stop_when_converged=True, **options)
    assert len(work_done) < 100
    assert same_bits(runs, runs_of(grid, 2000, **options))
    assert len(work_done) > 2000
    assert runs.outcome.values.tolist() == [1, 3]
    assert np.isfinite(runs["size"].isel(step=slice(None, None, 3))).all()


# Types


@pytest.mark.parametrize(("dtype", "stored"), [("bfloat16", np.float32), ("float16", np.float16)])
def test_parameters_of_16_bit_types_are_stored_exactly(dtype, stored, tmp_path):
    """NumPy has no bfloat16, so values of this type are stored as float32."""

    def init(key):
        return {"w": jax.random.normal(key, (3,), dtype)}

    problem = Problem(init=init, cost=lambda p: jnp.sum(p["w"].astype(jnp.float32) ** 2))
    runs = runs_of(axes(learning_rate=[0.1], seed=range(3)), 0, problem=problem, store=tmp_path)
    assert (runs["params.w"].dtype, runs.cost.dtype) == (stored, np.float32)
    for seed in range(3):
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(np.uint32(3)), 0), seed)
        start = init(key)["w"].astype(jnp.float32)
        np.testing.assert_array_equal(runs["params.w"].sel(seed=seed)[0], start)
        retained = params_of(runs, init(key), {"learning_rate": 0.1, "seed": seed})["w"]
        assert retained.dtype == dtype
        np.testing.assert_array_equal(retained, init(key)["w"])
    assert runs["params.w"].attrs.get("comment") == (
        "computed as bfloat16" if dtype == "bfloat16" else None
    )


# Compilation


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("more", [{}, {"noise_seed": [0, 1]}])
def test_programs_with_random_keys_are_compiled_once(devices, more):
    scale = 1.5 + len(more) + devices / 7  # no other test has these programs
    problem = Problem(
        init=lambda key: scale * jax.random.normal(key, (2,)),
        cost=lambda w, *, key: jnp.sum((w - jax.random.normal(key, (2,))) ** 2),
        metrics={"draw": Metric(lambda _, w, *, key: jax.random.normal(key))},
    )
    spec = Sweep(problem, axes(learning_rate=[0.1, 0.2], **more), 3)
    chosen = jax.local_devices()[:devices]
    fitted = fit.fit(check(Asked(spec, devices=chosen)))
    tile_of(fitted, MemorySink())
    (program,) = fitted.programs
    assert len(program.initial_program.compiled) == len(program.descent.block.compiled) == 1


def test_the_evaluation_parameters_of_all_slabs_are_computed_by_one_program():
    counts = []
    for runs in (2, 6):
        traces = []

        def evaluated(opt_state, params, traces=traces, factor=1 / runs):  # two programs
            traces.append(params)
            return jax.tree.map(lambda w: factor * w, params)

        grid = axes(learning_rate=np.linspace(0.1, 0.2, runs))
        options = {"devices": jax.local_devices()[:1], "eval_params_fn": evaluated}
        sweep(bowl([1.0, 9.0]), grid, 2, **options)
        counts.append(len(traces))
    assert counts[1] == counts[0]
