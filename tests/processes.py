"""Python processes that tests start."""

import subprocess
import sys


def python(*arguments, status=0, **options) -> subprocess.CompletedProcess:
    """Run Python, check its exit status unless it is None, and return the process."""
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert status is None or done.returncode == status, done.stdout + done.stderr
    return done
