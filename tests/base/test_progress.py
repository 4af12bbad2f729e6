"""Progress bars, which are shown only on a terminal or in a notebook."""

import sys
from types import SimpleNamespace

import tqdm.notebook

from gdjax.base import progress


def kernel(monkeypatch, shell="ZMQInteractiveShell"):
    created = type(shell, (), {})()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: created))


def test_nothing_is_shown_outside_a_terminal_or_notebook(capsys):
    with progress.bar(total=2, unit="run", delay=0) as bar:
        assert bar.disable
        bar.update(2)
    assert capsys.readouterr().err == ""


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
