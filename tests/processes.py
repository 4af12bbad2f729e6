"""Python processes that tests start."""

import subprocess
import sys


def python(*arguments, status=0, **options) -> subprocess.CompletedProcess:
    """Run Python, check its exit status, and return the process with its output."""
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == status, done.stdout + done.stderr
    return done
