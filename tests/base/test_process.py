"""Configuration of the process of a command."""

import os

import pytest

from gdjax.base import machine
from tests.processes import python

REPORT = """
import os
from gdjax.base import process
process.configure()
import jax, matplotlib
print(jax.local_device_count(), jax.config.jax_compilation_cache_dir, matplotlib.get_backend())
print(os.environ["TF_CPP_MIN_LOG_LEVEL"])
"""


def report(**environment):
    """Return the device count, cache folder, backend and log level of a new process."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "TF_CPP"))}
    return python("-c", REPORT, env={**ours, **environment}).stdout.split()


@pytest.mark.long
def test_each_core_is_a_device_and_programs_are_cached_unless_the_user_decides(tmp_path):
    """Matplotlib's backend is agg even if MPLBACKEND is invalid."""
    devices, folder, backend, log_level = report(XDG_CACHE_HOME=str(tmp_path), MPLBACKEND="no_such")
    assert int(devices) == machine.cores()
    assert (folder, backend) == (str(tmp_path / "gdjax" / "programs"), "agg")
    assert log_level == "3"  # no warnings about slow compilation
    settings = {"JAX_NUM_CPU_DEVICES": "3", "JAX_COMPILATION_CACHE_DIR": str(tmp_path)}
    devices, folder, _, log_level = report(**settings, TF_CPP_MIN_LOG_LEVEL="0")
    assert (devices, folder, log_level) == ("3", str(tmp_path), "0")
