"""What tests of the sweeps' doors share."""

import inspect

import pytest
from small_problems import stored

from gdjax.sweeps import Request, Specification


@pytest.fixture
def as_users_have_it(monkeypatch):
    """The door itself has to refuse wrong types, not what checks the suite's annotations."""
    for kind in (Specification, Request):
        monkeypatch.setattr(kind, "__init__", inspect.unwrap(kind.__init__))


@pytest.fixture(scope="session")
def stored_sweep(tmp_path_factory):
    """The store of a finished sweep, `small_problems.stored`, which nobody changes."""
    path = tmp_path_factory.mktemp("stored") / "s.zarr"
    stored(path)
    return path
