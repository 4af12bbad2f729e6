"""Resumption of interrupted sweeps without recomputation.

The results must equal those of an uninterrupted sweep bitwise.
"""

import signal
from collections import Counter

import jax
import jax.numpy as jnp
import optax
import pytest
from small_problems import network, read_store, same_bits

from gdjax.descent import block_loop
from gdjax.problems.metrics import described
from gdjax.stores.reader import Stored
from gdjax.sweeps import axes, executor, fit, slab_runner, sweep

PROBLEM = network(watched=True)


def first_state(problem, w):
    """Return a key, a number of 16 bits and a boolean."""
    return {"key": jax.random.key(1, impl="rbg"), "half": jnp.bfloat16(3), "on": jnp.array(True)}


@described(init=first_state)
def walk(problem, w, state):
    drawn = 1e-9 * jax.random.key_data(state["key"])[0]
    value = jnp.sum(w["first"]["bias"]) + drawn + state["half"]
    key, half = jax.random.split(state["key"])[0], state["half"] * jnp.bfloat16(0.9)
    return value, {"key": key, "half": half, "on": ~state["on"]}


def run(path=None, continuable=None):
    """Run a sweep of eight slabs on one device, each computed in many short blocks."""
    grid = axes(learning_rate=[0.1, 0.2, 0.3, 0.4], data_seed=range(2), seed=range(2))
    return sweep(
        PROBLEM,
        grid,
        300,
        make_optimizer=optax.adam,
        metrics={**PROBLEM.metrics, "random_walk": walk},
        batch_size=5,
        record_every=2,
        snapshot_every=100,
        devices=jax.local_devices()[:1],
        continuable=continuable,
        store=path,
    )


@pytest.fixture(scope="module")
def uninterrupted():
    return run()


def states(path):
    return sorted(file.name for file in (path / ".gdjax" / "checkpoints").glob("[0-9]*"))


@pytest.fixture
def counted(monkeypatch):
    """Return the steps computed per tile, and a list for their number before Ctrl-C."""
    steps, press = Counter(), []
    blocks, compute = slab_runner.start_blocks, executor.run_tiles
    current = []

    def counted_tiles(plan, tiles, *options):
        current[:] = tiles
        return compute(plan, tiles, *options)

    def counted_blocks(program, values, device, state=None, **options):
        before = 0 if state is None else state.step
        for result in blocks(program, values, device, state, **options):
            steps[current[0]] += result.num_steps - before
            before = result.num_steps
            if press and sum(steps.values()) >= press[0]:
                press.clear()
                signal.raise_signal(signal.SIGINT)
            yield result

    monkeypatch.setattr(executor, "run_tiles", counted_tiles)
    monkeypatch.setattr(slab_runner, "start_blocks", counted_blocks)
    monkeypatch.setattr(block_loop, "record_capacity", lambda *_: 16)
    return steps, press


@pytest.mark.parametrize(("tiles", "files"), [(8, fit.MAX_GATHERED_FILES), (1, 0)])
def test_ctrl_c_saves_a_checkpoint_and_no_step_is_computed_twice(
    tmp_path, uninterrupted, counted, monkeypatch, tiles, files
):
    """A tile has one slab of 300 steps, or all eight."""
    monkeypatch.setattr(fit, "MAX_GATHERED_FILES", files)
    steps, press = counted
    length = 8 * 300 // tiles
    handler = signal.getsignal(signal.SIGINT)
    for after in (140, 820, 900, 2000):
        press.append(after)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, continuable=False)
        assert signal.getsignal(signal.SIGINT) is handler
        assert after <= sum(steps.values()) < after + 300
        unfinished = int((~Stored(tmp_path).finished()).sum())
        assert unfinished == tiles - sum(count == length for count in steps.values())
        assert len(states(tmp_path)) == sum(0 < count < length for count in steps.values()) <= 1
    run(tmp_path, continuable=False)
    assert list(steps.values()) == [length] * tiles
    assert same_bits(read_store(tmp_path), uninterrupted)


@pytest.mark.parametrize("continuable", [False, True])
def test_no_step_is_repeated_after_ctrl_c_in_the_last_block(
    tmp_path, uninterrupted, counted, continuable
):
    """The last evaluation of continuable runs is a separate block, before which they are saved."""
    steps, press = counted
    press.append(8 * 300)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, continuable=continuable)
    assert int((~Stored(tmp_path).finished()).sum()) == len(states(tmp_path)) == continuable
    run(tmp_path, continuable=continuable)
    assert sum(steps.values()) == 8 * 300
    assert same_bits(read_store(tmp_path), uninterrupted)
