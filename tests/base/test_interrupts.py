"""Ctrl-C at any time: the first one sets a flag, and a second one interrupts."""

import json
import signal
import threading
from pathlib import Path

import pytest

from gdjax.base.interrupts import interruptible
from tests.processes import python


def press():
    signal.raise_signal(signal.SIGINT)


# -- the flag


@pytest.mark.parametrize("pressed_before", [True, False])
def test_nested_blocks_share_a_flag_and_a_second_ctrl_c_interrupts(pressed_before, python_handler):
    with interruptible() as outer:
        assert not outer.is_set()
        if pressed_before:
            press()
        with interruptible() as inner:
            assert inner.is_set() == pressed_before
            if not pressed_before:
                press()
            assert inner.is_set()
            with pytest.raises(KeyboardInterrupt):
                press()
        assert outer.is_set()
    assert signal.getsignal(signal.SIGINT) is python_handler


def test_a_user_defined_handler_is_restored_after_an_error(python_handler):
    def handler(_signum, _frame):
        raise AssertionError("the user's handler must not be called within the block")

    signal.signal(signal.SIGINT, handler)
    with pytest.raises(ZeroDivisionError), interruptible():
        _ = 1 / 0
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_process_that_ignores_ctrl_c_still_ignores_it(python_handler):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with interruptible() as stop:
        press()
        assert not stop.is_set()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_a_handler_that_python_cannot_restore_is_not_replaced(monkeypatch):
    monkeypatch.setattr(signal, "getsignal", lambda _: None)
    monkeypatch.setattr(signal, "signal", lambda *_: pytest.fail("a handler was replaced"))
    with interruptible() as stop:
        assert not stop.is_set()


def test_outside_the_main_thread_no_handler_is_installed(python_handler):
    flags = []

    def work():
        with interruptible() as stop:
            flags.append((stop.is_set(), signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert flags == [(False, python_handler)]


# -- commands in a separate process

PRESS = """
import gc, signal, sys
from gdjax.base import interrupts

def press():
    signal.raise_signal(signal.SIGINT)

def press_in_a_callback(when):
    "Send Ctrl-C in a callback of the garbage collector, which discards exceptions."
    def collected(phase, info):
        if when():
            gc.callbacks.remove(collected)
            press()
    gc.callbacks.append(collected)

class At:
    "Import finder that sends Ctrl-C when a module is imported."
    def __init__(self, name):
        self.name = name
    def find_spec(self, name, *_):
        if name == self.name:
            self.name = None
            press()
"""
COMMAND = "from gdjax import __main__\n__main__.main()"
EXPERIMENT = f"""
import runpy
sys.path.insert(0, {str(Path(__file__).parent.parent)!r})
sys.argv = ["-m"]
runpy.run_module("experiments.digits", run_name="__main__")
"""
DIGITS = ("train", "--num-steps", "5", "--out", "out")


def run(*lines, arguments=(), status=130, cwd=None):
    code = "\n".join([PRESS, *lines])
    return python("-c", code, *arguments, status=status, timeout=120, cwd=cwd)


BLOCK = "with interrupts.resumable('gdjax resume it'), interrupts.interruptible() as stop:"
CONTINUE = "finished work is kept. Continue with: gdjax resume it"


@pytest.mark.parametrize(
    ("lines", "advice"),
    [
        (["print(True)", "press()", "print('not reached')"], "run the same command again"),
        (  # a second Ctrl-C within a block
            [BLOCK, "  press_in_a_callback(lambda: True); gc.collect()",
             "  print(stop.is_set()); press()"],
            CONTINUE,
        ),
        (  # a block that stops at its flag
            [BLOCK, "  press(); print(stop.is_set())",
             "  if stop.is_set(): raise KeyboardInterrupt"],
            CONTINUE,
        ),
    ],
)  # fmt: skip
def test_ctrl_c_ends_a_process_with_advice(lines, advice):
    done = run("interrupts.end_at_ctrl_c()", *lines)
    assert done.stderr.strip() == f"interrupted; {advice}"
    assert done.stdout == "True\n"


def test_a_command_that_ignores_ctrl_c_still_ignores_it():
    ignoring = "signal.signal(signal.SIGINT, signal.SIG_IGN)"
    done = run(ignoring, "interrupts.end_at_ctrl_c()", "press()", "print('reached')", status=0)
    assert done.stdout == "reached\n"


@pytest.mark.parametrize(
    ("module", "command"),
    [
        ("tyro", COMMAND),
        ("gdjax.base.process", COMMAND),
        ("jaxlib", COMMAND),
        ("jaxlib", EXPERIMENT),
    ],
)
def test_ctrl_c_during_startup_ends_a_command_with_advice(module, command, tmp_path):
    at = f"sys.meta_path.insert(0, At({module!r}))"
    done = run(at, command, arguments=DIGITS, cwd=tmp_path)
    assert done.stderr.strip() == "interrupted; run the same command again"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("moment", "advice"),
    [
        ("'gdjax.problems.digits' in sys.modules", "interrupted; run the same command again"),
        ("interrupts._open", "to take all, run the same command again"),
    ],
)
def test_ctrl_c_in_a_callback_ends_a_command(moment, advice, tmp_path):
    arguments = ("train", "--num-steps", "2000000000", "--out", "out")
    at = f"press_in_a_callback(lambda: {moment})"
    done = run(at, COMMAND, arguments=arguments, cwd=tmp_path)
    assert advice in done.stderr
    assert "ignored" not in done.stderr
    if "to take all" in advice:  # parameters and summary of the steps that were taken
        assert (tmp_path / "out" / "params.npz").is_file()
        summary = json.loads((tmp_path / "out" / "summary.json").read_text())
        assert summary["interrupted"]
        assert summary["num_steps"] < 2_000_000_000


def test_ctrl_c_during_plotting_waits_for_the_figures(tmp_path):
    at = "sys.meta_path.insert(0, At('gdjax.plots.training'))"
    done = run(at, COMMAND, arguments=DIGITS, cwd=tmp_path)
    assert "interrupted after 5 of 5 steps; the results are in out" in done.stderr
    assert "Traceback" not in done.stderr
    assert "written to out" in done.stdout
    assert (tmp_path / "out" / "learning.png").exists()
