"""What a command does to its own process, seen from inside one."""

import os
import subprocess
import sys

import pytest

from gdjax import machine

REPORT = """
import os
from gdjax._runtime import process
process.configure()
import jax, matplotlib
print(jax.local_device_count(), jax.config.jax_compilation_cache_dir, matplotlib.get_backend())
print(os.environ["TF_CPP_MIN_LOG_LEVEL"])
"""


def report(**environment):
    """Devices, folder of programs, backend of pictures and level of XLA's log, after `own`."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "TF_CPP"))}
    done = subprocess.run(
        [sys.executable, "-c", REPORT],
        capture_output=True,
        text=True,
        check=True,
        env={**ours, **environment},
    )
    return done.stdout.split()


@pytest.mark.long
def test_cores_become_devices_and_programs_are_kept(tmp_path):
    """A wrong MPLBACKEND would be found when all work is done."""
    devices, folder, backend, log_level = report(XDG_CACHE_HOME=str(tmp_path), MPLBACKEND="no_such")
    assert int(devices) == machine.cores()
    assert folder == str(tmp_path / "gdjax" / "programs")
    assert backend == "agg"
    assert log_level == "3"  # no banners of slow compilations


@pytest.mark.long
def test_what_the_user_has_set_wins(tmp_path):
    theirs = {"JAX_NUM_CPU_DEVICES": "3", "JAX_COMPILATION_CACHE_DIR": str(tmp_path)}
    devices, folder, _, log_level = report(**theirs, TF_CPP_MIN_LOG_LEVEL="0")
    assert (devices, folder, log_level) == ("3", str(tmp_path), "0")
