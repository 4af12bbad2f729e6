"""Command line: help, invalid input, exit statuses and response time."""

import os
import subprocess
import sys
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from gdjax.cli import SHELLS, main
from gdjax.cli.emit import emit, table
from gdjax.cli.sweep import Sweep
from gdjax.cli.train import Train
from gdjax.problems.networks import ACTIVATIONS, INITIALIZERS
from tests.processes import python

FULL = Path("/dev/full")  # simulates a full disk


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["sweep", "--help"],
        ["train", "--no-such"],
        ["landscape", "--params", "nosuch.npz"],
    ],
)
def test_help_and_errors_that_need_no_jax_take_less_than_a_second(arguments):
    # Processor time hardly depends on the load of the machine.
    best = float("inf")
    for _ in range(3):
        before = os.times()
        command = [sys.executable, "-m", "gdjax", *arguments]
        done = subprocess.run(command, capture_output=True, check=False)
        after = os.times()
        spent = after.children_user + after.children_system
        best = min(best, spent - before.children_user - before.children_system)
        if best < 1:
            break
    assert done.returncode == (0 if "--help" in arguments else 2)
    assert 0 < best < 1


def test_parsing_does_not_import_jax():
    code = (
        "import sys, gdjax, gdjax.cli\n"
        "try: gdjax.cli.main(['train', '--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'jax', 'numpy', 'matplotlib', 'xarray'} & set(sys.modules), 'imported'\n"
    )
    python("-c", code)


def test_sentences_are_wrapped_and_tables_are_not(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("gdjax.base.results.write_summary", lambda *_: None)
    wide = table({"name": ["a" * 100], "cost": ["1"]})
    emit("x", {}, tmp_path, summary={}, report=[wide, "word " * 40], next_command=("data",))
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "a" * 100 + "     1"
    assert max(map(len, lines[2:5])) <= 80
    assert lines[-1] == "next: gdjax data"


@pytest.mark.parametrize("shell", SHELLS)
def test_every_completion_script_has_commands_and_flags(shell, capsys):
    with pytest.raises(SystemExit) as end:
        main(["--completion", shell])
    assert not end.value.code
    script = capsys.readouterr().out
    assert all(word in script for word in ("sweep", "landscape", "learning-rate"))


def test_a_closed_pipe_causes_no_error_message():
    line = f"{sys.executable} -m gdjax --help | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True)  # noqa: PLW1510
    assert (done.returncode, done.stderr) in [(141, ""), (0, "")]


@pytest.mark.skipif(not FULL.exists(), reason="/dev/full exists only on Linux")
def test_output_that_cannot_be_written_raises_an_error():
    with FULL.open("w") as full:
        done = subprocess.run(  # noqa: PLW1510 - the status is tested
            [sys.executable, "-m", "gdjax", "--version"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    message = "gdjax: standard output cannot be written: No space left on device\n"
    assert (done.returncode, done.stderr) == (2, message)


def test_flag_choices_equal_the_names_in_the_library():
    for command in (Train, Sweep):
        hints = get_type_hints(command)
        assert get_args(hints["activation"]) == tuple(ACTIVATIONS)
        assert get_args(hints["initializer"]) == tuple(INITIALIZERS)
