"""What tests of commands share."""

import pytest

from gdjax.cli import process


@pytest.fixture
def own_nothing(monkeypatch):
    """A command that is called in this process leaves its devices as they are: the suite's."""
    monkeypatch.setattr(process, "own", lambda: None)
