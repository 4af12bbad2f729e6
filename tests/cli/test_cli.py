"""Command line: help, invalid input, exit statuses and response time."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gdjax.cli import main
from gdjax.cli.sweep import Sweep
from gdjax.cli.train import Train

FULL = Path("/dev/full")  # simulates a full disk


def gdjax(*arguments, **settings):
    return subprocess.run(  # noqa: PLW1510 - the status is tested
        [sys.executable, "-m", "gdjax", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "100"},
        **settings,
    )


@pytest.mark.parametrize("arguments", [["--help"], ["sweep", "--help"], ["train", "--no-such"]])
def test_help_and_errors_for_invalid_flags_take_less_than_a_second(arguments):
    # Processor time hardly depends on the load of the machine.
    best = float("inf")
    for _ in range(3):
        before = os.times()
        done = gdjax(*arguments)
        after = os.times()
        spent = after.children_user + after.children_system
        best = min(best, spent - before.children_user - before.children_system)
        if best < 1:
            break
    assert done.returncode == (2 if "--no-such" in arguments else 0)
    assert 0 < best < 1


def test_parsing_does_not_import_jax():
    code = (
        "import sys, gdjax, gdjax.cli\n"
        "try: gdjax.cli.main(['train', '--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'jax', 'numpy', 'matplotlib', 'xarray'} & set(sys.modules), 'imported'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--learning-rate", "-1"], "--learning-rate -1.0: expected a number above 0"),
        (["train", "--learning-rate", "nan"], "--learning-rate nan"),
        (["train", "--epochs", "0"], "--epochs 0: expected at least 1"),
        (["train", "--batch-size", "0"], "--batch-size 0"),
        (["train", "--widths", "16", "0"], "--widths 0"),
        (["train", "--seed", "-1"], "--seed -1"),
        (["sweep", "--learning-rate", "3:1"], "--learning-rate '3:1': expected one of"),
        (["sweep", "--num-steps", "0"], "--num-steps 0"),
        (["sweep", "--axes", "momentum"], "--axes momentum: expected NAME=VALUES"),
    ],
)
def test_invalid_values_exit_with_status_2_and_a_one_line_message(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--data", "mnis5k"], "mnist5k"),
        (["train", "--batch-size", "50000"], "--batch-size 50000: expected at most 40000"),
        (["sweep", "--axes", "momentun=0.9"], "Did you mean momentum?"),
        (
            ["sweep", "--optimizer", "momentum", "--axes", "nesterov=0,1"],
            "nesterov cannot be swept",
        ),
    ],
)
@pytest.mark.usefixtures("keep_devices")
def test_errors_found_after_parsing_exit_with_status_2_and_a_message(
    arguments, message, tmp_path, capsys
):
    with pytest.raises(SystemExit) as caught:
        main([*arguments, "--out", str(tmp_path / "out")])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.long
def test_a_process_exits_without_a_traceback_after_an_error(tmp_path):
    start = time.perf_counter()
    done = gdjax("train", "--data", "mnis5k", "--out", str(tmp_path / "out"), cwd=tmp_path)
    assert done.returncode == 2
    assert "mnist5k" in done.stderr
    assert "Traceback" not in done.stderr
    assert time.perf_counter() - start < 30


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
    from typing import get_args, get_type_hints

    from gdjax.problems.networks import ACTIVATIONS, INITIALIZERS

    for command in (Train, Sweep):
        hints = get_type_hints(command)
        assert get_args(hints["activation"]) == tuple(ACTIVATIONS)
        assert get_args(hints["initializer"]) == tuple(INITIALIZERS)
