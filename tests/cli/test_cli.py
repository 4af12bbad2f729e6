"""Command line: help, invalid input, exit statuses and response time."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from gdjax.cli import main
from gdjax.cli.emit import emit, table
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
    ("line", "message"),
    [
        ("train --learning-rate -1", "--learning-rate -1.0: expected a number above 0"),
        ("train --learning-rate nan", "--learning-rate nan"),
        ("train --epochs 0", "--epochs 0: expected at least 1"),
        ("train --epochs abc", "--epochs abc: expected a whole number"),
        ("train --batch-size 0", "--batch-size 0"),
        ("train --batch-size all", "--batch-size all: expected a whole number, full"),
        ("train --widths 16 0", "--widths 0"),
        ("train --seed -1", "--seed -1"),
        ("train --lr 1", "--lr: no such option; did you mean --learning-rate?"),
        ("sweep --learning-rate 3:1", "--learning-rate '3:1': expected one of"),
        ("sweep --num-steps 0", "--num-steps 0"),
        ("sweep --num-steps 0.5", "--num-steps 0.5: expected a whole number"),
        ("sweep --axes momentum", "--axes momentum: expected NAME=VALUES"),
        ("sweep --axes", "--axes: no value given"),
        ("resume nowhere.zarr", "nowhere.zarr: no such store"),
        ("replay nowhere.zarr", "nowhere.zarr: no such store"),
        ("replay . --at seed=1 seed=2", "--at seed=2: seed is given twice"),
        ("replay . --at lr=1", "--at lr=1: did you mean learning_rate=1?"),
        ("landscape --points 1", "--points 1: expected at least 2"),
        ("landscape --points 3001", "--points 3001: expected at most 3,000"),
        ("landscape --reach 0", "--reach 0.0: expected a number above 0"),
        ("landscape --direction-seed -1", "--direction-seed -1: expected a whole number from 0 to"),
        ("landscape --directions random random", "random random: expected each direction once"),
        ("landscape --directions neurons", "did you mean neuron?"),
        ("landscape --epochs 0", "--epochs 0"),
        ("landscape --at seed=0", "requires --store"),
        ("spectrum --skip-damaged", "--skip-damaged: requires --store"),
        ("spectrum --problem {file}:problem", "requires --store"),
        ("spectrum --store none", "no such store"),
        ("spectrum --params none", "--params none: no such file"),
        ("spectrum --store . --params b", "expected one of them"),
        ("spectrum --batch-size 0", "--batch-size 0: expected at least 1"),
        ("spectrum --learning-rate -1", "--learning-rate -1.0"),
        ("spectrum --seed -1", "--seed -1"),
        ("spectrum --largest 0", "--largest 0: expected at least 1"),
        ("spectrum --smallest -1", "--smallest -1: expected at least 0"),
        ("spectrum --probes 11", "--probes 11: expected at least 12"),
        ("spectrum --tolerance 0", "--tolerance 0.0: expected a number above 0"),
        ("spectrum --gradient-tolerance nan", "--gradient-tolerance nan: expected a number above"),
        ("spectrum --probe-seed -1", "--probe-seed -1: expected a whole number from 0 to"),
        ("minima --store x --function beale", "--store and --function: expected one of them"),
        ("minima --function beale --data mnist", "--function and --data: expected one of them"),
        ("minima --store . --learning-rate 1", "--learning-rate: applies to new descents"),
        ("minima --function himelblau", "did you mean himmelblau?"),
        ("minima --seeds 0", "--seeds 0: expected at least 1"),
        ("minima --num-steps 0", "--num-steps 0: expected at least 1"),
        ("minima --widths 16 0", "--widths 0: expected at least 1"),
        ("minima --learning-rate 0", "--learning-rate 0.0: expected a number above 0"),
        ("minima --tolerance nan", "--tolerance nan: expected a number above 0"),
        ("minima --decay -1", "--decay -1.0: expected a number >= 0"),
        ("lesson --networks -1", "--networks -1: expected at least 0"),
        ("data prepare nonsense", "data set 'nonsense' is unknown"),
        ("--completion ksh", "--completion: expected one of bash, zsh, fish"),
    ],
)
def test_invalid_arguments_exit_with_status_2_and_a_one_line_message(
    line, message, capsys, monkeypatch
):
    monkeypatch.setattr(jax, "jit", None)  # nothing is computed
    with pytest.raises(SystemExit) as caught:
        main(line.format(file=__file__).split())
    assert caught.value.code == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train --data mnis5k", "mnist5k"),
        ("train --batch-size 50000", "--batch-size 50000: expected at most 40000"),
        ("sweep --axes momentun=0.9", "Did you mean momentum?"),
        ("sweep --optimizer momentum --axes nesterov=0,1", "nesterov cannot be swept"),
    ],
)
@pytest.mark.usefixtures("keep_devices")
def test_errors_found_after_parsing_exit_with_status_2_and_a_message(
    line, message, tmp_path, capsys
):
    with pytest.raises(SystemExit) as caught:
        main([*line.split(), "--out", str(tmp_path / "out")])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_sentences_are_wrapped_and_tables_are_not(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("gdjax._runtime.results.write_summary", lambda *_: None)
    wide = table({"name": ["a" * 100], "cost": ["1"]})
    emit("x", {}, tmp_path, summary={}, report=[wide, "word " * 40], next_command=("data",))
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "a" * 100 + "     1"
    assert max(map(len, lines[2:5])) <= 80
    assert lines[-1] == "next: gdjax data"


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
