"""`python -m gdjax`, which handles Ctrl-C before slow imports."""

import subprocess
import sys

import gdjax
from gdjax import __main__, interrupts


def test_the_module_runs_the_command():
    command = [sys.executable, "-m", "gdjax", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"gdjax {gdjax.__version__}\n"


def test_ctrl_c_is_handled_before_slow_imports(monkeypatch):
    order = []
    monkeypatch.setattr(interrupts, "end_at_ctrl_c", lambda: order.append("Ctrl-C"))
    monkeypatch.setattr("gdjax.cli.main", lambda: order.append("command"))
    __main__.main()
    assert order == ["Ctrl-C", "command"]
