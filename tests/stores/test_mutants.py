"""Untrusted stores: each one opens or is rejected, without other effects."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.long
def test_mutants_open_or_raise_a_one_line_error(tmp_path):
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(HERE), str(HERE.parents[1]))),
        "JAX_COMPILATION_CACHE_DIR": str(HERE.parents[1] / ".jax_cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    # Mutants are tried in another process, since an audit hook cannot be removed.
    command = [sys.executable, str(HERE / "try_mutants.py"), "200"]
    run = subprocess.run(
        command, env=environment, capture_output=True, text=True, cwd=tmp_path, check=False
    )
    print(run.stdout)
    assert (run.returncode, run.stderr) == (0, ""), run.stdout + run.stderr
