"""Numeric flags of JAX and XLA, which are part of the identity of a store."""

import os
import shutil
import subprocess
import sys

import jax
import pytest

import gdjax as gd
from gdjax.errors import StoreError
from gdjax.sweeps import identity

AT = {"learning_rate": 0.1, "seed": 1}
BRANCHES = gd.axes(branch_step=[2])


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    """Return the path of a finished sweep of two tiles."""
    path = tmp_path_factory.mktemp("flags") / "s"
    grid = gd.axes(learning_rate=[0.05, 0.1], seed=[0, 1])
    devices = jax.local_devices()[:1]
    gd.sweep(gd.problems.bowl([1.0, 10.0]), grid, 4, store=path, devices=devices)
    return path


@pytest.fixture
def half_finished(complete, tmp_path):
    """Return the path of a copy of `complete` with one unfinished tile."""
    path = shutil.copytree(complete, tmp_path / "s")
    next(iter((path / ".gdjax/tiles").iterdir())).unlink()
    return path


def xla(monkeypatch, *flags):
    """Simulate a process that was started with the given flags."""
    monkeypatch.setenv("XLA_FLAGS", " ".join(flags))
    read = getattr(identity.xla_flags, "__wrapped__", identity.xla_flags)  # without a cache
    monkeypatch.setattr(identity, "xla_flags", read)


@pytest.fixture
def set_flags(monkeypatch):
    """Set two XLA flags, and return them in order."""
    flags = ["--xla_cpu_enable_fast_math=false", "--xla_backend_optimization_level=3"]
    xla(monkeypatch, *flags)
    return flags


@pytest.mark.parametrize(
    ("context", "difference"),
    [
        (lambda: jax.enable_x64(True), "jax_enable_x64: stored False, expected True"),
        (lambda: jax.default_matmul_precision("highest"), "stored None, expected 'highest'"),
        (lambda: jax.threefry_partitionable(False), "partitionable: stored True, expected False"),
        (lambda: jax.default_prng_impl("rbg"), "stored 'threefry2x32', expected 'rbg'"),
    ],
)
def test_a_different_jax_setting_is_reported(half_finished, context, difference):
    with context(), pytest.raises(StoreError, match=difference):
        gd.resume(half_finished)


@pytest.mark.long
def test_only_flags_with_a_numeric_effect_are_compared(set_flags, tmp_path, monkeypatch):
    """Flags may be in a file, which has one of them in each line here."""
    swept = [gd.problems.bowl([1.0]), gd.axes(learning_rate=[0.1]), 1]
    gd.sweep(*swept, store=tmp_path / "s")
    (tmp_path / "flags").write_text("\n".join(set_flags))
    for same in (
        set_flags[::-1],
        ["--xla_backend_optimization_level=0", *set_flags],  # XLA uses the last value
        [*set_flags, "--xla_dump_to=/nowhere", "--xla_gpu_dump_llvmir"],
        [*set_flags, "--xla_force_host_platform_device_count=4"],
        [str(tmp_path / "flags")],
    ):
        xla(monkeypatch, *same)
        assert gd.replay(tmp_path / "s", {"learning_rate": 0.1}).changed == {}
        gd.sweep(*swept, store=tmp_path / "s")
    (tmp_path / "flags").write_text("--xla_cpu_enable_fast_math=true")
    with pytest.raises(StoreError, match=r"environment\.xla: stored"):
        gd.sweep(*swept, store=tmp_path / "s")


@pytest.mark.long
def test_a_difference_of_flags_is_reported_in_another_process(half_finished):
    code = """
import sys, gdjax as gd
print(gd.replay(sys.argv[1], {"learning_rate": 0.1, "seed": 1}, allow_unverified=True).changed)
gd.resume(sys.argv[1])
"""
    environment = {**os.environ, "XLA_FLAGS": "--xla_backend_optimization_level=0"}
    environment["JAX_THREEFRY_PARTITIONABLE"] = "0"
    run = subprocess.run(
        [sys.executable, "-c", code, str(half_finished)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert "'flags.xla': (" in run.stdout
    assert "'flags.jax_threefry_partitionable': (True, False)" in run.stdout
    assert run.returncode == 1
    assert "environment.xla: stored" in run.stderr
