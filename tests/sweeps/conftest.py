"""What tests of the sweeps' doors share."""

import inspect

import pytest

from gdjax.sweeps import Request, Specification


@pytest.fixture
def as_users_have_it(monkeypatch):
    """The door itself has to refuse wrong types, not what checks the suite's annotations."""
    for kind in (Specification, Request):
        monkeypatch.setattr(kind, "__init__", inspect.unwrap(kind.__init__))
