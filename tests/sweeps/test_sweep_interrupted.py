"""Resumption of interrupted sweeps without recomputation.

The results must equal those of an uninterrupted sweep bitwise.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import interrupted_sweep
import numpy as np
import pytest
from small_problems import read_store, same_bits

from gdjax.descent import block_loop
from gdjax.errors import StoreError
from gdjax.stores.reader import Stored, read_attributes, verify
from gdjax.stores.writer import Tiles
from gdjax.sweeps import executor, slab_runner

HERE = Path(__file__).parent
KILLS = 6


@pytest.fixture(scope="module")
def uninterrupted():
    return interrupted_sweep.run()


def finished(path):
    """Return whether each tile is finished, or None if the store does not exist yet."""
    if not path.exists() or read_attributes(path) is None:
        return None
    return Stored(path).finished()


def states(path):
    return sorted(file.name for file in (path / ".gdjax" / "checkpoints").glob("[0-9]*"))


# Killed processes


def test_a_sweep_killed_at_random_times_is_bitwise_equal_to_an_uninterrupted_one(
    tmp_path, uninterrupted
):
    """Kill sweeps several times; finished tiles do not change, and others resume."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(HERE), str(HERE.parents[1]))),
        "OPENBLAS_NUM_THREADS": "1",
        "JAX_NUM_CPU_DEVICES": "4",  # bitwise equality requires equal numbers of threads
        "JAX_COMPILATION_CACHE_DIR": str(HERE.parents[1] / ".jax_cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    moments = random.Random(5)
    kills, num_partial, stores = 0, 0, 0
    observed: dict[str, int] = {}
    path = tmp_path / "0"
    command = [sys.executable, "-W", "ignore", str(HERE / "interrupted_sweep.py")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        hear = lambda: server.stdout.readline().strip()  # noqa: E731

        def start():
            server.stdin.write(f"{path}\n")
            server.stdin.flush()
            return int(hear())

        while kills < KILLS:
            child = start()
            if kills % 4:  # while the process computes tiles
                assert hear() == "begun"
                until = time.monotonic() + 60
                while not states(path) and time.monotonic() < until:
                    time.sleep(0.002)
                time.sleep(moments.uniform(0, 0.03))  # shorter than a tile on any machine
            else:  # while the process starts
                time.sleep(moments.uniform(0, 1))
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            while (recorded := hear()) == "begun":
                pass
            status = int(recorded)
            assert status in (0, signal.SIGKILL)
            kills += status == signal.SIGKILL
            done = finished(path)
            if done is None:
                continue
            assert verify(path) == []
            num_partial += bool(states(path))
            for tile in map(tuple, np.argwhere(done)):
                for file in path.glob(f"*/c.{'.'.join(map(str, tile))}*"):
                    assert observed.setdefault(str(file), file.stat().st_mtime_ns) == (
                        file.stat().st_mtime_ns
                    )
            if done.all():
                assert same_bits(read_store(path), uninterrupted)
                stores += 1
                path = tmp_path / str(stores)
        start()
        assert (hear(), hear()) == ("begun", "0")
        server.stdin.close()
    assert same_bits(read_store(path), uninterrupted)
    assert states(path) == []
    assert num_partial >= KILLS // 4


# Ctrl-C


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
    monkeypatch.setattr(block_loop, "record_capacity", lambda *_: 64)
    return steps, press


def test_ctrl_c_saves_a_checkpoint_and_no_step_is_computed_twice(tmp_path, uninterrupted, counted):
    steps, press = counted
    handler = signal.getsignal(signal.SIGINT)
    for after in (700, 4100, 4500, 10_000):  # the sweep has 8 tiles of 1,500 steps
        press.append(after)
        with pytest.raises(KeyboardInterrupt):
            interrupted_sweep.run(tmp_path, continuable=False)
        assert signal.getsignal(signal.SIGINT) is handler
        assert after <= sum(steps.values()) < after + 1500
        unfinished = int((~finished(tmp_path)).sum())
        assert unfinished == 8 - sum(count == 1500 for count in steps.values())
        assert len(states(tmp_path)) == sum(0 < count < 1500 for count in steps.values()) <= 1
    interrupted_sweep.run(tmp_path, continuable=False)
    assert list(steps.values()) == [1500] * 8
    assert same_bits(read_store(tmp_path), uninterrupted)


@pytest.mark.parametrize("continuable", [False, True])
def test_no_step_is_repeated_after_ctrl_c_in_the_last_block(
    tmp_path, uninterrupted, counted, continuable
):
    """The last evaluation of continuable runs is a separate block, before which they are saved."""
    steps, press = counted
    press.append(8 * 1500)
    with pytest.raises(KeyboardInterrupt):
        interrupted_sweep.run(tmp_path, continuable=continuable)
    assert int((~finished(tmp_path)).sum()) == len(states(tmp_path)) == continuable
    interrupted_sweep.run(tmp_path, continuable=continuable)
    assert sum(steps.values()) == 8 * 1500
    assert same_bits(read_store(tmp_path), uninterrupted)


def test_a_tile_with_a_damaged_checkpoint_is_recomputed(tmp_path, uninterrupted, counted):
    steps, press = counted
    press.append(700)
    with pytest.raises(KeyboardInterrupt):
        interrupted_sweep.run(tmp_path)
    (state,) = (tmp_path / ".gdjax" / "checkpoints").iterdir()
    state.write_bytes(state.read_bytes()[:-5])
    interrupted_sweep.run(tmp_path)
    assert sum(steps.values()) > 8 * 1500
    assert same_bits(read_store(tmp_path), uninterrupted)


# Full disk


def test_a_full_disk_ends_the_sweep_which_can_be_resumed(tmp_path, uninterrupted, monkeypatch):
    write, written = Tiles.write, []

    def full(self, tile, arrays):
        if len(written) == 3:
            (self.location.path / self.schema.variables["cost"].key(tile)).write_bytes(
                b"half of it"
            )
            raise StoreError("No space left on device")
        written.append(tile)
        write(self, tile, arrays)

    with monkeypatch.context() as patch:
        patch.setattr(Tiles, "write", full)
        with pytest.raises(StoreError, match="No space left"):
            interrupted_sweep.run(tmp_path)
    assert int(finished(tmp_path).sum()) == 3
    interrupted_sweep.run(tmp_path)
    assert same_bits(read_store(tmp_path), uninterrupted)
