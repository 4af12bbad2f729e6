"""Progress bars, which are shown on a terminal and in a notebook, and lines of a log."""

import io
import re
import sys
import time
from types import SimpleNamespace

import pytest
import tqdm.notebook

import gdjax as gd
from gdjax.base import progress
from gdjax.sweeps import check, fit
from gdjax.sweeps.continued import parts


def kernel(monkeypatch, shell="ZMQInteractiveShell"):
    created = type(shell, (), {})()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: created))


def test_short_work_prints_no_line_of_a_log(capsys):
    with progress.bar(total=2, unit="run", delay=0) as bar:
        bar.update(2)
    assert capsys.readouterr().err == ""


def test_a_log_has_lines_before_and_after_the_first_update(monkeypatch, capsys):
    monkeypatch.setattr(progress, "LOG_INTERVAL", 0.1)
    with progress.bar("compiling", total=8, unit="run") as bar:
        time.sleep(0.25)
        bar.update(2)
        time.sleep(0.25)
    lines = capsys.readouterr().err.splitlines()
    assert not bar.ticker.is_alive()
    assert re.fullmatch(r"gdjax: compiling: 0 of 8 runs, 00:00 passed, about \? left", lines[0])
    assert re.fullmatch(r"gdjax: 2 of 8 runs, 00:0\d passed, about 00:0\d left", lines[-1])


@pytest.mark.parametrize(("ago", "lines"), [(0, 1), (60, 0)])
def test_the_interval_of_a_log_goes_on_after_another_bar(monkeypatch, capsys, ago, lines):
    """The last line is 29.9 seconds old, and the other bar has ended now or a minute ago."""
    now = time.monotonic()
    monkeypatch.setattr(progress.Ticking, "last_log", (now - ago, now - 29.9))
    with progress.bar("compiling", total=1, unit="run"):
        time.sleep(0.5)
    assert len(capsys.readouterr().err.splitlines()) == lines


@pytest.mark.parametrize("phase", ["tracing", "compiling", "timing"])
def test_no_phase_of_a_plan_is_silent(monkeypatch, capsys, tmp_path, phase):
    """A first compilation of a transformer on a slow machine was silent for two minutes."""
    slow = {"tracing": (check, "check_program"), "compiling": (fit, "fit_program")}
    module, name = slow.get(phase, (parts, "_slab_seconds"))
    work = getattr(module, name)
    monkeypatch.setattr(module, name, lambda *args: (time.sleep(0.3), work(*args))[1])
    monkeypatch.setattr(progress, "LOG_INTERVAL", 0.1)
    sweep = gd.Sweep(gd.problems.bowl([1.0, 9.0]), gd.axes(learning_rate=[0.1]), 3)
    gd.sweeps.plan(sweep, tmp_path)
    line = rf"gdjax: {phase}( for 1 runs of 3 steps)?: 0 of 1 "
    assert re.search(line, capsys.readouterr().err)


def test_the_estimate_leaves_out_the_time_before_the_first_update(monkeypatch):
    bar = progress.Ticking("compiling", lambda: 90.0, None, delay=1000, total=8, unit="run")
    monkeypatch.setattr(bar, "_time", lambda: bar.start_t + 100)
    bar.update(2)
    assert bar.format_dict["rate"] == 2 / (100 - 90)
    assert "about 00:30 left" in str(bar)
    bar.close()


def test_the_estimate_follows_the_work_where_the_first_units_take_longer(monkeypatch):
    """The first of 8 steps, with a record, takes as long as half of the work."""
    bar = progress.Ticking(None, float, lambda: 0.5, delay=1000, total=8, unit="step")
    monkeypatch.setattr(bar, "_time", lambda: bar.start_t + 10)
    bar.update(1)
    assert "1 of 8 steps" in str(bar)
    assert "about 00:10 left" in str(bar)
    bar.close()


def test_a_log_can_be_disabled(monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", "1")
    with progress.bar("compiling", total=3) as bar:
        assert bar.disable
        bar.update()


def test_a_terminal_shows_a_bar_before_the_first_update_and_removes_it(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress.bar("compiling", total=8, unit="run", delay=0.1):
        time.sleep(0.3)
    assert "compiling:   0%" in terminal.getvalue()
    assert terminal.getvalue().endswith(" \r")


def test_a_notebook_without_widgets_shows_a_text_bar(monkeypatch, capsys):
    kernel(monkeypatch)
    monkeypatch.setattr(progress.importlib.util, "find_spec", lambda name: None)
    with progress.bar(total=2, unit="run", delay=0) as bar:
        assert not bar.disable
        bar.update(2)
        bar.refresh()
        assert "2/2" in capsys.readouterr().err


def test_a_notebook_with_widgets_shows_a_widget(monkeypatch):
    kernel(monkeypatch)
    monkeypatch.setattr(progress.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(tqdm.notebook, "tqdm", lambda **settings: settings)
    displayed = progress.bar(total=2, unit="run", desc="walking")
    assert displayed.items() >= {"total": 2, "desc": "walking", "delay": progress.DELAY}.items()
