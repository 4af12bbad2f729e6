"""Settings of JAX and of the machine: some raise errors, others have no effect."""

import jax
import jax.numpy as jnp
import numpy as np
import psutil
import pytest

import gdjax as gd
from gdjax import machine, slabs
from gdjax._runtime.devices import local_devices
from gdjax.descent.outcome import Outcome
from gdjax.errors import InputError


@pytest.mark.parametrize("error", [AssertionError(), RuntimeError("no such backend\nmore")])
def test_a_missing_platform_raises_an_error(monkeypatch, error):
    def fail():
        raise error

    monkeypatch.setattr(jax, "local_devices", fail)
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    reason = "no such backend" if str(error) else "AssertionError"
    with pytest.raises(InputError, match=rf"'cuda': JAX cannot use it here \({reason}\); unset"):
        local_devices()


def test_disabled_compilation_raises_an_error():
    with jax.disable_jit(), pytest.raises(InputError, match="jax_disable_jit = True, expected Fal"):
        slabs.CompiledFunction(lambda x: 2 * x)(jnp.ones(2))


def test_unrecorded_nan_raises_no_error_under_debug_nans():
    bowl = gd.problems.bowl([1.0, 4.0])
    with jax.debug_nans(True), jax.debug_infs(True):
        runs = gd.sweep(bowl, gd.axes(learning_rate=[0.1, 10.0]), 60, record_every=20)
    assert runs.outcome.values.tolist() == [Outcome.NOT_CONVERGED, Outcome.DIVERGED]
    assert np.isposinf(runs.cost.values[1, -1])


def test_memory_is_determined_without_a_proc_file_system(monkeypatch):
    total = psutil.virtual_memory().total

    def fail():
        raise FileNotFoundError("/proc/meminfo")

    monkeypatch.setattr(psutil, "virtual_memory", fail)
    machine.memory.cache_clear()
    assert machine.memory() == pytest.approx(total, rel=0.01) or machine.memory() < total
