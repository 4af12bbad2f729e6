"""Errors of invalid calls and command lines: one line that names the argument.

The calls run in a separate process, without the type checks of the test suite.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import errors
import pytest

OWN = ("InputError; ", "DataError; ", "StoreError; ", f"{errors.SIGNATURE}; ")
"""Permitted errors: those of gdjax, or a TypeError if the call does not match the signature."""


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calls")
    env = {"MPLBACKEND": "agg", "COLUMNS": "100", "JAX_PLATFORMS": "cpu"}
    env |= {"JAX_NUM_CPU_DEVICES": "2", "PYTHONPATH": str(Path(errors.__file__).parents[2])}
    command = [sys.executable, errors.__file__, "rows.json"]
    subprocess.run(command, cwd=folder, env={**os.environ, **env}, check=True)
    return json.loads((folder / "rows.json").read_text())


@pytest.mark.parametrize(("call", "argument", "message"), errors.calls())
def test_an_invalid_call_raises_a_one_line_error(rows, call, argument, message):
    row = rows[call]
    assert row.startswith(OWN)
    assert f"; names {argument}; " in row
    assert message in row
    assert "more lines" not in row


@pytest.mark.parametrize(("line", "argument", "message"), errors.commands())
def test_an_invalid_command_line_exits_with_status_2_and_states_the_reason(
    rows, line, argument, message
):
    row = rows[f"gdjax {line}"]
    assert row.startswith(f"exit 2; names {argument}; ")
    assert message in row
    assert "more lines" not in row
